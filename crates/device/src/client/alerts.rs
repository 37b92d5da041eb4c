//! Adapter interruptions of the guest: [`Client::set_alert`] and [`Client::alerts`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use arch::{Apqn, Instruction};
use zerocopy::FromBytes;

use super::{Client, ClientError};
use crate::backend::Alert;
use crate::message::{AlertsReply, Command, WireAlert};

impl Client {
    /// Registers `eventfd` for adapter interruptions, see [`alerts`](Self::alerts). It stays
    /// registered over reconnects.
    ///
    /// # Errors
    /// EOPNOTSUPP without the facility; EINVAL when the descriptor is not an eventfd; when the daemon
    /// cannot be asked.
    pub fn set_alert(&mut self, eventfd: OwnedFd) -> Result<(), ClientError> {
        self.ensure_open()?;
        self.send_alert(eventfd.as_fd())?;
        self.alert = Some(eventfd);
        Ok(())
    }

    pub(super) fn send_alert(&mut self, eventfd: BorrowedFd<'_>) -> Result<(), ClientError> {
        let timeout = self.options.round_trip;
        self.transact(Command::ApSetAlert, (&[], &[]), &[eventfd], timeout)
            .map(|_| ())
    }

    /// Enables again what the guest has enabled, in a session that has nothing enabled.
    pub(super) fn enable_again(&mut self) -> Result<(), ClientError> {
        for (apqn, control, nib) in self.enablement.again() {
            let aqic = Instruction::Aqic { apqn, control, nib };
            if let Some(status) = self.exec(&aqic, &mut [])?.status() {
                self.enablement.restored(apqn, status.code);
            }
        }
        Ok(())
    }

    /// An instruction was executed: if the guest has its queue's interruptions disabled by now, replies up to
    /// here cause none, also if it enables them again.
    pub(super) fn forget_alerts(&mut self, instruction: &Instruction<'_>) {
        if let Instruction::Aqic { apqn, .. }
        | Instruction::Rapq { apqn, .. }
        | Instruction::Zapq { apqn, .. } = instruction
            && !self.enablement.has(*apqn)
        {
            self.rings.forget_alerts(&mut self.known_alerts, *apqn);
        }
    }

    /// Takes the adapter interruptions that are due and hands each to `take`. After a reconnect there is
    /// one for each queue that had interruptions enabled, so that the guest looks at it; these come even
    /// if the daemon cannot be asked. It is asked only when not all are told by rings.
    ///
    /// # Errors
    /// EOPNOTSUPP without the facility; when the daemon cannot be asked.
    pub fn alerts(&mut self, mut take: impl FnMut(Alert)) -> Result<(), ClientError> {
        self.enablement.take_owed().for_each(&mut take);
        self.ensure_open()?;
        let enablement = &self.enablement;
        let elsewhere = self.rings.alerts(&mut self.known_alerts, |apqn, replies| {
            // What was disabled or reset meanwhile interrupts the guest no more.
            if let Some((isc, nib)) = enablement.of(apqn) {
                take(Alert {
                    apqn,
                    isc,
                    nib,
                    replies: u32::try_from(replies).unwrap_or(u32::MAX),
                });
            }
        });
        if !elsewhere {
            return Ok(());
        }
        let timeout = self.options.round_trip;
        loop {
            let len = self.transact(Command::ApGetAlerts, (&[], &[]), &[], timeout)?;
            let reply = self.reply(len);
            let parsed = AlertsReply::read_from_prefix(reply)
                .ok()
                .and_then(|(head, rest)| {
                    let entries = <[WireAlert]>::ref_from_bytes(rest).ok()?;
                    (entries.len() == head.count.get() as usize).then_some((head, entries))
                });
            let Some((head, entries)) = parsed else {
                self.go_down();
                return Err(ClientError::Protocol("AP_GET_ALERTS reply"));
            };
            for entry in entries {
                let [apid, apqi] = entry.apqn.get().to_be_bytes();
                take(Alert {
                    apqn: Apqn::new(apid, apqi),
                    isc: entry.isc.get().to_le_bytes()[0] & 7,
                    nib: entry.nib.get(),
                    replies: entry.replies.get(),
                });
            }
            if head.more.get() == 0 {
                return Ok(());
            }
        }
    }
}
