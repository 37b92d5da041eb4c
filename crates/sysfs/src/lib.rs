//! The sysfs tree of a host: path to node, node to text, text to command. Pure: no file is touched.
//!
//! A [`Tree`] is a view of one [`matrix::Host`] snapshot. A [`Node`] is a small number that names a
//! directory, a file or a link in it; it is also an inode number. Reading is [`Tree::show`], writing is
//! [`Tree::store`], which only parses: the answer is a [`matrix::Command`] for whoever owns the host.
//!
//! Each attribute is one row of a table (name, mode, when it is there, show, store, a line of
//! documentation), so the reference page is generated from the same rows: [`mod@reference`].
//!
//! | module | holds |
//! |---|---|
//! | [`node`] | [`Node`], [`Dir`] and inode numbers |
//! | [`tree`] | [`Tree`]: lookup, list, resolve, readlink, show, store |
//! | [`attribute`] | [`Attribute`], a table row, and what its functions get |
//! | [`attributes`] | the tables, one module per kind of directory |
//! | [`layout`] | directories and links |
//! | `path` | from a node back to its path |
//! | [`number`] | Linux's number grammars |
//! | [`session`] | [`Session`]: a host, its platform and file calls on them, in one process |
//! | [`error`] | [`StoreError`] |
#![forbid(unsafe_code)]

pub mod attribute;
pub mod attributes;
pub mod error;
pub mod layout;
pub mod node;
pub mod number;
mod path;
pub mod reference;
pub mod session;
pub mod tree;

pub use attribute::{Attribute, Live};
pub use error::StoreError;
pub use node::{Dir, Entry, Node};
pub use session::{FileError, Session};
pub use tree::{DirEntry, Kind, PAGE, Tree};
