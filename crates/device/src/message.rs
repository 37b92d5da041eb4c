//! The protocol on the wire, for whoever writes a client in any language.
//!
//! A mediated device is a Unix stream socket. Connecting opens nothing yet; the device is open from
//! a completed VERSION until the connection ends, and it can be open once at a time.
//!
//! # Framing
//!
//! Framing, negotiation and the standard commands are those of the published vfio-user protocol.
//! All numbers of the protocol are **little-endian**; only blocks that the AP architecture defines
//! (the QCI block, masks, AP messages) keep the architecture's big-endian order. Each message is a
//! 16-byte [`Header`] and a payload:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | message id: chosen by the sender of a command, repeated in the reply |
//! | 2 | 2 | command, the same in command and reply |
//! | 4 | 4 | size in bytes of the whole message, this header included |
//! | 8 | 4 | flags: bits 0..=3 type (0 command, 1 reply), bit 4 no reply wanted, bit 5 error |
//! | 12 | 4 | errno (Linux number, positive) of a reply with the error flag, else 0 |
//!
//! A reply with the error flag is a header alone. Commands are answered in the order in which they
//! were sent; a client may send several before it reads. The server sends no command of its own: it
//! notifies through eventfds (`SET_IRQS`). A message that is not framed as above (size below 16 or
//! above 16 + 32 + `max_message`, type not command, unknown flag bits, a version command that wants
//! no reply) ends the connection; a well-framed command that is wrong gets an error.
//!
//! # Commands
//!
//! | number | command | payload | reply payload |
//! |---|---|---|---|
//! | 1 | VERSION | [`VersionHead`], JSON, NUL | the same |
//! | 2 | `DMA_MAP` | [`DmaMap`] | none |
//! | 3 | `DMA_UNMAP` | [`DmaUnmap`] | [`DmaUnmap`] |
//! | 4 | `DEVICE_GET_INFO` | [`DeviceInfo`] | [`DeviceInfo`]: flags 0x21, 0 regions, 2 interrupts |
//! | 7 | `DEVICE_GET_IRQ_INFO` | [`IrqInfo`] | [`IrqInfo`]: flags 1 (eventfd), count 1 |
//! | 8 | `DEVICE_SET_IRQS` | [`SetIrqs`], an eventfd by `SCM_RIGHTS` | none |
//! | 13 | `DEVICE_RESET` | none | none |
//! | 0x4150 | `AP_EXEC` | [`ExecRequest`], message | [`ExecReply`], data |
//! | 0x4151 | `AP_GET_APCB` | none | [`ApcbReply`] |
//! | 0x4152 | `AP_SET_ALERT` | none, an eventfd by `SCM_RIGHTS` | none |
//! | 0x4153 | `AP_GET_ALERTS` | none | [`AlertsReply`], at most 64 [`WireAlert`] |
//! | 0x4154 | `AP_SETUP_RINGS` | none | [`RingsReply`], three descriptors by `SCM_RIGHTS` |
//!
//! Every other command, also `DEVICE_GET_REGION_INFO` (5), gets EOPNOTSUPP.
//!
//! ## VERSION
//!
//! The first message, within the server's handshake time (10 s by default). Major is 0; the reply's
//! minor is not above the client's. The JSON is at most 4096 bytes and ends with a NUL byte:
//!
//! ```json
//! {"capabilities": {"max_msg_fds": 1, "max_data_xfer_size": 65536,
//!  "apmatrix": {"vm": "f3b1...", "crycb_format": 2, "facilities": ["ap", "apft", "apqci"]}}}
//! ```
//!
//! | key of `apmatrix` | client sends | server answers |
//! |---|---|---|
//! | `vm` | who opens: 1..=128 printable ASCII characters without blanks, e.g. a UUID; the same text means the same VM | absent |
//! | `crycb_format` | highest format of the guest: 2 with MSA extension 3, else 0; default 2 | the format used: 0, 1 or 2 |
//! | `facilities` | what the CPU model shows, by QEMU's names: `ap`, and of `apft`, `apqci`, `apqi` what is wanted | those granted |
//! | `apxa` | absent | whether adapters above 63 and domains above 15 exist |
//! | `max_message` | absent | longest AP message and reply in bytes |
//!
//! Errors: EINVAL without a VM identity or without `ap`, or for malformed JSON; EBUSY when the
//! device is open; EPERM when this VM has another device; ENODEV when the device is going away.
//! After an error the server closes the connection. A second VERSION gets EINVAL and changes
//! nothing; another command before VERSION gets EINVAL and the end.
//!
//! ## `DMA_MAP`, `DMA_UNMAP`
//!
//! Tell the daemon which guest absolute addresses exist. It never maps guest memory: a descriptor
//! that comes with `DMA_MAP` is closed. The table decides whether a notification byte is valid, and
//! an unmap ends interrupts whose byte lies inside. Ranges are not empty and do not wrap (EINVAL).
//!
//! ## `DEVICE_SET_IRQS`
//!
//! Index 0 is REQ (an administrator removes the device: please close it), index 1 `CFG_CHG` (masks
//! changed: read `AP_GET_APCB`). Flags are 0x24 (eventfd, trigger). With one eventfd in `SCM_RIGHTS`
//! the eventfd is registered in place of an earlier one; without a descriptor the earlier one is
//! removed. EINVAL for anything else; the order of checks is that of [`check_set_irqs`].
//!
//! ## `DEVICE_RESET`
//!
//! Resets all queues of the device. The reply comes when they are reset; EIO when one could not be.
//!
//! ## `AP_EXEC`
//!
//! One AP instruction: the guest's PQAP, NQAP or DQAP with its operands taken out of registers and
//! memory. The reply is what the architecture answers; it is never an error for what a guest did.
//! Errors: EINVAL for a payload of the wrong form or a message or buffer above `max_message`.
//!
//! ## `AP_GET_APCB`
//!
//! The masks of the guest, the QCI block, and a generation that grows when they change.
//!
//! ## `AP_SET_ALERT`, `AP_GET_ALERTS`
//!
//! For guests with `apqi`; EOPNOTSUPP for others. The eventfd is signalled when a reply has come to a
//! queue whose interruptions the guest has enabled; without a descriptor the earlier eventfd is
//! removed. `AP_GET_ALERTS` then takes the queues concerned, each once, with what the guest gave
//! PQAP(AQIC): the server never touches guest memory, so the client stores the notification byte and
//! makes the interruption pending. From minor 2 on, replies in rings are not among them: the rings tell.
//!
//! ## `AP_SETUP_RINGS`
//!
//! Makes memory that both ends map, through which most instructions need no round trip: see [`ring`]
//! and `docs/protocol.md`. EOPNOTSUPP when the server has none, EEXIST when the session has it already.
//!
//! [`ring`]: crate::RingServer
//!
//! # Descriptors
//!
//! At most 8 in one message; more end the connection. Descriptors with a command that takes none are
//! closed and the command gets EINVAL (except `DMA_MAP`, see there).
//!
//! [`check_set_irqs`]: crate::irq::check_set_irqs

