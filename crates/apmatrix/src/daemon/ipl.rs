//! IPL: the partition boots anew.
//!
//! ```text
//!   queues reset --> host boots --> journal --> guests' masks cleared --> published --> guests told
//! ```
//! The hardware stays as it is now. All else is as after the first boot: masks and settings are those
//! of the machine file, every queue belongs to the driver that the masks say, and there is no mediated
//! device. `docs/lifecycle.md` says what an administrator sees.

use std::time::Instant;

use arch::Errno;

use super::commit::CommitError;
use super::control::{Control, scan_interval};
use crate::state::Entry;

impl Control {
    /// Boots the partition anew.
    ///
    /// # Errors
    /// When it cannot be kept; the host and its guests go on then, with queues that were reset.
    pub(super) fn ipl(&mut self) -> Result<(), anyhow::Error> {
        self.ready()?;
        self.platform.reset_all();
        let next = self.host.reboot(&self.boot, &mut self.platform);
        if let Some(journal) = &mut self.journal {
            let kept = journal.append(&Entry::Ipl);
            kept.map_err(|error| CommitError::NotKept(error.into()))?;
        }
        // From here on no guest reaches a queue, and no late word from its session counts.
        self.platform.disconnect_all();
        let old = std::mem::replace(&mut self.host, next);
        self.next_scan = Instant::now() + scan_interval(&self.host);
        for (mdev, _) in old.matrix().mdevs() {
            self.sockets.listeners.remove(mdev);
        }
        self.desk.snapshot.store(self.host.clone().into());
        for link in std::mem::take(&mut self.links).into_values() {
            link.close();
        }
        self.waits.give_up();
        for removal in std::mem::take(&mut self.removals).into_values() {
            (removal.answer)(Err(Errno::ENODEV));
        }
        Ok(())
    }
}
