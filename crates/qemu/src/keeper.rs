//! The thread that sees to the connection: no vCPU waits for the daemon to come back, and an idle guest
//! keeps its device too.
//!
//! | event | the guest |
//! |---|---|
//! | the daemon ends | its queues are empty and "reset in progress" from the next instruction on |
//! | the daemon stands still | the first instruction waits for its deadline, then as above |
//! | the daemon is back | its queues are there, reset; what it had sent it sends again |

use std::sync::Once;

use crate::plugin::Plugin;
use crate::say::say;

/// Starts the thread, once. Call it when QEMU starts its first vCPU: a QEMU that goes to the
/// background has forked by then.
pub(crate) fn start(plugin: &'static Plugin) {
    static START: Once = Once::new();
    START.call_once(|| {
        let keep = move || plugin.client().keep(|open| changed(plugin, open));
        let started = std::thread::Builder::new()
            .name("apmatrix".into())
            .spawn(keep);
        if let Err(error) = started {
            // Instructions see to the connection themselves then.
            say(format_args!("no thread for the connection: {error}"));
        }
    });
}

/// The connection was lost, or stands again with eventfds and memory registered anew. In both cases the
/// queues are empty. A guest that waits for an adapter interruption instead of polling gets one to look:
/// the client enables again what the guest had enabled, and signals an alert for it.
fn changed(plugin: &Plugin, open: bool) {
    if open {
        plugin.restored();
    }
    plugin.limiter().say(if open {
        format_args!("the daemon answers again; the AP queues were reset")
    } else {
        format_args!("no answer from the daemon: AP queues report \"reset in progress\"")
    });
}
