//! Who may speak with whom, by the NetworkPolicies in the cluster. Nothing here enforces them, so that the rules of Kubernetes
//! are applied by an evaluator of its own, which shares no code with the operator; the pairs must be those of
//! `operator/docs/network.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, bail, ensure};
use e2e::testbed::{NAMESPACE, TestBed, namespace, root};
use ipnet::IpNet;
use serde_json::{Value, json};

use super::manifest::{apply_ready, id, tenant, with};

type Labels = BTreeMap<String, String>;
/// From, to, port.
type Pair = (String, String, String);

const NAME: &str = "reachable";
/// Every port that somebody of these listens on, and some on which nobody does.
const PORTS: [(&str, i64); 16] = [
    ("UDP", 53),
    ("TCP", 53),
    ("TCP", 80),
    ("TCP", 443),
    ("TCP", 3000),
    ("TCP", 3022),
    ("TCP", 3023),
    ("TCP", 3024),
    ("TCP", 3025),
    ("TCP", 3026),
    ("TCP", 3036),
    ("TCP", 3080),
    ("TCP", 3081),
    ("TCP", 5432),
    ("TCP", 6443),
    ("UDP", 443),
];

/// Somebody at one end of a connection.
#[derive(Clone, Debug)]
enum End {
    Pod { namespace: String, labels: Labels },
    Address(IpAddr),
}

/// Policies and namespaces as they are in the cluster.
struct Rules {
    policies: Vec<Value>,
    namespaces: BTreeMap<String, Labels>,
}

/// Two tenants, one with a port block, in two namespaces.
pub async fn pairs(bed: &TestBed) -> anyhow::Result<()> {
    let own = with(tenant(NAME, NAME, "reachable.example.com"), "network", json!({"portPool": "default"}));
    let own = apply_ready(bed, &own).await?;
    let other = apply_ready(bed, &tenant("elsewhere", "elsewhere", "elsewhere.example.com")).await?;
    bed.apply(&namespace("monitoring").to_string()).await?;
    let rules = Rules::read(bed).await?;
    let (own_id, other_id) = (id(&own)?, id(&other)?);
    let pods = pods(bed).await?;
    let of = |tenant_id: &str, component: &str| {
        let found = pods.iter().find(|pod| match pod {
            End::Pod { labels, .. } => {
                let is = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
                is("tenancy.dev/tenant-id", tenant_id) && is("app.kubernetes.io/component", component)
            }
            End::Address(_) => false,
        });
        found.cloned().with_context(|| format!("{tenant_id} has no pod of {component}"))
    };
    let made = |namespace: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        End::Pod { namespace: namespace.to_owned(), labels }
    };
    let operator = pods.iter().find(|pod| matches!(pod, End::Pod { namespace, .. } if namespace == NAMESPACE));
    let ours: Vec<(&str, End)> = vec![
        ("Auth", of(&own_id, "auth")?),
        ("Proxy", of(&own_id, "proxy")?),
        ("a check", made(NAME, &[("tenancy.dev/tenant-id", &own_id), ("app.kubernetes.io/component", "preflight")])),
    ];
    let others: Vec<(&str, End)> = vec![
        ("the operator", operator.context("no pod of the operator")?.clone()),
        ("Auth of another tenant", of(&other_id, "auth")?),
        ("Proxy of another tenant", of(&other_id, "proxy")?),
        ("a pod of the tenant's namespace", made(NAME, &[("app", "bystander")])),
        ("a pod of another namespace", made("elsewhere", &[("tenancy.dev/process", "operator")])),
        ("Prometheus", made("monitoring", &[("app.kubernetes.io/name", "prometheus")])),
        ("a pod of its namespace", made("monitoring", &[("app", "bystander")])),
        ("cluster DNS", made("kube-system", &[("k8s-app", "kube-dns")])),
        ("the internet", End::Address("203.0.113.7".parse()?)),
        ("the internet", End::Address("2001:db8::7".parse()?)),
        ("a metadata service", End::Address("169.254.169.254".parse()?)),
        ("a metadata service", End::Address("169.254.170.23".parse()?)),
        ("a metadata service", End::Address("fd00:ec2::254".parse()?)),
        ("the Kubernetes API", End::Address("10.96.0.1".parse()?)),
        ("a node", End::Address("10.0.12.34".parse()?)),
    ];
    let mut found: BTreeSet<Pair> = BTreeSet::new();
    let mut connect = |(from, source): &(&str, End), (to, target): &(&str, End)| -> anyhow::Result<()> {
        for (protocol, number) in PORTS {
            if rules.allow(source, target, protocol, number)? {
                found.insert(((*from).to_owned(), (*to).to_owned(), format!("{number}/{protocol}")));
            }
        }
        Ok(())
    };
    for one in &ours {
        for another in ours.iter().filter(|another| another.0 != one.0) {
            connect(one, another)?;
        }
        for another in &others {
            connect(one, another)?;
            connect(another, one)?;
        }
    }
    // Addresses of the metadata services and the cluster come in as any other: what they reach is what the internet reaches.
    found.retain(|(from, _, _)| {
        !["a metadata service", "the Kubernetes API", "a node", "cluster DNS"].contains(&from.as_str())
    });
    let documented = documented()?;
    let more: Vec<&Pair> = found.difference(&documented).collect();
    let fewer: Vec<&Pair> = documented.difference(&found).collect();
    ensure!(
        more.is_empty() && fewer.is_empty(),
        "allowed and not documented: {more:?}; documented and refused: {fewer:?}"
    );
    Ok(())
}

