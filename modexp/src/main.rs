//! Modular exponentiation by several libraries beside the cards' own: CPU time, in rounds in which every
//! library has its turn, and speeds relative to the OpenSSL that the cards are linked with.
//!
//! | module | holds |
//! |---|---|
//! | [`operation`] | what is measured, with which numbers, and who can do it |
//! | [`api`] | libraries with OpenSSL's interface: OpenSSL twice, AWS-LC |
//! | [`openssl`] | the operations by such a library |
//! | [`bigint`] | the operations by `crypto-bigint` |
//! | [`card`] | the operations by a card of `cex` |
//! | [`rounds`] | checking results, measuring |
//! | [`report`] | the machine, versions, the table |
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

mod api;
mod bigint;
mod card;
mod openssl;
mod operation;
mod report;
mod rounds;

use std::error::Error;
use std::time::Duration;

use cex::reference::ReferenceKey;

use api::Library;
use operation::{Contender, KeyNumbers, Operation};
use report::Table;
use rounds::Plan;

/// Sizes of the modulus.
const BITS: [u32; 4] = [1024, 2048, 3072, 4096];

/// What is published.
const FULL: Plan = Plan {
    rounds: 15,
    turn: Duration::from_millis(40),
};

/// Each operation once after its check: whether it all still works.
const SMOKE: Plan = Plan {
    rounds: 1,
    turn: Duration::ZERO,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => run(&BITS, FULL),
        ["--smoke"] => run(&BITS[..1], SMOKE),
        _ => Err("usage: apmatrix-modexp [--smoke]".into()),
    }
}

fn run(sizes: &[u32], plan: Plan) -> Result<(), Box<dyn Error>> {
    let mut libraries = vec![Library::linked()];
    let distribution = Library::distribution();
    let skipped = distribution.as_ref().err().cloned();
    libraries.extend(distribution);
    #[cfg(feature = "aws-lc")]
    libraries.push(Library::aws_lc());

    report::print_machine("before");
    report::print_libraries(&libraries, skipped.as_deref());
    println!(
        "operations per second of CPU time (relative to {}); medians of {} rounds\n",
        libraries[0].name, plan.rounds
    );
    let mut table = None;
    for bits in sizes {
        let numbers = KeyNumbers::new(ReferenceKey::generate(*bits)?)?;
        let mut contenders: Vec<Box<dyn Contender + '_>> = Vec::new();
        for library in &libraries {
            contenders.push(Box::new(openssl::WithKey::new(library, &numbers)));
        }
        contenders.push(Box::new(bigint::WithKey::new(&numbers)));
        contenders.push(Box::new(card::WithKey::new(&numbers)?));
        let table = table.get_or_insert_with(|| Table::begin(&contenders));
        for operation in Operation::ALL {
            rounds::check(&mut contenders, operation, &numbers)?;
            let results = rounds::measure(&mut contenders, operation, plan)?;
            table.line(*bits, operation, &results);
        }
    }
    println!();
    report::print_machine("after");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_libraries_compute_the_same() {
        run(&BITS[..1], SMOKE).unwrap();
    }
}
