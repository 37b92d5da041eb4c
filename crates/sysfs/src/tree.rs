//! [`Tree`]: the view of a host as files.

use arch::Errno;
use matrix::{Command, Host};

use crate::attribute::{Attribute, Live, Place, Reading, Writing};
use crate::attributes::table;
use crate::error::StoreError;
use crate::layout;
use crate::node::{Entry, Node};

/// Size of a page: a file reads at most one byte less, and a write is cut after one page.
pub const PAGE: usize = 4096;

/// Links followed before a path counts as a loop.
const MAX_LINKS: usize = 40;

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A directory.
    Directory,
    /// An attribute.
    File,
    /// A symbolic link.
    Link,
}

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// The name.
    pub name: String,
    /// What it names.
    pub node: Node,
    /// What that is.
    pub kind: Kind,
}

/// The tree of one host snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    host: &'a Host,
}

impl<'a> Tree<'a> {
    /// The tree of `host`.
    #[must_use]
    pub const fn new(host: &'a Host) -> Self {
        Self { host }
    }

    pub(crate) const fn host(&self) -> &'a Host {
        self.host
    }

    const fn place(&self, node: Node) -> Place<'a> {
        Place {
            host: self.host,
            id: node.id,
        }
    }

    /// What a node is, if it is there.
    #[must_use]
    pub fn kind(&self, node: Node) -> Option<Kind> {
        if node.entry == Entry::DeviceLink {
            return layout::device_link_target(self.host, node).map(|_| Kind::Link);
        }
        if !layout::directory_exists(&self.place(node), node.dir) {
            return None;
        }
        match node.entry {
            Entry::Itself => Some(Kind::Directory),
            Entry::Attribute(_) => self.row(node).map(|_| Kind::File),
            Entry::Link(_) => self.readlink(node).ok().map(|_| Kind::Link),
            Entry::DeviceLink => None,
        }
    }

    /// Permission bits of a node, if it is there: 0755 for directories, 0777 for links.
    #[must_use]
    pub fn mode(&self, node: Node) -> Option<u16> {
        match self.kind(node)? {
            Kind::Directory => Some(0o755),
            Kind::Link => Some(0o777),
            Kind::File => self.row(node).map(|row| row.mode),
        }
    }

    /// The table row of a file that is there.
    fn row(&self, node: Node) -> Option<&'static Attribute> {
        let Entry::Attribute(index) = node.entry else {
            return None;
        };
        let row = table(node.dir).get(usize::from(index))?;
        (row.present)(&self.place(node)).then_some(row)
    }

    /// The directory that holds a node; the root holds itself.
    #[must_use]
    pub fn parent(&self, node: Node) -> Node {
        match node.entry {
            Entry::Itself => layout::parent(node),
            // A device link's number is the device's; only in an IOMMU group it is the directory's.
            Entry::DeviceLink if !layout::is_numbered(node.dir) => Node::directory(node.dir, 0),
            Entry::Attribute(_) | Entry::Link(_) | Entry::DeviceLink => node.with(Entry::Itself),
        }
    }

    /// The node of this name in a directory.
    #[must_use]
    pub fn lookup(&self, parent: Node, name: &str) -> Option<Node> {
        if self.kind(parent) != Some(Kind::Directory) {
            return None;
        }
        let place = self.place(parent);
        let fixed = layout::SUBDIRS
            .iter()
            .find(|(dir, subdir, _)| *dir == parent.dir && *subdir == name)
            .map(|(_, _, dir)| Node::directory(*dir, child_id(*dir, parent)));
        fixed
            .or_else(|| self.fixed_entry(parent, name))
            .or_else(|| layout::numbered_subdir(&place, parent.dir, name))
            .or_else(|| layout::device_link(&place, parent.dir, name))
    }

    fn fixed_entry(&self, parent: Node, name: &str) -> Option<Node> {
        let row = table(parent.dir).iter().position(|row| row.name == name);
        let link = || {
            let links = layout::LINKS.iter();
            let found = links
                .clone()
                .position(|(dir, link, _)| *dir == parent.dir && *link == name);
            found
                .and_then(|index| u8::try_from(index).ok())
                .map(Entry::Link)
        };
        let entry = row
            .and_then(|index| u8::try_from(index).ok())
            .map(Entry::Attribute);
        let node = parent.with(entry.or_else(link)?);
        self.kind(node).map(|_| node)
    }

    /// Everything in a directory, in byte order of the names.
    ///
    /// # Errors
    /// `ENOENT` when the node is gone, `ENOTDIR` when it is no directory.
    pub fn list(&self, node: Node) -> Result<Vec<DirEntry>, Errno> {
        match self.kind(node) {
            None => return Err(Errno::ENOENT),
            Some(Kind::Directory) => {}
            Some(Kind::File | Kind::Link) => return Err(Errno::ENOTDIR),
        }
        let place = self.place(node);
        let mut entries = Vec::new();
        let mut add = |name: String, node, kind| entries.push(DirEntry { name, node, kind });
        for (_, name, dir) in layout::SUBDIRS.iter().filter(|(dir, ..)| *dir == node.dir) {
            let child = Node::directory(*dir, child_id(*dir, node));
            add(String::from(*name), child, Kind::Directory);
        }
        for (name, child) in layout::numbered_subdirs(&place, node.dir) {
            add(name, child, Kind::Directory);
        }
        for (index, row) in (0u8..).zip(table(node.dir)) {
            if (row.present)(&place) {
                add(
                    String::from(row.name),
                    node.with(Entry::Attribute(index)),
                    Kind::File,
                );
            }
        }
        for (index, (dir, name, target)) in (0u8..).zip(layout::LINKS) {
            if *dir == node.dir && target(&place).is_some() {
                add(
                    String::from(*name),
                    node.with(Entry::Link(index)),
                    Kind::Link,
                );
            }
        }
        for (name, link) in layout::device_links(&place, node.dir) {
            add(name, link, Kind::Link);
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Target of a link, relative to the directory that holds it.
    ///
    /// # Errors
    /// `ENOENT` when the link is gone, `EINVAL` when the node is no link.
    pub fn readlink(&self, node: Node) -> Result<String, Errno> {
        match node.entry {
            Entry::DeviceLink => layout::device_link_target(self.host, node).ok_or(Errno::ENOENT),
            Entry::Link(index) => {
                let place = self.place(node);
                if !layout::directory_exists(&place, node.dir) {
                    return Err(Errno::ENOENT);
                }
                let row = layout::LINKS.get(usize::from(index));
                let row = row.filter(|(dir, ..)| *dir == node.dir);
                row.and_then(|(_, _, target)| target(&place))
                    .ok_or(Errno::ENOENT)
            }
            Entry::Itself | Entry::Attribute(_) => Err(Errno::EINVAL),
        }
    }

    /// The node at a path relative to the root of sysfs; every link on the way is followed, and the
    /// last one too if `follow` says so.
    ///
    /// # Errors
    /// `ENOENT` and `ENOTDIR` as open(2) answers them; `EINVAL` for a loop of links, which the tree
    /// does not have.
    pub fn resolve(&self, path: &str, follow: bool) -> Result<Node, Errno> {
        let mut stack = vec![Node::ROOT];
        let mut rest: Vec<String> = components(path).rev().collect();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            let here = stack.last().copied().unwrap_or(Node::ROOT);
            if name == ".." {
                // The root is its own parent.
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            match self.kind(here) {
                Some(Kind::Directory) => {}
                Some(_) => return Err(Errno::ENOTDIR),
                None => return Err(Errno::ENOENT),
            }
            let node = self.lookup(here, &name).ok_or(Errno::ENOENT)?;
            let last = rest.is_empty();
            if self.kind(node) == Some(Kind::Link) && (follow || !last) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::EINVAL);
                }
                rest.extend(components(&self.readlink(node)?).rev());
                continue;
            }
            stack.push(node);
        }
        Ok(stack.last().copied().unwrap_or(Node::ROOT))
    }

    /// Content of a file. `live` is the hardware, for the few files that ask it at each read.
    ///
    /// # Errors
    /// `EISDIR` for a directory, `EACCES` for a file that cannot be read, `ENODEV` when its device is
    /// gone, or what the attribute itself answers.
    pub fn show(&self, node: Node, live: &mut dyn Live) -> Result<Vec<u8>, Errno> {
        if self.kind(node) == Some(Kind::Directory) {
            return Err(Errno::EISDIR);
        }
        let row = self.row(node).ok_or(Errno::ENODEV)?;
        let show = row.show.ok_or(Errno::EACCES)?;
        let mut text = show(&mut Reading {
            place: self.place(node),
            live,
        })?
        .into_bytes();
        text.truncate(PAGE - 1);
        Ok(text)
    }

    /// Parses a write to a file. An empty write is accepted and does nothing, whatever the file; only
    /// the first page of a longer one counts, see [`accepted`](Self::accepted).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn store(&self, node: Node, bytes: &[u8]) -> Result<Command, StoreError> {
        let row = match (node.entry, self.row(node)) {
            (Entry::Attribute(_), None) => return Err(StoreError::Gone),
            (Entry::Attribute(_), Some(row)) => row,
            _ => return Err(StoreError::NotWritable),
        };
        let store = row.store.ok_or(StoreError::NotWritable)?;
        if bytes.is_empty() {
            return Ok(Command::Nothing);
        }
        let bytes = &bytes[..Self::accepted(bytes.len())];
        store(&Writing {
            place: self.place(node),
            bytes,
        })
    }

    /// How many bytes of a write of this length are taken: sysfs cuts it after one page.
    #[must_use]
    pub const fn accepted(length: usize) -> usize {
        if length < PAGE { length } else { PAGE }
    }
}

/// The number of a directory with a fixed name: that of its parent, if it is numbered at all.
const fn child_id(dir: crate::node::Dir, parent: Node) -> u64 {
    if layout::is_numbered(dir) {
        parent.id
    } else {
        0
    }
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = String> {
    path.split('/')
        .filter(|name| !name.is_empty() && *name != ".")
        .map(String::from)
}