#![expect(
    missing_debug_implementations,
    reason = "zerocopy's derives add hidden helper types; every structure of ours has Debug"
)]

use bitflags::bitflags;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, Unaligned};

/// Major version of the protocol.
pub const MAJOR: u16 = 0;
/// Highest minor version that the server answers.
pub const MINOR: u16 = 2;
/// From this minor version on the client takes from the rings which replies in them are to interrupt, and
/// `AP_GET_ALERTS` answers the others only.
pub const MINOR_RING_ALERTS: u16 = 2;

/// Longest JSON text of VERSION in bytes, without its NUL: ten times what the keys need.
pub const MAX_VERSION_JSON: usize = 4096;

/// Most descriptors that one message may carry. One is useful; the rest are room for peers that
/// send more than they should, so that they can be closed and answered.
pub const MAX_DESCRIPTORS: usize = 8;

/// Interrupts of the device: REQ and `CFG_CHG`.
pub const IRQ_COUNT: u32 = 2;

/// Most entries in one reply to `AP_GET_ALERTS`: they fit the smallest message buffer.
pub const MOST_ALERTS: usize = 64;

/// Size of the header in bytes.
pub const HEADER_LEN: usize = size_of::<Header>();

/// Default limit of AP messages and replies in bytes: the largest that TAPQ's ML field can name is
/// 15 * 4096 = 61440.
pub const DEFAULT_MAX_MESSAGE: u32 = 64 * 1024;

/// The largest message size that this implementation accepts in negotiation, as a bound of memory.
pub const HIGHEST_MAX_MESSAGE: u32 = 1 << 20;

