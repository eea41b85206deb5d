//! A slot is one test bed's share of 127.0.0.0/8, so that several run side by side without racing for ports.
//! It hands out addresses and nothing else; the kernel frees the claim when its holder dies.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use anyhow::{Context, bail};

/// How many test beds fit on one machine.
const SLOTS: u8 = 32;
/// The claim: whoever listens here owns the slot. Below 1024 so that no ephemeral port collides.
const CLAIM_PORT: u16 = 999;
const CONTROL: u8 = 32;
const SERVICES: u8 = 64;
const PODS: u8 = 96;
const LOAD_BALANCERS: u8 = 128;

/// One claimed share of the loopback range, released when dropped or when the process ends in any way.
#[derive(Debug)]
pub struct Slot {
    index: u8,
    _claim: TcpListener,
}

impl Slot {
    /// Takes the first free slot.
    ///
    /// # Errors
    /// When all slots are taken, or this machine does not route 127.0.0.0/8 to itself.
    pub fn claim() -> anyhow::Result<Slot> {
        for index in 0..SLOTS {
            let address = SocketAddrV4::new(Ipv4Addr::new(127, CONTROL + index, 255, 254), CLAIM_PORT);
            match TcpListener::bind(address) {
                Ok(claim) => return Ok(Slot { index, _claim: claim }),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error).with_context(|| format!("cannot listen on {address}")),
            }
        }
        bail!("all {SLOTS} test bed slots of this machine are taken: stop one (Ctrl-C in its terminal)")
    }

    /// Number of this slot, 0 to 31.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// The address on which this test bed's own servers (etcd, API server, emulators) listen, on fixed ports.
    pub fn control(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, CONTROL + self.index, 0, 1)
    }

    /// The Service range, a /16 inside loopback, so that a process can listen on a ClusterIP.
    pub fn service_range(&self) -> String {
        format!("127.{}.0.0/16", SERVICES + self.index)
    }

    /// Where the process of the pod with this API address (198.18.x.y) really listens. The API server refuses loopback
    /// addresses in EndpointSlices, so pods carry benchmark addresses (RFC 2544) that are never dialled.
    pub fn pod_loopback(&self, pod: Ipv4Addr) -> Ipv4Addr {
        let [_, _, c, d] = pod.octets();
        Ipv4Addr::new(127, PODS + self.index, c, d)
    }

    /// The n-th load-balancer address.
    pub fn load_balancer(&self, n: u16) -> Ipv4Addr {
        let [c, d] = n.to_be_bytes();
        Ipv4Addr::new(127, LOAD_BALANCERS + self.index, c, d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slots_never_share_an_address() {
        let (a, b) = (Slot::claim().unwrap(), Slot::claim().unwrap());
        assert_ne!(a.index(), b.index());
        assert_ne!(a.control(), b.control());
        assert_ne!(a.service_range(), b.service_range());
        let pod = Ipv4Addr::new(198, 18, 3, 4);
        assert_ne!(a.pod_loopback(pod), b.pod_loopback(pod));
        assert_ne!(a.load_balancer(7), b.load_balancer(7));
    }

    #[test]
    fn a_dropped_slot_is_free_again() {
        let first = Slot::claim().unwrap();
        let index = first.index();
        drop(first);
        assert!(TcpListener::bind((Ipv4Addr::new(127, CONTROL + index, 255, 254), CLAIM_PORT)).is_ok());
    }
}
