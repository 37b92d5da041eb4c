//! A card: what it says about itself and how it answers a message.

use arch::tapq::function;
use arch::{ApType, Apqi, CardMode, HwInfo};

use crate::accelerator;
use crate::error_reply::{self, ReplyCode};
use crate::keys::{KeyStore, NoKeys};
use crate::reply::Reply;

/// The longest message that a card takes or gives, in bytes: its ML field times 4096.
pub const MAX_MESSAGE: usize = ML_FIELD as usize * 4096;

/// ML field of TAPQ: message limit in units of 4096 bytes.
const ML_FIELD: u8 = 2;
/// QD field of TAPQ: one less than the messages that a queue holds.
const QD_FIELD: u8 = 7;

/// A Crypto Express adapter: a hardware generation in a mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Card {
    ap_type: ApType,
    mode: CardMode,
}

/// One message for a card.
#[derive(Clone, Copy)]
pub struct Request<'m> {
    /// The usage domain that the message came through; it decides which master keys apply.
    pub domain: Apqi,
    /// The special-command bit of NQAP. It means nothing to an accelerator.
    pub special: bool,
    /// The message.
    pub message: &'m [u8],
}

impl Card {
    /// A card of this type and mode.
    #[must_use]
    pub const fn new(ap_type: ApType, mode: CardMode) -> Self {
        Self { ap_type, mode }
    }

    /// Hardware generation.
    #[must_use]
    pub const fn ap_type(&self) -> ApType {
        self.ap_type
    }

    /// Mode.
    #[must_use]
    pub const fn mode(&self) -> CardMode {
        self.mode
    }

    /// The facility word: what the card can do. The values are those of the hardware behind the
    /// recorded transcripts.
    #[must_use]
    pub const fn functions(&self) -> u32 {
        const COMMON: u32 = function::APSC | function::MEX_4K | function::CRT_4K | function::APXA;
        COMMON
            | match self.mode {
                CardMode::Accelerator => function::ACCELERATOR,
                CardMode::Cca => function::CCA,
                CardMode::Ep11 => function::EP11,
            }
    }

    /// What TAPQ answers in GR2 for each queue of the card: message limit 8 KiB, depth 8.
    #[must_use]
    pub const fn hw_info(&self) -> HwInfo {
        HwInfo::new(self.functions(), self.ap_type, 0, ML_FIELD, QD_FIELD)
    }

    /// What a defect of a model would do in the middle of a request: it panics. For faults on demand,
    /// so that the way from a panic to the check-stop can be walked.
    #[expect(clippy::panic, reason = "the panic is what is asked for")]
    pub fn fail(&self, request: &Request<'_>) -> ! {
        panic!("a fault on demand in the model of {self:?} at {request:?}")
    }

    /// Answers one message. Any bytes get a well-formed reply.
    ///
    /// CCA and EP11 cards are not modelled yet: they refuse every message as malformed, which Linux
    /// reports to the requester as EINVAL without retrying and without taking the queue offline.
    pub fn process(&self, request: &Request<'_>, reply: &mut Reply) {
        self.process_with(request, &NoKeys, reply);
    }

    /// As [`process`](Self::process), with the prepared keys of whoever sent the message.
    pub fn process_with(&self, request: &Request<'_>, keys: &dyn KeyStore, reply: &mut Reply) {
        match self.mode {
            CardMode::Accelerator => {
                accelerator::process(self.functions(), request.message, keys, reply);
            }
            CardMode::Cca | CardMode::Ep11 => error_reply::encode(ReplyCode::Malformed, reply),
        }
    }
}

/// The message may hold a key: only its length is shown.
impl core::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Request")
            .field("domain", &self.domain)
            .field("special", &self.special)
            .field("len", &self.message.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_recorded_hardware() {
        let functions = |mode| Card::new(ApType::CEX8, mode).functions();
        assert_eq!(functions(CardMode::Accelerator), 0xea00_0000);
        assert_eq!(functions(CardMode::Ep11), 0xe600_0000);
        assert_eq!(functions(CardMode::Cca), 0xf200_0000);
        let info = Card::new(ApType::CEX8, CardMode::Accelerator).hw_info();
        assert_eq!(info.0, 0xea00_0000_0e00_0207);
        assert_eq!(info.max_message_size(), MAX_MESSAGE);
    }

    #[test]
    fn coprocessors_refuse_everything_for_now() {
        let mut reply = Reply::new();
        for mode in [CardMode::Cca, CardMode::Ep11] {
            let request = Request {
                domain: Apqi(6),
                special: true,
                message: &[0, 6, 0, 0],
            };
            Card::new(ApType::CEX8, mode).process(&request, &mut reply);
            assert_eq!(reply.bytes(), [0, 0x82, 0, 0, 0x40, 0, 0, 0]);
        }
    }
}
