//! `apmatrix insn`: one AP instruction against a mediated device.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use arch::{ApInstructions, Apqn, CrycbFormat, Facilities, Instruction, Outcome, QueueStatus};
use clap::Subcommand;
use device::{Client, ClientOptions, OpenRequest};

use super::Context;
use crate::admin::parse_uuid;

/// Execute one AP instruction as the guest of a mediated device, for developers
#[derive(Debug, clap::Args)]
pub(super) struct Insn {
    /// The mediated device; nobody else may hold it
    uuid: String,
    #[command(subcommand)]
    instruction: Words,
}

#[derive(Debug, Subcommand)]
enum Words {
    /// Test queue (with the T bit)
    Tapq {
        /// The queue, as in 05.0004
        queue: Apqn,
    },
    /// Query configuration information
    Qci,
    /// Enqueue a message
    Nqap {
        /// The queue, as in 05.0004
        queue: Apqn,
        /// File with the message
        message: PathBuf,
        /// Message identifier
        #[arg(long, default_value_t = 1)]
        psmid: u64,
        /// Set the special command bit
        #[arg(long)]
        special: bool,
    },
    /// Dequeue a reply, printed in hex
    Dqap {
        /// The queue, as in 05.0004
        queue: Apqn,
        /// Where the reply is stored instead
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Reset queue
    Rapq {
        /// The queue, as in 05.0004
        queue: Apqn,
    },
    /// Reset and zeroize queue
    Zapq {
        /// The queue, as in 05.0004
        queue: Apqn,
    },
}

impl Insn {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        let socket = context.run_dir.mdev_socket(&parse_uuid(&self.uuid)?);
        let request = OpenRequest {
            vm: format!("apmatrix-insn-{}", std::process::id()).parse()?,
            crycb_format: CrycbFormat::Format2,
            facilities: Facilities::APFT | Facilities::APQCI,
        };
        let mut client = Client::connect(&socket, request, ClientOptions::default())
            .with_context(|| format!("cannot open {}", self.uuid))?;
        let message = match &self.instruction {
            Words::Nqap { message, .. } => std::fs::read(message)
                .with_context(|| format!("cannot read {}", message.display()))?,
            _ => Vec::new(),
        };
        let mut reply = vec![0; client.max_message() as usize];
        let outcome = client.execute(&self.instruction(&message), &mut reply);
        self.print(context, &outcome, &reply)
    }

    fn instruction<'m>(&self, message: &'m [u8]) -> Instruction<'m> {
        match self.instruction {
            Words::Tapq { queue: apqn } => Instruction::Tapq {
                apqn,
                facilities: true,
            },
            Words::Qci => Instruction::Qci,
            Words::Nqap {
                queue: apqn,
                psmid,
                special,
                ..
            } => Instruction::Nqap {
                apqn,
                psmid,
                special,
                message,
            },
            Words::Dqap { queue: apqn, .. } => Instruction::Dqap { apqn },
            Words::Rapq { queue: apqn } => Instruction::Rapq { apqn, force: false },
            Words::Zapq { queue: apqn } => Instruction::Zapq { apqn, force: false },
        }
    }

    fn print(
        &self,
        context: &mut Context<'_>,
        outcome: &Outcome,
        reply: &[u8],
    ) -> Result<ExitCode> {
        let out = &mut context.out;
        if let Some(status) = outcome.status() {
            writeln!(out, "status  {}", in_words(status))?;
        }
        match outcome {
            Outcome::Exception(exception) => {
                writeln!(
                    out,
                    "program exception {:04x} ({exception:?})",
                    exception.code()
                )?;
            }
            Outcome::Status(_) => {}
            Outcome::Tapq { info, .. } => {
                let mode = info.mode().map_or('-', arch::CardMode::letter);
                writeln!(
                    out,
                    "gr2     {info:?}  CEX{}{mode}",
                    info.ap_type().generation()
                )?;
                writeln!(
                    out,
                    "        depth {}, messages up to {}",
                    info.qd() + 1,
                    info.max_message_size()
                )?;
            }
            Outcome::Qci(block) => {
                writeln!(out, "flags   {:?}", block.flags)?;
                writeln!(out, "limits  adapter {}, domain {}", block.na, block.nd)?;
                writeln!(
                    out,
                    "apm     {}\naqm     {}\nadm     {}",
                    block.apm, block.aqm, block.adm
                )?;
            }
            Outcome::Qact { info, .. } => writeln!(out, "gr2     {info:#018x}")?,
            Outcome::Dqap(dequeued) => {
                writeln!(
                    out,
                    "psmid   {:#x}, {} bytes",
                    dequeued.psmid, dequeued.stored
                )?;
                let reply = &reply[..dequeued.stored.min(reply.len())];
                match &self.instruction {
                    Words::Dqap {
                        out: Some(file), ..
                    } => std::fs::write(file, reply)?,
                    _ => hex(out, reply)?,
                }
            }
        }
        let is_normal = outcome
            .status()
            .is_none_or(|status| status.condition_code() == 0);
        let is_exception = matches!(outcome, Outcome::Exception(_));
        Ok(if is_normal && !is_exception {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn in_words(status: QueueStatus) -> String {
    let flags: Vec<String> = status
        .flags
        .iter_names()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    format!(
        "{:08x}  cc {}  rc {}  {}",
        status.to_gr1(),
        status.condition_code(),
        status.code,
        flags.join(" ")
    )
}

fn hex(out: &mut dyn std::io::Write, bytes: &[u8]) -> Result<()> {
    for (number, line) in bytes.chunks(16).enumerate() {
        write!(out, "{:04x} ", number * 16)?;
        for byte in line {
            write!(out, " {byte:02x}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}
