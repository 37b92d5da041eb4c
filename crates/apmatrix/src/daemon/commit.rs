//! How control changes the host: apply, keep, publish, perform.
//!
//! ```text
//!   journal ready? --no--> EIO
//!        | yes
//!   apply to a clone --refused--> clone dropped, errno
//!        | accepted
//!   append entry --fails--> hardware and guests' masks put back, clone dropped, EIO
//!        | appended
//!   publish the clone --> effects --> answer
//! ```
//! What has happened anyway (a guest let go, a card failed) is published even if it cannot be kept;
//! the journal is then behind, and catches up before the next command.

use std::sync::Arc;
use std::time::Instant;

use arch::Errno;
use machine::PartitionConfig;
use matrix::{Command, Effect, Effects, HostError, Outcome};

use super::control::{Control, scan_interval};
use crate::state::{Entry, Image, Journal};

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    /// The host refused.
    #[error(transparent)]
    Refused(#[from] HostError),
    /// It could not be kept.
    #[error("the state cannot be written: {0:#}")]
    NotKept(anyhow::Error),
}

impl CommitError {
    /// What write(2) answers.
    pub(super) const fn errno(&self) -> Errno {
        match self {
            Self::Refused(error) => error.errno(),
            Self::NotKept(_) => Errno::EIO,
        }
    }
}

/// What is kept of a change.
pub(super) enum Keep {
    /// The command; it is not done if it cannot be kept.
    Command,
    /// The hardware, which was `before` and has changed already; it is put back if it cannot be kept.
    Hardware(PartitionConfig),
    /// What has happened cannot be undone: the new hardware.
    Fact,
}

impl Control {
    /// Applies a command that somebody waits for.
    pub(super) fn apply(&mut self, command: &Command) -> Result<Outcome, CommitError> {
        self.ready()?;
        self.commit(command, Keep::Command)
    }

    /// Applies what nobody waits for.
    pub(super) fn apply_quietly(&mut self, command: &Command) {
        if let Err(error) = self.apply(command) {
            tracing::warn!("{error}");
        }
    }

    /// Makes sure that something can be kept.
    pub(super) fn ready(&mut self) -> Result<(), CommitError> {
        let (host, machine) = (&self.host, &self.desk.machine);
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let image = || Image {
            spec: machine.config().to_string(),
            host: host.clone(),
        };
        journal.ready(image).map_err(CommitError::NotKept)
    }

    /// Applies a command to a clone of the host; keeps and publishes it on success.
    pub(super) fn commit(&mut self, command: &Command, keep: Keep) -> Result<Outcome, CommitError> {
        // A card's `config` changes the hardware too.
        let before = match (&keep, command) {
            (Keep::Hardware(before), _) => Some(before.clone()),
            (_, Command::ConfigureAdapter(..)) => Some(self.desk.machine.config()),
            _ => None,
        };
        let mut next = self.host.clone();
        let effects = next
            .apply(command.clone(), &mut self.platform)
            .inspect_err(|error| {
                for line in error.log_lines() {
                    tracing::warn!("{line}");
                }
            })?;
        let entry = match keep {
            Keep::Command if matches!(effects.outcome, Outcome::Pending(_)) => None,
            Keep::Command => Entry::of(command, &next),
            Keep::Hardware(_) | Keep::Fact => {
                Some(Entry::Hardware(self.desk.machine.config().to_string()))
            }
        };
        let kept = match (&mut self.journal, entry) {
            (Some(journal), Some(entry)) => journal.append(&entry),
            _ => Ok(()),
        };
        match (kept, keep) {
            (Ok(()), _) => {}
            (Err(error), Keep::Fact) => {
                tracing::error!("the state cannot be written: {error}");
                self.fall_behind();
            }
            (Err(error), _) => {
                self.put_back(before);
                return Err(CommitError::NotKept(error.into()));
            }
        }
        if scan_interval(&next) != scan_interval(&self.host) {
            self.next_scan = Instant::now() + scan_interval(&next);
        }
        self.host = next;
        let outcome = self.publish(effects);
        self.shorten_journal();
        Ok(outcome)
    }

    /// A guest let go. A removal that waited for it is done now, and answered only if it is kept.
    pub(super) fn commit_close(&mut self, command: Command) -> Result<(), HostError> {
        if let Err(error) = self.ready() {
            tracing::warn!("{error}");
        }
        let mut next = self.host.clone();
        let mut effects = next.apply(command, &mut self.platform)?;
        let removed = effects.list.iter().find_map(|effect| match effect {
            Effect::Removed(mdev) => Some(*mdev),
            _ => None,
        });
        if let (Some(mdev), Some(journal)) = (removed, &mut self.journal)
            && let Some(entry) = Entry::of(&Command::RemoveMdev(mdev), &next)
            && let Err(error) = journal.append(&entry)
        {
            tracing::error!("the removal of {mdev} is not kept: {error}");
            self.fall_behind();
            if let Some(removal) = self.removals.remove(&mdev) {
                (removal.answer)(Err(Errno::EIO));
            }
        }
        self.host = next;
        effects.outcome = Outcome::Done;
        self.publish(effects);
        Ok(())
    }

    /// Shows the host to readers, then lets happen what it made happen.
    pub(super) fn publish(&mut self, effects: Effects) -> Outcome {
        self.desk.snapshot.store(Arc::new(self.host.clone()));
        for effect in effects.list {
            self.perform(effect);
        }
        effects.outcome
    }

    fn fall_behind(&mut self) {
        self.journal.as_mut().map(Journal::fall_behind);
    }

    fn shorten_journal(&mut self) {
        let (host, machine) = (&self.host, &self.desk.machine);
        if let Some(journal) = &mut self.journal {
            journal.shorten(|| Image {
                spec: machine.config().to_string(),
                host: host.clone(),
            });
        }
    }

    /// Puts hardware and masks back to what the published host thinks they are. Queues stay reset.
    fn put_back(&mut self, before: Option<PartitionConfig>) {
        if let Some(before) = before
            && let Err(error) = self.desk.machine.replace(before)
        {
            tracing::error!("the hardware cannot be put back: {error}");
        }
        self.platform.agree_with(&self.host);
    }
}