/// Bytes of a whole message at most, when AP messages have at most `max_message` bytes.
#[must_use]
pub const fn max_frame(max_message: u32) -> usize {
    let exec = HEADER_LEN + size_of::<ExecRequest>() + max_message as usize;
    let version = HEADER_LEN + size_of::<VersionHead>() + MAX_VERSION_JSON + 1;
    if exec > version { exec } else { version }
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        /// A command that the server knows.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u16)]
        pub enum Command {
            $($(#[$doc])* $name = $value,)*
        }

        impl Command {
            /// Every command.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The command with this number.
            #[must_use]
            pub const fn from_raw(raw: u16) -> Option<Self> {
                match raw {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    /// Negotiates and opens the device.
    Version = 1;
    /// Guest memory appears.
    DmaMap = 2;
    /// Guest memory goes.
    DmaUnmap = 3;
    /// What kind of device this is.
    DeviceGetInfo = 4;
    /// What an interrupt of the device can do.
    DeviceGetIrqInfo = 7;
    /// Registers or removes an eventfd.
    DeviceSetIrqs = 8;
    /// Resets all queues.
    DeviceReset = 13;
    /// Executes one AP instruction. 0x4150 is "AP" in ASCII: far from the standard's numbers.
    ApExec = 0x4150;
    /// Reads the guest's masks and QCI block.
    ApGetApcb = 0x4151;
    /// Registers or removes the eventfd for adapter interruptions.
    ApSetAlert = 0x4152;
    /// Takes the adapter interruptions that are due.
    ApGetAlerts = 0x4153;
    /// Sets up rings.
    ApSetupRings = 0x4154;
}

impl Command {
    /// The number on the wire.
    #[must_use]
    pub const fn raw(self) -> u16 {
        self as u16
    }
}

bitflags! {
    /// Flags of the header.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct HeaderFlags: u32 {
        /// Type 1 in bits 0..=3: a reply. A command has type 0.
        const REPLY = 0x01;
        /// The sender of the command wants no reply.
        const NO_REPLY = 0x10;
        /// The command failed; the error field says how.
        const ERROR = 0x20;
    }
}

bitflags! {
    /// Flags of [`DeviceInfo`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct DeviceFlags: u32 {
        /// `DEVICE_RESET` works.
        const RESET = 0x01;
        /// An AP device.
        const AP = 0x20;
    }
}

bitflags! {
    /// Flags of [`SetIrqs`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct SetIrqsFlags: u32 {
        /// No data.
        const NONE = 0x01;
        /// A byte per interrupt.
        const BOOL = 0x02;
        /// A descriptor per interrupt.
        const EVENTFD = 0x04;
        /// Mask.
        const MASK = 0x08;
        /// Unmask.
        const UNMASK = 0x10;
        /// Trigger, or with [`Self::EVENTFD`] register a trigger.
        const TRIGGER = 0x20;
        /// The data types; exactly one is set.
        const DATA = 0x07;
        /// The actions; exactly one is set.
        const ACTIONS = 0x38;
    }
}

macro_rules! wire_structs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[derive(FromBytes, IntoBytes, Immutable, Unaligned)]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// Size of the structure in bytes.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a structure of the wire has a few hundred bytes"
            )]
            pub const SIZE: u32 = size_of::<Self>() as u32;
        }

        impl Default for $name {
            /// All bytes zero.
            fn default() -> Self {
                FromZeros::new_zeroed()
            }
        })*
    };
}

