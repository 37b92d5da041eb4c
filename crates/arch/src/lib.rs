//! What the AP architecture defines, and nothing else: identifiers, masks, control blocks, status
//! words, response codes, the three instructions and their register conventions.
//!
//! Every other crate speaks in these types. The crate does no I/O, allocates nothing and knows
//! neither Linux nor QEMU. Sections named in the documentation ("spec 1.4") are those of the
//! project's behavioural specification of `vfio_ap`.
//!
//! | module | holds |
//! |---|---|
//! | [`ids`] | [`Apid`], [`Apqi`], [`Apqn`] |
//! | [`mask`] | [`Mask256`] and the typed [`AdapterMask`], [`UsageMask`], [`ControlMask`] |
//! | [`mask_text`] | the text grammar of masks, [`MaskEdit`] |
//! | [`apcb`] | [`Apcb`], CRYCB formats |
//! | [`qci`] | the QCI information block |
//! | [`tapq`] | GR2 of TAPQ, [`HwInfo`] |
//! | [`contents`] | what a queue holds, as its status word tells it |
//! | [`status`] | the AP queue status word, [`ResponseCode`] |
//! | [`facts`] | [`CardQueries`]: what coprocessors tell about themselves and their master keys |
//! | [`facility`] | [`Facilities`] |
//! | [`aqic`] | the AQIC control word |
//! | [`instruction`] | [`Instruction`], [`Outcome`], [`ApInstructions`] |
//! | [`registers`] | from general registers to [`Instruction`] and back |
//! | [`errno`] | the errors that Linux interfaces answer |
#![no_std]
#![forbid(unsafe_code)]

pub mod apcb;
pub mod aqic;
pub mod contents;
pub mod errno;
pub mod facility;
pub mod facts;
pub mod gisa;
pub mod ids;
pub mod instruction;
pub mod mask;
pub mod mask_text;
pub mod qci;
pub mod registers;
pub mod status;
pub mod tapq;

pub use apcb::{Apcb, CrycbFormat};
pub use aqic::AqicControl;
pub use contents::Contents;
pub use errno::Errno;
pub use facility::Facilities;
pub use facts::{CardFacts, CardQueries, KeyRegisters, MasterKeys};
pub use gisa::Gisa;
pub use ids::{Apid, Apqi, Apqn};
pub use instruction::{ApInstructions, Instruction, Outcome, ProgramException};
pub use mask::{AdapterMask, ControlMask, Mask256, UsageMask};
pub use mask_text::{MaskEdit, MaskSyntaxError};
pub use qci::{QciBlock, QciFlags};
pub use status::{QueueStatus, ResponseCode};
pub use tapq::{ApType, CardMode, HwInfo};
