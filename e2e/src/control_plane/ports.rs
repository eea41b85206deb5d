//! The fixed ports of a test bed's own servers. Each test bed has its own loopback address, so they never collide.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Context;

pub(crate) const API_SERVER: u16 = 6443;
pub(crate) const ETCD: u16 = 2379;
pub(crate) const ETCD_PEER: u16 = 2380;
pub(crate) const CONTROLLER_MANAGER: u16 = 10257;
pub(crate) const SCHEDULER: u16 = 10259;
pub(crate) const KWOK: u16 = 10247;
pub(crate) const AWS: u16 = 4566;
pub(crate) const ACME: u16 = 14000;
pub(crate) const ACME_MANAGEMENT: u16 = 15000;
/// Name servers are asked on no other port.
pub(crate) const DNS: u16 = 53;

const ALL: [u16; 10] =
    [API_SERVER, ETCD, ETCD_PEER, CONTROLLER_MANAGER, SCHEDULER, KWOK, AWS, ACME, ACME_MANAGEMENT, DNS];
/// How long the processes of a test bed that was just killed may take to vanish.
const PREDECESSOR: Duration = Duration::from_secs(5);

/// Waits until all ports of this address are free. The previous owner of the slot may have been killed a moment ago.
///
/// # Errors
/// When one stays occupied.
pub(super) async fn await_free(address: Ipv4Addr) -> anyhow::Result<()> {
    await_free_within(address, PREDECESSOR).await
}

async fn await_free_within(address: Ipv4Addr, patience: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    for port in ALL {
        while let Err(error) = try_listen(address, port) {
            if Instant::now() >= deadline {
                return Err(error).with_context(|| format!("{address}:{port} is needed here, but it is not free"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

fn try_listen(address: Ipv4Addr, port: u16) -> std::io::Result<()> {
    // As a server does it: without it the remains of closed connections would look like a listener.
    let listener = TcpListener::bind((address, port))?;
    drop(listener);
    UdpSocket::bind((address, port)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outside of every slot.
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 200, 0, 7);

    #[tokio::test]
    async fn an_occupied_port_is_named_and_a_freed_one_is_enough() {
        let held = TcpListener::bind((ADDRESS, SCHEDULER)).unwrap();
        let error = await_free_within(ADDRESS, Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.to_string(), "127.200.0.7:10259 is needed here, but it is not free");
        let waiting = tokio::spawn(await_free_within(ADDRESS, Duration::from_secs(30)));
        drop(held);
        waiting.await.unwrap().unwrap();
    }
}
