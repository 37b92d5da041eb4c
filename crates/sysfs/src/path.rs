//! From a node back to its path, for people: the log names attributes by it.

use matrix::Serial;

use crate::attributes::table;
use crate::node::{Dir, Entry, Node};
use crate::reference::path as pattern;
use crate::tree::Tree;

impl Tree<'_> {
    /// The path of a directory or attribute below the root of sysfs, without a leading slash. A device
    /// that is gone shows its number instead of its name; of a link the directory is named.
    #[must_use]
    pub fn path(&self, node: Node) -> String {
        let dir = match node.dir() {
            dir @ (Dir::Card | Dir::Queue) => {
                let apqn = Node::apqn(node.id);
                let apid = if dir == Dir::Card {
                    Node::apid(node.id)
                } else {
                    apqn.apid
                };
                pattern(dir)
                    .replace("XX.YYYY", &apqn.to_string())
                    .replace("cardXX", &format!("card{apid}"))
            }
            dir @ (Dir::Mdev | Dir::MdevVfio | Dir::MdevVfioDevice) => {
                let uuid = self
                    .host()
                    .matrix()
                    .by_serial(Serial(node.id))
                    .map(|(uuid, _)| uuid);
                let name = uuid.map_or_else(|| node.id.to_string(), |uuid| uuid.to_string());
                pattern(dir)
                    .replace("UUID", &name)
                    .replace("vfioN", &format!("vfio{}", node.id))
            }
            dir => pattern(dir),
        };
        match node.entry() {
            Entry::Attribute(row) => match table(node.dir()).get(usize::from(row)) {
                Some(row) => format!("{dir}/{}", row.name),
                None => dir,
            },
            Entry::Itself | Entry::Link(_) | Entry::DeviceLink => dir,
        }
    }
}
