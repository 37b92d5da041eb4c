//! Events as text: one line each, and the bytes behind it.

use std::time::Duration;

use arch::{CardMode, Instruction, Outcome, QueueStatus};

use super::event::Event;
use super::message::describe;

/// The registers of an instruction as its program sets them: the function or queue in GR0, and GR1 and
/// GR2 where the instruction has inputs there. Of a guest's unused bits the channel knows nothing.
pub(super) struct Registers {
    pub(super) gr0: u64,
    pub(super) gr1: Option<u64>,
    pub(super) gr2: Option<u64>,
}

const T_BIT: u64 = 0x0080_0000;
const F_BIT: u64 = 0x0040_0000;
const SPECIAL: u64 = 0x0040_0000;
const LAST_PART: u64 = 0x4000_0000;
const FIRST_CALL: u64 = 0x8000_0000;

impl Registers {
    pub(super) fn of(instruction: &Instruction<'_>) -> Self {
        let apqn = instruction
            .apqn()
            .map_or(0, |apqn| u64::from(apqn.to_u16()));
        let flag = |is_set: bool, bit| if is_set { bit } else { 0 };
        let function = |code: u64| code << 24 | apqn;
        let (gr0, gr1, gr2) = match *instruction {
            Instruction::Tapq { facilities, .. } => {
                (function(0) | flag(facilities, T_BIT), None, None)
            }
            Instruction::Rapq { force, .. } => (function(1) | flag(force, F_BIT), None, None),
            Instruction::Zapq { force, .. } => (function(2) | flag(force, F_BIT), None, None),
            Instruction::Aqic { control, nib, .. } => (function(3), Some(control.0), Some(nib)),
            Instruction::Qci => (function(4), None, None),
            Instruction::Qact { info, .. } => (function(5), Some(info), None),
            Instruction::Nqap { special, .. } => {
                (LAST_PART | flag(special, SPECIAL) | apqn, None, None)
            }
            Instruction::Dqap { .. } => (FIRST_CALL | apqn, None, None),
        };
        Self { gr0, gr1, gr2 }
    }
}

pub(super) const fn name(instruction: &Instruction<'_>) -> &'static str {
    match instruction {
        Instruction::Tapq { .. } => "TAPQ",
        Instruction::Rapq { .. } => "RAPQ",
        Instruction::Zapq { .. } => "ZAPQ",
        Instruction::Aqic { .. } => "AQIC",
        Instruction::Qci => "QCI",
        Instruction::Qact { .. } => "QACT",
        Instruction::Nqap { .. } => "NQAP",
        Instruction::Dqap { .. } => "DQAP",
    }
}

/// One line for an event. Times count from `start`.
pub(crate) fn line(event: &Event<'_>, start: Duration) -> String {
    let registers = Registers::of(&event.instruction);
    let queue = event
        .instruction
        .apqn()
        .map_or_else(|| "-".to_owned(), |apqn| apqn.to_string());
    let mut line = format!(
        "{:>12.6}  {queue:<7}  {:<4}  gr0 {:08x}",
        event.at.saturating_sub(start).as_secs_f64(),
        name(&event.instruction),
        registers.gr0
    );
    let mut put = |text: String| line.push_str(&text);
    for (register, value) in [("gr1", registers.gr1), ("gr2", registers.gr2)] {
        if let Some(value) = value {
            put(format!(" {register} {value:016x}"));
        }
    }
    if let Instruction::Nqap { psmid, message, .. } = event.instruction {
        put(format!(
            " psmid {psmid:016x} {} bytes, {}",
            message.len(),
            describe(message)
        ));
    }
    put(" -> ".to_owned());
    put(outcome(event));
    if event.dropped > 0 {
        put(format!("  ({} lost before)", event.dropped));
    }
    line
}

fn outcome(event: &Event<'_>) -> String {
    match &event.outcome {
        Outcome::Exception(exception) => {
            format!("program exception {:04x} ({exception:?})", exception.code())
        }
        Outcome::Status(status) => in_words(*status),
        Outcome::Tapq { status, info } => format!(
            "{} gr2 {:016x} (CEX{}{}, depth {}, messages up to {})",
            in_words(*status),
            info.0,
            info.ap_type().generation(),
            info.mode().map_or('-', CardMode::letter),
            u16::from(info.qd()) + 1,
            info.max_message_size()
        ),
        Outcome::Qact { status, info } => format!("{} gr2 {info:016x}", in_words(*status)),
        Outcome::Qci(block) => format!(
            "cc 0 flags {:08x} na {} nd {} apm {} aqm {} adm {}",
            block.flags.bits(),
            block.na,
            block.nd,
            block.apm,
            block.aqm,
            block.adm
        ),
        Outcome::Dqap(dequeued) if dequeued.stored == 0 && dequeued.residual == 0 => {
            in_words(dequeued.status)
        }
        Outcome::Dqap(dequeued) => {
            let rest = match dequeued.residual {
                0 => String::new(),
                rest => format!(" ({rest} remain)"),
            };
            format!(
                "{} psmid {:016x} {} bytes{rest}, {}",
                in_words(dequeued.status),
                dequeued.psmid,
                dequeued.stored,
                describe(event.reply)
            )
        }
    }
}

pub(super) fn flag_names(status: QueueStatus) -> String {
    let names = status
        .flags
        .iter_names()
        .map(|(name, _)| name.to_ascii_lowercase());
    names.collect::<Vec<_>>().join(",")
}

fn in_words(status: QueueStatus) -> String {
    let flags = flag_names(status);
    let space = if flags.is_empty() { "" } else { " " };
    format!(
        "gr1 {:08x} cc {} rc {}{space}{flags}",
        status.to_gr1(),
        status.condition_code(),
        status.code
    )
}

/// The bytes of an event's messages, sixteen a line.
pub(crate) fn verbose(event: &Event<'_>) -> String {
    let mut text = String::new();
    if let Instruction::Nqap { message, .. } = event.instruction {
        dump(&mut text, "request", message, event.request_redacted);
    }
    dump(&mut text, "reply", event.reply, event.reply_redacted);
    text
}

fn dump(text: &mut String, what: &str, bytes: &[u8], is_redacted: bool) {
    if bytes.is_empty() {
        return;
    }
    let mark = if is_redacted {
        " (redacted behind its header)"
    } else {
        ""
    };
    text.push_str(&format!("    {what}{mark}\n"));
    for (number, row) in bytes.chunks(16).enumerate() {
        text.push_str(&format!("    {:04x}  {}\n", number * 16, hex(row, " ")));
    }
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8], between: &str) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(between)
}
