//! `apmatrix status`: the whole host at a glance.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use super::{Context, TreeOption};
use crate::admin::Tree;

/// Show cards, queues, masks and mediated devices
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tree: TreeOption,
}

#[derive(Serialize)]
struct View {
    apmask: String,
    aqmask: String,
    bindings: String,
    cards: Vec<Card>,
    queues: Vec<Queue>,
    mdevs: Vec<MdevView>,
}

#[derive(Serialize)]
struct Card {
    card: String,
    kind: String,
    state: &'static str,
}

#[derive(Serialize)]
struct Queue {
    queue: String,
    driver: Option<String>,
    status: Option<String>,
}

#[derive(Serialize)]
struct MdevView {
    uuid: String,
    matrix: Vec<String>,
    guest_matrix: Vec<String>,
}

impl Status {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        let tree = context.tree(self.tree.sysfs.as_deref())?;
        let view = View::of(&tree)?;
        if self.json {
            writeln!(context.out, "{}", serde_json::to_string_pretty(&view)?)?;
        } else {
            view.print(context)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl View {
    fn of(tree: &Tree) -> Result<Self> {
        let mut cards = Vec::new();
        let mut queues = Vec::new();
        for card in tree
            .names("devices/ap")
            .into_iter()
            .filter(|name| name.starts_with("card"))
        {
            let dir = format!("devices/ap/{card}");
            for queue in tree
                .names(&dir)
                .into_iter()
                .filter(|name| name.contains('.'))
            {
                queues.push(Queue {
                    driver: tree.link_name(&format!("{dir}/{queue}/driver")),
                    status: tree.read(&format!("{dir}/{queue}/status")).ok(),
                    queue,
                });
            }
            cards.push(Card::of(tree, card));
        }
        let mdevs = tree.mdevs();
        let mdevs = mdevs.iter().map(|mdev| {
            Ok(MdevView {
                uuid: mdev.uuid().to_owned(),
                matrix: mdev.matrix()?,
                guest_matrix: mdev.guest_matrix()?,
            })
        });
        Ok(Self {
            apmask: tree.read("bus/ap/apmask")?,
            aqmask: tree.read("bus/ap/aqmask")?,
            bindings: tree.read("bus/ap/bindings")?,
            cards,
            queues,
            mdevs: mdevs.collect::<Result<_>>()?,
        })
    }

    fn print(&self, context: &mut Context<'_>) -> Result<()> {
        let out = &mut context.out;
        writeln!(out, "apmask    {}", self.apmask)?;
        writeln!(out, "aqmask    {}", self.aqmask)?;
        writeln!(out, "bindings  {}", self.bindings)?;
        for card in &self.cards {
            writeln!(out, "{}  {:6}  {}", card.card, card.kind, card.state)?;
        }
        for queue in &self.queues {
            let driver = queue.driver.as_deref().unwrap_or("-");
            let status = queue.status.as_deref().unwrap_or("");
            writeln!(out, "{}  {driver:9}  {status}", queue.queue)?;
        }
        for mdev in &self.mdevs {
            writeln!(out, "mdev {}", mdev.uuid)?;
            writeln!(out, "  matrix        {}", mdev.matrix.join(" "))?;
            writeln!(out, "  guest matrix  {}", mdev.guest_matrix.join(" "))?;
        }
        Ok(())
    }
}

impl Card {
    fn of(tree: &Tree, card: String) -> Self {
        let flag = |name: &str| {
            tree.read(&format!("devices/ap/{card}/{name}"))
                .unwrap_or_default()
        };
        let state = match (flag("config").as_str(), flag("chkstop").as_str()) {
            (_, "1") => "check-stopped",
            ("0", _) => "deconfigured",
            _ => "configured",
        };
        Self {
            kind: flag("type"),
            card,
            state,
        }
    }
}