wire_structs! {
    /// In front of every message; 16 bytes.
    Header {
        /// Chosen by the sender of a command, repeated in the reply.
        id: U16,
        /// Command number.
        command: U16,
        /// Size of the whole message in bytes.
        size: U32,
        /// [`HeaderFlags`].
        flags: U32,
        /// errno of a failed command.
        error: U32,
    }
    /// In front of VERSION's JSON; 4 bytes.
    VersionHead {
        /// 0.
        major: U16,
        /// 1.
        minor: U16,
    }
    /// `DMA_MAP`; 32 bytes.
    DmaMap {
        /// 32 or more.
        argsz: U32,
        /// Bit 0 readable, bit 1 writable; others are refused.
        flags: U32,
        /// Offset in the descriptor; ignored.
        offset: U64,
        /// Guest absolute address.
        address: U64,
        /// Length in bytes.
        size: U64,
    }
    /// `DMA_UNMAP`; 24 bytes.
    DmaUnmap {
        /// 24 or more.
        argsz: U32,
        /// 0: no flag is supported.
        flags: U32,
        /// Guest absolute address.
        address: U64,
        /// Length in bytes.
        size: U64,
    }
    /// `DEVICE_GET_INFO`; 16 bytes.
    DeviceInfo {
        /// 16 or more; 16 in the reply.
        argsz: U32,
        /// [`DeviceFlags`] in the reply.
        flags: U32,
        /// Always 0: an AP device has no region.
        regions: U32,
        /// Always 2.
        irqs: U32,
    }
    /// `DEVICE_GET_IRQ_INFO`; 16 bytes.
    IrqInfo {
        /// 16 or more; 16 in the reply.
        argsz: U32,
        /// 1 in the reply: by eventfd.
        flags: U32,
        /// 0 REQ, 1 `CFG_CHG`.
        index: U32,
        /// 1 in the reply.
        count: U32,
    }
    /// `DEVICE_SET_IRQS`; 20 bytes.
    SetIrqs {
        /// 20 or more.
        argsz: U32,
        /// [`SetIrqsFlags`].
        flags: U32,
        /// 0 REQ, 1 `CFG_CHG`.
        index: U32,
        /// 0.
        start: U32,
        /// 0 or 1.
        count: U32,
    }
    /// `AP_EXEC`, in front of the message of NQAP; 32 bytes.
    ///
    /// | operation | instruction | flags | operand1 | operand2 |
    /// |---|---|---|---|---|
    /// | 0 | PQAP TAPQ | 1: T bit | 0 | 0 |
    /// | 1 | PQAP RAPQ | 2: F bit | 0 | 0 |
    /// | 2 | PQAP ZAPQ | 2: F bit | 0 | 0 |
    /// | 3 | PQAP AQIC | 0 | GR1: control | GR2: address of the notification byte |
    /// | 4 | PQAP QCI | 0 | 0 | 0 |
    /// | 5 | PQAP QACT | 0 | GR1: info | 0 |
    /// | 0xad | NQAP | 4: special command | psmid | 0 |
    /// | 0xae | DQAP | 0 | 0 | 0 |
    ExecRequest {
        /// See the table; PQAP by its function code.
        operation: U16,
        /// See the table.
        flags: U16,
        /// APID * 256 + APQI; ignored by QCI.
        apqn: U16,
        /// 0.
        reserved: U16,
        /// See the table.
        operand1: U64,
        /// See the table.
        operand2: U64,
        /// DQAP: bytes of the guest's buffer, at most `max_message`; others 0.
        capacity: U32,
        /// NQAP: bytes of the message behind this structure, at most `max_message`; others 0.
        length: U32,
    }
    /// The reply to `AP_EXEC`, in front of its data; 24 bytes.
    ExecReply {
        /// Program interruption code when the instruction was suppressed, else 0; all other fields
        /// are 0 then.
        exception: U32,
        /// Status word (the low half of GR1); 0 for QCI. The condition code is 0 when the response
        /// code in it is 0, else 3.
        status: U32,
        /// TAPQ and QACT: GR2. DQAP: the psmid.
        value: U64,
        /// DQAP: bytes of the reply that did not fit; they stay in the queue.
        residual: U32,
        /// Bytes behind this structure: the 128 of QCI's block, or DQAP's reply.
        length: U32,
    }
    /// The reply to `AP_GET_ALERTS`, in front of its entries; 8 bytes.
    AlertsReply {
        /// Entries behind this structure.
        count: U32,
        /// 1: there are more, ask again; else 0.
        more: U32,
    }
    /// One entry of `AP_GET_ALERTS`; 16 bytes.
    WireAlert {
        /// Absolute address of the guest's notification byte.
        nib: U64,
        /// The queue: APID * 256 + APQI.
        apqn: U16,
        /// The guest's interruption subclass, 0 to 7.
        isc: U16,
        /// Replies since the last time, at least 1: a client may make one interruption of them.
        replies: U32,
    }
    /// The reply to `AP_SETUP_RINGS`: what the shared memory holds; 16 bytes. A client that does not
    /// understand these numbers leaves it alone.
    RingsReply {
        /// Rings.
        rings: U32,
        /// Slots of a ring for requests, and as many for replies.
        slots: U32,
        /// Bytes of a slot.
        slot_size: U32,
        /// 0.
        reserved: U32,
    }
    /// The reply to `AP_GET_APCB`; 240 bytes.
    ApcbReply {
        /// Grows with every change.
        generation: U64,
        /// CRYCB format: 0, 1 or 2.
        crycb_format: U32,
        /// 0.
        reserved: U32,
        /// Adapters: bit 0 is the leftmost of the first byte.
        apm: [u8; 32],
        /// Usage domains.
        aqm: [u8; 32],
        /// Control domains.
        adm: [u8; 32],
        /// What PQAP(QCI) stores.
        qci: [u8; 128],
    }
}

