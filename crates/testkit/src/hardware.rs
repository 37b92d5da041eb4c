//! A fake of one partition's AP hardware, independent of the `machine` crate: enough to boot a bus on
//! it and to replay transcripts. It answers as the hardware behind the recordings did (README of the
//! transcripts): resets finish at once and no queue ever holds a message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arch::instruction::{Dequeued, Instruction, Outcome};
use arch::qci::{QciBlock, QciFlags};
use arch::status::{QueueStatus, ResponseCode, StatusFlags};
use arch::tapq::{ApType, CardMode, HwInfo};
use arch::{ApInstructions, Apid, Apqi, Apqn, Facilities};

/// One adapter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FakeCard {
    /// AP type as TAPQ reports it.
    pub ap_type: ApType,
    /// Mode.
    pub mode: CardMode,
    /// Response code of every queue: 00, 03 deconfigured or 04 check-stopped.
    pub code: ResponseCode,
}

/// Response codes that a queue answers before it is normal again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Script {
    resets: VecDeque<ResponseCode>,
    tests: VecDeque<ResponseCode>,
}

/// The fake. `Clone` gives an independent machine in the same state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hardware {
    cards: BTreeMap<u8, FakeCard>,
    usage: BTreeSet<u8>,
    control: BTreeSet<u8>,
    na: u8,
    nd: u8,
    has_qci: bool,
    hidden: BTreeSet<Apqn>,
    zapq_code: BTreeMap<Apqn, ResponseCode>,
    scripts: BTreeMap<Apqn, Script>,
    interrupts: BTreeSet<Apqn>,
    /// Every ZAPQ so far, in order.
    pub zeroized: Vec<Apqn>,
}

/// A SPEC that does not follow the language of the transcripts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpecError(pub String);

impl std::fmt::Display for SpecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host spec: {}", self.0)
    }
}

impl std::error::Error for SpecError {}

impl Hardware {
    /// A partition without adapters and domains; numbers up to 255.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            cards: BTreeMap::new(),
            usage: BTreeSet::new(),
            control: BTreeSet::new(),
            na: 255,
            nd: 255,
            has_qci: true,
            hidden: BTreeSet::new(),
            zapq_code: BTreeMap::new(),
            scripts: BTreeMap::new(),
            interrupts: BTreeSet::new(),
            zeroized: Vec::new(),
        }
    }

    /// Parses a SPEC.
    ///
    /// # Errors
    /// [`SpecError`] with the item that is wrong.
    pub fn parse(spec: &str) -> Result<Self, SpecError> {
        let mut hardware = Self::empty();
        for item in spec
            .split(';')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            hardware
                .item(item)
                .ok_or_else(|| SpecError(String::from(item)))?;
        }
        Ok(hardware)
    }

    fn item(&mut self, item: &str) -> Option<()> {
        let words: Vec<&str> = item.split_ascii_whitespace().collect();
        let number = |text: &str| text.parse::<u8>().ok();
        match words.as_slice() {
            ["card", id, ap_type, mode] => {
                let card = FakeCard {
                    ap_type: ApType(number(ap_type)?),
                    mode: CardMode::from_letter(mode.parse().ok()?)?,
                    code: ResponseCode::NORMAL,
                };
                self.cards.insert(number(id)?, card);
            }
            ["dom", id] => _ = self.usage.insert(number(id)?),
            ["cdom", id] => _ = self.control.insert(number(id)?),
            ["na", id] => self.na = number(id)?,
            ["nd", id] => self.nd = number(id)?,
            ["decfg", id] => self.cards.get_mut(&number(id)?)?.code = ResponseCode::DECONFIGURED,
            ["chkstop", id] => self.cards.get_mut(&number(id)?)?.code = ResponseCode::CHECKSTOPPED,
            _ => return None,
        }
        Some(())
    }

    /// Replaces adapters, domains and limits; what was hidden or forced stays.
    ///
    /// # Errors
    /// [`SpecError`]; nothing changed.
    pub fn replace(&mut self, spec: &str) -> Result<(), SpecError> {
        let new = Self::parse(spec)?;
        self.cards = new.cards;
        self.usage = new.usage;
        self.control = new.control;
        (self.na, self.nd) = (new.na, new.nd);
        Ok(())
    }

    /// TAPQ answers 01 for this queue although adapter and domain are configured.
    pub fn hide(&mut self, apqn: Apqn) {
        self.hidden.insert(apqn);
    }

    /// ZAPQ of this queue answers `code` from now on.
    pub fn force_zapq(&mut self, apqn: Apqn, code: ResponseCode) {
        self.zapq_code.insert(apqn, code);
    }

    /// The next resets and tests of this queue answer these codes, one after the other.
    pub fn script(&mut self, apqn: Apqn, resets: &[u8], tests: &[u8]) {
        let codes = |codes: &[u8]| codes.iter().copied().map(ResponseCode).collect();
        let script = Script {
            resets: codes(resets),
            tests: codes(tests),
        };
        self.scripts.insert(apqn, script);
    }

    /// What is left of the script of this queue: resets and tests.
    #[must_use]
    pub fn script_left(&self, apqn: Apqn) -> (usize, usize) {
        let script = self.scripts.get(&apqn);
        script.map_or((0, 0), |script| (script.resets.len(), script.tests.len()))
    }

    /// The QCI facility disappears.
    pub const fn remove_qci(&mut self) {
        self.has_qci = false;
    }

    /// The adapters.
    #[must_use]
    pub const fn cards(&self) -> &BTreeMap<u8, FakeCard> {
        &self.cards
    }

    /// Configures or deconfigures an adapter; `false` when there is none.
    pub fn configure(&mut self, apid: Apid, configured: bool) -> bool {
        let Some(card) = self.cards.get_mut(&apid.0) else {
            return false;
        };
        card.code = if configured {
            ResponseCode::NORMAL
        } else {
            ResponseCode::DECONFIGURED
        };
        true
    }

    fn qci_block(&self) -> QciBlock {
        QciBlock {
            flags: QciFlags::all(),
            na: self.na,
            nd: self.nd,
            apm: self.cards.keys().copied().map(Apid).collect(),
            aqm: self.usage.iter().copied().map(Apqi).collect(),
            adm: self.control.iter().copied().map(Apqi).collect(),
        }
    }

    fn card_of(&self, apqn: Apqn) -> Option<&FakeCard> {
        let reachable = self.usage.contains(&apqn.apqi.0) && !self.hidden.contains(&apqn);
        self.cards.get(&apqn.apid.0).filter(|_| reachable)
    }

    fn status(&self, apqn: Apqn) -> QueueStatus {
        let Some(card) = self.card_of(apqn) else {
            return QueueStatus::code_only(ResponseCode::NOT_AVAILABLE);
        };
        let mut flags = StatusFlags::EMPTY;
        flags.set(StatusFlags::INTERRUPTS, self.interrupts.contains(&apqn));
        QueueStatus::new(card.code, flags)
    }

    fn reset(&mut self, apqn: Apqn) -> QueueStatus {
        let script = self.scripts.get_mut(&apqn);
        if let Some(code) = script.and_then(|script| script.resets.pop_front()) {
            self.interrupts.remove(&apqn);
            return QueueStatus::code_only(code);
        }
        if let Some(code) = self.zapq_code.get(&apqn) {
            return QueueStatus::code_only(*code);
        }
        self.interrupts.remove(&apqn);
        self.status(apqn)
    }
}

