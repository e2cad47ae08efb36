//! What is wrong with a configuration: all of it, in the order of the file.

use std::fmt;

use super::source::Origin;

/// One thing that is wrong: what, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    order: Origin,
    place: String,
    what: String,
    remedy: String,
}

/// All that is wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems {
    /// The configuration file's name, as the user wrote it.
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    pub(crate) fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), list: Vec::new() }
    }

    /// Notes a problem at the place where the value was given.
    pub(crate) fn add(&mut self, origin: Origin, what: impl Into<String>, remedy: impl Into<String>) {
        let place = self.place(&origin);
        self.list.push(Problem { order: origin, place, what: what.into(), remedy: remedy.into() });
    }

    /// The place as a person can find it: `plimsoll.toml:12:8`, or the variable's name.
    pub(crate) fn place(&self, origin: &Origin) -> String {
        match origin {
            Origin::File { line, column } => format!("{}:{line}:{column}", self.file),
            Origin::Variable(name) => format!("environment variable {name}"),
            Origin::Default => self.file.clone(),
        }
    }

    /// The configuration file's name, as the user wrote it.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list: Vec<_> = self.list.iter().collect();
        list.sort();
        list.dedup();
        for (i, problem) in list.into_iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {}\n  remedy: {}", problem.place, problem.what, problem.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
