//! `e2e up`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use e2e::control_plane::{ControlPlane, Options};
use e2e::interrupt;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Use the cluster behind this kubeconfig and start only the emulators. It is never taken from the environment.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Further argument of kube-apiserver, such as --feature-gates=…; may be repeated.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    api_server_arg: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { kubeconfig, api_server_arg } = arguments;
    let options = Options { cache: None, kubeconfig, api_server_args: api_server_arg };
    let started = Instant::now();
    let mut interrupt = interrupt::listen()?;
    let control_plane = tokio::select! {
        started = ControlPlane::start(options) => started?,
        signal = interrupt.received() => bail!("{signal} while starting"),
    };
    describe(&control_plane);
    println!("\nready after {:.1} s; stop with Ctrl-C", started.elapsed().as_secs_f32());
    tokio::select! {
        exit = control_plane.failure() => {
            control_plane.stop().await;
            bail!("{exit}");
        }
        signal = interrupt.received() => eprintln!("{signal}: stopping"),
    }
    control_plane.stop().await;
    Ok(())
}

fn describe(control_plane: &ControlPlane) {
    let audit_log = control_plane.audit_log().map_or_else(|| "none".into(), |path| path.display().to_string());
    println!("export KUBECONFIG={}", control_plane.kubeconfig().display());
    println!("API server      {}", control_plane.api_server());
    println!("kubectl         {}", control_plane.kubectl().display());
    println!("helm            {}", control_plane.helm().display());
    println!("AWS             {}", control_plane.aws().endpoint());
    println!("AWS calls       {}", control_plane.aws().calls().display());
    println!("ACME directory  {}", control_plane.acme().directory());
    println!("name servers    {}", control_plane.acme().name_server());
    println!("logs            {}", control_plane.logs().display());
    println!("audit log       {audit_log}");
}