/// TAPQ facility word of each mode, as recorded.
const fn functions(mode: CardMode) -> u32 {
    match mode {
        CardMode::Accelerator => 0xea00_0000,
        CardMode::Ep11 => 0xe600_0000,
        CardMode::Cca => 0xf200_0000,
    }
}

impl ApInstructions for Hardware {
    fn facilities(&self) -> Facilities {
        let mut facilities = Facilities::all();
        facilities.set(Facilities::APQCI, self.has_qci);
        facilities
    }

    fn execute(&mut self, instruction: &Instruction<'_>, _reply: &mut [u8]) -> Outcome {
        match *instruction {
            Instruction::Qci => Outcome::Qci(self.qci_block()),
            Instruction::Tapq { apqn, .. } => {
                let info = self.card_of(apqn).map_or(HwInfo(0), |card| {
                    HwInfo::new(functions(card.mode), card.ap_type, 0, 2, 7)
                });
                let script = self.scripts.get_mut(&apqn);
                let scripted = script.and_then(|script| script.tests.pop_front());
                let mut status = self.status(apqn);
                if let Some(code) = scripted {
                    // 35 and 36 are asynchronous errors.
                    status.flags.set(StatusFlags::ASYNC, code.0 >= 0x30);
                    status.code = code;
                }
                Outcome::Tapq { status, info }
            }
            Instruction::Qact { apqn, .. } => {
                let info = self
                    .card_of(apqn)
                    .map_or(0, |card| u64::from(card.ap_type.0) << 24);
                Outcome::Qact {
                    status: self.status(apqn),
                    info,
                }
            }
            Instruction::Rapq { apqn, .. } => Outcome::Status(self.reset(apqn)),
            Instruction::Zapq { apqn, .. } => {
                self.zeroized.push(apqn);
                Outcome::Status(self.reset(apqn))
            }
            Instruction::Aqic { apqn, control, .. } => {
                if control.enables() && self.status(apqn).code == ResponseCode::NORMAL {
                    self.interrupts.insert(apqn);
                } else {
                    self.interrupts.remove(&apqn);
                }
                Outcome::Status(QueueStatus::code_only(self.status(apqn).code))
            }
            Instruction::Nqap { apqn, .. } => Outcome::Status(self.status(apqn)),
            Instruction::Dqap { apqn } => {
                let mut status = self.status(apqn);
                if status.code == ResponseCode::NORMAL {
                    status.code = ResponseCode::FULL_OR_NO_REPLY;
                }
                Outcome::Dqap(Dequeued::nothing(status))
            }
        }
    }
}
