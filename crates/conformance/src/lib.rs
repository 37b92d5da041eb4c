//! Transcripts recorded from Linux 7.2: what was written to and read from its AP sysfs files, and
//! what it answered. The format is described in `transcripts/README.md` of this crate.
//!
//! [`parse`](parse::parse) turns a file into [`Case`]s, [`run_case`] replays one of them against a
//! [`Target`] and reports the first answer that differs. The crate knows nothing about how a target
//! works: the mounted tree and the tree in memory are both targets.
//!
//! | module | holds |
//! |---|---|
//! | [`transcript`] | [`Case`], [`Step`], [`Answer`] and their text form |
//! | [`mod@parse`] | text to cases |
//! | [`run`] | cases against a [`Target`] |
#![forbid(unsafe_code)]

pub mod parse;
pub mod run;
pub mod transcript;

pub use parse::{ParseError, parse};
pub use run::{Difference, Failure, Target, Verdict, run_case};
pub use transcript::{Action, Answer, Case, Step};

/// The transcripts that came with the project, as (file name, text).
pub const RECORDED: &[(&str, &str)] = &[
    (
        "ap_config",
        include_str!("../transcripts/ap_config.transcript"),
    ),
    ("assign", include_str!("../transcripts/assign.transcript")),
    ("bus", include_str!("../transcripts/bus.transcript")),
    ("cards", include_str!("../transcripts/cards.transcript")),
    ("filter", include_str!("../transcripts/filter.transcript")),
    ("hotplug", include_str!("../transcripts/hotplug.transcript")),
    ("masks", include_str!("../transcripts/masks.transcript")),
    ("mdev", include_str!("../transcripts/mdev.transcript")),
    ("more", include_str!("../transcripts/more.transcript")),
    (
        "override",
        include_str!("../transcripts/override.transcript"),
    ),
    ("random", include_str!("../transcripts/random.transcript")),
];

/// Texts and bindings that the project itself tried on the AP bus of Linux 6.12, inside a guest: what
/// 7.2 is known to do differently, and what needs interrupts or `vfio_ap`, is left out. As (file name,
/// text); the recordings outrank it.
pub const OBSERVED: &[(&str, &str)] = &[(
    "observed",
    include_str!("../transcripts/observed.transcript"),
)];
