//! Clients of Auth: TLS, the certificate, the version, and what a role may call.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::fixture::{CLUSTER, Good};
use super::running::Running;
use crate::pki::{self, Pair};
use crate::rule::Rule;
use crate::wire::proto::auth_service_client::AuthServiceClient;
use crate::wire::proto::{InventoryStatusRequest, PingRequest};
use crate::wire::types::InstanceFilter;

pub(super) const HOST_ID: &str = "5f0c2b1e-8d4a-4c7e-9a3f-1b2c3d4e5f60";

/// A client, one property a field.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) signer: Pair,
    common_name: Option<String>,
    organization: Option<String>,
    unit: Option<&'static str>,
    cluster: Option<String>,
    cluster_as_extension: bool,
    usages: Vec<ExtendedKeyUsagePurpose>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    is_ca: bool,
    intermediates: Vec<Pair>,
    pub(super) server_name: String,
    alpn: Vec<Vec<u8>>,
    version: Option<&'static str>,
    anonymous: bool,
}

/// A case with a client.
pub(super) struct ClientCase {
    pub(super) rule: Rule,
    name: &'static str,
    breaks: fn(&mut Client, &Good),
}

const fn case(rule: Rule, name: &'static str, breaks: fn(&mut Client, &Good)) -> ClientCase {
    ClientCase { rule, name, breaks }
}

pub(super) const CASES: &[ClientCase] = &[
    case(Rule::ClientUnverified, "another authority", |client, _| client.signer = pki::new_authority(CLUSTER).unwrap()),
    case(Rule::ClientUnverified, "expired", |client, _| {
        client.not_after = OffsetDateTime::now_utc() - Duration::from_secs(1)
    }),
    case(Rule::ClientUnverified, "not yet valid", |client, _| {
        client.not_before = OffsetDateTime::now_utc() + Duration::from_secs(600)
    }),
    case(Rule::ClientUnverified, "for servers only", |client, _| {
        client.usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    }),
    case(Rule::ClientUnverified, "a CA certificate", |client, _| client.is_ca = true),
    case(Rule::ServerNameUnknown, "another cluster's name", |client, _| {
        client.server_name = pki::encoded_name("other.example.com")
    }),
    case(Rule::ClientIntermediates, "two certificates", |client, good| client.intermediates.push(good.host.clone())),
    case(Rule::ClientSubject, "no organization", |client, _| client.organization = None),
    case(Rule::ClientSubject, "no common name", |client, _| client.common_name = None),
    case(Rule::ClientRestricted, "an organizational unit", |client, _| client.unit = Some("usage:db")),
    case(Rule::ClientCluster, "no cluster attribute", |client, _| client.cluster = None),
    case(Rule::ClientCluster, "another cluster", |client, _| client.cluster = Some("other.example.com".to_owned())),
    case(Rule::ClientCluster, "the attribute as an extension", |client, _| client.cluster_as_extension = true),
    case(Rule::ClientHostName, "no UUID", |client, _| client.common_name = Some(format!("operator.{CLUSTER}"))),
    case(Rule::ClientHostName, "a bare UUID", |client, _| client.common_name = Some(HOST_ID.to_owned())),
    case(Rule::ClientSystemRoleIssuer, "Admin of the user authority", |client, good| client.signer = good.user.clone()),
    case(Rule::ClientUserIssuer, "a user of the host authority", |client, _| {
        client.organization = Some("inventory".to_owned());
        client.common_name = Some("operator".to_owned());
    }),
    case(Rule::ClientUserUnknown, "a user who does not exist", |client, good| {
        *client = inventory_user(good, "nobody", "inventory")
    }),
    case(Rule::ClientUserUnknown, "a role that does not exist", |client, good| {
        *client = inventory_user(good, "operator", "root")
    }),
    case(Rule::ClientVersion, "two majors back", |client, _| client.version = Some("16.4.3")),
];

