//! `e2e agents` and `e2e clock`: move what a running demo is made of.

use anyhow::{Context, bail};
use chrono::DateTime;
use e2e::http::Http;
use e2e::remote::{Agents, Change, Move, NewAgent, SetClock};
use serde::Serialize;

/// A running demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Where it listens; it prints this.
    #[arg(long = "demo", env = "E2E_DEMO", value_name = "URL")]
    url: String,
}

impl Demo {
    async fn ask(&self, path: &str, request: &impl Serialize) -> anyhow::Result<()> {
        let request = serde_json::to_value(request).context("cannot write the request")?;
        let answer = Http::new("")?.post(&format!("{}{path}", self.url.trim_end_matches('/')), &request).await?;
        print!("{}", String::from_utf8_lossy(&answer.success()?));
        Ok(())
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct AgentsArguments {
    #[command(flatten)]
    demo: Demo,
    /// Teleport cluster name.
    domain: String,
    /// Give the agents this version.
    #[arg(long, value_name = "VERSION", required_unless_present = "set", conflicts_with = "set")]
    move_to: Option<String>,
    /// Only this one; may be repeated.
    #[arg(long, value_name = "HOSTNAME", requires = "move_to")]
    host: Vec<String>,
    /// One of the agents that the cluster is to have instead of all it has; may be repeated.
    #[arg(long, value_name = "HOSTNAME=VERSION[:SERVICE,SERVICE]", value_parser = new_agent)]
    set: Vec<NewAgent>,
}

pub(crate) async fn agents(arguments: AgentsArguments) -> anyhow::Result<()> {
    let AgentsArguments { demo, domain, move_to, host, set } = arguments;
    let change = match move_to {
        Some(to) => Change::Move(Move { to, hostnames: host }),
        None => Change::Agents(set),
    };
    demo.ask("/agents", &Agents { domain, change }).await
}

#[derive(Debug, clap::Args)]
pub(crate) struct ClockArguments {
    #[command(flatten)]
    demo: Demo,
    /// How far: +8h, -30m, +1d2h; or to when: 2026-11-29T02:00:00Z.
    #[arg(allow_hyphen_values = true, value_parser = setting)]
    to: SetClock,
}

pub(crate) async fn clock(arguments: ClockArguments) -> anyhow::Result<()> {
    arguments.demo.ask("/clock", &arguments.to).await
}

fn new_agent(text: &str) -> anyhow::Result<NewAgent> {
    let (hostname, rest) = text.split_once('=').context("write it as node-1=17.5.2:Node")?;
    let (version, services) = rest.split_once(':').unwrap_or((rest, "Node"));
    let services = services.split(',').map(str::to_owned).collect();
    Ok(NewAgent { hostname: hostname.to_owned(), version: version.to_owned(), services })
}

fn setting(text: &str) -> anyhow::Result<SetClock> {
    let (sign, mut rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => {
            let time = DateTime::parse_from_rfc3339(text).context("write it as +8h, -30m or 2026-11-29T02:00:00Z")?;
            return Ok(SetClock::To(time.to_utc()));
        }
    };
    let mut seconds: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).context("each number needs a unit: d, h, m or s")?;
        let number: i64 = rest[..end].parse().context("a number is missing")?;
        let unit = match rest.as_bytes()[end] {
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => bail!("the units are d, h, m and s"),
        };
        let part = number.checked_mul(unit).and_then(|part| seconds.checked_add(part));
        seconds = part.context("that is too long")?;
        rest = &rest[end + 1..];
    }
    Ok(SetClock::AdvanceSeconds(sign * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_set_by_a_distance_or_to_a_time() {
        let seconds = |text: &str| setting(text).unwrap();
        assert_eq!(seconds("+8h"), SetClock::AdvanceSeconds(28_800));
        assert_eq!(seconds("-1d30m5s"), SetClock::AdvanceSeconds(-88_205));
        assert_eq!(seconds("2026-11-29T02:00:00Z"), SetClock::To("2026-11-29T02:00:00Z".parse().unwrap()));
        for wrong in ["8h", "+8", "+h", "+8w", "+99999999999999999d", "+8ü", "", "ü", "Sunday"] {
            assert!(setting(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_agent_is_a_node_unless_told_otherwise() {
        let agent = new_agent("db-1=17.5.2:Db,App").unwrap();
        assert_eq!((&*agent.hostname, &*agent.version), ("db-1", "17.5.2"));
        assert_eq!(agent.services, ["Db", "App"]);
        assert_eq!(new_agent("node-1=18.1.0").unwrap().services, ["Node"]);
        assert!(new_agent("node-1").is_err());
    }
}
