//! An Auth on the AWS emulator, which enforces IAM: with the policy that Teleport documents it starts under its own web
//! identity, and without any one action that a start needs it does not.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use teleport_standin::{Process, Resolve, Rule, World, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);
const CLUSTER: &str = "acme.example.com";

struct NoNames;

impl Resolve for NoNames {
    fn resolve(&self, _host: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// Ends with its value.
struct Emulator {
    child: Child,
    url: String,
    python: PathBuf,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python that has the emulator's packages, as they are pinned now.
fn python() -> PathBuf {
    let python = std::env::var_os("TEST_AWS_PYTHON");
    python
        .map(PathBuf::from)
        .expect("TEST_AWS_PYTHON names none: run the tests with `e2e with-aws`, as `make test` does")
}

impl Emulator {
    async fn start() -> Emulator {
        let python = python();
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = probe.local_addr().unwrap().port();
        drop(probe);
        let sources = Path::new(env!("TENANT_OPERATOR_ROOT")).join("e2e/aws");
        let child = Command::new(&python)
            .args(["-m", "emulator", "--port", &port.to_string()])
            .current_dir(sources)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let emulator = Emulator { child, url: format!("http://127.0.0.1:{port}"), python };
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while get(&format!("127.0.0.1:{port}"), "/testbed/health").await.is_none() {
            assert!(tokio::time::Instant::now() < deadline, "the emulator does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        emulator
    }

    /// Tables, bucket and role of a tenant, the role without these actions.
    fn tenant(&self, name: &str, without: &[&str]) -> Value {
        let script = Path::new(env!("TENANT_OPERATOR_ROOT")).join("e2e/teleport/tests/emulator/account.py");
        let made = Command::new(&self.python).arg(script).arg(&self.url).arg(name).args(without).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        serde_json::from_slice(&made.stdout).unwrap()
    }

    async fn log(&self) -> String {
        get(self.url.trim_start_matches("http://"), "/testbed/log").await.unwrap().1
    }
}

/// A plain HTTP GET: status and body.
async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split_whitespace().nth(1)?.parse().ok()?, body.to_owned()))
}

/// A Community Auth in a pod as the tenant's own service account.
struct Auth {
    process: Process,
    log: Arc<Mutex<String>>,
    _root: tempfile::TempDir,
}

fn auth(emulator: &Emulator, name: &str, account: &Value, n: u8) -> Auth {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let config = json!({
        "version": "v3",
        "teleport": { "storage": {
            "type": "dynamodb", "region": "eu-central-1", "table_name": format!("{name}-state"),
            "audit_events_uri": [format!("dynamodb://{name}-events")],
            "audit_sessions_uri": format!("s3://{name}-bucket/records"),
            "continuous_backups": true,
        } },
        "auth_service": { "enabled": true, "cluster_name": CLUSTER, "authentication": { "second_factors": ["otp"] } },
        "proxy_service": { "enabled": false },
        "ssh_service": { "enabled": false },
    });
    write("etc/teleport/teleport.yaml", &config.to_string());
    write("var/run/secrets/eks/token", account["token"].as_str().unwrap());
    let log = Arc::new(Mutex::new(String::new()));
    let sink = log.clone();
    let share = u8::try_from(std::process::id() % 50).unwrap();
    let process = Process {
        image: "r/teleport-distroless:18.1.0".to_owned(),
        argv: ["teleport", "start", "-c", "/etc/teleport/teleport.yaml", "--diag-addr=0.0.0.0:3000"]
            .map(str::to_owned)
            .to_vec(),
        env: BTreeMap::from(
            [
                ("AWS_ENDPOINT_URL", emulator.url.as_str()),
                ("AWS_REGION", "eu-central-1"),
                ("AWS_ROLE_ARN", account["role"].as_str().unwrap()),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks/token"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
        root: root.path().to_owned(),
        address: IpAddr::V4(Ipv4Addr::new(127, 200 + share, 255, n)),
        hostname: format!("{name}-auth-0"),
        resolver: Arc::new(NoNames),
        scale: 200.0,
        world: World::new(),
        log: Arc::new(move |line| {
            let mut log = sink.lock().unwrap();
            log.push_str(line);
            log.push('\n');
        }),
    };
    Auth { process, log, _root: root }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_policy_is_enough_and_each_action_of_a_start_is_needed() {
    let emulator = Emulator::start().await;
    let account = emulator.tenant("acme", &[]);
    let good = auth(&emulator, "acme", &account, 1);
    let diagnostics = format!("{}:3000", good.process.address);
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(good.process.clone(), stop.clone()));
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while get(&diagnostics, "/readyz").await.is_none_or(|(status, _)| status != 200) {
        assert!(!running.is_finished() && tokio::time::Instant::now() < deadline, "{}", good.log.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Heartbeats go through the table, the audit event through the other one.
    let calls = ["TransactWriteItems", "GetRecords", "HeadBucket", "ListMultipartUploads", "AssumeRoleWithWebIdentity"];
    loop {
        let log = emulator.log().await;
        if calls.iter().all(|call| log.contains(call)) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    assert_eq!(running.await.unwrap(), 0);
    let log = good.log.lock().unwrap().clone();
    assert!(!log.contains("\"level\":\"error\""), "{log}");

    let needed: [(&str, Rule); 7] = [
        ("DescribeTable", Rule::AccessDenied),
        ("DescribeTimeToLive", Rule::AccessDenied),
        ("UpdateContinuousBackups", Rule::ContinuousBackups),
        ("PutItem", Rule::KeySchema),
        ("GetItem", Rule::KeySchema),
        ("Query", Rule::KeySchema),
        ("ConditionCheckItem", Rule::KeySchema),
    ];
    for (n, (action, rule)) in (2..).zip(needed) {
        let name = action.to_ascii_lowercase();
        let account = emulator.tenant(&name, &[action]);
        let broken = auth(&emulator, &name, &account, n);
        let code = tokio::time::timeout(DEADLINE, run(broken.process, CancellationToken::new())).await;
        let log = broken.log.lock().unwrap().clone();
        assert!(code.is_ok_and(|code| code != 0) && log.contains(rule.text()), "{action}:\n{log}");
    }

    let mut foreign = account;
    foreign["token"] = json!("abc.def.ghi");
    let refused = auth(&emulator, "acme", &foreign, 20);
    let code = tokio::time::timeout(DEADLINE, run(refused.process, CancellationToken::new())).await;
    let log = refused.log.lock().unwrap().clone();
    assert!(code.is_ok_and(|code| code != 0) && log.contains("InvalidIdentityToken"), "{log}");
}
