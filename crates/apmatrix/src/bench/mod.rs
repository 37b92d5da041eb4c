//! Measurements for users: each prints its numbers with their goals, or as a ratio to something of the
//! same run.

mod admin;
mod child;
mod data_path;
mod guest_rsa;
mod latency;
mod linux;
mod measurement;
mod one_core;
mod openssl;
mod rounds;
mod rsa;
mod scoreboard;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::verbs::Context;

/// Measure, and print ratios against something else in the same run
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Attributes through a mounted tree, 10,000 mediated devices, memory of an idle daemon; exits 1 when
    /// a goal is missed
    Admin {
        /// Small numbers, only to see that it works; goals are not judged
        #[arg(long)]
        smoke: bool,
    },
    /// Requests from guests to cards: RSA in process, in guests and against OpenSSL, round trips, shares
    /// of many guests, memory of each; exits 1 when a goal is missed
    DataPath {
        /// Small numbers and no Linux guest, only to see that it works; goals are not judged
        #[arg(long)]
        smoke: bool,
        /// Measure this part only; may be given several times
        #[arg(long, value_enum, value_name = "PART")]
        only: Vec<data_path::Part>,
    },
    /// RSA-2048 CRT per second in a Linux guest, through the accelerator and by its own software
    GuestRsa,
    /// How long a request takes in a Linux guest that polls, and in one with adapter interruptions
    Latency,
}

impl Bench {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<ExitCode> {
        match &self.what {
            What::Admin { smoke } => admin::run(context.out, *smoke),
            What::DataPath { smoke, only } => data_path::run(context.out, *smoke, only),
            What::GuestRsa => guest_rsa::run(context.out).map(|()| ExitCode::SUCCESS),
            What::Latency => latency::run(context.out).map(|()| ExitCode::SUCCESS),
        }
    }
}
