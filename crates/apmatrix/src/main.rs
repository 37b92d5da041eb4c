//! The program `apmatrix`; under the name `apmatrix-qemu` it is an emulator for libvirt and kata.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use apmatrix::verbs::{Cli, EMULATOR_NAME, emulate};
use clap::Parser;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let result = if Path::new(&name)
        .file_name()
        .is_some_and(|name| name == EMULATOR_NAME)
    {
        emulate(&arguments.collect::<Vec<_>>())
    } else {
        match Cli::try_parse() {
            Ok(cli) => cli.run(&mut io::stdout()),
            Err(usage) => {
                drop(usage.print());
                return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
            }
        }
    };
    result.unwrap_or_else(|error| {
        let is_broken_pipe = error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if is_broken_pipe {
            return ExitCode::SUCCESS;
        }
        drop(writeln!(io::stderr(), "apmatrix: {error:#}"));
        ExitCode::FAILURE
    })
}
