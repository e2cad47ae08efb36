//! Reads a tree of values against the schema: unknown keys, wrong types, numbers out of range and missing keys are
//! noted, all of them, and what is right is kept with its origin.

use std::collections::BTreeMap;

use alloy_primitives::U256;

use super::check::UNLIMITED;
use super::problem::Problems;
use super::schema::{Absent, Key, Kind, Section, did_you_mean};
use super::settings::ROOT;
use super::source::{Item, Origin, Table, Value, shorten};

/// A value of the right kind.
#[derive(Clone, Debug)]
pub(crate) enum Checked {
    Text(String),
    Integer(u64),
    Texts(Vec<(String, Origin)>),
}

/// A setting in effect: what `config show` prints.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) key: &'static Key,
    pub(crate) value: Checked,
    pub(crate) origin: Origin,
}

/// The settings of one table, and the tables inside it.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Where the table begins.
    pub(crate) origin: Origin,
    /// Its path, as `chain[0].contract[2]`; empty for the document.
    pub(crate) path: String,
    pub(crate) settings: Vec<Setting>,
    pub(crate) groups: BTreeMap<&'static str, Vec<Group>>,
    /// Keys and tables that were given, but not rightly: their problem is noted, they are not missing.
    spoiled: Vec<&'static str>,
}

/// Reads the document.
pub(crate) fn read(table: &Table, problems: &mut Problems) -> Group {
    group(table, &ROOT, String::new(), &Origin::Default, problems)
}

fn group(
    table: &Table,
    section: &'static Section,
    path: String,
    origin: &Origin,
    problems: &mut Problems,
) -> Group {
    let mut group = Group {
        origin: origin.clone(),
        path,
        settings: Vec::new(),
        groups: BTreeMap::new(),
        spoiled: Vec::new(),
    };
    for (name, (key_origin, _)) in table {
        if section.key(name).is_none() && section.section(name).is_none() {
            let whole = if group.path.is_empty() { name.clone() } else { format!("{}.{name}", group.path) };
            // A variable's unknown name was noted with the variable.
            if matches!(key_origin, Origin::File { .. }) {
                problems.add(
                    key_origin.clone(),
                    format!("unknown key `{whole}`"),
                    unknown_remedy(name, section),
                );
            }
        }
    }
    for key in section.keys {
        match table.get(key.name) {
            Some((_, item)) => match check(key, item, &group.path, problems) {
                Some(value) => group.settings.push(Setting { key, value, origin: item.origin.clone() }),
                None => group.spoiled.push(key.name),
            },
            None => match key.absent {
                Absent::Required => problems.add(
                    group.origin.clone(),
                    format!("`{}` lacks `{}`", group.path, key.name),
                    format!("add `{}`. {}", key.example(), key.about),
                ),
                Absent::Optional => {}
                Absent::Default(text) => {
                    group.settings.push(Setting {
                        key,
                        value: Checked::Text(text.into()),
                        origin: Origin::Default,
                    });
                }
                Absent::DefaultInteger(number) => {
                    group.settings.push(Setting {
                        key,
                        value: Checked::Integer(number),
                        origin: Origin::Default,
                    });
                }
            },
        }
    }
    for inner in section.sections {
        let groups = inner_groups(table, inner, &group.path, problems);
        let empty = |item: &Item| matches!(&item.value, Value::Array(items) if items.is_empty());
        if groups.is_empty() && table.get(inner.name).is_some_and(|(_, item)| !empty(item)) {
            group.spoiled.push(inner.name);
        }
        group.groups.insert(inner.name, groups);
    }
    group
}

fn inner_groups(table: &Table, section: &'static Section, path: &str, problems: &mut Problems) -> Vec<Group> {
    let path = if path.is_empty() { section.name.to_owned() } else { format!("{path}.{}", section.name) };
    let given = table.get(section.name).map(|(_, item)| item);
    match (given, section.repeated) {
        (None, true) => Vec::new(),
        (None, false) => vec![group(&Table::new(), section, path, &Origin::Default, problems)],
        (Some(Item { value: Value::Table(inner), origin }), false) => {
            vec![group(inner, section, path, origin, problems)]
        }
        (Some(Item { value: Value::Array(items), .. }), true) => {
            let mut groups = Vec::with_capacity(items.len());
            for (i, item) in items.iter().enumerate() {
                let path = format!("{path}[{i}]");
                match &item.value {
                    Value::Table(inner) => groups.push(group(inner, section, path, &item.origin, problems)),
                    other => problems.add(
                        item.origin.clone(),
                        format!("`{path}` is {}, where a table is expected", other.describe()),
                        format!("write each as a table of its own, under `[[{}]]`", section.name),
                    ),
                }
            }
            groups
        }
        (Some(item), repeated) => {
            let header = header(&path, repeated);
            problems.add(
                item.origin.clone(),
                format!("`{path}` is {}, where {header} is expected", item.value.describe()),
                format!("write {header} on a line of its own, and its keys below"),
            );
            Vec::new()
        }
    }
}

fn header(path: &str, repeated: bool) -> String {
    let mut bare = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => bare.push(c),
            _ => {}
        }
    }
    if repeated { format!("`[[{bare}]]`") } else { format!("`[{bare}]`") }
}

fn unknown_remedy(name: &str, section: &'static Section) -> String {
    match did_you_mean(name, section.names()) {
        Some(meant) => format!("did you mean `{meant}`? Otherwise remove it"),
        None => format!("remove it; the keys here are {}", section.names().collect::<Vec<_>>().join(", ")),
    }
}

