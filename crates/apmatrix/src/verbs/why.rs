//! `apmatrix why`: who holds a queue or a mediated device, what was refused, and what would free it.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use arch::Apqn;
use serde::Serialize;

use super::log::by;
use super::{Context, TreeOption};
use crate::admin::parse_uuid;
use crate::control::{Refusal, Request, Response};
use crate::explain::{
    Facts, MdevReport, QueueReport, Remedy, concerning_mdev, concerning_queue, explain_mdev,
    explain_queue,
};

/// Explain a queue or a mediated device: who holds it, what was refused, what would free it
///
/// Everything but the refusals is read from the tree's files, so that a plain copy of a tree or a
/// mainframe's /sys is explained too, and the running instance without its daemon's help.
#[derive(Debug, clap::Args)]
pub(super) struct Why {
    /// A queue, as in 05.0004, or the UUID of a mediated device
    #[arg(value_name = "APQN|UUID", value_parser = subject)]
    subject: Subject,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tree: TreeOption,
}

#[derive(Clone, Debug)]
enum Subject {
    Queue(Apqn),
    Mdev(String),
}

fn subject(text: &str) -> Result<Subject, String> {
    if let Ok(apqn) = text.parse() {
        return Ok(Subject::Queue(apqn));
    }
    parse_uuid(text)
        .map(Subject::Mdev)
        .map_err(|_| "neither a queue such as 05.0004 nor the UUID of a mediated device".to_owned())
}

/// A report with the refusals that concern it.
#[derive(Serialize)]
struct Answer<R> {
    #[serde(flatten)]
    report: R,
    /// Absent when no daemon was asked.
    refusals: Option<Vec<Refusal>>,
}

impl Why {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        // A tree that was named may belong to another machine than the running instance.
        let log = match self.tree.sysfs {
            None => refusals(context),
            Some(_) => None,
        };
        let tree = context.tree(self.tree.sysfs.as_deref())?;
        let facts = Facts::read(&tree)?;
        match &self.subject {
            Subject::Queue(apqn) => {
                let answer = Answer {
                    report: explain_queue(&facts, *apqn),
                    refusals: log.map(|log| concerning_queue(&log, *apqn)),
                };
                self.answer(context, &answer)
            }
            Subject::Mdev(uuid) => {
                let report = explain_mdev(&facts, uuid);
                let answer = Answer {
                    report: report
                        .with_context(|| format!("there is no mediated device {uuid}"))?,
                    refusals: log.map(|log| concerning_mdev(&log, uuid)),
                };
                self.answer(context, &answer)
            }
        }
    }

    fn answer<R: Serialize + Spoken>(
        &self,
        context: &mut Context<'_>,
        answer: &Answer<R>,
    ) -> Result<ExitCode> {
        if self.json {
            writeln!(context.out, "{}", serde_json::to_string_pretty(answer)?)?;
        } else {
            print(context, answer)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The daemon's log, when there is a daemon.
fn refusals(context: &Context<'_>) -> Option<Vec<Refusal>> {
    match context.ask(&Request::Log) {
        Ok(Response::Log(log)) => Some(log),
        _ => None,
    }
}

/// What both reports have in common.
trait Spoken {
    /// The headline.
    fn title(&self) -> String;
    /// The sentences.
    fn findings(&self) -> &[String];
    /// What can be done.
    fn remedies(&self) -> &[Remedy];
}

impl Spoken for QueueReport {
    fn title(&self) -> String {
        format!("queue {}", self.queue)
    }

    fn findings(&self) -> &[String] {
        &self.findings
    }

    fn remedies(&self) -> &[Remedy] {
        &self.remedies
    }
}

impl Spoken for MdevReport {
    fn title(&self) -> String {
        format!("mediated device {}", self.uuid)
    }

    fn findings(&self) -> &[String] {
        &self.findings
    }

    fn remedies(&self) -> &[Remedy] {
        &self.remedies
    }
}

fn print<R: Spoken>(context: &mut Context<'_>, answer: &Answer<R>) -> Result<()> {
    let out = &mut context.out;
    writeln!(out, "{}", answer.report.title())?;
    for finding in answer.report.findings() {
        writeln!(out, "  {finding}")?;
    }
    for remedy in answer.report.remedies() {
        writeln!(out, "To {}:", remedy.goal)?;
        for command in &remedy.commands {
            writeln!(out, "  {command}")?;
        }
    }
    match answer.refusals.as_deref() {
        None => writeln!(out, "Refusals: no daemon was asked.")?,
        Some([]) => writeln!(out, "Refusals: none.")?,
        Some(log) => {
            writeln!(out, "Refusals:")?;
            for entry in log {
                let (age, text) = (age(entry.time), entry.text.trim_end());
                let Refusal {
                    errno,
                    what,
                    reason,
                    ..
                } = entry;
                writeln!(
                    out,
                    "  {age} ago  {errno}  {what}  {text:?}  {reason}{}",
                    by(entry)
                )?;
            }
        }
    }
    Ok(())
}

/// How long ago a time was, in the largest unit that fits.
fn age(time: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs());
    let seconds = now.saturating_sub(time);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
