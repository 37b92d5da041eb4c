//! One row of an attribute table, and what its functions get.

use arch::{ApInstructions, Apid, Apqn, CardQueries, Errno};
use bus::{Card, Queue};
use matrix::{Command, Host, Mdev, MdevUuid};

use crate::error::StoreError;
use crate::node::Node;

/// Produces the content of a file.
pub type Show = fn(&mut Reading<'_>) -> Result<String, Errno>;
/// Parses what was written.
pub type Store = fn(&Writing<'_>) -> Result<Command, StoreError>;
/// Whether the file is there.
pub type Present = fn(&Place<'_>) -> bool;

/// An attribute: one row.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// File name.
    pub name: &'static str,
    /// Permission bits: 0444, 0644 or 0200.
    pub mode: u16,
    /// When the file is there, for the reference page; empty: always.
    pub when: &'static str,
    /// Whether the file is there.
    pub present: Present,
    /// The content; `None` for a file that cannot be read.
    pub show: Option<Show>,
    /// The parser; `None` for a file that cannot be written.
    pub store: Option<Store>,
    /// What it is, for the reference page.
    pub doc: &'static str,
}

impl Attribute {
    pub(crate) const fn read_only(name: &'static str, show: Show, doc: &'static str) -> Self {
        Self {
            name,
            mode: 0o444,
            when: "",
            present: always,
            show: Some(show),
            store: None,
            doc,
        }
    }

    pub(crate) const fn read_write(
        name: &'static str,
        show: Show,
        store: Store,
        doc: &'static str,
    ) -> Self {
        let (show, store) = (Some(show), Some(store));
        Self {
            name,
            mode: 0o644,
            when: "",
            present: always,
            show,
            store,
            doc,
        }
    }

    pub(crate) const fn write_only(name: &'static str, store: Store, doc: &'static str) -> Self {
        Self {
            name,
            mode: 0o200,
            when: "",
            present: always,
            show: None,
            store: Some(store),
            doc,
        }
    }

    pub(crate) const fn only(self, when: &'static str, present: Present) -> Self {
        Self {
            when,
            present,
            ..self
        }
    }
}

const fn always(_place: &Place<'_>) -> bool {
    true
}

/// Which directory, of which host.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The host.
    pub host: &'a Host,
    pub(crate) id: u64,
}

impl<'a> Place<'a> {
    /// The adapter of a card directory.
    #[must_use]
    pub const fn apid(&self) -> Apid {
        Node::apid(self.id)
    }

    /// The queue of a queue directory.
    #[must_use]
    pub const fn apqn(&self) -> Apqn {
        Node::apqn(self.id)
    }

    /// The card of a card directory.
    #[must_use]
    pub fn card(&self) -> Option<&'a Card> {
        self.host.bus().card(self.apid())
    }

    /// The queue of a queue directory.
    #[must_use]
    pub fn queue(&self) -> Option<&'a Queue> {
        self.host.bus().queue(self.apqn())
    }

    /// The mdev of an mdev directory.
    #[must_use]
    pub fn mdev(&self) -> Option<(MdevUuid, &'a Mdev)> {
        self.host.matrix().by_serial(Node::serial(self.id))
    }
}

/// The hardware, for content that is asked from it at each read.
pub trait Live: ApInstructions + CardQueries {}

impl<T: ApInstructions + CardQueries + ?Sized> Live for T {}

/// What a show function gets.
pub struct Reading<'a> {
    /// Where the file is.
    pub place: Place<'a>,
    /// The hardware, for content that is asked from it at each read.
    pub live: &'a mut dyn Live,
}

impl std::fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl<'a> Reading<'a> {
    pub(crate) fn card(&self) -> Result<&'a Card, Errno> {
        self.place.card().ok_or(Errno::ENODEV)
    }

    pub(crate) fn queue(&self) -> Result<&'a Queue, Errno> {
        self.place.queue().ok_or(Errno::ENODEV)
    }

    pub(crate) fn mdev(&self) -> Result<&'a Mdev, Errno> {
        self.place.mdev().map(|(_, mdev)| mdev).ok_or(Errno::ENODEV)
    }
}

/// What a store function gets: never an empty write, and at most a page.
#[derive(Clone, Copy, Debug)]
pub struct Writing<'a> {
    /// Where the file is.
    pub place: Place<'a>,
    /// The bytes as written.
    pub bytes: &'a [u8],
}

impl<'a> Writing<'a> {
    /// The bytes up to the first NUL: most of the kernel sees a C string.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.bytes
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default()
    }

    /// The text without its one optional trailing newline, as a device name.
    pub(crate) fn name(&self) -> String {
        let text = self.text();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        String::from_utf8_lossy(text).into_owned()
    }

    pub(crate) fn mdev(&self) -> Result<MdevUuid, StoreError> {
        self.place
            .mdev()
            .map(|(uuid, _)| uuid)
            .ok_or(StoreError::Gone)
    }
}

/// The lines of a `uevent` file.
pub(crate) fn uevent_text(pairs: &[(&'static str, String)]) -> String {
    pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect()
}

/// A write to a `uevent` file, `ACTION [UUID [KEY=VALUE ...]]`: a known action is accepted, and
/// nothing depends on the event.
pub(crate) fn store_uevent(writing: &Writing<'_>) -> Result<Command, StoreError> {
    const ACTIONS: [&str; 8] = [
        "add", "remove", "change", "move", "online", "offline", "bind", "unbind",
    ];
    let text = writing.name();
    let (action, arguments) = match text.split_once(' ') {
        Some((action, arguments)) => (action, Some(arguments)),
        None => (text.as_str(), None),
    };
    if !ACTIONS.contains(&action) {
        return Err(StoreError::Action);
    }
    if arguments.is_some_and(|arguments| !are_synthetic(arguments)) {
        return Err(StoreError::ActionArguments);
    }
    Ok(Command::Nothing)
}

/// Whether a text is a UUID and pairs of letters and digits, each behind one blank.
fn are_synthetic(arguments: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let mut words = arguments.split(' ');
    words
        .next()
        .is_some_and(|uuid| uuid.parse::<MdevUuid>().is_ok())
        && words.all(|pair| {
            pair.split_once('=')
                .is_some_and(|(key, value)| is_word(key) && is_word(value))
        })
}

/// The write-only `uevent` file of buses, drivers and modules.
pub(crate) const UEVENT_TRIGGER: Attribute = Attribute::write_only(
    "uevent",
    store_uevent,
    "Asks for a synthetic uevent: add, remove, change and so on.",
);
