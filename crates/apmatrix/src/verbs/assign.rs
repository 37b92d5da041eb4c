//! `apmatrix assign` and `apmatrix unassign`.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use super::{Context, TreeOption};
use crate::admin::{Mdev, parse_numbers, parse_uuid};

/// Give a mediated device adapters, usage domains or control domains
#[derive(Debug, clap::Args)]
pub(super) struct Assign {
    #[command(flatten)]
    members: Members,
}

/// Take adapters, usage domains or control domains from a mediated device
#[derive(Debug, clap::Args)]
pub(super) struct Unassign {
    #[command(flatten)]
    members: Members,
}

#[derive(Debug, clap::Args)]
struct Members {
    /// The mediated device
    uuid: String,
    /// What kind of numbers follow
    kind: Kind,
    /// Numbers: decimal, hex with 0x, lists (4,6) and ranges (0-3)
    #[arg(required = true, value_name = "N")]
    numbers: Vec<String>,
    #[command(flatten)]
    tree: TreeOption,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Adapter,
    Domain,
    ControlDomain,
}

impl Kind {
    fn attribute(self, direction: &str) -> String {
        let kind = match self {
            Self::Adapter => "adapter",
            Self::Domain => "domain",
            Self::ControlDomain => "control_domain",
        };
        format!("{direction}_{kind}")
    }
}

impl Assign {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<ExitCode> {
        self.members.write("assign", context)
    }
}

impl Unassign {
    pub(super) fn run(&self, context: &Context<'_>) -> Result<ExitCode> {
        self.members.write("unassign", context)
    }
}

impl Members {
    /// One write per number, in the order given. The first refusal ends it; what came before stays.
    fn write(&self, direction: &str, context: &Context<'_>) -> Result<ExitCode> {
        let (uuid, numbers) = (parse_uuid(&self.uuid)?, parse_numbers(&self.numbers)?);
        let tree = context.tree(self.tree.sysfs.as_deref())?;
        let mdev = Mdev::new(&tree, uuid);
        ensure!(mdev.exists(), "there is no mediated device {}", mdev.uuid());
        let attribute = self.kind.attribute(direction);
        for number in numbers {
            if let Err(refused) = mdev.write(&attribute, &format!("{number:#04x}")) {
                context.explain(refused)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