impl Header {
    /// The header of a command with a payload of `payload` bytes.
    #[must_use]
    pub fn command(id: u16, command: Command, payload: u32) -> Self {
        Self {
            id: id.into(),
            command: command.raw().into(),
            size: (Self::SIZE + payload).into(),
            ..Self::default()
        }
    }

    /// The header of a reply to `self` with a payload of `payload` bytes.
    #[must_use]
    pub fn reply(&self, payload: u32) -> Self {
        Self {
            id: self.id,
            command: self.command,
            size: (Self::SIZE + payload).into(),
            flags: HeaderFlags::REPLY.bits().into(),
            error: 0.into(),
        }
    }

    /// The header of a failed reply to `self`.
    #[must_use]
    pub fn failure(&self, errno: arch::Errno) -> Self {
        Self {
            flags: (HeaderFlags::REPLY | HeaderFlags::ERROR).bits().into(),
            error: errno.raw().unsigned_abs().into(),
            ..self.reply(0)
        }
    }

    /// Bytes behind the header, when the size is at least a header and at most `max_frame`.
    #[must_use]
    pub fn payload_len(&self, max_frame: usize) -> Option<usize> {
        let size = self.size.get() as usize;
        (size <= max_frame).then(|| size.checked_sub(HEADER_LEN))?
    }

    /// The flags, unless unknown ones are set.
    #[must_use]
    pub fn known_flags(&self) -> Option<HeaderFlags> {
        HeaderFlags::from_bits(self.flags.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn structures_have_their_documented_sizes() {
        assert_eq!(size_of::<Header>(), 16);
        assert_eq!(size_of::<VersionHead>(), 4);
        assert_eq!(size_of::<DmaMap>(), 32);
        assert_eq!(size_of::<DmaUnmap>(), 24);
        assert_eq!(size_of::<DeviceInfo>(), 16);
        assert_eq!(size_of::<IrqInfo>(), 16);
        assert_eq!(size_of::<SetIrqs>(), 20);
        assert_eq!(size_of::<ExecRequest>(), 32);
        assert_eq!(size_of::<ExecReply>(), 24);
        assert_eq!(size_of::<ApcbReply>(), 240);
        assert_eq!(size_of::<AlertsReply>(), 8);
        assert_eq!(size_of::<RingsReply>(), 16);
        assert_eq!(size_of::<WireAlert>(), 16);
        assert!(HEADER_LEN + 8 + MOST_ALERTS * 16 <= max_frame(1));
    }

    #[test]
    fn header_bytes_of_a_reset_command() {
        let header = Header::command(0x0102, Command::DeviceReset, 0);
        let bytes = [2, 1, 13, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(header.as_bytes(), bytes);
        let failed = header.failure(arch::Errno::EIO);
        let bytes = [2, 1, 13, 0, 16, 0, 0, 0, 0x21, 0, 0, 0, 5, 0, 0, 0];
        assert_eq!(failed.as_bytes(), bytes);
    }

    #[test]
    fn command_numbers_round_trip() {
        for command in Command::ALL {
            assert_eq!(Command::from_raw(command.raw()), Some(*command));
        }
        assert_eq!(Command::from_raw(5), None);
    }

    proptest! {
        #[test]
        fn any_sixteen_bytes_are_judged_without_panic(bytes: [u8; 16], limit in 0usize..1 << 20) {
            let header = Header::read_from_bytes(&bytes).unwrap();
            prop_assert_eq!(header.as_bytes(), &bytes[..]);
            if let Some(payload) = header.payload_len(limit) {
                prop_assert!(payload + HEADER_LEN <= limit);
                prop_assert_eq!(payload + HEADER_LEN, header.size.get() as usize);
            }
            let _flags = header.known_flags();
        }
    }
}
