//! The archive format of an initramfs ("newc" cpio), written without root: device nodes are just
//! entries of the archive.

use std::collections::BTreeSet;
use std::io::{self, Write};

const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;
/// The kernel skips zeros between archives up to any multiple of four; whole blocks are customary.
const BLOCK: u64 = 512;

/// A file to put into a guest beside what the image has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraFile {
    /// Path in the guest, with or without the leading slash.
    pub path: String,
    /// Contents.
    pub bytes: Vec<u8>,
    /// Permission bits, such as `0o755`.
    pub mode: u32,
}

/// Makes an archive of `files` that can be appended to an initramfs.
pub(crate) fn extra_archive(files: &[ExtraFile]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = CpioWriter::new(&mut bytes);
    for file in files {
        writer.file(&file.path, &file.bytes, file.mode)?;
    }
    writer.finish()?;
    Ok(bytes)
}

/// Writes one archive; missing parent directories are added by themselves.
#[derive(Debug)]
pub(crate) struct CpioWriter<W> {
    out: W,
    written: u64,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> CpioWriter<W> {
    /// Starts an archive.
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            written: 0,
            inode: 0,
            directories: BTreeSet::new(),
        }
    }

    /// Adds a directory (once, however often it is named).
    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        let path = relative(path);
        self.parents(path)?;
        self.one_directory(path)
    }

    /// Adds a regular file.
    pub(crate) fn file(&mut self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let path = relative(path);
        self.parents(path)?;
        self.entry(path, REGULAR | (mode & 0o7777), bytes, (0, 0))
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        let path = relative(path);
        self.parents(path)?;
        self.entry(path, SYMLINK | 0o777, target.as_bytes(), (0, 0))
    }

    /// Adds a character device node.
    pub(crate) fn device(&mut self, path: &str, mode: u32, number: (u32, u32)) -> io::Result<()> {
        let path = relative(path);
        self.parents(path)?;
        self.entry(path, CHARACTER | (mode & 0o7777), &[], number)
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, &[], (0, 0))?;
        self.pad(BLOCK)?;
        self.out.flush()
    }

    fn parents(&mut self, path: &str) -> io::Result<()> {
        for (at, _) in path.match_indices('/') {
            self.one_directory(&path[..at])?;
        }
        Ok(())
    }

    fn one_directory(&mut self, path: &str) -> io::Result<()> {
        if path.is_empty() || !self.directories.insert(path.to_owned()) {
            return Ok(());
        }
        self.entry(path, DIRECTORY | 0o755, &[], (0, 0))
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8], device: (u32, u32)) -> io::Result<()> {
        self.inode += 1;
        let links = if mode & TYPE == DIRECTORY { 2 } else { 1 };
        let header = [
            self.inode,
            mode,
            0, // user
            0, // group
            links,
            0, // time: equal inputs give equal archives
            length(data)?,
            0, // device that holds the file
            0,
            device.0,
            device.1,
            length(name.as_bytes())? + 1,
            0, // check sum: unused in this format
        ];
        let mut text = String::from("070701");
        for field in header {
            text.push_str(&format!("{field:08x}"));
        }
        self.put(text.as_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.pad(4)?;
        self.put(data)?;
        self.pad(4)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, to: u64) -> io::Result<()> {
        while !self.written.is_multiple_of(to) {
            self.put(&[0])?;
        }
        Ok(())
    }
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn length(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| io::Error::other("a file is too large for an initramfs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_once_and_first_and_entries_are_aligned() {
        let file = |path: &str| ExtraFile {
            path: path.into(),
            bytes: vec![7; 5],
            mode: 0o755,
        };
        let bytes = extra_archive(&[file("/extra/run/a"), file("extra/run/b")]).unwrap();
        assert_eq!(bytes.len() % 512, 0);
        let names = names(&bytes);
        assert_eq!(
            names,
            [
                "extra",
                "extra/run",
                "extra/run/a",
                "extra/run/b",
                "TRAILER!!!"
            ]
        );
    }

    #[test]
    fn device_numbers_are_in_their_fields() {
        let mut bytes = Vec::new();
        let mut writer = CpioWriter::new(&mut bytes);
        writer.device("dev/console", 0o600, (5, 1)).unwrap();
        writer.finish().unwrap();
        let at = bytes.windows(11).position(|w| w == b"dev/console").unwrap();
        let header = std::str::from_utf8(&bytes[at - 110..at]).unwrap();
        assert_eq!(&header[14..22], "00002180", "mode");
        assert_eq!(&header[78..94], "0000000500000001", "device number");
    }

    /// Walks the archive by its own lengths, as the kernel does.
    fn names(bytes: &[u8]) -> Vec<String> {
        let mut at = 0;
        let mut found = Vec::new();
        loop {
            let field = |i: usize| {
                let text = std::str::from_utf8(&bytes[at + 6 + 8 * i..at + 14 + 8 * i]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            assert_eq!(&bytes[at..at + 6], b"070701");
            let (size, name) = (field(6), field(11));
            let text = std::str::from_utf8(&bytes[at + 110..at + 110 + name - 1]).unwrap();
            found.push(text.to_owned());
            if text == "TRAILER!!!" {
                return found;
            }
            at = (at + 110 + name).next_multiple_of(4) + size;
            at = at.next_multiple_of(4);
        }
    }
}
