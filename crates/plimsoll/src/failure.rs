//! How a command ends badly: what, where, remedy, and an exit code.

use std::fmt::{self, Write as _};
use std::process::ExitCode;

use crate::config::{Loaded, Origin};

/// A difference was found, or it failed.
pub(crate) const FAILED: u8 = 1;
/// The command line or the configuration is wrong (as clap ends, too).
pub(crate) const USAGE: u8 = 2;
/// Nothing differs, but something could not be verified.
pub(crate) const UNVERIFIED: u8 = 3;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    what: String,
    place: Option<String>,
    remedy: Option<String>,
    code: u8,
}

impl Failure {
    /// It failed; the text says what, and what to do where that is known.
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), place: None, remedy: None, code: FAILED }
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn usage(what: impl fmt::Display) -> Self {
        Self { code: USAGE, ..Self::new(what) }
    }

    /// The configuration has these problems.
    pub(crate) fn configuration(loaded: &Loaded) -> Self {
        let problems = &loaded.problems;
        let count = problems.len();
        let thing = if count == 1 { "problem" } else { "problems" };
        Self::usage(format!("the configuration has {count} {thing}:\n\n{problems}\n"))
    }

    /// Where the cause stands in the configuration.
    pub(crate) fn at(mut self, loaded: &Loaded, origin: &Origin) -> Self {
        self.place = Some(loaded.problems.place(origin));
        self
    }

    /// Where the cause stands, for one who no longer has the configuration at hand.
    pub(crate) fn at_place(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// The same, as what a check found: it was asked for, so the command line is not at fault.
    pub(crate) fn into_finding(self) -> Self {
        Self { code: FAILED, ..self }
    }

    /// A difference was found: said already, so that only the code is left.
    pub(crate) fn found(what: impl fmt::Display, code: u8) -> Self {
        Self { code, ..Self::new(what) }
    }

    /// What failed, without place and remedy.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(place) = &self.place {
            write!(f, "\n  where: {place}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  remedy: {remedy}")?;
        }
        Ok(())
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(chain_of(&error))
    }
}

/// The error with its causes, each said once.
pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            write!(text, ": {cause_text}").expect("a String takes every write");
        }
        source = cause.source();
    }
    text
}
