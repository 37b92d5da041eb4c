//! `apmatrix mdev`.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Subcommand;
use serde::Serialize;

use super::{Context, TreeOption};
use crate::admin::{Mdev, Tree, parse_uuid};

/// List, show, create and remove mediated devices
#[derive(Debug, clap::Args)]
pub(super) struct MdevVerb {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    tree: TreeOption,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the mediated devices
    Ls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one mediated device
    Show {
        /// The mediated device
        uuid: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a mediated device and print its UUID
    Create {
        /// Its UUID [default: a random one]
        uuid: Option<String>,
    },
    /// Remove a mediated device; waits while a guest holds it
    Remove {
        /// The mediated device
        uuid: String,
    },
}

#[derive(Serialize)]
struct View {
    uuid: String,
    matrix: Vec<String>,
    guest_matrix: Vec<String>,
    control_domains: Vec<String>,
}

impl View {
    fn of(mdev: &Mdev<'_>) -> Result<Self> {
        Ok(Self {
            uuid: mdev.uuid().to_owned(),
            matrix: mdev.matrix()?,
            guest_matrix: mdev.guest_matrix()?,
            control_domains: mdev.control_domains()?,
        })
    }
}

impl MdevVerb {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        let tree = context.tree(self.tree.sysfs.as_deref())?;
        match &self.verb {
            Verb::Ls { json } => {
                let views = tree
                    .mdevs()
                    .iter()
                    .map(View::of)
                    .collect::<Result<Vec<_>>>()?;
                if *json {
                    writeln!(context.out, "{}", serde_json::to_string_pretty(&views)?)?;
                }
                for view in views.iter().filter(|_| !json) {
                    writeln!(context.out, "{}  {}", view.uuid, view.matrix.join(" "))?;
                }
            }
            Verb::Show { uuid, json } => {
                let view = View::of(&existing(&tree, uuid)?)?;
                if *json {
                    writeln!(context.out, "{}", serde_json::to_string_pretty(&view)?)?;
                } else {
                    writeln!(context.out, "uuid             {}", view.uuid)?;
                    writeln!(context.out, "matrix           {}", view.matrix.join(" "))?;
                    writeln!(
                        context.out,
                        "guest matrix     {}",
                        view.guest_matrix.join(" ")
                    )?;
                    writeln!(
                        context.out,
                        "control domains  {}",
                        view.control_domains.join(" ")
                    )?;
                }
            }
            Verb::Create { uuid } => {
                let uuid = match uuid {
                    Some(uuid) => parse_uuid(uuid)?,
                    None => std::fs::read_to_string("/proc/sys/kernel/random/uuid")?
                        .trim()
                        .to_owned(),
                };
                if let Err(refused) = tree.create_mdev(&uuid) {
                    context.explain(refused)?;
                }
                writeln!(context.out, "{uuid}")?;
            }
            Verb::Remove { uuid } => {
                if let Err(refused) = existing(&tree, uuid)?.remove() {
                    context.explain(refused)?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn existing<'t>(tree: &'t Tree, uuid: &str) -> Result<Mdev<'t>> {
    let mdev = Mdev::new(tree, parse_uuid(uuid)?);
    ensure!(mdev.exists(), "there is no mediated device {}", mdev.uuid());
    Ok(mdev)
}