/// Clients that are who they say, but may not do what they ask for (deleting the managed-update version).
pub(super) const ACCESS: &[ClientCase] = &[
    case(Rule::ClientAnonymous, "no certificate", |client, _| client.anonymous = true),
    case(Rule::ClientNotAllowed, "a node", |client, _| client.organization = Some("Node".to_owned())),
    case(Rule::ClientNotAllowed, "a Proxy", |client, _| client.organization = Some("Proxy".to_owned())),
    case(Rule::ClientAdminAction, "a user without a second factor", |client, good| {
        *client = inventory_user(good, "operator", "inventory")
    }),
];

fn inventory_user(good: &Good, name: &str, role: &str) -> Client {
    let mut client = Client::admin(good);
    client.signer = good.user.clone();
    client.common_name = Some(name.to_owned());
    client.organization = Some(role.to_owned());
    client
}

impl Client {
    pub(super) fn admin(good: &Good) -> Client {
        let now = OffsetDateTime::now_utc();
        Client {
            signer: good.host.clone(),
            common_name: Some(format!("{HOST_ID}.{CLUSTER}")),
            organization: Some("Admin".to_owned()),
            unit: None,
            cluster: Some(CLUSTER.to_owned()),
            cluster_as_extension: false,
            usages: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            not_before: now - Duration::from_secs(60),
            not_after: now + Duration::from_secs(3600),
            is_ca: false,
            intermediates: Vec::new(),
            server_name: pki::encoded_name(CLUSTER),
            alpn: vec![b"h2".to_vec()],
            version: None,
            anonymous: false,
        }
    }

    /// The same client, dialling through a Proxy.
    pub(super) fn routed(mut self, encoded_name: &str) -> Client {
        self.alpn = vec![format!("teleport-auth@{encoded_name}").into_bytes(), b"h2".to_vec()];
        self
    }

    fn certificate(&self) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let mut push = |kind: DnType, value: Option<&str>| {
            if let Some(value) = value {
                params.distinguished_name.push(kind, value);
            }
        };
        push(DnType::CommonName, self.common_name.as_deref());
        push(DnType::OrganizationName, self.organization.as_deref());
        push(DnType::OrganizationalUnitName, self.unit);
        if self.cluster_as_extension {
            let der = [&[0x0c, u8::try_from(CLUSTER.len()).unwrap()], CLUSTER.as_bytes()].concat();
            params.custom_extensions.push(CustomExtension::from_oid_content(pki::CLUSTER_ATTRIBUTE, der));
        } else {
            push(DnType::CustomDnType(pki::CLUSTER_ATTRIBUTE.to_vec()), self.cluster.as_deref());
        }
        params.extended_key_usages.clone_from(&self.usages);
        (params.not_before, params.not_after) = (self.not_before, self.not_after);
        if self.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &pki::issuer(&self.signer).unwrap()).unwrap();
        Pair { certificate: signed.pem(), key: key.serialize_pem() }
    }

    /// A channel that trusts the host authority of `good`.
    pub(super) fn channel(&self, good: &Good, address: std::net::SocketAddr) -> Channel {
        let mut roots = RootCertStore::empty();
        roots.add(good.host.chain().unwrap().remove(0)).unwrap();
        let builder =
            ClientConfig::builder_with_provider(pki::provider()).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut tls = if self.anonymous {
            builder.with_no_client_auth()
        } else {
            let pair = self.certificate();
            let mut chain = pair.chain().unwrap();
            chain.extend(self.intermediates.iter().flat_map(|pair| pair.chain().unwrap()));
            let key = KeyPair::from_pem(&pair.key).unwrap().serialize_der();
            builder.with_client_auth_cert(chain, PrivatePkcs8KeyDer::from(key).into()).unwrap()
        };
        tls.alpn_protocols.clone_from(&self.alpn);
        let connector = TlsConnector::from(Arc::new(tls));
        let name = ServerName::try_from(self.server_name.clone()).unwrap();
        let connect = tower::service_fn(move |_| {
            let (connector, name) = (connector.clone(), name.clone());
            async move {
                let stream = TcpStream::connect(address).await?;
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        Endpoint::from_static("http://auth").timeout(Duration::from_secs(10)).connect_with_connector_lazy(connect)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(version) = self.version {
            request.metadata_mut().insert("version", MetadataValue::from_static(version));
        }
        request
    }

    pub(super) async fn ping(&self, good: &Good, running: &Running) -> Result<String, Status> {
        let mut client = AuthServiceClient::new(self.channel(good, (running.address, 3025).into()));
        client.ping(self.request(PingRequest {})).await.map(|answer| answer.into_inner().server_version)
    }
}

#[tokio::test]
async fn a_broken_client_is_refused_and_the_good_one_is_served() {
    let good = Good::auth();
    let running = good.sibling().start_at(good.address);
    running.readiness(200).await;
    for case in CASES {
        let mut client = Client::admin(&good);
        (case.breaks)(&mut client, &good);
        let from = running.text().len();
        let refused = client.ping(&good, &running).await.expect_err(case.name);
        // A refused handshake is no gRPC status; everything else is Teleport's one answer.
        if !matches!(case.rule, Rule::ClientUnverified | Rule::ServerNameUnknown) {
            assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "access denied"), "{}", case.name);
        }
        running.says(case.rule.text(), from).await;
    }
    let good_clients: [fn(&mut Client, &Good); 7] = [
        |_, _| {},
        |client, _| client.server_name = "teleport.cluster.local".to_owned(),
        |client, _| client.anonymous = true,
        |client, _| client.version = Some("17.0.0-rc.1"),
        |client, _| client.alpn = vec![b"teleport-auth@acme".to_vec(), b"h2".to_vec()],
        |client, good| *client = inventory_user(good, "operator", "inventory"),
        |client, _| client.organization = Some("Proxy".to_owned()),
    ];
    for change in good_clients {
        let mut client = Client::admin(&good);
        change(&mut client, &good);
        assert_eq!(client.ping(&good, &running).await.unwrap(), "18.1.0");
    }
    assert_eq!(running.stopped().await.0, 0);
}

