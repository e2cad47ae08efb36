//! Fields of a posting or a line as a file has them: texts and whole numbers, each taken once.

use plimsoll_types::Amount;
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, Time};
use uuid::Uuid;

use super::Problem;

/// As much of a value as a message shows.
const SHOWN_CHARS: usize = 60;

/// What a field has to be, for whoever wrote something else.
pub(super) struct Kind<T> {
    read: fn(&str) -> Option<T>,
    what: &'static str,
    remedy: &'static str,
}

pub(super) const ID: Kind<Uuid> = Kind {
    read: |text| text.parse().ok(),
    what: "is no UUID",
    remedy: "write it as 0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11, or leave it empty",
};
pub(super) const NUMBER: Kind<u64> = Kind {
    read: |text| text.parse().ok().filter(|number| i64::try_from(*number).is_ok()),
    what: "is no whole number",
    remedy: "write digits alone, or leave it empty",
};
pub(super) const AMOUNT: Kind<Amount> = Kind {
    read: |text| text.parse().ok(),
    what: "is no whole number of the currency's smallest unit",
    remedy: "write digits alone: 12.50 of a currency with 6 decimals is 12500000",
};
pub(super) const TIME: Kind<OffsetDateTime> = Kind {
    read: time,
    what: "is no time",
    remedy: "write it as 2026-01-31T12:00:00Z, or as 2026-01-31 for the beginning of that day in UTC",
};
pub(super) const HASH: Kind<alloy_primitives::B256> = Kind {
    read: |text| plimsoll_types::parse_hash(text).ok(),
    what: "is no hash",
    remedy: "write `0x` and 64 hexadecimal digits, or leave it empty",
};
pub(super) const TEXT: Kind<String> = Kind {
    // Postgres keeps no NUL.
    read: |text| (!text.contains('\0')).then(|| text.to_owned()),
    what: "has a NUL character",
    remedy: "write it without",
};
pub(super) const OBJECT: Kind<Map<String, Value>> = Kind {
    read: |text| serde_json::from_str(text).ok(),
    what: "is no JSON object",
    remedy: "write it as {\"key\": \"value\"}, or leave it empty",
};

fn time(text: &str) -> Option<OffsetDateTime> {
    let day = || {
        Date::parse(text, format_description!("[year]-[month]-[day]"))
            .ok()
            .map(|day| day.with_time(Time::MIDNIGHT).assume_utc())
    };
    let at = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(day)?;
    (1..=9_998).contains(&at.year()).then_some(at)
}

/// The fields of a posting, or of one of its lines.
pub(super) struct Fields<'a> {
    given: Map<String, Value>,
    line: u64,
    /// Before the names of fields in messages.
    place: String,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(
        given: Map<String, Value>,
        line: u64,
        place: String,
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        Self { given, line, place, problems }
    }

    pub(super) fn wrong(&mut self, name: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let field = format!("{}{name}", self.place);
        self.problems.push(Problem { line: self.line, field, what: what.into(), remedy: remedy.into() });
    }

    /// How much was told to be wrong.
    pub(super) fn told(&self) -> usize {
        self.problems.len()
    }

    /// The field, if it is there and as it has to be.
    pub(super) fn take<T>(&mut self, name: &str, kind: &Kind<T>) -> Option<T> {
        let text = match self.given.remove(name)? {
            Value::Null => return None,
            Value::String(text) if text.is_empty() => return None,
            Value::String(text) => text,
            other => other.to_string(),
        };
        let read = (kind.read)(&text);
        if read.is_none() {
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            self.wrong(name, format!("{shown:?} {}", kind.what), kind.remedy);
        }
        read
    }

    /// All that is left must be something that the books tell, and not the file.
    pub(super) fn finish(self, passed_over: &[&str]) {
        let unknown = self.unknown(passed_over);
        self.problems.extend(unknown);
    }

    /// What is left, but for this: fields that there are not.
    pub(super) fn unknown(&self, passed_over: &[&str]) -> Vec<Problem> {
        let names = self.given.keys().filter(|name| !passed_over.contains(&name.as_str()));
        let unknown = |name: &String| Problem {
            line: self.line,
            field: format!("{}{name}", self.place),
            what: "there is no such field".into(),
            remedy: "correct its name, or leave it out; docs/ledger.md lists the fields".into(),
        };
        names.map(unknown).collect()
    }
}
