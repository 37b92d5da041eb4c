//! Which shared libraries an s390x program needs: just enough ELF to fill an initramfs.

use anyhow::{Context, Result, bail, ensure};

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
const TAG_NEEDED: u64 = 1;
const TAG_STRINGS: u64 = 5;

/// What a program asks of its system.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Path of the dynamic loader, if there is one.
    pub(super) interpreter: Option<String>,
    /// File names of shared libraries.
    pub(super) libraries: Vec<String>,
}

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// Reads a 64-bit big-endian ELF file; `None` if `bytes` are something else (a script, say).
pub(super) fn needs(bytes: &[u8]) -> Result<Option<Needs>> {
    if !bytes.starts_with(b"\x7fELF\x02\x02") {
        return Ok(None);
    }
    let segments = segments(bytes)?;
    let mut needs = Needs::default();
    if let Some(segment) = segments.iter().find(|s| s.kind == INTERPRETER) {
        needs.interpreter = Some(text(bytes, segment.offset)?);
    }
    let Some(dynamic) = segments.iter().find(|s| s.kind == DYNAMIC) else {
        return Ok(Some(needs));
    };
    let mut entries = Vec::new();
    for at in (dynamic.offset..dynamic.offset + dynamic.size).step_by(16) {
        entries.push((number(bytes, at, 8)?, number(bytes, at + 8, 8)?));
    }
    let Some(&(_, strings)) = entries.iter().find(|(tag, _)| *tag == TAG_STRINGS) else {
        bail!("ELF file without a string table");
    };
    let strings = segments
        .iter()
        .filter(|s| s.kind == LOAD)
        .find_map(|s| Some(strings.checked_sub(s.address).filter(|at| *at < s.size)? + s.offset))
        .context("ELF string table outside the file")?;
    for (_, name) in entries.iter().filter(|(tag, _)| *tag == TAG_NEEDED) {
        needs.libraries.push(text(bytes, strings + name)?);
    }
    Ok(Some(needs))
}

fn segments(bytes: &[u8]) -> Result<Vec<Segment>> {
    let (table, size, count) = (
        number(bytes, 32, 8)?,
        number(bytes, 54, 2)?,
        number(bytes, 56, 2)?,
    );
    ensure!(size == 56, "ELF program headers of {size} bytes");
    (0..count)
        .map(|i| {
            let at = table + i * size;
            Ok(Segment {
                kind: u32::try_from(number(bytes, at, 4)?)?,
                offset: number(bytes, at + 8, 8)?,
                address: number(bytes, at + 16, 8)?,
                size: number(bytes, at + 32, 8)?,
            })
        })
        .collect()
}

/// A big-endian number of `size` bytes.
fn number(bytes: &[u8], at: u64, size: usize) -> Result<u64> {
    let at = usize::try_from(at)?;
    let field = at.checked_add(size).and_then(|end| bytes.get(at..end));
    let field = field.context("truncated ELF file")?;
    Ok(field
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn text(bytes: &[u8], at: u64) -> Result<String> {
    let rest = bytes
        .get(usize::try_from(at)?..)
        .context("truncated ELF file")?;
    let end = rest
        .iter()
        .position(|byte| *byte == 0)
        .context("truncated ELF file")?;
    Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a header, one loaded segment, one dynamic segment and a string table.
    fn sample() -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x02");
        file[32..40].copy_from_slice(&64u64.to_be_bytes());
        file[54..56].copy_from_slice(&56u16.to_be_bytes());
        file[56..58].copy_from_slice(&2u16.to_be_bytes());
        let mut segment = |kind: u32, offset: u64, address: u64, size: u64| {
            file.extend(kind.to_be_bytes());
            file.extend([0; 4]);
            for field in [offset, address, address, size, size, 8] {
                file.extend(field.to_be_bytes());
            }
        };
        segment(LOAD, 0, 0x1000, 0x1000);
        segment(DYNAMIC, 176, 0x10b0, 48);
        for word in [TAG_NEEDED, 1, TAG_STRINGS, 0x1000 + 224, 0, 0] {
            file.extend(word.to_be_bytes());
        }
        file.extend(b"\0libc.so.6\0");
        file
    }

    #[test]
    fn libraries_are_found_through_the_string_table() {
        let needs = needs(&sample()).unwrap().unwrap();
        assert_eq!(needs.libraries, ["libc.so.6"]);
        assert_eq!(needs.interpreter, None);
    }

    #[test]
    fn other_files_need_nothing_and_short_ones_are_errors() {
        assert_eq!(needs(b"#!/bin/sh\n").unwrap(), None);
        let whole = sample();
        for length in 6..whole.len() {
            needs(&whole[..length]).unwrap_err();
        }
    }
}
