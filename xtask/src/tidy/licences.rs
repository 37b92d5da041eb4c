//! Which licences may come in. What is loaded into QEMU must also be compatible with GPL version 2,
//! which Apache-2.0 alone is not.

use super::metadata::{Metadata, is_ours};

const ALLOWED: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
const NOT_WITH_GPL_2: &str = "Apache-2.0";

/// Every library whose licence is not allowed where it is used.
pub(super) fn breaches(metadata: &Metadata) -> Vec<String> {
    let plugin = metadata.closure("qemu");
    let mut breaches = Vec::new();
    for package in metadata.packages().filter(|package| !is_ours(package)) {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if !satisfies(licence, &|term| ALLOWED.contains(&term)) {
            breaches.push(format!(
                "{name} has the licence {licence:?}, which is not allowed"
            ));
        }
        let is_loaded = package["id"].as_str().is_some_and(|id| plugin.contains(id));
        let fits = |term: &str| ALLOWED.contains(&term) && term != NOT_WITH_GPL_2;
        if is_loaded && !satisfies(licence, &fits) {
            breaches.push(format!("{name} ({licence}) may not be loaded into QEMU"));
        }
    }
    breaches
}

/// Whether an SPDX expression can be met with allowed terms. A slash is the old form of OR.
fn satisfies(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    let any = split(expression, " OR ");
    if any.len() > 1 {
        return any.iter().any(|part| satisfies(part, allowed));
    }
    let all = split(expression, " AND ");
    if all.len() > 1 {
        return all.iter().all(|part| satisfies(part, allowed));
    }
    match expression
        .strip_prefix('(')
        .and_then(|inner| inner.strip_suffix(')'))
    {
        Some(inner) => satisfies(inner, allowed),
        None => allowed(expression),
    }
}

/// Splits at a word that stands outside parentheses.
fn split<'e>(expression: &'e str, word: &str) -> Vec<&'e str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0u32);
    for (at, character) in expression.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && at >= start && expression[at..].starts_with(word) => {
                parts.push(expression[start..at].trim());
                start = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(expression[start..].trim());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let mit = |term: &str| term == "MIT";
        for met in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "(MIT OR X) AND MIT",
            "X OR (MIT)",
        ] {
            assert!(satisfies(met, &mit), "{met}");
        }
        for unmet in ["", "X", "MIT AND X", "(MIT OR X) AND X", "MITX"] {
            assert!(!satisfies(unmet, &mit), "{unmet}");
        }
    }
}
