//! Clients of one process: everything comes from its environment and files, nothing from this machine.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, SharedCredentialsProvider, SharedHttpClient};

use super::Calls;
use crate::cloud::credentials::Source;
use crate::cloud::{Cloud, Connect};
use crate::config::storage::Storage;
use crate::process::Process;
use crate::rule::{Refusal, Rule};

/// Connects for real.
pub(crate) struct Aws;

impl Connect for Aws {
    fn connect(&self, process: &Process, storage: &Storage) -> Result<Arc<dyn Cloud>, Refusal> {
        if process.env.contains_key("AWS_CA_BUNDLE") {
            return Err(Rule::CaBundle.by("unset it"));
        }
        let http = process.world.http();
        let source = Source::of(process, storage, http.clone())?;
        let credentials = SharedCredentialsProvider::new(source);
        let common = |service: &str, own: Option<&str>, region: &str| {
            Ok::<_, Refusal>((endpoint(process, service, own)?, Region::new(region.to_owned())))
        };
        let (url, region) = common("DYNAMODB", None, &storage.region)?;
        let table = dynamodb(url, region, &http, &credentials);
        let events_url = storage.events.as_ref().and_then(|events| events.endpoint.as_deref());
        let (url, region) = common("DYNAMODB", events_url, &storage.region)?;
        let events = dynamodb(url, region, &http, &credentials);
        let (url, region) = common("DYNAMODB_STREAMS", None, &storage.region)?;
        let streams = aws_sdk_dynamodbstreams::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .timeout_config(timeouts())
            .endpoint_url(url)
            .region(region)
            .http_client(http.clone())
            .credentials_provider(credentials.clone())
            .build();
        let sessions = storage.sessions.as_ref();
        let bucket_region = sessions.and_then(|sessions| sessions.region.as_deref()).unwrap_or(&storage.region);
        let (url, region) = common("S3", sessions.and_then(|sessions| sessions.endpoint.as_deref()), bucket_region)?;
        let bucket = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .timeout_config(timeouts())
            .endpoint_url(url)
            .region(region)
            .http_client(http)
            .credentials_provider(credentials)
            .force_path_style(true)
            .build();
        Ok(Arc::new(Calls {
            table,
            events,
            streams: aws_sdk_dynamodbstreams::Client::from_conf(streams),
            bucket: aws_sdk_s3::Client::from_conf(bucket),
            bucket_region: bucket_region.to_owned(),
            events_table: storage.events.as_ref().map(|events| events.table.clone()).unwrap_or_default(),
        }))
    }
}

/// The endpoint of a service. Only loopback is ever dialled, so that a forgotten variable cannot reach real AWS.
pub(crate) fn endpoint(process: &Process, service: &str, own: Option<&str>) -> Result<String, Refusal> {
    let url =
        own.or_else(|| process.env(&format!("AWS_ENDPOINT_URL_{service}"))).or_else(|| process.env("AWS_ENDPOINT_URL"));
    let url = url.ok_or_else(|| Rule::AccessDenied.by("AWS_ENDPOINT_URL is not set and nothing outside is dialled"))?;
    let uri: http::Uri = url.parse().map_err(|error| Rule::BadAddress.by(format!("{url}: {error}")))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(80);
    // An address is that of the emulator, also 127.0.0.1: no emulator runs in a pod.
    let address = match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback().then_some(SocketAddr::new(ip, port)),
        Err(_) => process.dial(host, port).first().copied(),
    };
    match address {
        Some(address) if uri.scheme_str() == Some("http") => Ok(format!("http://{address}")),
        _ => Err(Rule::AccessDenied.by(format!("{url} is not plain HTTP on a loopback address"))),
    }
}

/// No call may hang: the emulator is on this machine.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_timeout(Duration::from_secs(30)).build()
}

fn dynamodb(
    url: String,
    region: Region,
    http: &SharedHttpClient,
    keys: &SharedCredentialsProvider,
) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .timeout_config(timeouts())
        .endpoint_url(url)
        .region(region)
        .http_client(http.clone())
        .credentials_provider(keys.clone())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}
