//! What a setting is, and how one is named in the file and in the environment. The list of them is in [`settings`](super::settings).

/// A group of settings: a TOML table, or (`repeated`) an array of tables.
#[derive(Debug)]
pub(crate) struct Section {
    /// The table's name; empty for the document itself.
    pub(crate) name: &'static str,
    /// Whether it is written `[[name]]`, any number of times.
    pub(crate) repeated: bool,
    /// The settings directly in it.
    pub(crate) keys: &'static [Key],
    /// The tables inside it.
    pub(crate) sections: &'static [Section],
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// What its value may be.
    pub(crate) kind: Kind,
    /// What happens when it is absent.
    pub(crate) absent: Absent,
    /// What it is for.
    pub(crate) about: &'static str,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text but the empty one.
    Text,
    /// A text, or a whole number that is read as one: a name, or an id.
    Name,
    /// A text that is never printed.
    Secret,
    /// A URL, of which only scheme and host are printed: paths, queries and user parts hold keys and passwords.
    Url,
    /// A path; a relative one starts at the configuration file's directory.
    Path,
    /// A path of a file that holds the secret; the file's content is never printed.
    SecretPath,
    /// A whole number in a range, ends included.
    Integer { min: u64, max: u64 },
    /// A number of wei, which TOML's own numbers are too small for, or (`unlimited`) no limit.
    Wei { unlimited: bool },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
}

/// What happens when a setting is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It must be given.
    Required,
    /// There is nothing in its place.
    Optional,
    /// This text is.
    Default(&'static str),
    /// This number is.
    DefaultInteger(u64),
}

impl Kind {
    /// What to write, for the documentation and for remedies.
    pub(crate) fn wanted(self) -> String {
        match self {
            Self::Text | Self::Secret => "a text".into(),
            Self::Name => "a text or a whole number".into(),
            Self::Url => "a URL".into(),
            Self::Path | Self::SecretPath => "a path".into(),
            Self::Integer { min, max: u64::MAX } => format!("a whole number, {min} or more"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Wei { unlimited: false } => "a number of wei in quotes".into(),
            Self::Wei { unlimited: true } => "a number of wei in quotes or `\"unlimited\"`".into(),
            Self::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                match &words[..] {
                    [words @ .., last] if !words.is_empty() => format!("{} or {last}", words.join(", ")),
                    _ => words.concat(),
                }
            }
            Self::Texts => "a list of texts".into(),
        }
    }
}

impl Key {
    /// An example of it in TOML: the default, where there is one.
    pub(crate) fn example(&self) -> String {
        let value = match (self.absent, self.kind) {
            (Absent::Default(text), _) => format!("\"{text}\""),
            (Absent::DefaultInteger(number), _) => number.to_string(),
            (_, Kind::Text | Kind::Name | Kind::Secret | Kind::Url) => "\"…\"".into(),
            (_, Kind::Wei { .. }) => "\"50000000000000000\"".into(),
            (_, Kind::Path | Kind::SecretPath) => "\"./path/to/file\"".into(),
            (_, Kind::Integer { min, max }) => 10.clamp(min, max).to_string(),
            (_, Kind::Choice(words)) => format!("\"{}\"", words[0]),
            (_, Kind::Texts) => "[\"…\"]".into(),
        };
        format!("{} = {value}", self.name)
    }
}

/// The environment variables that belong to settings start so, and go on with the table's and the key's name.
pub(crate) const VARIABLE_PREFIX: &str = "PLIMSOLL_";
/// Between the names in a variable.
pub(crate) const VARIABLE_SEPARATOR: &str = "__";

impl Section {
    /// The setting so named.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }

    /// The table so named.
    pub(crate) fn section(&self, name: &str) -> Option<&'static Self> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// Every name that may stand in it.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|k| k.name).chain(self.sections.iter().map(|s| s.name))
    }
}

/// Every setting, with the path of its tables, as `chain[].contract[].name`.
#[cfg(test)]
pub(crate) fn all() -> Vec<(String, &'static Key)> {
    fn walk(section: &'static Section, path: &str, found: &mut Vec<(String, &'static Key)>) {
        found.extend(section.keys.iter().map(|k| (format!("{path}{}", k.name), k)));
        for inner in section.sections {
            let mark = if inner.repeated { "[]" } else { "" };
            walk(inner, &format!("{path}{}{mark}.", inner.name), found);
        }
    }
    let mut found = Vec::new();
    walk(&super::settings::ROOT, "", &mut found);
    found
}

/// The environment variable of a setting's path: `chain[0].rpc` is `PLIMSOLL_CHAIN__0__RPC`.
pub(crate) fn variable(path: &str) -> String {
    let names = path.replace("[]", "[N]").replace('[', ".").replace(']', "");
    format!("{VARIABLE_PREFIX}{}", names.replace('.', VARIABLE_SEPARATOR).to_uppercase())
}

/// The name of these that was most likely meant.
pub(crate) fn did_you_mean(given: &str, names: impl Iterator<Item = impl Into<String>>) -> Option<String> {
    let given = given.to_lowercase();
    names
        .map(Into::into)
        .map(|name: String| (strsim::damerau_levenshtein(&given, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::super::settings::ROOT;
    use super::*;

    #[test]
    fn a_variable_is_named_after_the_path() {
        assert_eq!(variable("database.url"), "PLIMSOLL_DATABASE__URL");
        assert_eq!(
            variable("chain[0].contract[12].start_block"),
            "PLIMSOLL_CHAIN__0__CONTRACT__12__START_BLOCK"
        );
        assert_eq!(variable("chain[].rpc"), "PLIMSOLL_CHAIN__N__RPC");
    }

    #[test]
    fn a_slip_of_the_hand_is_recognised_and_another_word_is_not() {
        let names = || ROOT.sections.iter().map(|s| s.name);
        assert_eq!(did_you_mean("databse", names()), Some("database".into()));
        assert_eq!(did_you_mean("Logging", names()), Some("logging".into()));
        assert_eq!(did_you_mean("weather", names()), None);
    }
}
