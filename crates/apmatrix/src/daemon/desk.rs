//! What the threads around control share: the snapshot for readers, the way to ask control, the log.

use std::sync::Arc;
use std::sync::mpsc::{Sender, sync_channel};

use arc_swap::ArcSwap;
use arch::Errno;
use machine::{HostCpu, Machine};
use matrix::Host;
use sysfs::{Node, Tree};

use super::alerts::Alerts;
use super::control::{Answer, Event};
use super::faults::FaultTimer;
use super::polling::Polling;
use super::recorders::Recorders;
use super::refusals::{Asker, Refusals};
use crate::control::{Request, Response};

/// A seat at the daemon's front desk; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(super) snapshot: Arc<ArcSwap<Host>>,
    pub(super) control: Sender<Event>,
    pub(super) machine: Arc<Machine>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) fault_timer: FaultTimer,
    pub(super) recorders: Arc<Recorders>,
    pub(super) alerts: Alerts,
    pub(super) polling: Polling,
}

impl Desk {
    /// The host as it was published last.
    pub(crate) fn snapshot(&self) -> Arc<Host> {
        self.snapshot.load_full()
    }

    /// The host's CPU, for attributes that ask the hardware when they are read.
    pub(crate) fn instructions(&self) -> HostCpu<&Machine> {
        self.machine.host()
    }

    /// Stores `text` to an attribute for `asker`. `answer` is called exactly once, perhaps much later, with what
    /// write(2) is to return.
    pub(crate) fn store(
        &self,
        node: Node,
        text: &[u8],
        asker: Option<Asker>,
        answer: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        let host = self.snapshot();
        let tree = Tree::new(&host);
        let path = tree.path(node);
        match tree.store(node, text) {
            Ok(command) => {
                let event = Event::Apply {
                    command,
                    path,
                    text: text.to_vec(),
                    asker,
                    answer: Box::new(answer),
                };
                if let Err(unsent) = self.control.send(event) {
                    unsent.0.refuse(Errno::ENODEV);
                }
            }
            Err(error) => {
                self.refusals
                    .record((&path, text), asker, error.errno(), error.to_string());
                answer(Err(error.errno()));
            }
        }
    }

    /// Stores and waits for the answer.
    ///
    /// # Errors
    /// What write(2) would return.
    pub(crate) fn store_and_wait(&self, path: &str, text: &[u8]) -> Result<(), Errno> {
        let node = Tree::new(&self.snapshot()).resolve(path, true)?;
        self.ask(|answer| self.store(node, text, None, answer))
    }

    /// Asks the hardware console, and waits for its answer.
    pub(crate) fn console(&self, request: Request) -> Response {
        let (sender, receiver) = sync_channel(1);
        let answer = Box::new(move |response| drop(sender.send(response)));
        if let Err(unsent) = self.control.send(Event::Console { request, answer }) {
            unsent.0.refuse(Errno::ENODEV);
        }
        receiver
            .recv()
            .unwrap_or_else(|_| Response::Refused("the daemon is ending".to_owned()))
    }

    /// What an attribute reads.
    ///
    /// # Errors
    /// What read(2) would return.
    pub(crate) fn show(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let host = self.snapshot();
        let tree = Tree::new(&host);
        tree.show(tree.resolve(path, true)?, &mut self.instructions())
    }

    /// Sends control an event and waits for its answer. Control itself never calls it.
    ///
    /// # Errors
    /// What control answers; ENODEV when the daemon is ending.
    pub(super) fn ask_control(&self, event: impl FnOnce(Answer) -> Event) -> Result<(), Errno> {
        self.ask(|answer| self.tell_control(event(answer)))
    }

    /// Sends control an event, which answers ENODEV itself when the daemon is ending.
    pub(super) fn tell_control(&self, event: Event) {
        if let Err(unsent) = self.control.send(event) {
            unsent.0.refuse(Errno::ENODEV);
        }
    }

    /// Starts something that answers later and waits for the answer.
    fn ask<T: Send + 'static>(
        &self,
        start: impl FnOnce(Box<dyn FnOnce(Result<T, Errno>) + Send>),
    ) -> Result<T, Errno> {
        let (sender, receiver) = sync_channel(1);
        start(Box::new(move |result| {
            // The asker may be gone; nobody else wants the answer.
            drop(sender.send(result));
        }));
        receiver.recv().unwrap_or(Err(Errno::ENODEV))
    }
}
