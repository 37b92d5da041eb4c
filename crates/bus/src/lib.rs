//! The AP bus (spec section 2): which cards and queues exist, which driver has each of them, and
//! which queues are reserved for the default drivers.
//!
//! The bus learns everything **by executing AP instructions** through a [`QueueDriver`], so the same
//! bus runs on a host, over a machine, and in an embedded guest, over a device channel. It knows
//! neither of them, and of the plugged-in driver it knows only the hooks of the trait.
//!
//! ```text
//!   QCI, TAPQ, QACT                        apmask x aqmask = reserved for default drivers
//!        |                                        |
//!        v                                        v
//!   +---------+  creates  +-------+  probe   +-------------------------+
//!   |  scan   | --------> | queue | -------> | cex4queue   (default)   |
//!   |         |  removes  |       | <------- | vfio_ap     (plugged)   |
//!   +---------+           +-------+  unbind  +-------------------------+
//!        |                    ^
//!        +--> card --> cex4card
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`state`] | [`Bus`], its limits, maps of devices and read access |
//! | [`device`] | [`Card`], [`Queue`], [`Device`], [`Driver`] |
//! | [`driver`] | [`QueueDriver`], what a plugged-in driver and the world below give the bus |
//! | [`scan`] | device creation and removal |
//! | [`binding`] | bind, unbind, probe, override |
//! | [`start`] | the default driver's start of a queue |
//! | [`reservation`] | apmask and aqmask |
//! | [`settings`] | the other writable attributes |
//! | [`saved`] | the bus as plain data, saved and restored |
//! | [`uevent`] | what the bus tells user space |
//! | [`error`] | [`BusError`] |
//!
//! Absences: no I/O, no clock, no thread; every change is a method call, and `Clone` is a few pointer
//! copies because the device maps are persistent.
#![forbid(unsafe_code)]

pub mod binding;
pub mod device;
pub mod driver;
pub mod error;
pub mod reservation;
pub mod saved;
pub mod scan;
pub mod settings;
pub mod start;
pub mod state;
pub mod uevent;

pub use device::{Card, Device, Driver, Queue, QueueState};
pub use driver::{InUse, NoDriver, QueueDriver};
pub use error::BusError;
pub use reservation::MaskKind;
pub use saved::{RestoreError, SavedBus};
pub use start::BUS_ISC;
pub use state::{Bus, BusConfig};
pub use uevent::{Action, Uevent};