/// The pairs of the page.
fn documented() -> anyhow::Result<BTreeSet<Pair>> {
    let text = std::fs::read_to_string(root().join("operator/docs/network.md"))?;
    let mut pairs = BTreeSet::new();
    for line in text.lines().filter(|line| line.contains("/TCP")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [from, to, ports] = cells.as_slice() else { bail!("{line} has not three cells") };
        pairs.extend(ports.split(", ").map(|port| ((*from).to_owned(), (*to).to_owned(), port.to_owned())));
    }
    ensure!(pairs.len() > 20, "only {} pairs are documented", pairs.len());
    Ok(pairs)
}

async fn pods(bed: &TestBed) -> anyhow::Result<Vec<End>> {
    let pods = list(bed, "pods").await?;
    Ok(pods
        .iter()
        .map(|pod| End::Pod { namespace: word(&pod["metadata"]["namespace"]), labels: labels(pod) })
        .collect())
}

async fn list(bed: &TestBed, kind: &str) -> anyhow::Result<Vec<Value>> {
    let printed = bed.kubectl(["get", kind, "--all-namespaces", "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&printed)?;
    list["items"].as_array().cloned().context("no list")
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn labels(object: &Value) -> Labels {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    labels.map(|(key, value)| (key.clone(), word(value))).collect()
}

impl Rules {
    async fn read(bed: &TestBed) -> anyhow::Result<Rules> {
        let namespaces = list(bed, "namespaces").await?;
        let namespaces = namespaces.iter().map(|found| (word(&found["metadata"]["name"]), labels(found))).collect();
        Ok(Rules { policies: list(bed, "networkpolicies").await?, namespaces })
    }

    /// A connection needs the consent of both ends.
    fn allow(&self, from: &End, to: &End, protocol: &str, port: i64) -> anyhow::Result<bool> {
        Ok(self.consents(from, to, "Egress", protocol, port)? && self.consents(to, from, "Ingress", protocol, port)?)
    }

    /// Whether the policies of one end let it speak with the other; a pod that none selects speaks with everybody.
    fn consents(&self, subject: &End, peer: &End, direction: &str, protocol: &str, port: i64) -> anyhow::Result<bool> {
        let End::Pod { namespace, labels } = subject else { return Ok(true) };
        let mut selected = false;
        for policy in self.policies.iter().filter(|policy| policy["metadata"]["namespace"] == namespace.as_str()) {
            let spec = &policy["spec"];
            let types = spec["policyTypes"].as_array().context("policyTypes are always written out")?;
            if !types.iter().any(|kind| kind == direction) || !selects(&spec["podSelector"], labels)? {
                continue;
            }
            selected = true;
            let (rules, peers) = if direction == "Egress" { ("egress", "to") } else { ("ingress", "from") };
            for rule in spec[rules].as_array().into_iter().flatten() {
                if covers(&rule["ports"], protocol, port)? && self.is_among(&rule[peers], peer, namespace)? {
                    return Ok(true);
                }
            }
        }
        Ok(!selected)
    }

    /// No list at all means everybody.
    fn is_among(&self, peers: &Value, end: &End, own: &str) -> anyhow::Result<bool> {
        let Some(peers) = peers.as_array() else { return Ok(true) };
        for peer in peers {
            let found = match end {
                End::Address(address) if !peer["ipBlock"].is_null() => contains(&peer["ipBlock"], *address)?,
                End::Pod { namespace, labels } if peer["ipBlock"].is_null() => {
                    let there = match &peer["namespaceSelector"] {
                        Value::Null => namespace == own,
                        selector => selects(selector, self.namespaces.get(namespace).unwrap_or(&Labels::new()))?,
                    };
                    there && (peer["podSelector"].is_null() || selects(&peer["podSelector"], labels)?)
                }
                End::Address(_) | End::Pod { .. } => false,
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn contains(block: &Value, address: IpAddr) -> anyhow::Result<bool> {
    let range = |text: &Value| word(text).parse::<IpNet>().with_context(|| format!("{text} is no range"));
    let except = block["except"].as_array().into_iter().flatten().map(range).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(range(&block["cidr"])?.contains(&address) && !except.iter().any(|range| range.contains(&address)))
}

/// No list at all means all ports.
fn covers(ports: &Value, protocol: &str, number: i64) -> anyhow::Result<bool> {
    let Some(ports) = ports.as_array() else { return Ok(true) };
    ensure!(ports.iter().all(|port| port["endPort"].is_null()), "ranges of ports are not evaluated: {ports:?}");
    Ok(ports.iter().any(|port| {
        port["protocol"].as_str().unwrap_or("TCP") == protocol && (port["port"].is_null() || port["port"] == number)
    }))
}

fn selects(selector: &Value, labels: &Labels) -> anyhow::Result<bool> {
    ensure!(selector["matchExpressions"].is_null(), "expressions are not evaluated: {selector}");
    let mut wanted = selector["matchLabels"].as_object().into_iter().flatten();
    Ok(wanted.all(|(key, value)| labels.get(key).is_some_and(|found| value == found)))
}
