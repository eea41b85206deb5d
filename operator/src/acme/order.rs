//! Orders: reading one with its proofs, making one, telling the server that it may look, sending the request, fetching the
//! certificate. Each is one or a few requests, and none waits for the server to come to an end.

use std::collections::BTreeSet;

use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Identifier, NewOrder, Order,
    OrderStatus,
};
use plan::acme::problem::{self, Kind, Problem};
use plan::acme::renewal::Suggestion;
use plan::acme::{OrderFacts, OrderStage, names};

use super::error::{AcmeError, kind_of};
use super::{Server, refused};
use crate::error::chain;

/// Reads an order; none where the server does not know it any more.
pub(super) async fn read(server: &Server, url: &str) -> Result<Option<OrderFacts>, AcmeError> {
    let mut order = match server.account.order(url.to_owned()).await {
        Ok(order) => order,
        Err(instant_acme::Error::Api(problem)) if is_unknown(&problem) => return Ok(None),
        Err(error) => return Err(refused("show the order", &server.patience, error)),
    };
    let failed = order.state().error.as_ref().map(|problem| (kind_of(problem, None), problem.to_string()));
    let (stage, proofs) = match order.state().status {
        OrderStatus::Ready => (OrderStage::Ready, Proofs::default()),
        OrderStatus::Processing => (OrderStage::Processing, Proofs::default()),
        OrderStatus::Valid => (OrderStage::Valid, Proofs::default()),
        OrderStatus::Pending => (OrderStage::Pending, proofs(server, &mut order).await?),
        OrderStatus::Invalid => {
            let proofs = proofs(server, &mut order).await?;
            // What a proof failed of says more than that the order did.
            let (kind, text) = proofs.failed.clone().or(failed).unwrap_or((Kind::Again, "the order failed".into()));
            let kind = if kind == Kind::Replaced { Kind::Again } else { kind };
            (OrderStage::Invalid(Problem { kind, text }), proofs)
        }
    };
    Ok(Some(OrderFacts { stage, told: proofs.open > 0 && proofs.told == proofs.open, values: proofs.values }))
}

/// Whether the server says that it has no such order, or none for this account. Not every problem names its HTTP status.
fn is_unknown(problem: &instant_acme::Problem) -> bool {
    let unknown = ["malformed", "unauthorized", "accountDoesNotExist"];
    problem.status == Some(404) || unknown.contains(&problem::word(problem.r#type.as_deref()))
}

/// The proofs of an order.
#[derive(Default)]
struct Proofs {
    /// Values of those that are open.
    values: BTreeSet<String>,
    open: usize,
    /// How many of these the server is looking at.
    told: usize,
    failed: Option<(Kind, String)>,
}

async fn proofs(server: &Server, order: &mut Order) -> Result<Proofs, AcmeError> {
    let mut proofs = Proofs::default();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|error| refused("show the proofs", &server.patience, error))?;
        let status = authorization.status;
        let name = authorization.identifier().to_string();
        let Some(challenge) = authorization.challenge(ChallengeType::Dns01) else { continue };
        if let Some(error) = &challenge.error {
            proofs.failed.get_or_insert_with(|| (kind_of(error, None), format!("the proof of {name} failed: {error}")));
        }
        if status == AuthorizationStatus::Pending {
            proofs.open += 1;
            proofs.told += usize::from(challenge.status == ChallengeStatus::Processing);
            proofs.values.insert(challenge.key_authorization().dns_value());
        }
    }
    Ok(proofs)
}

/// Orders a certificate; answers the URL of the order.
pub(super) async fn create(server: &Server, domain: &str, replaces: Option<&str>) -> Result<String, AcmeError> {
    let identifiers = names(domain).map(Identifier::Dns);
    let mut new = NewOrder::new(&identifiers);
    if let Some(replaced) = replaces.and_then(identifier) {
        new = new.replaces(replaced);
    }
    let order = server.account.new_order(&new).await;
    let order = order.map_err(|error| refused("take the order", &server.patience, error))?;
    Ok(order.url().to_owned())
}

/// Tells the server that it may look at every proof that is open.
pub(super) async fn tell(server: &Server, url: &str) -> Result<(), AcmeError> {
    let mut order = open(server, url).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|error| refused("show the proofs", &server.patience, error))?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let Some(mut challenge) = authorization.challenge(ChallengeType::Dns01) else { continue };
        if challenge.status == ChallengeStatus::Pending {
            // What the proof fails of stands in the order afterwards.
            challenge.set_ready().await.map_err(|error| refused("look at the proofs", &server.patience, error))?;
        }
    }
    Ok(())
}

/// Sends the request for the certificate, DER.
pub(super) async fn finalize(server: &Server, url: &str, request: &[u8]) -> Result<(), AcmeError> {
    let mut order = open(server, url).await?;
    order.finalize_csr(request).await.map_err(|error| refused("take the request", &server.patience, error))
}

/// Fetches the certificate with its chain, PEM; none while it is being issued.
pub(super) async fn certificate(server: &Server, url: &str) -> Result<Option<String>, AcmeError> {
    let mut order = open(server, url).await?;
    order.certificate().await.map_err(|error| refused("hand out the certificate", &server.patience, error))
}

async fn open(server: &Server, url: &str) -> Result<Order, AcmeError> {
    server.account.order(url.to_owned()).await.map_err(|error| refused("show the order", &server.patience, error))
}

/// When the server wants a certificate renewed, and after how long to ask again; none where it does not tell, or does not know the
/// certificate.
pub(super) async fn suggestion(server: &Server, id: &str) -> Option<(Suggestion, std::time::Duration)> {
    match server.account.renewal_info(&identifier(id)?).await {
        Ok((info, again)) => {
            let instant = |time: time::OffsetDateTime| chrono::DateTime::from_timestamp(time.unix_timestamp(), 0);
            let window = info.suggested_window;
            Some((Suggestion { start: instant(window.start)?, end: instant(window.end)? }, again))
        }
        Err(instant_acme::Error::Unsupported(_)) => None,
        Err(error) => {
            tracing::debug!(error = %chain(&error), "the ACME server does not say when to renew");
            None
        }
    }
}

fn identifier(id: &str) -> Option<CertificateIdentifier<'static>> {
    let (authority, serial) = id.split_once('.')?;
    Some(CertificateIdentifier {
        authority_key_identifier: authority.to_owned().into(),
        serial: serial.to_owned().into(),
    })
}
