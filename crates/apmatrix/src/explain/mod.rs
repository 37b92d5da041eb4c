//! Why a queue or a mediated device is as it is: who holds it, what a guest does not get, and what
//! would change that.
//!
//! [`Facts`] are what the tree's files say; everything else here only thinks about them, so that a
//! plain copy of a tree, or a mainframe's `/sys`, is explained as well as the running instance. What
//! is not in the files (who was refused, and when) is added by the verb from the daemon's log.
//!
//! | module | holds |
//! |---|---|
//! | `facts` | reading the tree |
//! | `filter` | why an adapter is not in a guest's view |
//! | `queue` | one queue: device, driver, side of the masks, holder, guest |
//! | `mdev` | one mediated device: what it has and what its guest does not get |
//! | `remedy` | command lines |
//! | `history` | which refusals concern it |

mod facts;
#[cfg(test)]
mod fake;
mod filter;
mod history;
mod mdev;
mod queue;
mod remedy;

pub(crate) use facts::Facts;
pub(crate) use history::{concerning_mdev, concerning_queue};
pub(crate) use mdev::{MdevReport, explain_mdev};
pub(crate) use queue::{QueueReport, explain_queue};
pub(crate) use remedy::Remedy;
