//! The architecture's invariants: which crate may know which, which licences may come in, where
//! `unsafe` may stand, how long a file may be, whether documents speak of what is there.
//! ARCHITECTURE.md says why.

mod documents;
mod imports;
mod licences;
mod metadata;
mod sources;

use anyhow::{Result, bail};

use crate::sh::say;

/// Checks everything.
///
/// # Errors
/// When a rule is broken; each breach is printed.
pub(crate) fn run() -> Result<()> {
    let metadata = metadata::Metadata::read()?;
    let mut breaches = imports::breaches(&metadata);
    breaches.extend(licences::breaches(&metadata));
    breaches.extend(sources::breaches()?);
    breaches.extend(documents::breaches()?);
    for breach in &breaches {
        say(&format!("tidy: {breach}"));
    }
    if !breaches.is_empty() {
        bail!("{} architecture invariants are broken", breaches.len());
    }
    say("tidy: the architecture's invariants hold");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_architectures_invariants_hold() {
        super::run().unwrap();
    }
}
