//! Why a write is refused before the host sees it.

use arch::{Errno, MaskSyntaxError};

use crate::number::NumberError;

/// A write that did not become a command.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// The node is no file, or a file without write permission: the open fails.
    #[error("the file is not writable")]
    NotWritable,
    /// The device of the file is gone.
    #[error("the device is gone")]
    Gone,
    /// Not a number, or too large a one.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// A number that is neither 0 nor 1, or no number.
    #[error("only 0 and 1 are accepted")]
    NotZeroOrOne,
    /// Not one of the words for true and false.
    #[error("not a boolean")]
    NotBoolean,
    /// A mask outside the grammar.
    #[error("the mask is malformed: {0}")]
    Mask(#[from] MaskSyntaxError),
    /// `ap_config` with fewer than three fields.
    #[error("three masks separated by commas are needed")]
    TooFewMasks,
    /// Not a UUID of 36 characters.
    #[error("not a UUID of 36 characters")]
    Uuid,
    /// A driver name that is too long.
    #[error("the name is too long")]
    NameTooLong,
    /// An unknown uevent action.
    #[error("not a uevent action")]
    Action,
    /// Something behind a uevent action that is not `UUID [KEY=VALUE ...]`.
    #[error("behind a uevent action only a UUID and KEY=VALUE pairs are accepted")]
    ActionArguments,
    /// A device name that the bus does not have.
    #[error("there is no such device")]
    UnknownDevice,
    /// Something that Linux can do and this tree cannot.
    #[error("not supported by this tree")]
    Unsupported,
}

impl StoreError {
    /// What the write answers; for [`NotWritable`](Self::NotWritable) what the open answers.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::NotWritable => Errno::EACCES,
            Self::Gone | Self::UnknownDevice => Errno::ENODEV,
            Self::Number(error) => error.errno(),
            Self::NotZeroOrOne
            | Self::NotBoolean
            | Self::Mask(_)
            | Self::TooFewMasks
            | Self::Uuid
            | Self::NameTooLong
            | Self::Action
            | Self::ActionArguments => Errno::EINVAL,
            Self::Unsupported => Errno::EOPNOTSUPP,
        }
    }
}
