//! A thing as it is shown: one description for tables, for JSON, for differences, and for the audit log.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::commands::{print, print_json, table, when};
use crate::failure::Failure;

/// Named values, in the order in which they are shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::commands) struct Sheet(Vec<(&'static str, Value)>);

impl Sheet {
    pub(in crate::commands) fn new() -> Self {
        Self::default()
    }

    pub(in crate::commands) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// A time, in UTC and to the second.
    pub(in crate::commands) fn at(self, name: &'static str, time: impl Into<Option<OffsetDateTime>>) -> Self {
        self.with(name, time.into().map(|time| when(time).to_string()))
    }

    /// Of one that has the field already, another value.
    pub(in crate::commands) fn set(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
        self
    }

    pub(in crate::commands) fn json(&self) -> Value {
        Value::Object(
            self.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Map<_, _>>(),
        )
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// A line for each field.
    pub(in crate::commands) fn lines(&self) -> String {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut out = String::new();
        for (name, value) in &self.0 {
            let _infallible = writeln!(out, "{name:<width$}  {}", shown(value));
        }
        out
    }
}

/// Prints one thing.
pub(in crate::commands) fn show(sheet: &Sheet, json: bool) -> Result<(), Failure> {
    if json { print_json(&sheet.json()) } else { print(&sheet.lines()) }
}

/// Prints a list: in a table these columns, in JSON everything.
pub(in crate::commands) fn list(
    sheets: &[Sheet],
    columns: &[&str],
    nothing: &str,
    json: bool,
) -> Result<(), Failure> {
    if json {
        return print_json(&sheets.iter().map(Sheet::json).collect::<Vec<_>>());
    }
    if sheets.is_empty() {
        return print(&format!("{nothing}\n"));
    }
    let cell = |sheet: &Sheet, column: &&str| sheet.get(column).map(shown).unwrap_or_default();
    let rows: Vec<Vec<String>> =
        sheets.iter().map(|sheet| columns.iter().map(|column| cell(sheet, column)).collect()).collect();
    let header: Vec<String> = columns.iter().map(|column| column.replace('_', " ")).collect();
    print(&table(&header.iter().map(String::as_str).collect::<Vec<_>>(), &rows))
}

/// What became of the fields: those that differ, each on a line.
pub(in crate::commands) fn difference(before: Option<&Sheet>, after: Option<&Sheet>) -> String {
    let none = Sheet::new();
    let (before, after) = (before.unwrap_or(&none), after.unwrap_or(&none));
    let gone = before.0.iter().filter(|(name, _)| after.get(name).is_none()).map(|(name, _)| *name);
    let mut out = String::new();
    for name in after.0.iter().map(|(name, _)| *name).chain(gone) {
        let _infallible = match (before.get(name), after.get(name)) {
            (Some(was), Some(is)) if was == is => Ok(()),
            (Some(was), Some(is)) => writeln!(out, "  {name}: {} → {}", shown(was), shown(is)),
            (None, Some(is)) => writeln!(out, "  {name}: {}", shown(is)),
            (was, None) => writeln!(out, "  {name}: {} → gone", was.map(shown).unwrap_or_default()),
        };
    }
    out
}

/// A value on a line of its own, without anything that could move a terminal's cursor.
pub(in crate::commands) fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Bool(is) => if *is { "yes" } else { "no" }.into(),
        Value::Array(values) if values.is_empty() => "-".into(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_what_changed_and_nothing_else() {
        let before =
            Sheet::new().with("name", "ada").with("status", "active").with("keys", 3).with("old", true);
        let after = Sheet::new()
            .with("name", "ada")
            .with("status", "suspended")
            .with("keys", 3)
            .with("new", Value::Null);
        assert_eq!(
            difference(Some(&before), Some(&after)),
            "  status: active → suspended\n  new: -\n  old: yes → gone\n"
        );
        assert_eq!(difference(None, Some(&Sheet::new().with("roles", vec!["a", "b"]))), "  roles: a, b\n");
        assert_eq!(difference(Some(&before), Some(&before.clone())), "");
    }

    #[test]
    fn what_somebody_else_named_cannot_move_the_cursor() {
        assert_eq!(shown(&"\u{1b}[2Jada\n".into()), "\u{fffd}[2Jada\u{fffd}");
    }

    #[test]
    fn a_field_is_set_where_it_stands() {
        let sheet = Sheet::new().with("a", 1).with("b", 2).set("a", 3).set("c", 4);
        assert_eq!(sheet.lines(), "a  3\nb  2\nc  4\n");
    }
}
