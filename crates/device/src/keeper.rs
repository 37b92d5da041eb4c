//! Seeing to a shared client's connection on a thread of its own.
//!
//! ```text
//!              the daemon or a deadline ended it          pause over
//!   wait for    --------------------------------> pause ------------> connect, VERSION, restore
//!   the end     <---------------------------------------------------  wait for the answer
//!                        changed(true)                 \\ refused, closed, too late: pause
//! ```
//!
//! No wait happens under the client's lock: an instruction meanwhile is answered at once, see
//! `absence`.

use std::time::Instant;

use crate::client::Tending;
use crate::shared::SharedClient;
use crate::socket::wait_until;

/// Says that the connection is tended as long as it lives, also when [`SharedClient::keep`] unwinds.
struct Tended<'a>(&'a SharedClient);

impl<'a> Tended<'a> {
    fn new(client: &'a SharedClient) -> Self {
        client.lock().set_tended(true);
        Self(client)
    }
}

impl Drop for Tended<'_> {
    fn drop(&mut self) {
        self.0.lock().set_tended(false);
    }
}

impl SharedClient {
    /// Keeps the connection: notices at once when the daemon has gone, and connects again as soon as
    /// it is back. Meanwhile no instruction waits for a connection. Call it on a thread of its own.
    ///
    /// `changed` is told, without the lock, that the connection was lost (false) and that it stands
    /// again (true): eventfds and mapped memory are registered again by then, and the queues are
    /// reset. A loss that the daemon's return ended before anybody looked is told as well. Returns
    /// when the device was given back.
    pub fn keep(&self, mut changed: impl FnMut(bool)) {
        let _tended = Tended::new(self);
        let (mut open, mut reconnects) = (true, self.reconnects());
        loop {
            let (next, now_open, now_reconnects) = {
                let mut client = self.lock();
                let next = client.tend();
                (next, client.is_open(), client.reconnects())
            };
            if matches!(next, Tending::Nothing) {
                return;
            }
            if open && (!now_open || now_reconnects != reconnects) {
                changed(false);
                open = false;
            }
            if !open && now_open {
                changed(true);
                open = true;
            }
            reconnects = now_reconnects;
            match next {
                Tending::End(line) => line.wait_for_end(),
                Tending::Answer(line, deadline) => line.wait_for_answer(deadline),
                Tending::Pause(until) if until > Instant::now() => wait_until(Some(until)),
                Tending::Pause(_) | Tending::Nothing => {}
            }
        }
    }
}
