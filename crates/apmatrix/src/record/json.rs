//! Events as JSON.

use arch::{Instruction, Outcome};
use serde_json::{Map, Value, json};

use super::dissect::{Registers, flag_names, hex, name};
use super::event::Event;
use super::message::describe;

/// An event as an object; numbers of registers are hexadecimal strings.
pub(crate) fn as_json(event: &Event<'_>) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    let register = |value: u64| json!(format!("{value:016x}"));
    put("time", json!(event.at.as_secs_f64()));
    put(
        "took_ns",
        json!(u64::try_from(event.took.as_nanos()).unwrap_or(u64::MAX)),
    );
    if event.dropped > 0 {
        put("lost_before", json!(event.dropped));
    }
    put("instruction", json!(name(&event.instruction)));
    if let Some(apqn) = event.instruction.apqn() {
        put("apqn", json!(apqn.to_string()));
    }
    let registers = Registers::of(&event.instruction);
    put("gr0", register(registers.gr0));
    for (key, value) in [("gr1_in", registers.gr1), ("gr2_in", registers.gr2)] {
        if let Some(value) = value {
            put(key, register(value));
        }
    }
    if let Instruction::Nqap { psmid, message, .. } = event.instruction {
        put("psmid", register(psmid));
        put("request", in_words(message, event.request_redacted));
    }
    if let Some(status) = event.outcome.status() {
        put("gr1", register(status.to_gr1()));
        put("cc", json!(status.condition_code()));
        put("rc", json!(format!("{:02x}", status.code.0)));
        put("rc_meaning", json!(status.code.meaning()));
        put("flags", json!(flag_names(status)));
    }
    match &event.outcome {
        Outcome::Exception(exception) => {
            put("exception", json!(format!("{:04x}", exception.code())));
        }
        Outcome::Status(_) => {}
        Outcome::Tapq { info, .. } => put("gr2", register(info.0)),
        Outcome::Qact { info, .. } => put("gr2", register(*info)),
        Outcome::Qci(block) => {
            put("apm", json!(block.apm.to_string()));
            put("aqm", json!(block.aqm.to_string()));
            put("adm", json!(block.adm.to_string()));
        }
        Outcome::Dqap(dequeued) => {
            put("psmid", register(dequeued.psmid));
            put("residual", json!(dequeued.residual));
            if !event.reply.is_empty() {
                put("reply", in_words(event.reply, event.reply_redacted));
            }
        }
    }
    Value::Object(object)
}

fn in_words(message: &[u8], is_redacted: bool) -> Value {
    json!({
        "length": message.len(),
        "header": describe(message),
        "redacted": is_redacted,
        "bytes": hex(message, ""),
    })
}