/// The value, if it is of the key's kind.
fn check(key: &'static Key, item: &Item, path: &str, problems: &mut Problems) -> Option<Checked> {
    let wrong = |problems: &mut Problems, found: String| {
        problems.add(
            item.origin.clone(),
            format!("`{path}.{}` is {found}, where {} is expected", key.name, key.kind.wanted()),
            format!("write it as `{}`. {}", key.example(), key.about),
        );
        None
    };
    match (key.kind, &item.value) {
        (Kind::Integer { min, max }, value) => {
            let from_variable = matches!(item.origin, Origin::Variable(_));
            let number = match value {
                Value::Integer(text) => text,
                Value::Text(text) if from_variable => text,
                other => return wrong(problems, other.describe()),
            };
            match number.parse::<u64>() {
                Ok(number) if (min..=max).contains(&number) => Some(Checked::Integer(number)),
                _ => {
                    problems.add(
                        item.origin.clone(),
                        format!(
                            "`{path}.{}` is {}, where {} is expected",
                            key.name,
                            shorten(number),
                            key.kind.wanted()
                        ),
                        format!("choose one of these, as `{}`. {}", key.example(), key.about),
                    );
                    None
                }
            }
        }
        (Kind::Texts, Value::Array(items)) => {
            let mut texts = Vec::with_capacity(items.len());
            let mut good = true;
            for item in items {
                match &item.value {
                    Value::Text(text) if text.is_empty() => {
                        good = false;
                        problems.add(
                            item.origin.clone(),
                            format!("`{path}.{}` has an empty text in it", key.name),
                            "give it a value, or take it out of the list",
                        );
                    }
                    Value::Text(text) => texts.push((text.clone(), item.origin.clone())),
                    other => {
                        good = false;
                        problems.add(
                            item.origin.clone(),
                            format!(
                                "`{path}.{}` holds {}, where a text is expected",
                                key.name,
                                other.describe()
                            ),
                            "put it in quotes",
                        );
                    }
                }
            }
            good.then_some(Checked::Texts(texts))
        }
        (Kind::Texts, Value::Text(text)) => {
            problems.add(
                item.origin.clone(),
                format!(
                    "`{path}.{}` is the text \"{}\", where a list of texts is expected",
                    key.name,
                    shorten(text)
                ),
                format!("put it in brackets: `{} = [\"{}\"]`", key.name, shorten(text)),
            );
            None
        }
        (Kind::Texts, other) => wrong(problems, other.describe()),
        (_, Value::Text(text)) if text.is_empty() => {
            problems.add(
                item.origin.clone(),
                format!("`{path}.{}` is empty", key.name),
                match key.absent {
                    Absent::Required => format!("give {}. {}", key.kind.wanted(), key.about),
                    _ => format!("give it a value, or leave it out. {}", key.about),
                },
            );
            None
        }
        (Kind::Wei { unlimited }, Value::Text(text) | Value::Integer(text)) => {
            let digits = text.replace('_', "");
            let is_wei =
                digits.bytes().all(|c| c.is_ascii_digit()) && U256::from_str_radix(&digits, 10).is_ok();
            if is_wei || (unlimited && text == UNLIMITED) {
                return Some(Checked::Text(digits));
            }
            wrong(problems, item.value.describe())
        }
        (Kind::Choice(words), Value::Text(text)) if !words.contains(&text.as_str()) => {
            let remedy = match did_you_mean(text, words.iter().copied()) {
                Some(meant) => format!("did you mean `\"{meant}\"`?"),
                None => format!("write {}. {}", key.kind.wanted(), key.about),
            };
            problems.add(
                item.origin.clone(),
                format!(
                    "`{path}.{}` is \"{}\", where {} is expected",
                    key.name,
                    shorten(text),
                    key.kind.wanted()
                ),
                remedy,
            );
            None
        }
        (_, Value::Text(text)) | (Kind::Name, Value::Integer(text)) => Some(Checked::Text(text.clone())),
        (Kind::Secret | Kind::Url, _) => wrong(problems, "no text".into()),
        (_, other) => wrong(problems, other.describe()),
    }
}

impl Group {
    /// The setting, unless it is absent or wrong.
    pub(crate) fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|s| s.key.name == name)
    }

    /// Where the setting was given; where its table begins, if it was not.
    pub(crate) fn origin_of(&self, name: &str) -> Origin {
        self.setting(name).map_or_else(|| self.origin.clone(), |s| s.origin.clone())
    }

    /// Whether somebody gave the setting, rightly or wrongly.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.spoiled.contains(&name) || self.setting(name).is_some_and(|s| s.origin != Origin::Default)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match &self.setting(name)?.value {
            Checked::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, name: &str) -> Option<u64> {
        match self.setting(name)?.value {
            Checked::Integer(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn texts(&self, name: &str) -> &[(String, Origin)] {
        match self.setting(name).map(|s| &s.value) {
            Some(Checked::Texts(texts)) => texts,
            _ => &[],
        }
    }

    /// The tables so named.
    pub(crate) fn groups(&self, name: &str) -> &[Self] {
        self.groups.get(name).map_or(&[], Vec::as_slice)
    }

    /// The table so named, of which there is one.
    pub(crate) fn group(&self, name: &str) -> Option<&Self> {
        self.groups(name).first()
    }
}
