//! From a file's name and the environment to a configuration, or to all that is wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::problem::Problems;
use super::read::{Group, read};
use super::source::{Origin, Table, overlay, parse};
use super::{Config, check};

/// The variables of the environment that are text.
pub(crate) type Environment = BTreeMap<String, String>;

/// A configuration as far as it could be read.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration, if nothing is wrong.
    pub(crate) config: Option<Config>,
    /// Every setting that could be read, for `config show`.
    pub(crate) root: Group,
    /// All that is wrong; knows how to name a place in the file.
    pub(crate) problems: Problems,
    /// What is allowed, but deserves a word.
    pub(crate) notes: Vec<String>,
}

/// Reads the file, lays the environment over it, and checks all of it.
///
/// A missing file is empty when it was not asked for by name (`named`): the environment alone can configure everything.
pub(crate) fn load(file: &Path, named: bool, environment: &Environment) -> Loaded {
    let mut problems = Problems::new(file.display().to_string());
    let (text, missing) = match std::fs::read_to_string(file) {
        Ok(text) => (text, false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => (String::new(), true),
        Err(error) => {
            problems.add(
                Origin::Default,
                format!("the configuration file cannot be read: {error}"),
                "give its path with `--config` or PLIMSOLL_CONFIG, or write one: `plimsoll config example > plimsoll.toml`",
            );
            return Loaded {
                config: None,
                root: read(&Table::new(), &mut Problems::default()),
                problems,
                notes: Vec::new(),
            };
        }
    };
    let mut table = parse(&text, &mut problems);
    if !problems.is_empty() {
        // What can be read of a broken file says little about what was meant.
        let root = read(&Table::new(), &mut Problems::default());
        return Loaded { config: None, root, problems, notes: Vec::new() };
    }
    overlay(&mut table, environment, &mut problems);
    let root = read(&table, &mut problems);
    let base = base_of(file);
    let (config, notes) = check::check(&root, &base, missing, environment, &mut problems);
    Loaded { config: config.filter(|_| problems.is_empty()), root, problems, notes }
}

/// Where relative paths in the configuration start.
fn base_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
