//! Commands that this client has no method for.

use std::os::fd::BorrowedFd;

use super::{Client, ClientError};

impl Client {
    /// Sends any command, also one that is wrong or unknown, and returns the payload of its reply. Not
    /// for VERSION; what it registers or maps is not brought back after a reconnect.
    ///
    /// # Errors
    /// What the daemon refuses; when it cannot be asked.
    pub fn command(
        &mut self,
        number: u16,
        payload: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Vec<u8>, ClientError> {
        self.ensure_open()?;
        let timeout = self.options.round_trip;
        let len = self.transact_raw(number, (payload, &[]), descriptors, timeout)?;
        Ok(self.reply(len).to_vec())
    }
}
