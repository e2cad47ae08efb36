//! Query parameters, read strictly: an unknown name, a name given twice or a value out of range is an error that says so,
//! since a filter that is misspelt and ignored answers another question than the one asked.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use plimsoll_types::api::FieldProblem;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::limits::PARAMETERS_MAX;
use crate::problem::{Problem, ProblemKind};

/// The most that is repeated of a value that cannot be used.
const SHOWN_CHARS: usize = 80;
/// The longest text that is compared with.
const TEXT_MAX_CHARS: usize = 255;

/// A set of query parameters.
pub(crate) trait Parameters: Sized {
    /// Every parameter's name.
    const KNOWN: &'static [&'static str];

    /// Reads them.
    fn read(fields: Fields) -> Result<Self, Problem>;
}

/// The query of a request.
pub(crate) struct Query<P>(pub(crate) P);

impl<P: Parameters, S: Sync> FromRequestParts<S> for Query<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Fields::of(parts.uri.query(), P::KNOWN).and_then(P::read).map(Self)
    }
}

/// Parameters by name, and what was wrong with those that were read so far.
pub(crate) struct Fields {
    given: Vec<(String, String)>,
    wrong: Vec<FieldProblem>,
}

impl Fields {
    fn of(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut given: Vec<(String, String)> = Vec::new();
        let mut unknown = Vec::new();
        let mut twice = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()).take(PARAMETERS_MAX)
        {
            if !known.contains(&name.as_ref()) {
                unknown.push(wrong(&shown(&name), "not known"));
            } else if given.iter().any(|(other, _)| *other == name) {
                twice.push(wrong(&name, "given more than once"));
            } else {
                given.push((name.into_owned(), value.into_owned()));
            }
        }
        if !unknown.is_empty() {
            let names =
                unknown.iter().map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", ");
            let remedy = match known {
                [] => "leave it out: this path takes no parameters".to_owned(),
                known => format!("the known parameters are: {}", known.join(", ")),
            };
            return Err(Problem::new(ProblemKind::UnknownParameter, format!("not known here: {names}"))
                .with_remedy(remedy)
                .with_parameters(unknown));
        }
        if twice.is_empty() { Ok(Self { given, wrong: Vec::new() }) } else { Err(invalid(twice)) }
    }

    /// Reads one; `None` when it is not given, or when it cannot be read (then [`Fields::finish`] fails).
    pub(crate) fn take<T, E: ToString>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let place = self.given.iter().position(|(given, _)| given == name)?;
        let (_, value) = self.given.swap_remove(place);
        if value.is_empty() {
            self.wrong.push(wrong(name, "empty: leave it out, or give a value"));
            return None;
        }
        match read(&value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong.push(wrong(name, &error.to_string()));
                None
            }
        }
    }

    /// Fails with everything that was wrong.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        debug_assert!(self.given.is_empty(), "a known parameter was not read: {:?}", self.given);
        if self.wrong.is_empty() { Ok(()) } else { Err(invalid(self.wrong)) }
    }
}

fn wrong(name: &str, reason: &str) -> FieldProblem {
    FieldProblem { name: name.to_owned(), reason: reason.to_owned() }
}

fn invalid(fields: Vec<FieldProblem>) -> Problem {
    let detail = fields
        .iter()
        .map(|field| format!("`{}`: {}", field.name, field.reason))
        .collect::<Vec<_>>()
        .join("; ");
    Problem::new(ProblemKind::InvalidParameter, detail).with_parameters(fields)
}

/// The beginning of a text that came from outside, without control characters.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect()
}

/// A text to compare with. Postgres keeps no NUL.
pub(crate) fn text(text: &str) -> Result<String, String> {
    match text.chars().count() <= TEXT_MAX_CHARS && !text.contains('\0') {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("`{}` is longer than {TEXT_MAX_CHARS} characters, or has a NUL in it", shown(text)))
        }
    }
}

/// A whole number within limits, which may have a fraction of nothing, as in a body.
pub(crate) fn whole_number(text: &str, from: u64, to: u64) -> Result<u64, String> {
    let error = || format!("`{}` is not a whole number from {from} to {to}", shown(text));
    let is_nothing = |fraction: &str| !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    let digits =
        text.split_once('.').filter(|(_, fraction)| is_nothing(fraction)).map_or(text, |(whole, _)| whole);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    digits.parse().ok().filter(|number| (from..=to).contains(number)).ok_or_else(error)
}

/// A number that Postgres keeps as `bigint`: a chain id, a block number.
pub(crate) fn bigint(text: &str) -> Result<i64, String> {
    let number = whole_number(text, 0, i64::MAX.unsigned_abs())?;
    i64::try_from(number).map_err(|error| error.to_string())
}

/// A time, of a year that Postgres knows too.
pub(crate) fn instant(text: &str) -> Result<OffsetDateTime, String> {
    let is_kept = |at: &OffsetDateTime| (1..=9_998).contains(&at.year());
    OffsetDateTime::parse(text, &Rfc3339).ok().filter(is_kept).ok_or_else(|| {
        format!(
            "`{}` is not a time as `2026-01-31T12:00:00Z`; a `+` in a query is written `%2B`",
            shown(text)
        )
    })
}

/// `true` or `false`.
pub(crate) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("`{}` is not `true` or `false`", shown(text))),
    }
}

/// No parameters at all.
pub(crate) struct NoParameters;

impl Parameters for NoParameters {
    const KNOWN: &'static [&'static str] = &[];

    fn read(fields: Fields) -> Result<Self, Problem> {
        fields.finish().map(|()| Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let mut fields = Fields::of(Some("limit=0&order="), &["limit", "order"]).ok().unwrap();
        assert_eq!(fields.take("limit", |text| whole_number(text, 1, 10)), None);
        assert_eq!(fields.take("order", yes_or_no), None);
        let problem = fields.finish().unwrap_err();
        assert_eq!(problem.parameters.len(), 2, "{}", problem.detail);
    }

    #[test]
    fn an_unknown_name_lists_the_known_and_a_name_given_twice_is_refused() {
        let problem = Fields::of(Some("usr=1"), &["user", "asset"]).err().unwrap();
        assert_eq!(
            (problem.kind, problem.remedy.as_ref()),
            (ProblemKind::UnknownParameter, "the known parameters are: user, asset")
        );
        let problem = Fields::of(Some("user=1&user=2"), &["user"]).err().unwrap();
        assert_eq!(problem.kind, ProblemKind::InvalidParameter);
    }

    #[test]
    fn a_number_is_digits_within_its_limits() {
        for text in [
            "",
            "-1",
            "+1",
            "1e3",
            "0x1",
            "11",
            "99999999999999999999",
            "1 ",
            "1.5",
            "1.",
            "1.0.0",
            ".0",
            "11.0",
        ] {
            assert!(whole_number(text, 1, 10).is_err(), "{text}");
        }
        for text in ["10", "10.0", "010.00"] {
            assert_eq!(whole_number(text, 1, 10), Ok(10), "{text}");
        }
        assert!(bigint("9223372036854775808").is_err());
    }
}
