//! `apmatrix mask`: apmask and aqmask.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use super::{Context, TreeOption};

/// Show or change apmask and aqmask: which adapters and domains the host's own drivers keep
#[derive(Debug, clap::Args)]
pub(super) struct Mask {
    /// Which mask; both are shown without
    mask: Option<Which>,
    /// New value: a whole mask (0x...) or changes (+4,-5,-0x10-0x1f)
    #[arg(requires = "mask", allow_hyphen_values = true, value_name = "VALUE")]
    value: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tree: TreeOption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Apmask,
    Aqmask,
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Self::Apmask => "apmask",
            Self::Aqmask => "aqmask",
        }
    }
}

impl Mask {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        let tree = context.tree(self.tree.sysfs.as_deref())?;
        if let (Some(which), Some(value)) = (self.mask, &self.value) {
            if let Err(refused) = tree.write(&format!("bus/ap/{}", which.name()), value) {
                context.explain(refused)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let mut shown = serde_json::Map::new();
        for which in [Which::Apmask, Which::Aqmask] {
            if self.mask.is_none_or(|asked| asked == which) {
                let value = tree.read(&format!("bus/ap/{}", which.name()))?;
                shown.insert(which.name().to_owned(), value.into());
            }
        }
        if self.json {
            writeln!(context.out, "{}", serde_json::to_string_pretty(&shown)?)?;
        } else {
            for (name, value) in &shown {
                writeln!(
                    context.out,
                    "{name}  {}",
                    value.as_str().unwrap_or_default()
                )?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
