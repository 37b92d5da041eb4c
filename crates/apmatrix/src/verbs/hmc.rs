//! `apmatrix hmc`: the hardware console.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Subcommand;

use super::Context;
mod faults;

use crate::control::{ConsoleView, Request, Response};

/// Hardware console: what a machine's operator does to the partition's AP hardware
#[derive(Debug, clap::Args)]
pub(super) struct Hmc {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show adapters, domains and how many requests reached each card
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Replace the whole configuration, e.g. 'card 5 14 A; card 6 14 P; dom 4; cdom 4'
    Set {
        /// `card ID TYPE MODE`, `dom N`, `cdom N`, `na N`, `nd N`, `decfg ID`, `chkstop ID`,
        /// separated by ';'
        spec: String,
    },
    /// Plug an adapter in
    AddAdapter {
        /// Adapter number, 0 to 255
        #[arg(value_parser = number)]
        id: u8,
        /// AP type: 10 (CEX4) to 14 (CEX8)
        #[arg(long = "type", value_name = "N", value_parser = number, default_value = "14")]
        ap_type: u8,
        /// A (accelerator), C (CCA coprocessor) or P (EP11 coprocessor)
        #[arg(long, value_name = "A|C|P", default_value = "A", value_parser = mode)]
        mode: char,
    },
    /// Take an adapter out
    RemoveAdapter {
        #[arg(value_parser = number)]
        id: u8,
    },
    /// Give the partition a usage domain, also as control domain
    AddDomain {
        #[arg(value_parser = number)]
        domain: u8,
    },
    /// Take a domain away
    RemoveDomain {
        #[arg(value_parser = number)]
        domain: u8,
    },
    /// Configure an adapter
    Configure {
        #[arg(value_parser = number)]
        id: u8,
    },
    /// Deconfigure an adapter: its queues answer response code 03
    Deconfigure {
        #[arg(value_parser = number)]
        id: u8,
    },
    /// Check-stop an adapter: its queues answer response code 04
    Checkstop {
        #[arg(value_parser = number)]
        id: u8,
    },
    /// End an adapter's check-stop
    Recover {
        #[arg(value_parser = number)]
        id: u8,
    },
    #[command(flatten)]
    Faults(faults::Verb),
    /// Boot the partition anew: guests are disconnected, mediated devices are gone, masks and settings
    /// are those of the machine file; the hardware stays as it is now
    Ipl,
}

fn number(text: &str) -> Result<u8, String> {
    let [number] =
        crate::admin::parse_numbers(&[text.to_owned()]).map_err(|error| error.to_string())?[..]
    else {
        return Err("one number is wanted".into());
    };
    Ok(number)
}

fn mode(text: &str) -> Result<char, String> {
    match text {
        "A" | "C" | "P" => Ok(text.chars().next().unwrap_or('A')),
        _ => Err("the mode is A, C or P".into()),
    }
}

impl Hmc {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        let request = match &self.verb {
            Verb::Faults(verb) => return verb.run(context),
            Verb::Show { .. } => Request::Show,
            Verb::Set { spec } => Request::Set { spec: spec.clone() },
            Verb::AddAdapter { id, ap_type, mode } => Request::AddAdapter {
                id: *id,
                ap_type: *ap_type,
                mode: *mode,
            },
            Verb::RemoveAdapter { id } => Request::RemoveAdapter { id: *id },
            Verb::AddDomain { domain } => Request::AddDomain { domain: *domain },
            Verb::RemoveDomain { domain } => Request::RemoveDomain { domain: *domain },
            Verb::Configure { id } => Request::Configure { id: *id },
            Verb::Deconfigure { id } => Request::Deconfigure { id: *id },
            Verb::Checkstop { id } => Request::Checkstop { id: *id },
            Verb::Recover { id } => Request::Recover { id: *id },
            Verb::Ipl => Request::Ipl,
        };
        match (context.ask(&request)?, &self.verb) {
            (Response::Hardware(view), Verb::Show { json: true }) => {
                writeln!(context.out, "{}", serde_json::to_string_pretty(&view)?)?;
            }
            (Response::Hardware(view), _) => show(context, &view)?,
            (Response::Done, _) => {}
            _ => bail!("the daemon answered nonsense"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(context: &mut Context<'_>, view: &ConsoleView) -> Result<()> {
    let out = &mut context.out;
    writeln!(out, "{}", view.spec)?;
    for adapter in &view.adapters {
        writeln!(
            out,
            "adapter {:02x}  {}  {}",
            adapter.id, adapter.name, adapter.state
        )?;
    }
    let list = |domains: &[u8]| {
        domains
            .iter()
            .map(|domain| format!("{domain:04x}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    writeln!(out, "usage domains    {}", list(&view.usage_domains))?;
    writeln!(out, "control domains  {}", list(&view.control_domains))?;
    for row in &view.requests {
        writeln!(out, "requests {}  {}", row.queue, row.count)?;
    }
    Ok(())
}
