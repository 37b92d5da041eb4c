//! What is printed: the machine, versions, the table.

use std::fs;

use crate::api::Library;
use crate::operation::{Contender, Operation};
use crate::rounds::Speed;

/// What these libraries choose their code by.
const FEATURES: [&str; 6] = ["bmi2", "adx", "avx2", "avx512f", "avx512ifma", "avx_ifma"];

/// The exact versions of what is built here.
const LOCK: &str = include_str!("../Cargo.lock");

/// The CPU, its features, and the machine's load at this moment.
pub(crate) fn print_machine(moment: &str) {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info
            .lines()
            .find(|line| line.split(':').next().map(str::trim_end) == Some(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or("?", |(_, value)| value.trim())
    };
    if moment == "before" {
        let flags: Vec<&str> = field("flags").split(' ').collect();
        let marks = FEATURES.map(|feature| {
            let mark = if flags.contains(&feature) { '+' } else { '-' };
            format!("{mark}{feature}")
        });
        println!(
            "CPU: {} (family {}, model {}), {} cores; {}",
            field("model name"),
            field("cpu family"),
            field("model"),
            std::thread::available_parallelism().map_or(0, usize::from),
            marks.join(" ")
        );
    }
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    println!("load {moment} the run: {}", load.join(" "));
}

/// Versions, how each library was built, and what is not there.
pub(crate) fn print_libraries(libraries: &[Library], skipped: Option<&str>) {
    for library in libraries {
        println!("{}: {}", library.name, library.version());
    }
    if let Some(reason) = skipped {
        println!("SKIPPED OpenSSL, distribution: {reason}");
    }
    if cfg!(feature = "aws-lc") {
        println!(
            "AWS-LC was built by aws-lc-sys {} from source, with its assembly, at the release profile's level",
            locked("aws-lc-sys")
        );
    } else {
        println!("SKIPPED AWS-LC: built without the feature aws-lc");
    }
    println!("crypto-bigint: {}", locked("crypto-bigint"));
}

/// A crate's version in the lock file.
fn locked(name: &str) -> &'static str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = LOCK.split_once(&entry).map(|(_, rest)| rest);
    version
        .and_then(|rest| rest.split('"').next())
        .unwrap_or("?")
}

/// The table, in Markdown, printed as results come.
pub(crate) struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// Prints the head.
    pub(crate) fn begin(contenders: &[Box<dyn Contender + '_>]) -> Self {
        let mut head = vec!["bits".to_owned(), "operation".to_owned()];
        head.extend(
            contenders
                .iter()
                .map(|contender| contender.name().to_owned()),
        );
        let mut widths: Vec<usize> = head.iter().map(|name| name.len().max(15)).collect();
        (widths[0], widths[1]) = (4, 24);
        let table = Self { widths };
        table.print(&head);
        println!("|{}", "---|".repeat(head.len()));
        table
    }

    /// Prints the speeds at one operation.
    pub(crate) fn line(&self, bits: u32, operation: Operation, speeds: &[Speed]) {
        let mut cells = vec![bits.to_string(), operation.name().to_owned()];
        let speeds = speeds.iter().zip(0..);
        cells.extend(speeds.map(|(Speed { rate, ratio }, at)| {
            if at == 0 {
                format!("{rate:.0}")
            } else {
                format!("{rate:.0} ({ratio:.2})")
            }
        }));
        self.print(&cells);
    }

    fn print(&self, cells: &[String]) {
        let padded = cells
            .iter()
            .zip(&self.widths)
            .map(|(cell, width)| format!(" {cell:<width$} |"));
        println!("|{}", padded.collect::<String>());
    }
}
