//! From a file's name and the environment to a configuration, or to all that is wrong.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::check::DATABASE_URL;
use super::problem::Problems;
use super::read::{Group, read};
use super::schema::{VARIABLE_PREFIX, VARIABLE_SEPARATOR};
use super::source::{Origin, Table, overlay, parse};
use super::{Config, check};

/// The variables of the environment; what is no text in them is [`char::REPLACEMENT_CHARACTER`].
pub(crate) type Environment = BTreeMap<String, String>;

/// What a text that is none has in it once it was made one.
const NO_TEXT: char = char::REPLACEMENT_CHARACTER;

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

impl Loaded {
    /// Where a setting of a table that there is one of was given, as `api.listen`; where its table begins, if it was not.
    pub(crate) fn origin_of(&self, path: &str) -> Origin {
        let (table, key) = path.split_once('.').unwrap_or((path, ""));
        self.root.group(table).map_or(Origin::Default, |group| group.origin_of(key))
    }
}

/// Reads the file, lays the environment over it, and checks all of it.
///
/// A missing file is empty when it was not asked for by name (`named`): the environment alone can configure everything.
pub(crate) fn load(file: &Path, named: bool, environment: &Environment) -> Loaded {
    let mut problems = Problems::new(file.display().to_string());
    let (text, missing) = match std::fs::read_to_string(file) {
        Ok(text) => (text, false),
        Err(error) if error.kind() == ErrorKind::NotFound && !named => (String::new(), true),
        Err(error) => {
            let (what, remedy) = unreadable(&error);
            problems.add(Origin::Default, what, remedy);
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
    let environment = texts(environment, &mut problems);
    overlay(&mut table, &environment, &mut problems);
    let root = read(&table, &mut problems);
    let base = base_of(file);
    let (config, notes) = check::check(&root, &base, missing, &environment, &mut problems);
    Loaded { config: config.filter(|_| problems.is_empty()), root, problems, notes }
}

/// What to say of a configuration file that cannot be read, and what to do.
fn unreadable(error: &std::io::Error) -> (String, &'static str) {
    let plain = format!("the configuration file cannot be read: {error}");
    match error.kind() {
        ErrorKind::IsADirectory => (
            "this is a directory, not a configuration file".into(),
            "name the file in it, as `…/plimsoll.toml`",
        ),
        ErrorKind::InvalidData => {
            ("the configuration file is no text in UTF-8".into(), "name the right file, or save it as UTF-8")
        }
        ErrorKind::PermissionDenied => {
            (plain, "let the user that runs this read the file and enter its directories")
        }
        _ => (
            plain,
            "give its path with `--config` or PLIMSOLL_CONFIG, or write one: `plimsoll config example > plimsoll.toml`",
        ),
    }
}

/// The variables that are texts; a setting's that is none is a problem.
fn texts(environment: &Environment, problems: &mut Problems) -> Environment {
    let (texts, others): (Environment, Environment) = environment
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .partition(|(_, value)| !value.contains(NO_TEXT));
    let ours = |name: &str| {
        name == DATABASE_URL
            || name.strip_prefix(VARIABLE_PREFIX).is_some_and(|path| path.contains(VARIABLE_SEPARATOR))
    };
    for name in others.into_keys().filter(|name| ours(name)) {
        problems.add(Origin::Variable(name), "its value is no text in UTF-8", "set it again, or unset it");
    }
    texts
}

/// Where relative paths in the configuration start.
fn base_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A path of the configuration, seen from where relative ones start. `./` is kept at its beginning alone, where it says that it is relative.
pub(super) fn from_base(base: &Path, path: &str) -> PathBuf {
    base.join(path).components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_without_detours() {
        for (file, path, shown) in [
            ("plimsoll.toml", "plimsoll-data", "./plimsoll-data"),
            ("plimsoll.toml", "./plimsoll-data", "./plimsoll-data"),
            ("./plimsoll.toml", "./abi/./View.json", "./abi/View.json"),
            ("etc/plimsoll.toml", "./abi//View.json", "etc/abi/View.json"),
            ("/etc/plimsoll.toml", "../srv/data", "/etc/../srv/data"),
            ("/etc/plimsoll.toml", "/srv/data/", "/srv/data"),
        ] {
            let path = from_base(&base_of(Path::new(file)), path);
            assert_eq!(path.to_str(), Some(shown), "{file}");
        }
    }
}
