//! An ACME server, the name servers of the zone, the book of orders, and what a process remembers between two looks.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use plan::Fact;
use plan::acme::course::waiting;
use plan::acme::ledger::{Ledger, Limits};
use plan::acme::problem::Problem;
use plan::acme::{AcmeFacts, AcmeStep, OrderFacts, OrderStage, RecordFacts, mark};
use plan::keys::CertificateFacts;
use plan::observed::{IssuedBy, WebSecret};

use super::World;
use super::cert_manager::origin;
use super::fixtures::certificate;

pub const DIRECTORY: &str = "https://acme.example.com/directory";
pub const ZONE: &str = "Z1";
pub const LIMITS: Limits = Limits { certificates_per_week: 3, orders_per_three_hours: 9, duplicates_per_week: 3 };

/// What outlives a process.
#[derive(Clone, Debug, Default)]
pub struct Server {
    pub orders: Vec<Order>,
    pub ledger: Ledger,
    /// Number of the key that is in its Secret.
    pub key: Option<usize>,
    keys: usize,
    pub records: BTreeSet<String>,
    /// What the server answers to the next order or proof.
    pub refuses: Option<Problem>,
    pub without_zone: bool,
    pub issued: usize,
    /// What the process knows.
    pub memory: Memory,
}

#[derive(Clone, Debug, Default)]
pub struct Memory {
    ordered: Option<(i32, String)>,
    problem: Option<(i32, Problem)>,
    told: bool,
    /// How many looks the records that this process made still take to spread.
    made: Option<(BTreeSet<String>, u32)>,
}

#[derive(Clone, Debug)]
pub struct Order {
    pub at: DateTime<Utc>,
    pub stage: OrderStage,
    values: BTreeSet<String>,
    told: bool,
    key: Option<usize>,
    pub replaces: bool,
}

impl World {
    pub fn web_secret(&self, certificate: CertificateFacts) -> WebSecret {
        let (issued_by, digest) = match certificate.issuer.as_str() {
            "acme" => (IssuedBy::Acme { directory: DIRECTORY.into() }, String::new()),
            issuer => origin(issuer).unwrap_or((IssuedBy::Tenant, String::new())),
        };
        let certificate_id = Some(format!("a.{}", self.acme.issued));
        WebSecret { certificate, key_matches: true, issued_by, certificate_id, digest, trust: String::new() }
    }

    pub fn acme(&self) -> AcmeFacts {
        let mut facts = AcmeFacts::default();
        let Some(status) = &self.tenant.status else { return facts };
        let Some(issuance) = &status.issuance else { return facts };
        let memory = &self.acme.memory;
        let of = |attempt: &i32| *attempt == issuance.failures;
        facts.ordered = memory.ordered.as_ref().filter(|(attempt, _)| of(attempt)).map(|(_, url)| url.clone());
        facts.problem = memory.problem.as_ref().filter(|(attempt, _)| of(attempt)).map(|(_, problem)| problem.clone());
        facts.key = Fact::answered(self.acme.key.map(drop));
        facts.zone = Fact::answered((!self.acme.without_zone).then(|| ZONE.to_owned()));
        let ends = self.web.as_ref().map(|web| web.not_after);
        let asker = waiting(&self.identity().id, &self.tenant.spec.domain, issuance, ends, self.now);
        if let Some(asker) = asker {
            facts.turn = Fact::Known(self.acme.ledger.turn(&BTreeSet::new(), &asker, LIMITS, self.now));
        }
        if let Some(order) = issuance.order.as_ref().and_then(|url| self.acme.order(url)) {
            let (stage, values, told) = (order.stage.clone(), order.values.clone(), order.told && memory.told);
            let values = if stage == OrderStage::Pending { values } else { BTreeSet::new() };
            facts.order = Fact::Known(OrderFacts { stage, values, told });
        } else if issuance.order.is_some() {
            facts.order = Fact::Absent;
        }
        facts.records = match &memory.made {
            Some((values, left)) => {
                Fact::Known(RecordFacts { values: values.clone(), spread: Fact::Known(*left == 0) })
            }
            None if self.acme.records.is_empty() => Fact::Absent,
            None => Fact::Known(RecordFacts { values: self.acme.records.clone(), spread: Fact::Unknown }),
        };
        facts
    }