#[tokio::test]
async fn old_clients_are_let_in_when_the_environment_says_so() {
    let mut good = Good::auth();
    good.env("TELEPORT_UNSTABLE_ALLOW_OLD_CLIENTS", "yes");
    let running = good.sibling().start_at(good.address);
    running.readiness(200).await;
    let mut client = Client::admin(&good);
    client.version = Some("16.4.3");
    assert!(client.ping(&good, &running).await.is_ok());
    assert_eq!(running.stopped().await.0, 0);
}

#[tokio::test]
async fn a_client_may_do_what_its_role_allows_and_no_more() {
    use crate::wire::teleport::autoupdate::v1::DeleteAutoUpdateVersionRequest;
    use crate::wire::teleport::autoupdate::v1::auto_update_service_client::AutoUpdateServiceClient;
    let good = Good::auth();
    let running = good.sibling().start_at(good.address);
    running.readiness(200).await;
    let address = (running.address, 3025).into();
    for case in ACCESS {
        let mut client = Client::admin(&good);
        (case.breaks)(&mut client, &good);
        let from = running.text().len();
        let mut service = AutoUpdateServiceClient::new(client.channel(&good, address));
        let refused = service.delete_auto_update_version(DeleteAutoUpdateVersionRequest {}).await.expect_err(case.name);
        assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "access denied"), "{}", case.name);
        running.says(case.rule.text(), from).await;
    }
    let mut service = AutoUpdateServiceClient::new(Client::admin(&good).channel(&good, address));
    let absent = service.delete_auto_update_version(DeleteAutoUpdateVersionRequest {}).await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound, "Admin gets as far as the resource");

    let mut user = AuthServiceClient::new(inventory_user(&good, "operator", "inventory").channel(&good, address));
    assert!(user.get_instances(InstanceFilter::default()).await.is_ok());
    let denied = user.get_inventory_status(InventoryStatusRequest { connected: true }).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "connected needs Admin");
    let denied = user.get_cluster_maintenance_config(()).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(running.stopped().await.0, 0);
}
