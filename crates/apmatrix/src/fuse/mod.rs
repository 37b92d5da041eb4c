//! The tree as a file system.
//!
//! An adapter and nothing more: nodes, names, modes, contents and the meaning of a write come from
//! `sysfs`. What this module adds are the manners of sysfs that a file system must have by itself:
//!
//! - Opening against an attribute's mode is EACCES, for root too; a new name cannot be created.
//! - Each write(2) is one store, whatever the file position; at most a page is taken.
//! - Truncation and `O_CREAT` on an existing attribute are accepted and mean nothing.
//! - Reads of one open file come from the text as it was when it was read from its beginning.
//! - The kernel caches only names that are there for as long as their directory: all others appear and
//!   disappear with the write that causes it. What a node is like (mode, owner) never changes, and a node
//!   is never another one later, so the kernel may remember that; it saves most round trips.

mod mount;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arch::Errno;
use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use matrix::Host;
use sysfs::{Kind, Node, PAGE, Tree};

use crate::daemon::{Asker, Desk};
pub(crate) use mount::{clear_stale, mount};

/// For names that can go at any time.
const NOT_CACHED: Duration = Duration::ZERO;
/// For what never changes.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// The tree of one daemon.
#[derive(Debug)]
pub(crate) struct TreeFs {
    desk: Desk,
    owner: (u32, u32),
    /// What open files and directories go on with, by handle.
    open: Mutex<BTreeMap<u64, Opened>>,
    next_handle: AtomicU64,
    mounted: SystemTime,
}

/// What a handle remembers between two calls.
#[derive(Debug)]
enum Opened {
    /// The text of an attribute since it was read from its beginning.
    Text(Arc<[u8]>),
    /// The host when the directory was opened, so that names do not shift under a reader.
    Directory(Arc<Host>),
}

impl TreeFs {
    /// The tree behind `desk`; files belong to `owner` (user and group id).
    pub(crate) fn new(desk: Desk, owner: (u32, u32)) -> Self {
        Self {
            desk,
            owner,
            open: Mutex::default(),
            next_handle: AtomicU64::new(1),
            mounted: UNIX_EPOCH,
        }
    }

    fn with_node<T>(
        &self,
        ino: INodeNo,
        look: impl FnOnce(&Tree<'_>, Node) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let host = self.desk.snapshot();
        let node = Node::from_ino(ino.0).ok_or(Errno::ENOENT)?;
        look(&Tree::new(&host), node)
    }

    fn attr(&self, tree: &Tree<'_>, node: Node) -> Result<FileAttr, Errno> {
        let kind = tree.kind(node).ok_or(Errno::ENOENT)?;
        Ok(FileAttr {
            ino: INodeNo(node.ino()),
            size: if kind == Kind::File { PAGE as u64 } else { 0 },
            blocks: 0,
            atime: self.mounted,
            mtime: self.mounted,
            ctime: self.mounted,
            crtime: self.mounted,
            kind: file_type(kind),
            perm: tree.mode(node).ok_or(Errno::ENOENT)?,
            nlink: if kind == Kind::Directory { 2 } else { 1 },
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        })
    }

    fn text(&self, ino: INodeNo, handle: FileHandle, offset: u64) -> Result<Arc<[u8]>, Errno> {
        if offset > 0
            && let Some(Opened::Text(text)) = self.opened().get(&handle.0)
        {
            return Ok(Arc::clone(text));
        }
        let show = |tree: &Tree<'_>, node| tree.show(node, &mut self.desk.instructions());
        let text: Arc<[u8]> = self.with_node(ino, show)?.into();
        self.opened()
            .insert(handle.0, Opened::Text(Arc::clone(&text)));
        Ok(text)
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<u64, Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_handle(&self) -> FileHandle {
        FileHandle(self.next_handle.fetch_add(1, Ordering::Relaxed))
    }
}

fn fuse_errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.raw())
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::File => FileType::RegularFile,
        Kind::Link => FileType::Symlink,
    }
}

