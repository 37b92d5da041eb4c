//! The host: AP bus, `vfio_ap` with its matrix device, and the mediated devices (spec sections 3, 4, 5
//! and 7).
//!
//! [`Host`] is a pure state machine. Everything that can happen to it is a [`Command`]; what it needs
//! from below is a [`Platform`]; what happened is a list of [`Effect`]s. `Clone` is a few pointer
//! copies: a clone is the immutable snapshot that readers use, and whoever applies a command applies
//! it to a clone and publishes it only on success, so a refused command changes nothing.
//!
//! ```text
//!   Command -> Host::apply -> Ok(Effects) | Err(HostError -> errno)
//!                 |
//!                 +--> bus::Bus     scan, masks, bind    --hooks--> driver::Driver (vfio_ap at work)
//!                 |                                                   |
//!                 +--> mdevs: assign, ap_config, create ...           v
//!                                                                  state::State
//!                                                                  Platform: ZAPQ, guest masks
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`host`] | [`Host`], [`BootConfig`] |
//! | [`command`] | [`Command`] and what it names |
//! | [`effect`] | [`Effects`], [`Effect`], [`Outcome`] |
//! | [`platform`] | [`Platform`] |
//! | [`error`] | [`HostError`], [`MatrixError`] |
//! | [`mdev`] | [`Mdev`], [`MdevUuid`], [`Serial`], [`VmId`] |
//! | [`state`] | the matrix device's persistent state and read access |
//! | [`owners`] | who has which APQN |
//! | [`saved`] | the host as plain data, saved and restored |
//! | `driver` | `vfio_ap` as a driver of the bus |
//! | `filter` | the filtered view of a guest |
//! | `assign` | the assignment files and `ap_config` |
//! | `lifecycle` | create, remove, open, close, reset |
//! | [`reset`] | resets that take time |
//! | `hotplug` | configuration changes of the host |
//!
//! Deviations from Linux, on purpose (spec section 10): K5 (a control domain that the host loses
//! leaves the guest), K6, K7, K13 and K14 (the faulty states cannot be expressed here).
#![forbid(unsafe_code)]

mod assign;
pub mod command;
mod driver;
pub mod effect;
pub mod error;
mod filter;
pub mod host;
mod hotplug;
mod lifecycle;
pub mod mdev;
pub mod owners;
pub mod platform;
pub mod reset;
pub mod saved;
pub mod state;

pub use command::{Command, MemberKind};
pub use effect::{Effect, Effects, Outcome};
pub use error::{HostError, MatrixError};
pub use host::{BootConfig, Host};
pub use mdev::{Group, Mdev, MdevUuid, Serial, Usage, VmId};
pub use platform::{MaskConflict, Platform};
pub use saved::{RestoreError, Saved, SavedMdev};
pub use state::{QueueUse, State};
