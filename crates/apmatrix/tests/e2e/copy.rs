//! Plain copies of a tree.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Copies what can be read, as tar or a support tool would.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("it has one");
        if kind.is_dir() {
            copy_tree(&source, &target);
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source).expect("a link"), &target).expect("writable");
        } else if let Ok(bytes) = fs::read(&source) {
            fs::write(&target, bytes).expect("writable");
        }
    }
}
