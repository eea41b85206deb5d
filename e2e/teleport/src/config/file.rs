//! The values of `teleport.yaml` that the stand-in acts upon, with the types of the real file.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct File {
    pub(crate) version: Option<String>,
    pub(crate) teleport: Teleport,
    pub(crate) auth_service: AuthService,
    pub(crate) proxy_service: ProxyService,
    pub(crate) metrics_service: MetricsService,
    pub(crate) ssh_service: Service,
    pub(crate) kubernetes_service: Service,
    pub(crate) app_service: Service,
    pub(crate) db_service: Service,
    pub(crate) windows_desktop_service: Service,
    pub(crate) discovery_service: Service,
    pub(crate) okta_service: Service,
    pub(crate) jamf_service: Service,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Teleport {
    pub(crate) nodename: Option<String>,
    pub(crate) data_dir: Option<String>,
    pub(crate) auth_token: Option<String>,
    pub(crate) auth_servers: Option<Strings>,
    pub(crate) auth_server: Option<String>,
    pub(crate) proxy_server: Option<String>,
    pub(crate) diag_addr: Option<String>,
    pub(crate) join_params: Option<JoinParams>,
    /// Unknown keys and values are read only when the storage is opened.
    pub(crate) storage: BTreeMap<String, Value>,
    pub(crate) ciphers: Option<Vec<String>>,
    pub(crate) kex_algos: Option<Vec<String>>,
    pub(crate) mac_algos: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct JoinParams {
    pub(crate) method: Option<String>,
    pub(crate) token_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AuthService {
    pub(crate) enabled: Option<Flag>,
    pub(crate) cluster_name: Option<String>,
    pub(crate) listen_addr: Option<String>,
    pub(crate) public_addr: Option<Strings>,
    pub(crate) license_file: Option<String>,
    pub(crate) session_recording: Option<String>,
    pub(crate) proxy_listener_mode: Option<String>,
    pub(crate) tunnel_strategy: Option<TunnelStrategy>,
    pub(crate) ca_key_params: Option<BTreeMap<String, Value>>,
    pub(crate) authentication: Authentication,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TunnelStrategy {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) agent_connection_count: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Authentication {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) local_auth: Option<Flag>,
    pub(crate) second_factor: Option<String>,
    pub(crate) second_factors: Option<Vec<String>>,
    pub(crate) signature_algorithm_suite: Option<String>,
    pub(crate) webauthn: Option<Webauthn>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Webauthn {
    pub(crate) rp_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProxyService {
    pub(crate) enabled: Option<Flag>,
    pub(crate) web_listen_addr: Option<String>,
    pub(crate) listen_addr: Option<String>,
    pub(crate) tunnel_listen_addr: Option<String>,
    pub(crate) kube_listen_addr: Option<String>,
    pub(crate) mysql_listen_addr: Option<String>,
    pub(crate) postgres_listen_addr: Option<String>,
    pub(crate) mongo_listen_addr: Option<String>,
    pub(crate) peer_listen_addr: Option<String>,
    pub(crate) public_addr: Option<Strings>,
    pub(crate) ssh_public_addr: Option<Strings>,
    pub(crate) tunnel_public_addr: Option<Strings>,
    pub(crate) kube_public_addr: Option<Strings>,
    pub(crate) mysql_public_addr: Option<Strings>,
    pub(crate) postgres_public_addr: Option<Strings>,
    pub(crate) mongo_public_addr: Option<Strings>,
    pub(crate) peer_public_addr: Option<Strings>,
    pub(crate) https_key_file: Option<String>,
    pub(crate) https_cert_file: Option<String>,
    pub(crate) https_keypairs: Vec<KeyPairFiles>,
    pub(crate) https_keypairs_reload_interval: Option<String>,
    pub(crate) proxy_protocol: Option<String>,
    pub(crate) automatic_upgrades_channels: BTreeMap<String, Channel>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Channel {
    pub(crate) static_version: Option<String>,
    pub(crate) forward_url: Option<String>,
    pub(crate) critical: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct KeyPairFiles {
    pub(crate) key_file: String,
    pub(crate) cert_file: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MetricsService {
    pub(crate) enabled: Option<Flag>,
    pub(crate) listen_addr: Option<String>,
    pub(crate) keypairs: Vec<KeyPairFiles>,
    pub(crate) ca_certs: Vec<String>,
}

/// A service that the stand-in only needs to know to be off.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Service {
    pub(crate) enabled: Option<Flag>,
}

/// A string that is read as a boolean: `yes`, `on`, `true` and their opposites, quoted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Flag, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.to_ascii_lowercase().as_str() {
            "yes" | "yeah" | "y" | "true" | "1" | "on" => Ok(Flag(true)),
            "no" | "nope" | "n" | "false" | "0" | "off" => Ok(Flag(false)),
            _ => Err(de::Error::custom(format!("{text:?} is not a boolean"))),
        }
    }
}

/// One string or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Strings(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strings, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Strings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Strings, E> {
                Ok(Strings(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strings, A::Error> {
                let mut strings = Vec::new();
                while let Some(item) = items.next_element()? {
                    strings.push(item);
                }
                Ok(Strings(strings))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
