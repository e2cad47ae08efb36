//! A line of progress on a terminal: rewritten in place, at most a few times a second, and absent where nobody looks.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(200);

/// The line.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    written: Option<Instant>,
}

impl Progress {
    /// On standard error, if that is a terminal.
    pub(crate) fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal(), written: None }
    }

    /// Writes the line anew, unless it was written just now.
    pub(crate) fn line(&mut self, text: impl FnOnce() -> String) {
        if self.shown && self.written.is_none_or(|at| at.elapsed() >= INTERVAL) {
            self.written = Some(Instant::now());
            self.put(&text());
        }
    }

    fn put(&mut self, text: &str) {
        // A terminal that is gone stops the progress, not the work.
        self.shown = write!(std::io::stderr(), "\r\x1b[K{text}").is_ok();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown && self.written.is_some() {
            self.put("");
        }
    }
}
