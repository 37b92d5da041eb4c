//! Temporary driver for the image and launch modules; the real command line replaces it.
mod image;
mod launch;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use image::cpio::ExtraFile;
use launch::{GuestConsole, Launch, Plugin};

#[expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "temporary driver"
)]
fn main() -> anyhow::Result<ExitCode> {
    let verb = std::env::args().nth(1).unwrap_or_default();
    if verb == "qemu" {
        let qemu = match std::env::args_os().nth(2) {
            Some(file) => launch::Qemu::from_program(file.as_ref())?,
            None => image::ensure_qemu(&image::default_dir(), &mut |line| eprintln!("{line}"))?,
        };
        println!("{}", qemu.version());
        return Ok(ExitCode::SUCCESS);
    }
    let image = image::ensure(&image::default_dir(), &mut |line| eprintln!("{line}"))?;
    let mut launch = Launch::new(&image);
    if let Some(file) = std::env::var_os("PLUGIN") {
        let file = launch::find_plugin(Some(file.as_ref()))?;
        launch.plugin = Some(Plugin {
            file,
            arguments: Vec::new(),
        });
    }
    if let Some(file) = std::env::var_os("VECTORS") {
        let bytes = std::fs::read(file)?;
        launch.extra_files.push(ExtraFile {
            path: "/extra/vectors".into(),
            bytes,
            mode: 0o644,
        });
    }
    match verb.as_str() {
        "image" => println!("{image:?}"),
        "run" => {
            let status = launch.run()?;
            return Ok(if status.success() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        "try" => {
            let limit = Duration::from_secs(30);
            let start = Instant::now();
            let mut guest = GuestConsole::boot(&launch, limit)?;
            println!("boot {:?} process {}", start.elapsed(), guest.process_id());
            for command in std::env::args().skip(2) {
                println!("{command}: {:?}", guest.run(&command, limit)?);
            }
            let start = Instant::now();
            guest.send("reboot")?;
            guest.wait_ready(limit)?;
            println!("reboot {:?}", start.elapsed());
            println!("{}", guest.run("uptime", limit)?.success()?);
            println!("{}", guest.power_off(limit)?);
        }
        _ => println!("image | run | try COMMAND..."),
    }
    Ok(ExitCode::SUCCESS)
}
