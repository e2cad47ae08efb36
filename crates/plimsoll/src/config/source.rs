//! Where each value comes from: the file with its lines and columns, the environment over it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problems;
use super::schema::{Key, Kind, Section, VARIABLE_PREFIX, VARIABLE_SEPARATOR, did_you_mean};
use super::settings::ROOT;

/// Where a value was given. In the order in which problems are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// In the configuration file; both count from 1, columns in characters.
    File { line: usize, column: usize },
    /// In this environment variable.
    Variable(String),
    /// Nowhere.
    Default,
}

/// A value with its origin.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// What TOML can say, as far as a setting can use it. From a variable everything is text.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    /// As written: it may be too large for any integer type.
    Integer(String),
    Array(Vec<Item>),
    Table(Table),
    /// A boolean, a float or a date: no setting is one.
    Other {
        kind: &'static str,
        text: String,
    },
}

/// A table, with the origin of each key.
pub(crate) type Table = BTreeMap<String, (Origin, Item)>;

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { line, column } => write!(f, "{line}:{column}"),
            Self::Variable(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Value {
    /// What it is and what it says, for a message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("the text \"{}\"", shorten(text)),
            Self::Integer(text) => format!("the number {}", shorten(text)),
            Self::Array(_) => "a list".into(),
            Self::Table(_) => "a table".into(),
            Self::Other { kind, text } => format!("{kind} `{}`", shorten(text)),
        }
    }
}

/// As much of a text as a message should repeat.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Reads the file's text. Text that is not TOML is one problem for each place.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Table {
    let lines = Lines { text };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let message = error.message().trim().replace('\n', ", ");
        let remedy = if message.contains("duplicate key") {
            "keep one of the two"
        } else {
            "see https://toml.io for how a TOML file is written: texts need quotes, and `[[chain]]` starts each chain"
        };
        problems.add(
            lines.origin(error.span().unwrap_or(0..0)),
            format!("this is not TOML: {message}"),
            remedy,
        );
    }
    lines.table(document.get_ref())
}

struct Lines<'a> {
    text: &'a str,
}

impl Lines<'_> {
    fn origin(&self, span: Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Origin::File {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), (self.origin(key.span()), self.item(value))))
            .collect()
    }

    fn item(&self, spanned: &Spanned<DeValue<'_>>) -> Item {
        let other = |kind, text: &dyn fmt::Display| Value::Other { kind, text: text.to_string() };
        let value = match spanned.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(value) => Value::Integer(value.to_string()),
                Err(_) => Value::Integer(number.as_str().to_owned()),
            },
            DeValue::Float(number) => other("the fraction", &number.as_str()),
            DeValue::Boolean(value) => other("the truth value", value),
            DeValue::Datetime(value) => other("the date", value),
            DeValue::Array(items) => Value::Array(items.iter().map(|item| self.item(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Item { value, origin: self.origin(spanned.span()) }
    }
}

/// One step of a variable's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Index(usize),
    Name(String),
}

/// Lays the environment's settings over the file's. A variable without `__` is no setting: orchestrators set such
/// (`PLIMSOLL_SERVICE_HOST`) for a service of this name. One that is a setting's but for the second underscore is a slip.
pub(crate) fn overlay(table: &mut Table, environment: &BTreeMap<String, String>, problems: &mut Problems) {
    let mut settings: Vec<(Vec<Step>, &String, &String)> = environment
        .iter()
        .filter_map(|(name, value)| {
            let path = name.strip_prefix(VARIABLE_PREFIX)?;
            path.contains(VARIABLE_SEPARATOR).then(|| (steps(path), name, value))
        })
        .collect();
    for name in environment.keys() {
        let path = name.strip_prefix(VARIABLE_PREFIX).filter(|path| !path.contains(VARIABLE_SEPARATOR));
        if let Some(meant) = path.and_then(|path| joined_by_one(&ROOT, &path.to_lowercase())) {
            problems.add(
                Origin::Variable(name.clone()),
                "the names of table and key are joined by one underscore, so it sets nothing",
                format!("write `{VARIABLE_PREFIX}{}`, or unset it", meant.to_uppercase()),
            );
        }
    }
    settings.sort();
    for (path, name, value) in settings {
        if let Err((what, remedy)) = place(table, &ROOT, &path, name, value) {
            problems.add(Origin::Variable(name.clone()), what, remedy);
        }
    }
}

