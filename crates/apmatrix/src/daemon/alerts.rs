//! From engines to sessions: a reply has come to a queue whose interruptions a guest has enabled.
//!
//! ```text
//!   engine: run_one --> Alerts::announce --> SessionLink: the queue --> the guest's eventfd
//!                                                                                |
//!   VMM: stores the byte, makes the subclass pending <-- rings/AP_GET_ALERTS <---+
//! ```
//!
//! Only the queue's number stays with the session, which asks the queue again what is enabled: an
//! interruption that was disabled meanwhile is none. For a reply in a ring not even that: the ring tells the
//! VMM, which is woken to look.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arch::Apqn;
use machine::{GuestId, Ran};

use super::link::SessionLink;

/// The sessions by guest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alerts(Arc<Mutex<BTreeMap<GuestId, Arc<SessionLink>>>>);

impl Alerts {
    /// A guest has opened its device.
    pub(super) fn enter(&self, guest: GuestId, link: &Arc<SessionLink>) {
        self.lock().insert(guest, Arc::clone(link));
    }

    /// A guest has gone.
    pub(super) fn leave(&self, guest: GuestId) {
        self.lock().remove(&guest);
    }

    /// A request of `apqn` was run: if its reply has come to a guest that has interruptions enabled,
    /// the guest is told. Waits for nobody.
    pub(super) fn announce(&self, apqn: Apqn, ran: &Ran) {
        if let Ran::Replied {
            guest: Some(guest),
            interrupts: Some(_),
            in_port,
            ..
        } = ran
            && let Some(link) = self.link(*guest)
        {
            link.alert(apqn, *in_port);
        }
    }

    /// The guest's session; not to be used under the lock, which the other engines take.
    fn link(&self, guest: GuestId) -> Option<Arc<SessionLink>> {
        self.lock().get(&guest).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GuestId, Arc<SessionLink>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
