//! `e2e demo`: the whole product before one's eyes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use crds::Tenant;
use e2e::interrupt;
use e2e::remote::Remote;
use e2e::testbed::{Options, TestBed, root};
use kube::{Api, ResourceExt};

/// How long the examples may take to become ready.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Pods start, drain and wait this many times faster than real ones.
    #[arg(long, default_value_t = 20.0)]
    scale: f64,
    /// Stop as soon as everything was shown, instead of staying until Ctrl-C.
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut interrupt = interrupt::listen()?;
    let started = Instant::now();
    let options = Options { scale: arguments.scale, ..Options::default() };
    println!("starting etcd, API server, controllers, KWOK, AWS and ACME emulators, and the operator from its charts");
    let bed = tokio::select! {
        bed = TestBed::with_operator(&options) => bed?,
        signal = interrupt.received() => bail!("{signal} while starting"),
    };
    println!("the operator runs after {:.0} s", started.elapsed().as_secs_f32());
    let control = bed.control_plane().slot().control();
    let remote = Remote::start(control, bed.world().clone(), bed.clock().clone()).await?;
    let shown = tokio::select! {
        shown = show(&bed, started) => shown,
        signal = interrupt.received() => Err(anyhow::anyhow!("{signal}")),
        exit = bed.control_plane().failure() => Err(anyhow::anyhow!("{exit}")),
    };
    if shown.is_ok() && !arguments.once {
        tell(&remote);
        println!("\nstop with Ctrl-C");
        tokio::select! {
            signal = interrupt.received() => println!("{signal}: stopping"),
            exit = bed.control_plane().failure() => eprintln!("{exit}"),
        }
    }
    bed.stop().await;
    shown
}

async fn show(bed: &TestBed, started: Instant) -> anyhow::Result<()> {
    for file in examples()? {
        println!("kubectl apply -f {}", file.strip_prefix(root()).unwrap_or(&file).display());
        bed.kubectl(["apply".as_ref(), "-f".as_ref(), file.as_os_str()]).await?;
    }
    let all: Api<Tenant> = Api::all(bed.client());
    let mut first = None;
    for tenant in all.list(&kube::api::ListParams::default()).await? {
        let (namespace, name) = (tenant.namespace().unwrap_or_default(), tenant.name_any());
        bed.await_condition(&namespace, &name, "Ready", "True", PATIENCE).await?;
        println!("tenant {namespace}/{name} is Ready after {:.0} s", started.elapsed().as_secs_f32());
        first.get_or_insert((namespace, name));
    }
    println!("\n$ kubectl get tenants -A -o wide");
    print!("{}", bed.kubectl(["get", "tenants", "-A", "-o", "wide"]).await?);
    let (namespace, name) = first.context("the examples have no Tenant")?;
    let reach = bed.reach(&namespace, &name).await?;
    println!("\n$ {}", bed.curl(&reach, "/webapi/ping")?.join(" "));
    println!("{:#}", bed.ask(&reach, "/webapi/ping").await?);
    println!("\nto look around:\nexport KUBECONFIG={}", bed.control_plane().kubeconfig().display());
    Ok(())
}

/// How to move time and agents from another terminal.
fn tell(remote: &Remote) {
    let program = std::env::current_exe().map_or_else(|_| "e2e".to_owned(), |path| path.display().to_string());
    println!("export E2E_DEMO={}", remote.url());
    println!("\nto move the agents of a cluster, or the clock by which the operator decides:");
    println!("{program} agents acme.example.com --set node-1=17.5.2 --set node-2=18.1.0");
    println!("{program} agents acme.example.com --move-to 18.1.0");
    println!("{program} clock +8h");
}

fn examples() -> anyhow::Result<Vec<PathBuf>> {
    let folder = root().join("examples");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}
