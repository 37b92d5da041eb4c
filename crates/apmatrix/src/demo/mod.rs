//! The main job by itself, told as it happens.

mod embedded;
mod linux;
mod stage;

pub(crate) use embedded::embedded;
pub(crate) use linux::linux;
pub(crate) use stage::{MDEVS, Stage};