impl Filesystem for TreeFs {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.with_node(parent, |tree, parent| {
            let name = name.to_str().ok_or(Errno::ENOENT)?;
            let node = tree.lookup(parent, name).ok_or(Errno::ENOENT)?;
            Ok((node, self.attr(tree, node)?))
        });
        match found {
            Ok((node, attr)) => {
                let name_lasts = if node.name_lasts() {
                    FOR_EVER
                } else {
                    NOT_CACHED
                };
                reply.entry_with_ttls(&FOR_EVER, &name_lasts, &attr, Generation(0));
            }
            Err(errno) => reply.error(fuse_errno(errno)),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.with_node(ino, |tree, node| self.attr(tree, node)) {
            Ok(attr) => reply.attr(&FOR_EVER, &attr),
            Err(errno) => reply.error(fuse_errno(errno)),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        _size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        // Every tool that opens with O_TRUNC sets a size of 0 first.
        if mode.is_some() || uid.is_some() || gid.is_some() {
            return reply.error(fuser::Errno::EPERM);
        }
        self.getattr(request, ino, handle, reply);
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.with_node(ino, |tree, node| tree.readlink(node)) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(errno) => reply.error(fuse_errno(errno)),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (reads, writes) = match flags.acc_mode() {
            OpenAccMode::O_RDONLY => (true, false),
            OpenAccMode::O_WRONLY => (false, true),
            OpenAccMode::O_RDWR => (true, true),
        };
        let allowed = self.with_node(ino, |tree, node| {
            let mode = tree.mode(node).ok_or(Errno::ENOENT)?;
            let denied = (reads && mode & 0o444 == 0) || (writes && mode & 0o222 == 0);
            if denied { Err(Errno::EACCES) } else { Ok(()) }
        });
        match allowed {
            Ok(()) => {
                reply.opened(self.new_handle(), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(errno) => reply.error(fuse_errno(errno)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.text(ino, handle, offset) {
            Ok(text) => {
                let start = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(text.len());
                let end = start.saturating_add(size as usize).min(text.len());
                reply.data(&text[start..end]);
            }
            Err(errno) => reply.error(fuse_errno(errno)),
        }
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = &data[..Tree::accepted(data.len())];
        let taken = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let Some(node) = Node::from_ino(ino.0) else {
            return reply.error(fuser::Errno::ENODEV);
        };
        // The answer comes from the control thread; no FUSE thread waits for it.
        let asker = Asker {
            pid: request.pid(),
            uid: request.uid(),
        };
        self.desk
            .store(node, data, Some(asker), move |result| match result {
                Ok(()) => reply.written(taken),
                Err(errno) => reply.error(fuse_errno(errno)),
            });
    }

    /// There is nothing to flush; after this answer the kernel closes files without asking.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.opened().remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let handle = self.new_handle();
        self.opened()
            .insert(handle.0, Opened::Directory(self.desk.snapshot()));
        reply.opened(handle, FopenFlags::empty());
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let host = match self.opened().get(&handle.0) {
            Some(Opened::Directory(host)) => Arc::clone(host),
            _ => self.desk.snapshot(),
        };
        let entries = Node::from_ino(ino.0)
            .ok_or(Errno::ENOENT)
            .and_then(|node| Tree::new(&host).list(node));
        let entries = match entries {
            Ok(entries) => entries,
            Err(errno) => return reply.error(fuse_errno(errno)),
        };
        let dots = [".", ".."].map(|name| (name.to_owned(), ino.0, FileType::Directory));
        let names = entries
            .into_iter()
            .map(|entry| (entry.name, entry.node.ino(), file_type(entry.kind)));
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        for (next, (name, ino, kind)) in (1u64..).zip(dots.into_iter().chain(names)).skip(first) {
            if reply.add(INodeNo(ino), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.opened().remove(&handle.0);
        reply.ok();
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        reply.error(fuser::Errno::EACCES);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(fuser::Errno::EPERM);
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(fuser::Errno::EPERM);
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(fuser::Errno::EPERM);
    }
}
