//! `apmatrix hmc inject`, `hmc faults` and `hmc clear`: faults on demand.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use crate::control::{Request, Response};
use crate::scenario;
use crate::verbs::Context;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a queue misbehave, e.g. '05.0004 rc nqap 01 once'
    ///
    /// Faults: rc INSTRUCTION CODE (tapq, rapq, zapq, aqic, qact, nqap or dqap answers this response
    /// code), hang-reset, slow TIME, drop, corrupt AT HEX, truncate LENGTH, reply-code CODE, panic (the
    /// card is check-stopped). Limits: once, times N, for TIME, until-cleared, by guest, by host. A fault
    /// without a limit hits once; hang-reset lasts until it is cleared. The fault's number is printed.
    Inject {
        /// Queue, fault and limits
        #[arg(required = true, num_args = 1.., value_name = "WORD")]
        order: Vec<String>,
    },
    /// List the faults that are not over
    Faults {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Replay a file of faults with times
    ///
    /// A step a line: 'at TIME inject QUEUE FAULT LIMITS', 'at TIME clear QUEUE' (or all), and configure,
    /// deconfigure, checkstop and recover with an adapter's number; '#' begins a comment. Each step is
    /// printed when it is done. The first that is refused ends the scenario.
    Scenario {
        /// The file
        file: PathBuf,
    },
    /// End faults
    Clear {
        /// A fault's number, a queue as in 05.0004, or all
        which: String,
    },
}

impl Verb {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        let request = match self {
            Self::Scenario { file } => return replay(context, file),
            Self::Inject { order } => Request::Inject {
                order: order.join(" "),
            },
            Self::Faults { .. } => Request::Faults,
            Self::Clear { which } => Request::ClearFaults {
                which: which.clone(),
            },
        };
        match (context.ask(&request)?, self) {
            (Response::Injected(id), _) => writeln!(context.out, "{id}")?,
            (Response::Faults(faults), Self::Faults { json: true }) => {
                writeln!(context.out, "{}", serde_json::to_string_pretty(&faults)?)?;
            }
            (Response::Faults(faults), _) => {
                for fault in &faults {
                    writeln!(
                        context.out,
                        "{:>4}  {}  (hits {})",
                        fault.id, fault.order, fault.hits
                    )?;
                }
            }
            (Response::Done, _) => {}
            _ => bail!("the daemon answered nonsense"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn replay(context: &mut Context<'_>, file: &Path) -> Result<ExitCode> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let steps = scenario::parse(&text).with_context(|| file.display().to_string())?;
    let start = Instant::now();
    for step in steps {
        std::thread::sleep(step.at.saturating_sub(start.elapsed()));
        let number = match context.ask(&step.request) {
            Ok(Response::Injected(id)) => format!("  (fault {id})"),
            Ok(_) => String::new(),
            Err(error) => return Err(error.context(step.words)),
        };
        writeln!(
            context.out,
            "{:>8.3}  {}{number}",
            start.elapsed().as_secs_f64(),
            step.words
        )?;
        context.out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}
