//! What an idle daemon weighs: a process of its own, as `apmatrix serve` starts it.

use std::fmt::Write as _;

use anyhow::Result;

use super::IDLE_MIB;
use super::files::{ADAPTERS, DOMAINS};
use crate::bench::child::ChildDaemon;
use crate::bench::scoreboard::Scoreboard;

pub(super) fn run(board: &mut Scoreboard<'_>) -> Result<()> {
    let daemon = ChildDaemon::start(&machine_file()?)?;
    let row = format!("idle, {ADAPTERS} adapters x {DOMAINS} domains, resident");
    board.judge(&row, daemon.memory("status", "VmRSS:")?, "MiB", IDLE_MIB)
}

fn machine_file() -> Result<String> {
    let domains: Vec<u8> = (0..DOMAINS).collect();
    let mut text = format!("[domains]\nusage = {domains:?}\ncontrol = {domains:?}\n");
    for id in 0..ADAPTERS {
        write!(text, "[[adapter]]\nid = {id}\ntype = \"CEX8A\"\n")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::admin::files::full_machine;
    use crate::daemon::Machinery;

    #[test]
    fn the_machine_file_says_the_full_machine() {
        let machine = Machinery::parse("machine.toml", &machine_file().unwrap()).unwrap();
        assert_eq!(
            machine.partition.to_string(),
            full_machine().partition.to_string()
        );
    }
}
