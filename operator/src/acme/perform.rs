//! Performing what the planner wants next of a certificate. Each step can be repeated: the process may die after any of them.

use std::time::Instant;

use chrono::{DateTime, Utc};
use crds::Tenant;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use plan::acme::problem::{Kind, Problem};
use plan::acme::{AcmeStep, mark};
use plan::names::Identity;

use super::{Acme, AcmeError, Attempt, Made, attempt_of, hosted, order};
use crate::context::Context;
use crate::error::{Error, Result, chain};
use crate::secrets;

impl Acme {
    /// Performs one step. A refusal that ends the attempt is no failure of the step: the planner writes it down.
    pub async fn perform(
        &self,
        step: &AcmeStep,
        tenant: &Tenant,
        identity: &Identity,
        context: &Context,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let attempt = tenant.status.as_ref().and_then(|status| status.issuance.as_ref()).map(attempt_of);
        let attempt = attempt.unwrap_or_default();
        let outcome = self.attempt(step, attempt, identity, context, now).await;
        let problem = match &outcome {
            Err(Error::Acme(error)) => error.problem(step),
            // The certificate is another one than was asked for: it never will be.
            Err(error @ Error::Unreadable { .. }) if matches!(step, AcmeStep::Store { .. }) => {
                Some(Problem { kind: Kind::Again, text: chain(error) })
            }
            _ => None,
        };
        match (problem, outcome) {
            (Some(problem), _) => {
                tracing::warn!(tenant = %identity.path(), %step, problem = %problem.text, "refused");
                context.metrics.acme_refused(problem.kind);
                if problem.kind == Kind::Person {
                    // The account may be what is refused: it is opened anew.
                    self.servers.lock().await.opened = None;
                }
                self.with(&identity.uid, |kept| kept.problem = Some((attempt, problem)));
                Ok(())
            }
            // Others have used up the pace of Route 53: the next look comes by itself.
            (None, Err(Error::Acme(AcmeError::Paced))) => Ok(()),
            (None, outcome) => outcome,
        }
    }

    async fn attempt(
        &self,
        step: &AcmeStep,
        attempt: Attempt,
        identity: &Identity,
        context: &Context,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let missing = |missing: String| Error::Missing { attempt: step.to_string(), missing };
        let installation = context.policy.current().map_err(missing)?;
        let policy =
            installation.acme.as_ref().ok_or_else(|| missing("the fleet policy has no section acme".into()))?;
        match step {
            AcmeStep::CreateKey => secrets::web::create_next_key(&context.client, identity).await,
            AcmeStep::RemoveKey => {
                self.kept().remove(&identity.uid);
                secrets::web::remove_next_key(&context.client, identity).await
            }
            AcmeStep::TakePlace(asker) => {
                let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &context.namespace);
                self.orders.take(&api, &context.fleet, asker, policy.limits(), now).await
            }
            AcmeStep::Order { domain, replaces } => {
                let server = self.server(policy, context).await?;
                let url = order::create(&server, domain, replaces.as_deref()).await?;
                self.with(&identity.uid, |kept| kept.ordered = Some((attempt, url)));
                Ok(())
            }
            AcmeStep::Present { zone, domain, values } => {
                let hosted = hosted(policy, domain)?;
                let change = match self.route53.present(hosted, zone, domain, values).await {
                    Ok(change) => change,
                    Err(error) => {
                        self.route53.forget().await;
                        return Err(error.into());
                    }
                };
                let made = Made { zone: zone.clone(), values: values.clone(), change, spread: false };
                self.with(&identity.uid, |kept| (kept.made, kept.removed) = (Some(made), None));
                Ok(())
            }
            AcmeStep::Tell { order } => {
                let server = self.server(policy, context).await?;
                order::tell(&server, order).await?;
                self.with(&identity.uid, |kept| kept.told = Some((order.clone(), Instant::now())));
                Ok(())
            }
            AcmeStep::Finalize { order, domain } => {
                let server = self.server(policy, context).await?;
                let key = secrets::web::next_key(&context.client, identity).await?;
                let key = key.ok_or_else(|| missing("the key of the certificate is not there".into()))?;
                let request = crate::pki::certificate_request(&key.0, domain)?;
                order::finalize(&server, order, &request).await?;
                Ok(())
            }
            AcmeStep::Store { order, domain } => {
                let server = self.server(policy, context).await?;
                let Some(chain) = order::certificate(&server, order).await? else { return Ok(()) };
                context.memory.forget_secrets(&identity.uid);
                secrets::web::store(&context.client, identity, &chain, domain, &policy.directory).await?;
                context.metrics.acme_issued();
                Ok(())
            }
            AcmeStep::RemoveRecords { zone, domain } => {
                let hosted = hosted(policy, domain)?;
                self.route53.remove(hosted, zone, domain, &mark(&identity.id)).await?;
                self.with(&identity.uid, |kept| (kept.made, kept.removed) = (None, Some(attempt)));
                Ok(())
            }
        }
    }
}
