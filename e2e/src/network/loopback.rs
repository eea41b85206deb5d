//! Which loopback addresses stand for pods and load balancers: the arithmetic of a slot, without a hold on the slot.

use std::net::Ipv4Addr;

use crate::slot::Slot;

/// The first two bytes of each kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loopback {
    pods: [u8; 2],
    load_balancers: [u8; 2],
}

impl Loopback {
    pub(crate) fn of(slot: &Slot) -> Loopback {
        let prefix = |address: Ipv4Addr| {
            let [a, b, _, _] = address.octets();
            [a, b]
        };
        Loopback {
            pods: prefix(slot.pod_loopback(Ipv4Addr::UNSPECIFIED)),
            load_balancers: prefix(slot.load_balancer(0)),
        }
    }

    /// Where the process of the pod with this API address really listens.
    pub(crate) fn pod(self, pod: Ipv4Addr) -> Ipv4Addr {
        let ([a, b], [_, _, c, d]) = (self.pods, pod.octets());
        Ipv4Addr::new(a, b, c, d)
    }

    /// The n-th load-balancer address.
    pub(crate) fn load_balancer(self, n: u16) -> Ipv4Addr {
        let ([a, b], [c, d]) = (self.load_balancers, n.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_slot() {
        let slot = Slot::claim().unwrap();
        let loopback = Loopback::of(&slot);
        for n in [0, 1, 255, 256, 0xabcd, u16::MAX] {
            let [c, d] = n.to_be_bytes();
            let pod = Ipv4Addr::new(198, 18, c, d);
            assert_eq!(loopback.pod(pod), slot.pod_loopback(pod));
            assert_eq!(loopback.load_balancer(n), slot.load_balancer(n));
        }
    }
}