/// The setting whose names, joined by one underscore each, are this path: joined as they should be.
fn joined_by_one(section: &'static Section, path: &str) -> Option<String> {
    if section.key(path).is_some() {
        return Some(path.to_owned());
    }
    section.sections.iter().find_map(|inner| {
        let rest = path.strip_prefix(inner.name)?.strip_prefix('_')?;
        let (index, rest) = match rest.split_once('_') {
            Some((index, rest)) if inner.repeated && index.parse::<usize>().is_ok() => {
                (format!("{VARIABLE_SEPARATOR}{index}"), rest)
            }
            _ => (String::new(), rest),
        };
        let rest = joined_by_one(inner, rest)?;
        Some(format!("{}{index}{VARIABLE_SEPARATOR}{rest}", inner.name))
    })
}

fn steps(path: &str) -> Vec<Step> {
    path.split(VARIABLE_SEPARATOR)
        .map(|step| step.parse().map_or_else(|_| Step::Name(step.to_lowercase()), Step::Index))
        .collect()
}

type Refusal = (String, String);

fn place(
    table: &mut Table,
    section: &'static Section,
    path: &[Step],
    name: &str,
    value: &str,
) -> Result<(), Refusal> {
    let origin = || Origin::Variable(name.to_owned());
    let unknown = |given: &str| {
        let remedy = match did_you_mean(given, section.names()) {
            Some(meant) => format!("did you mean `{}`? Otherwise unset it", meant.to_uppercase()),
            None => format!(
                "unset it, or use one of {}",
                section.names().collect::<Vec<_>>().join(", ").to_uppercase()
            ),
        };
        (format!("`{}` is no setting", given.to_uppercase()), remedy)
    };
    let Some((Step::Name(first), rest)) = path.split_first() else {
        return Err((
            "it names no setting".into(),
            "unset it, or name one as `PLIMSOLL_DATABASE__URL`".into(),
        ));
    };
    if let Some(key) = section.key(first) {
        return place_key(table, key, rest, name, value);
    }
    let inner = section.section(first).ok_or_else(|| unknown(first))?;
    if !inner.repeated {
        let (_, item) = table
            .entry(first.clone())
            .or_insert_with(|| (origin(), Item { value: Value::Table(Table::new()), origin: origin() }));
        return match &mut item.value {
            Value::Table(table) => place(table, inner, rest, name, value),
            _ => Ok(()), // the file's value is no table, which is reported where it stands
        };
    }
    let Some((Step::Index(index), rest)) = rest.split_first() else {
        let example =
            format!("{VARIABLE_PREFIX}{}{VARIABLE_SEPARATOR}0{VARIABLE_SEPARATOR}…", first.to_uppercase());
        return Err((
            format!("`{first}` is a list: its entry's number is missing"),
            format!("write `{example}` for the first"),
        ));
    };
    let (_, item) = table
        .entry(first.clone())
        .or_insert_with(|| (origin(), Item { value: Value::Array(Vec::new()), origin: origin() }));
    let Value::Array(entries) = &mut item.value else { return Ok(()) };
    if *index > entries.len() {
        return Err(skipped(first, *index, entries.len()));
    }
    if *index == entries.len() {
        entries.push(Item { value: Value::Table(Table::new()), origin: origin() });
    }
    match &mut entries[*index].value {
        Value::Table(table) => place(table, inner, rest, name, value),
        _ => Ok(()),
    }
}

fn place_key(table: &mut Table, key: &Key, rest: &[Step], name: &str, value: &str) -> Result<(), Refusal> {
    let origin = Origin::Variable(name.to_owned());
    let text = |text: &str| Item { value: Value::Text(text.trim().to_owned()), origin: origin.clone() };
    match rest {
        [] if key.kind == Kind::Texts => {
            let items = value.split(',').filter(|t| !t.trim().is_empty()).map(text).collect();
            table.insert(key.name.into(), (origin.clone(), Item { value: Value::Array(items), origin }));
            Ok(())
        }
        [] => {
            table.insert(key.name.into(), (origin.clone(), text(value)));
            Ok(())
        }
        [Step::Index(index)] if key.kind == Kind::Texts => {
            let empty = || (origin.clone(), Item { value: Value::Array(Vec::new()), origin: origin.clone() });
            let (_, item) = table.entry(key.name.into()).or_insert_with(empty);
            let Value::Array(items) = &mut item.value else { return Ok(()) };
            if *index > items.len() {
                return Err(skipped(key.name, *index, items.len()));
            }
            match items.get_mut(*index) {
                Some(item) => *item = text(value),
                None => items.push(text(value)),
            }
            Ok(())
        }
        _ => Err((format!("`{}` is a single value", key.name), "end the variable's name with it".into())),
    }
}

fn skipped(list: &str, index: usize, len: usize) -> Refusal {
    (
        format!("`{list}` has {len} entries, counted from 0, so there is no entry {index} to set"),
        format!("number the new entry {len}"),
    )
}
