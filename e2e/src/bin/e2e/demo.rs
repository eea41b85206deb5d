//! `e2e demo`: the whole product before one's eyes.

mod follow;
mod story;

use std::time::Instant;

use anyhow::bail;
use e2e::interrupt;
use e2e::remote::Remote;
use e2e::testbed::{Options, TestBed};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Pods start, drain and wait this many times faster than real ones.
    #[arg(long, default_value_t = 20.0)]
    scale: f64,
    /// Do what is left to the onlooker as well, and stop when both updates are through, instead of staying until Ctrl-C.
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut interrupt = interrupt::listen()?;
    let started = Instant::now();
    let options = Options { scale: arguments.scale, values: story::values(), ..Options::default() };
    println!("starting etcd, API server, controllers, KWOK, AWS and ACME emulators, and the operator from its charts");
    let bed = tokio::select! {
        bed = TestBed::with_operator(&options) => bed?,
        signal = interrupt.received() => bail!("{signal} while starting"),
    };
    println!("the operator runs after {:.0} s", started.elapsed().as_secs_f32());
    let control = bed.control_plane().slot().control();
    let remote = Remote::start(control, bed.world().clone(), bed.clock().clone()).await?;
    let shown = tokio::select! {
        shown = show(&bed, &remote, arguments.once, started) => shown,
        // Ctrl-C is how one leaves once there is nothing more to come.
        signal = interrupt.received() => { println!("{signal}: stopping"); Ok(()) }
        exit = bed.control_plane().failure() => Err(anyhow::anyhow!("{exit}")),
    };
    bed.stop().await;
    shown
}

async fn show(bed: &TestBed, remote: &Remote, once: bool, started: Instant) -> anyhow::Result<()> {
    story::before(bed, started).await?;
    story::due(bed).await?;
    story::look(bed).await?;
    let levers = story::Levers::new(bed, remote).await?;
    levers.tell();
    let hops = follow::hops(bed);
    if !once {
        println!("\nUpdates are followed here. Stop with Ctrl-C.");
        return hops.await;
    }
    tokio::select! {
        broken = hops => broken,
        pulled = levers.pull(bed) => pulled,
    }
}
