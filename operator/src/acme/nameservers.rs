//! Whether the authoritative name servers of a zone answer with a proof: what the ACME server will see is asked before it is told to
//! look, since a proof that fails costs an order.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use plan::acme::record_name;

use super::error::AcmeError;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Whether each of the servers answers with all the values.
pub(super) async fn answer_with(
    servers: &[String],
    resolvers: &[String],
    domain: &str,
    values: &BTreeSet<String>,
) -> Result<bool, AcmeError> {
    let finder = finder(resolvers)?;
    let asked = servers.iter().map(|server| answers(&finder, server, domain, values));
    let answers = futures::future::try_join_all(asked).await?;
    Ok(answers.into_iter().all(|answers| answers))
}

async fn answers(
    finder: &TokioResolver,
    server: &str,
    domain: &str,
    values: &BTreeSet<String>,
) -> Result<bool, AcmeError> {
    let failed = |source| AcmeError::NameServer { server: server.to_owned(), source: Box::new(source) };
    let found = finder.lookup_ip(format!("{}.", server.trim_end_matches('.'))).await.map_err(failed)?;
    let mut addresses: Vec<IpAddr> = found.iter().collect();
    // A cluster without IPv6 cannot ask there, and both are one server.
    addresses.sort_by_key(IpAddr::is_ipv6);
    let Some(address) = addresses.first() else { return Ok(false) };
    let mut options = options();
    options.recursion_desired = false;
    options.cache_size = 0;
    let asked = resolver(&[*address], options)?;
    match asked.lookup(format!("{}.", record_name(domain)), RecordType::TXT).await {
        Ok(answer) => {
            let texts = answer.answers().iter().filter_map(|record| match &record.data {
                RData::TXT(text) => Some(text.txt_data.concat()),
                _ => None,
            });
            let found: BTreeSet<Vec<u8>> = texts.collect();
            Ok(values.iter().all(|value| found.contains(value.as_bytes())))
        }
        Err(error) if error.is_nx_domain() || error.is_no_records_found() => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Finds the addresses of name servers.
fn finder(resolvers: &[String]) -> Result<TokioResolver, AcmeError> {
    if resolvers.is_empty() {
        let builder =
            TokioResolver::builder_tokio().map_err(|error| AcmeError::Resolver { fault: error.to_string() })?;
        return builder.build().map_err(|error| AcmeError::Resolver { fault: error.to_string() });
    }
    let addresses: Vec<IpAddr> = resolvers.iter().filter_map(|text| text.parse().ok()).collect();
    resolver(&addresses, options())
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = TIMEOUT;
    options.attempts = 2;
    options
}

fn resolver(addresses: &[IpAddr], options: ResolverOpts) -> Result<TokioResolver, AcmeError> {
    let servers = addresses.iter().map(|address| NameServerConfig::udp_and_tcp(*address)).collect();
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    builder.build().map_err(|error| AcmeError::Resolver { fault: error.to_string() })
}
