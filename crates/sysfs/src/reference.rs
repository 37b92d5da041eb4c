//! The reference page of the tree, generated from the attribute tables.

use std::fmt::Write as _;

use crate::attributes::table;
use crate::layout::SUBDIRS;
use crate::node::Dir;

/// Every attribute as Markdown, one table per kind of directory.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    for dir in Dir::ALL {
        let rows = table(*dir);
        if rows.is_empty() {
            continue;
        }
        _ = write!(
            text,
            "## {}\n\n| file | mode | when | what |\n|---|---|---|---|\n",
            path(*dir)
        );
        for row in rows {
            let when = if row.when.is_empty() {
                "always"
            } else {
                row.when
            };
            _ = writeln!(
                text,
                "| `{}` | {:04o} | {when} | {} |",
                row.name, row.mode, row.doc
            );
        }
        text.push('\n');
    }
    text
}

/// The path of a kind of directory, with placeholders for numbers.
#[must_use]
pub fn path(dir: Dir) -> String {
    let (parent, name) = match dir {
        Dir::Root => return String::new(),
        Dir::Card => (Dir::Ap, "cardXX"),
        Dir::Queue => (Dir::Card, "XX.YYYY"),
        Dir::Mdev => (Dir::Matrix, "UUID"),
        Dir::MdevVfioDevice => (Dir::MdevVfio, "vfioN"),
        Dir::IommuGroup => (Dir::IommuGroups, "N"),
        _ => match SUBDIRS.iter().find(|(_, _, child)| *child == dir) {
            Some((parent, name, _)) => (*parent, *name),
            None => return String::new(),
        },
    };
    let above = path(parent);
    if above.is_empty() {
        String::from(name)
    } else {
        format!("{above}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_has_a_path_and_every_row_a_sentence() {
        for dir in Dir::ALL.iter().filter(|dir| **dir != Dir::Root) {
            assert!(!path(*dir).is_empty(), "{dir:?}");
            for row in table(*dir) {
                assert!(row.doc.ends_with('.'), "{}", row.name);
                let expected = match (row.show.is_some(), row.store.is_some()) {
                    (true, true) => 0o644,
                    (true, false) => 0o444,
                    (false, true) => 0o200,
                    (false, false) => panic!("{} can neither be read nor written", row.name),
                };
                assert_eq!(row.mode, expected, "{}", row.name);
            }
        }
        assert!(markdown().contains("| `guest_matrix` | 0444 | always |"));
    }
}
