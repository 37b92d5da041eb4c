//! What every verb is given.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::admin::{Refused, Tree};
use crate::control::{self, Request, Response};
use crate::namespace;
use crate::rundir::RunDir;

/// Where a verb prints, and which instance it is about.
pub struct Context<'o> {
    /// Standard output.
    pub out: &'o mut dyn Write,
    /// The instance.
    pub run_dir: RunDir,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("run_dir", &self.run_dir)
            .finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// Goes where the running instance's tree can be seen: into the daemon's namespaces if it has its
    /// own. To be called while the process has a single thread.
    ///
    /// # Errors
    /// When no daemon runs.
    pub fn enter(&self) -> Result<crate::rundir::DaemonRecord> {
        let record = self.run_dir.daemon()?;
        if record.own_namespace {
            namespace::enter(record.pid)?;
        }
        Ok(record)
    }

    /// The tree to administer: `asked`, else the running instance's, else a mainframe's `/sys`.
    ///
    /// # Errors
    /// When there is none of them.
    pub fn tree(&self, asked: Option<&Path>) -> Result<Tree> {
        if let Some(root) = asked {
            return Tree::open(root);
        }
        match self.enter() {
            Ok(_) => Tree::open(&self.run_dir.sys()),
            Err(_) if Path::new("/sys/bus/ap").is_dir() => Tree::open(&PathBuf::from("/sys")),
            Err(error) => Err(error),
        }
    }

    /// Asks the daemon's control socket.
    ///
    /// # Errors
    /// When no daemon answers, or it refuses.
    pub fn ask(&self, request: &Request) -> Result<Response> {
        match control::ask(&self.run_dir.control_socket(), request)? {
            Response::Refused(reason) => bail!("{reason}"),
            response => Ok(response),
        }
    }

    /// Adds to a refusal the reason that the daemon keeps for it, when there is a daemon.
    ///
    /// # Errors
    /// Always: the refusal itself.
    pub fn explain(&self, refused: Refused) -> Result<()> {
        let reason = match self.ask(&Request::Log) {
            Ok(Response::Log(log)) => {
                let text = refused.text.trim_end();
                let fits = |entry: &&control::Refusal| {
                    entry.what == refused.path && entry.text.trim_end() == text
                };
                log.iter()
                    .rev()
                    .find(fits)
                    .map(|entry| entry.reason.clone())
            }
            _ => None,
        };
        match reason {
            Some(reason) => Err(refused).context(reason),
            None => Err(refused.into()),
        }
    }
}
