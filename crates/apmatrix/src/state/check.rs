//! What holds of any bytes that are read as a journal; for fuzzing.

use std::sync::Arc;

use anyhow::Result;
use machine::{Machine, PartitionConfig};

use super::begin::{Recovered, recover};
use super::frame::{self, Chain};
use super::snapshot::{self, Image};

/// Reads a journal from memory. What is understood can be written as a snapshot, which gives the same
/// host and the same hardware; a torn record at its end changes nothing.
///
/// Bytes that do not begin with the first line of a journal are taken for payloads, one per line, and
/// get lengths and checksums: nobody finds these by chance.
///
/// # Panics
/// When one of these does not hold.
pub(crate) fn check(bytes: &[u8]) {
    let framed;
    let content = if bytes.starts_with(frame::header().as_bytes()) {
        bytes
    } else {
        framed = frame_lines(bytes);
        &framed
    };
    let Ok(first) = recover(content, None, make) else {
        return;
    };
    let (_, length) = first.end;
    assert_eq!(length + first.torn, content.len(), "bytes are unaccounted");
    if first.torn > 0 {
        let whole = recover(&content[..length], None, make).expect("the torn record is dropped");
        assert!(whole.torn == 0 && whole.host == first.host);
    }
    let image = image(&first);
    let (text, chain, _) = snapshot::text(&first.origin, &image).expect("a snapshot is JSON");
    let again = recover(&text, None, make).expect("a snapshot that was written can be read");
    assert_eq!(again.end, (chain, text.len()));
    assert!(again.host == first.host, "another host came back");
    assert_eq!(self::image(&again).spec, image.spec, "other hardware");
}

fn make(partition: &PartitionConfig) -> Result<Arc<Machine>> {
    Ok(Arc::new(Machine::new(partition, Box::new(|_| {}))?))
}

fn image(recovered: &Recovered) -> Image {
    Image {
        spec: recovered.machine.config().to_string(),
        host: recovered.host.clone(),
    }
}

fn frame_lines(bytes: &[u8]) -> Vec<u8> {
    let (mut framed, mut chain) = (frame::header().into_bytes(), Chain::default());
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(payload) = std::str::from_utf8(line)
            && !payload.is_empty()
        {
            frame::put(&mut framed, &mut chain, payload);
        }
    }
    framed
}
