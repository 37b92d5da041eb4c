//! Texts that an administrator writes.

use arch::mask_text::parse_absolute;
use arch::{Apqn, Mask256, MaskEdit};
use machine::PartitionConfig;
use machine::faults::Order;
use matrix::MdevUuid;
use sysfs::number;

/// Masks of `apmask`, `aqmask` and `ap_config`: an edit is idempotent, and what a mask prints parses back
/// to it.
pub fn masks(text: &[u8]) {
    let Ok(edit) = MaskEdit::parse(text) else {
        let relative = matches!(text.first(), Some(b'+' | b'-'));
        assert!(relative || parse_absolute(text).is_err());
        return;
    };
    for start in [Mask256::EMPTY, Mask256::FULL] {
        let mask = edit.apply(start);
        assert_eq!(
            edit.apply(mask),
            mask,
            "an edit changes nothing the second time"
        );
        assert_eq!(parse_absolute(mask.to_string().as_bytes()), Ok(mask));
    }
}

/// The four number grammars, beside the standard library's where both accept.
pub fn numbers(text: &[u8]) {
    if let Ok(value) = number::unsigned(text) {
        assert_eq!(number::unsigned(value.to_string().as_bytes()), Ok(value));
        assert_eq!(
            number::unsigned(format!("{value:#x}\n").as_bytes()),
            Ok(value)
        );
    }
    let plain = std::str::from_utf8(text).ok();
    // A leading 0 makes it octal, which the standard library does not know.
    let decimal = plain
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0'))
        .and_then(|text| text.parse::<u64>().ok());
    if let Some(value) = decimal {
        assert_eq!(number::unsigned(text), Ok(value));
    }
    let scanned = [number::scan_decimal(text), number::scan_any_base(text)];
    for value in scanned.into_iter().flatten() {
        assert!(i32::try_from(value).is_ok(), "{value} is no int");
        assert_eq!(
            number::scan_decimal(value.to_string().as_bytes()),
            Some(value)
        );
    }
    let boolean = number::boolean(text);
    assert!(boolean.is_none() || !text.is_empty());
}

/// UUIDs of mediated devices, and queue numbers: one printed form, which parses back.
pub fn names(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    if let Ok(uuid) = text.parse::<MdevUuid>() {
        assert_eq!(uuid.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(apqn) = text.parse::<Apqn>() {
        assert_eq!(apqn.to_string(), text.to_ascii_lowercase());
    }
}

/// Orders of faults: what one prints parses back to it.
pub fn fault_order(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    if let Ok(order) = text.parse::<Order>() {
        assert_eq!(order.to_string().parse::<Order>(), Ok(order));
    }
}

/// SPEC, the text form of a partition: what one prints parses back to it and is valid.
pub fn spec(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    if let Ok(config) = PartitionConfig::parse_spec(text) {
        assert!(config.validate().is_ok());
        let again = PartitionConfig::parse_spec(&config.to_string());
        assert_eq!(again.as_ref(), Ok(&config));
    }
}
