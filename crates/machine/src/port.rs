//! Another way into a queue than executing instructions: requests that a guest has put into memory it
//! shares with the machine's owner, and replies that are put there for it.
//!
//! ```text
//!                  the queue is its guest's, operating, without faults, not diverted,
//!                  and holds nothing
//!      [closed] ---------------------------------------------------------------> [open]
//!       ^    ^                                                                     |
//!       |    +-- drop (reset, revoke, condition): erased, at once, for nobody -----+
//!       |                                                                          | a fault, a recording,
//!       |  the guest's next instruction for the queue comes                        | a reply too long,
//!       |  by `execute`: what is in the port moves into the queue                  | the host enqueues
//!       +------------------------------ [closing] <--------------------------------+
//!                                       the queue goes on serving it
//! ```
//! A queue calls its port under its own lock only, so a port needs none. What the guest's memory says is
//! hostile: a port bounds everything, and answers [`Lie`] for what cannot be; the queue is reset then.
//!
//! The guest's end follows one rule, which makes *closing* lose nothing: it executes an instruction for a
//! queue by `execute` only while it does nothing in the queue's port.

use std::fmt;

use arch::{Apqn, HwInfo, QciBlock};

/// What a port holds, as its guest and its queue have counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortLoad {
    /// Requests that the queue has not taken.
    pub waiting: usize,
    /// Replies that the guest has not read completely.
    pub replies: usize,
}

/// The guest's memory says what cannot be: more requests than the queue holds, a reply read that was
/// never posted, a message longer than any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lie;

/// A message that was taken out of a port into a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried {
    /// The sender's name for it.
    pub psmid: u64,
    /// NQAP's special command bit; false for replies.
    pub special: bool,
    /// Bytes of the message in the buffer.
    pub length: usize,
    /// Replies: bytes that the guest has read already, less than `length`.
    pub read: usize,
}

/// The machine's end of a guest's memory for one queue. Dropping it closes it for good.
pub trait Port: fmt::Debug + Send {
    /// Empty from now on, and open.
    fn open(&mut self, interrupts: bool);

    /// Erased and closed from now on; what the guest does in it is not seen any more.
    fn close(&mut self);

    /// Tells the guest to come by `execute`. What is in the port stays in use.
    fn begin_closing(&mut self);

    /// Tells the guest whether interruptions are enabled.
    fn set_interrupts(&mut self, enabled: bool);

    /// What the port holds, when it may hold `depth` messages of which `running` are being worked on.
    ///
    /// # Errors
    /// The guest lies.
    fn load(&self, depth: usize, running: usize) -> Result<PortLoad, Lie>;

    /// Copies the next request to `buffer`, once; `None` when there is none. It is erased with the next
    /// reply, or when the port closes.
    ///
    /// # Errors
    /// The guest lies; also about a message that is empty or longer than `buffer`.
    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<Carried>, Lie>;

    /// Puts a reply; false when it is too long for the port.
    fn post(&mut self, psmid: u64, reply: &[u8]) -> bool;

    /// Copies the reply that is the `nth` of those not read completely to `buffer`, which is not shorter
    /// than any reply of the port.
    ///
    /// # Errors
    /// The guest lies about how much of it was read.
    fn unread(&self, nth: usize, buffer: &mut [u8]) -> Result<Carried, Lie>;
}

/// Makes ports for the queues of one guest. It is called under the guest's lock and must not wait.
pub trait Ports: fmt::Debug + Send + Sync {
    /// A closed port for a queue; `None` when the queue goes without.
    fn make(&self, apqn: Apqn, info: HwInfo) -> Option<Box<dyn Port>>;

    /// What QCI answers the guest from now on; `None`: the guest has to execute it.
    fn configured(&self, block: Option<&QciBlock>);
}
