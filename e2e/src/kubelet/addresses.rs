//! The addresses of the stand-in kubelet's pods: one each, unique while the pod lives.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The lower half of the range for benchmarks (RFC 2544). The upper half is for other kubelets, so that a pod's address
/// tells whether a process is behind it.
const RANGE: [u8; 2] = [198, 18];

/// Whether a pod with this address is run by a stand-in kubelet.
pub(crate) fn is_stand_in(pod: Ipv4Addr) -> bool {
    pod.octets()[..2] == RANGE
}

/// All addresses of one kubelet.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u16,
    taken: HashSet<u16>,
}

/// An address, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    number: u16,
    addresses: Arc<Addresses>,
}

impl Addresses {
    /// The wanted address if it is free, else one that was not used for as long as possible: whoever still dials the
    /// former owner must not reach the new one. `None` if all are taken.
    pub(super) fn lease(self: &Arc<Self>, wanted: Option<Ipv4Addr>) -> Option<Lease> {
        let mut state = self.lock();
        let wanted = wanted.filter(|address| is_stand_in(*address)).map(number).filter(|n| !state.taken.contains(n));
        let number = match wanted {
            Some(number) => number,
            None => {
                let usable = |n: &u16| !matches!(n.to_be_bytes()[1], 0 | 255) && !state.taken.contains(n);
                let number = (1..=u16::MAX).map(|step| state.last.wrapping_add(step)).find(usable)?;
                state.last = number;
                number
            }
        };
        state.taken.insert(number);
        Some(Lease { number, addresses: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(address: Ipv4Addr) -> u16 {
    let [_, _, c, d] = address.octets();
    u16::from_be_bytes([c, d])
}

impl Lease {
    /// As the API has it.
    pub(super) fn address(&self) -> Ipv4Addr {
        let ([a, b], [c, d]) = (RANGE, self.number.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.addresses.lock().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_owner_and_rests_before_the_next() {
        let addresses = Arc::new(Addresses::default());
        let first = addresses.lease(None).unwrap();
        let had = first.address();
        assert!(is_stand_in(had));
        drop(first);
        let leases: Vec<Lease> = (0..300).map(|_| addresses.lease(None).unwrap()).collect();
        let distinct: HashSet<Ipv4Addr> = leases.iter().map(Lease::address).collect();
        assert_eq!(distinct.len(), 300);
        assert!(!distinct.contains(&had), "just freed");
        assert!(distinct.iter().all(|address| !matches!(address.octets()[3], 0 | 255)));
    }

    #[test]
    fn a_known_pod_keeps_its_address_unless_it_is_taken_or_foreign() {
        let addresses = Arc::new(Addresses::default());
        let had = Ipv4Addr::new(198, 18, 7, 9);
        let lease = addresses.lease(Some(had)).unwrap();
        assert_eq!(lease.address(), had);
        assert_ne!(addresses.lease(Some(had)).unwrap().address(), had);
        assert!(is_stand_in(addresses.lease(Some(Ipv4Addr::new(10, 0, 7, 9))).unwrap().address()));
    }

    #[test]
    fn when_all_are_taken_there_is_none() {
        let addresses = Arc::new(Addresses::default());
        let leases: Vec<Lease> = std::iter::from_fn(|| addresses.lease(None)).collect();
        assert_eq!(leases.len(), 256 * 254);
        let freed = leases.last().unwrap().address();
        drop(leases.into_iter().next_back());
        assert_eq!(addresses.lease(Some(freed)).unwrap().address(), freed);
    }
}
