//! How a pod's containers learn that they are to end, and until when.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What is asked of a pod's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Live on.
    Run,
    /// End in good order; whoever still runs at this time is killed.
    EndBy(Instant),
    /// The pod is gone: die.
    Die,
}

/// The pod's side.
#[derive(Debug)]
pub(super) struct Orders(watch::Sender<Order>);

/// A container's side.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<Order>);

pub(super) fn orders() -> (Orders, Stop) {
    let (sender, receiver) = watch::channel(Order::Run);
    (Orders(sender), Stop(receiver))
}

impl Orders {
    /// Tightens the order; it is never relaxed.
    pub(super) fn give(&self, order: Order) {
        self.0.send_if_modified(|current| {
            let tighter = match (&current, order) {
                (_, Order::Run) | (Order::Die, _) => false,
                (Order::Run, _) | (Order::EndBy(_), Order::Die) => true,
                (Order::EndBy(current), Order::EndBy(new)) => new < *current,
            };
            if tighter {
                *current = order;
            }
            tighter
        });
    }
}

impl Stop {
    /// What the order is now.
    pub(super) fn order(&self) -> Order {
        // Without anybody to give orders the pod is gone.
        if self.0.has_changed().is_err() { Order::Die } else { *self.0.borrow() }
    }

    pub(super) fn requested(&self) -> bool {
        self.order() != Order::Run
    }

    /// Waits until the container is to end.
    pub(super) async fn request(&mut self) {
        let _ = self.0.wait_for(|order| *order != Order::Run).await;
    }

    /// Waits until the container is to be killed: at the order's time or at `own`, whichever is earlier, but not before
    /// `least` unless the pod is gone.
    pub(super) async fn expiry(&mut self, own: Option<Instant>, least: Option<Instant>) {
        loop {
            let at = match self.order() {
                Order::Die => return,
                Order::Run => own,
                Order::EndBy(at) => Some(own.map_or(at, |own| own.min(at))),
            };
            let at = at.map(|at| least.map_or(at, |least| least.max(at)));
            let expired = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = expired => return,
                // An error is the end of the pod, which the next turn sees.
                _ = self.0.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    /// How long it took, which is far from `LONG` however slow the machine is.
    async fn waited(wait: impl Future<Output = ()>) -> Duration {
        let began = Instant::now();
        tokio::time::timeout(LONG / 2, wait).await.unwrap();
        began.elapsed()
    }

    #[tokio::test]
    async fn a_grace_period_is_shortened_and_never_prolonged() {
        let (orders, mut stop) = orders();
        orders.give(Order::EndBy(Instant::now() + LONG));
        let shorten = async {
            tokio::time::sleep(MOMENT).await;
            orders.give(Order::EndBy(Instant::now() + MOMENT));
            orders.give(Order::EndBy(Instant::now() + LONG));
            orders.give(Order::Run);
        };
        let (waited, ()) = tokio::join!(waited(stop.expiry(None, None)), shorten);
        assert!(waited >= 2 * MOMENT, "{waited:?}");
    }

    #[tokio::test]
    async fn what_remains_after_a_hook_is_never_less_than_a_moment() {
        let (orders, mut stop) = orders();
        orders.give(Order::EndBy(Instant::now()));
        let least = Instant::now() + MOMENT;
        assert!(waited(stop.expiry(None, Some(least))).await >= MOMENT);
    }

    #[tokio::test]
    async fn a_container_has_a_limit_of_its_own() {
        let (_orders, mut stop) = orders();
        assert!(waited(stop.expiry(Some(Instant::now() + MOMENT), None)).await >= MOMENT);
        assert!(!stop.requested());
    }

    #[tokio::test]
    async fn a_pod_that_is_gone_gets_no_grace() {
        let (orders, mut stop) = orders();
        orders.give(Order::Die);
        let later = Some(Instant::now() + LONG);
        waited(stop.expiry(later, later)).await;
        let (orders, mut stop) = super::orders();
        drop(orders);
        waited(stop.expiry(later, later)).await;
        waited(stop.request()).await;
        assert!(stop.requested());
    }
}