    pub fn perform_acme(&mut self, step: &AcmeStep) -> Result<(), &'static str> {
        let attempt = self
            .tenant
            .status
            .as_ref()
            .and_then(|status| status.issuance.as_ref())
            .map_or(0, |issuance| issuance.failures);
        let (now, identity) = (self.now, self.identity());
        let acme = &mut self.acme;
        match step {
            AcmeStep::CreateKey => {
                if acme.key.is_none() {
                    acme.keys += 1;
                    acme.key = Some(acme.keys);
                }
            }
            AcmeStep::RemoveKey => (acme.key, acme.memory) = (None, Memory::default()),
            AcmeStep::TakePlace(asker) => {
                acme.ledger.take(asker, LIMITS, now).map_err(|_| "somebody else was faster")?;
            }
            AcmeStep::Order { replaces, .. } => {
                if let Some(problem) = acme.refuses.take() {
                    acme.memory.problem = Some((attempt, problem));
                    return Ok(());
                }
                // An order that is pending is found again, as Let's Encrypt does it.
                let open = acme.orders.iter().position(|order| order.stage == OrderStage::Pending);
                let number = open.unwrap_or(acme.orders.len());
                if open.is_none() {
                    let values = [format!("{number}-domain"), format!("{number}-wildcard")].into();
                    let (stage, told, key, replaces) = (OrderStage::Pending, false, None, replaces.is_some());
                    acme.orders.push(Order { at: now, stage, values, told, key, replaces });
                }
                acme.memory.ordered = Some((attempt, format!("order/{number}")));
            }
            AcmeStep::Present { zone, values, .. } => {
                assert_eq!(zone, ZONE);
                acme.records.clone_from(values);
                acme.memory.made = Some((values.clone(), 2));
            }
            AcmeStep::Tell { order } => {
                let proved = acme.memory.made.as_ref().is_some_and(|(_, left)| *left == 0);
                assert!(proved, "the server was told to look before every name server answered");
                acme.memory.told = true;
                acme.order_mut(order)?.told = true;
            }
            AcmeStep::Finalize { order, .. } => {
                let key = acme.key;
                let order = acme.order_mut(order)?;
                assert_eq!(order.stage, OrderStage::Ready);
                (order.stage, order.key) = (OrderStage::Processing, key);
            }
            AcmeStep::Store { order, .. } => {
                let found = acme.order(order).ok_or("no such order")?;
                if found.key != acme.key {
                    return Err("the certificate is for another key");
                }
                let domain = self.tenant.spec.domain.clone();
                self.web = Some(CertificateFacts {
                    names: plan::acme::names(&domain).to_vec(),
                    not_before: now,
                    not_after: now + TimeDelta::days(90),
                    issuer: "acme".into(),
                    ..certificate(now)
                });
            }
            AcmeStep::RemoveRecords { .. } => {
                if acme.records.contains(&mark(&identity.id)) {
                    acme.records.clear();
                }
                acme.memory.made = None;
            }
        }
        Ok(())
    }

    /// The server goes on.
    pub fn pass_acme(&mut self) {
        let acme = &mut self.acme;
        if let Some((_, left)) = &mut acme.memory.made {
            *left = left.saturating_sub(1);
        }
        let (records, mut refuses) = (acme.records.clone(), acme.refuses.take());
        for order in &mut acme.orders {
            order.stage = match order.stage.clone() {
                OrderStage::Pending if order.told => match refuses.take() {
                    Some(problem) => OrderStage::Invalid(problem),
                    None => {
                        assert!(order.values.is_subset(&records), "the server does not find the proof");
                        OrderStage::Ready
                    }
                },
                OrderStage::Processing => {
                    acme.issued += 1;
                    OrderStage::Valid
                }
                stage => stage,
            };
        }
        acme.refuses = refuses;
    }
}

impl Server {
    fn order(&self, url: &str) -> Option<&Order> {
        self.orders.get(url.strip_prefix("order/")?.parse::<usize>().ok()?)
    }

    fn order_mut(&mut self, url: &str) -> Result<&mut Order, &'static str> {
        let number =
            url.strip_prefix("order/").and_then(|number| number.parse::<usize>().ok()).ok_or("no such order")?;
        self.orders.get_mut(number).ok_or("no such order")
    }
}
