//! What documents promise: that the tests and files they name exist, and that the protocol's page was
//! looked at when the protocol changed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sh::root;

/// The definition of the device channel.
const PROTOCOL_SOURCE: &str = "crates/device/src/message.rs";
/// Its page, which holds a fingerprint of the definition.
const PROTOCOL_PAGE: &str = "docs/protocol.md";

/// A page that names tests as `module::test`, without their folder.
const SHORT_NAMES: &str = "docs/lifecycle.md";
/// Where the end-to-end tests are, beside the `tests` folders of all crates.
const END_TO_END: &str = "crates/apmatrix/tests/e2e";

/// Words that no public document may contain.
const PRIVATE: &[&str] = &["../shared", "/work/"];

/// Everything that is wrong.
pub(super) fn breaches() -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for path in pages()? {
        let text = fs::read_to_string(&path)?;
        let shown = path
            .strip_prefix(root())
            .unwrap_or(&path)
            .display()
            .to_string();
        for (file, test) in named_tests(&text) {
            let source = fs::read_to_string(root().join(file)).unwrap_or_default();
            if !source.contains(&format!("fn {test}(")) {
                breaches.push(format!(
                    "{shown} names {file}::{test}, which does not exist"
                ));
            }
        }
        if shown == SHORT_NAMES {
            for (modules, test) in short_names(&text) {
                if !short_name_exists(modules, test)? {
                    breaches.push(format!(
                        "{shown} names {modules}::{test}, which does not exist"
                    ));
                }
            }
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        for link in links(&text) {
            if !folder.join(link).exists() {
                breaches.push(format!("{shown} links to {link}, which does not exist"));
            }
        }
        let private = PRIVATE.iter().filter(|word| text.contains(**word));
        breaches.extend(private.map(|word| format!("{shown} contains {word:?}")));
    }
    breaches.extend(stale_protocol()?);
    Ok(breaches)
}

/// The documents of the root folder and of `docs/`.
fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for folder in [root(), root().join("docs")] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

/// Tests named as `path/file.rs::test`, in backquotes.
fn named_tests(text: &str) -> Vec<(&str, &str)> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| {
            code.split_once(".rs::")
                .map(|(file, test)| (code, file, test))
        })
        .map(|(code, file, test)| (&code[..file.len() + ".rs".len()], test))
        .collect()
}

/// Tests named as `module::test`, in backquotes: modules and test.
fn short_names(text: &str) -> Vec<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.chars().all(is_name))
        .filter_map(|code| code.rsplit_once("::"))
        .collect()
}

/// Whether a test, or a module of a crate, has this name.
fn short_name_exists(modules: &str, name: &str) -> Result<bool> {
    let file = PathBuf::from(modules.replace("::", "/")).with_extension("rs");
    let mut folders = vec![root().join(END_TO_END)];
    for entry in fs::read_dir(root().join("crates"))? {
        folders.push(entry?.path().join("tests"));
    }
    let module = root().join(format!("crates/{modules}/src/{name}.rs"));
    Ok(module.exists()
        || folders.iter().any(|folder| {
            let source = fs::read_to_string(folder.join(&file)).unwrap_or_default();
            source.contains(&format!("fn {name}("))
        }))
}

/// Targets of relative links, without their anchors.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link.split('#').next().unwrap_or_default())
        .filter(|link| !link.is_empty() && !link.contains("://"))
        .collect()
}

fn stale_protocol() -> Result<Option<String>> {
    let source = fs::read(root().join(PROTOCOL_SOURCE)).context(PROTOCOL_SOURCE)?;
    let page = fs::read_to_string(root().join(PROTOCOL_PAGE)).context(PROTOCOL_PAGE)?;
    let line = format!("<!-- message.rs: {:016x} -->", fingerprint(&source));
    Ok((!page.contains(&line)).then(|| {
        format!(
            "{PROTOCOL_SOURCE} changed: see whether {PROTOCOL_PAGE} still describes it, then write there: {line}"
        )
    }))
}

/// FNV-1a, 64 bits: notices a change, and nothing else is asked of it.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_links_are_found() {
        let text = "See `a/b.rs::works` and `a/b.rs`, [x](y.md#z), [w](https://example.org).";
        assert_eq!(named_tests(text), [("a/b.rs", "works")]);
        assert_eq!(links(text), ["y.md"]);
        let text = "As `a::b::works` and `busy::too` show, not `a/b.rs::x`, `T::y()` or `a`.";
        assert_eq!(short_names(text), [("a::b", "works"), ("busy", "too")]);
        assert!(short_name_exists("lifecycle::vmm", "no_guest_starts_without_a_daemon").unwrap());
        assert!(short_name_exists("sysfs", "tree").unwrap());
        assert!(!short_name_exists("lifecycle::vmm", "no_guest").unwrap());
    }

    #[test]
    fn the_fingerprint_is_that_of_fnv_1a() {
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
