//! How many connections a mediated device has, and the limit.
//!
//! One connection is the guest's. The others can only be clients that have not said who they are yet,
//! or that are told EBUSY; a flood of them must not cost threads without end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use matrix::MdevUuid;

/// Connections of one device at a time.
const MAX: usize = 8;

/// Counts connections by device.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<BTreeMap<MdevUuid, usize>>>);

/// One counted connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    counts: Connections,
    mdev: MdevUuid,
}

impl Connections {
    /// Counts a new connection; `None` when the device has too many.
    pub(super) fn enter(&self, mdev: MdevUuid) -> Option<Connection> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(mdev).or_default();
        if *count >= MAX {
            return None;
        }
        *count += 1;
        Some(Connection {
            counts: self.clone(),
            mdev,
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.mdev) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.mdev);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_per_device_and_places_come_back() {
        let connections = Connections::default();
        let a: MdevUuid = "62177883-f1bb-47f0-914d-32a22e3a8804".parse().unwrap();
        let b: MdevUuid = "cef03c3c-903d-4ecc-9a83-40694cb8aee4".parse().unwrap();
        let mut held: Vec<_> = (0..MAX).map(|_| connections.enter(a).unwrap()).collect();
        assert!(connections.enter(a).is_none());
        assert!(connections.enter(b).is_some());
        held.pop();
        assert!(connections.enter(a).is_some());
    }
}
