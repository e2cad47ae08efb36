//! Which version of the API a request is for: by its path (`/api/v1/…`), or by the header `Api-Version`.
//!
//! A path without a version takes the header's, and without one the current version. A path and a header that contradict each other are
//! refused: one of the two is a mistake, and nobody here can tell which.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::idempotency::ApiVersion;
use crate::problem::{Problem, ProblemKind};
use crate::query::shown;

/// The header: in requests what is asked for, in answers what it was answered as.
pub(crate) const API_VERSION: HeaderName = HeaderName::from_static("api-version");
/// The current version, as the header says it.
pub(crate) const CURRENT: HeaderValue = HeaderValue::from_static("1");

/// A version: as the header has it, and as paths and fingerprints do.
type Version = (&'static str, ApiVersion);

/// What is served, the current one last.
const KNOWN: &[Version] = &[("1", ApiVersion("v1"))];

/// Notes the version that the request is for.
pub(crate) fn choose(request: &mut Request) -> Result<(), Problem> {
    let version = chosen(KNOWN, request.uri().path(), request.headers())?;
    request.extensions_mut().insert(version);
    Ok(())
}

fn chosen(served: &[Version], path: &str, headers: &HeaderMap) -> Result<ApiVersion, Problem> {
    let known = |number: &str, place| {
        let found = served.iter().find(|(known, _)| *known == number).map(|(_, version)| *version);
        found.ok_or_else(|| {
            wrong(served, format!("{place} asks for version `{}`, which is not served", shown(number)))
        })
    };
    let of_path = of_path(path).map(|number| known(number, "the path")).transpose()?;
    let mut of_header = None;
    for value in headers.get_all(API_VERSION) {
        let number = value.to_str().unwrap_or("(not ASCII)").trim();
        let version = known(number, "`Api-Version`")?;
        if of_header.or(of_path).is_some_and(|other: ApiVersion| other.0 != version.0) {
            return Err(wrong(served, "the request asks for two different versions".to_owned()));
        }
        of_header = Some(version);
    }
    let current = || served.last().map(|(_, version)| *version);
    of_path.or(of_header).or_else(current).ok_or_else(|| wrong(served, "no version is served".to_owned()))
}

/// The number in `/api/v<number>`, whatever follows.
fn of_path(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/api/v")?;
    let number = rest.split('/').next().unwrap_or(rest);
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(number)
}

fn wrong(served: &[Version], detail: String) -> Problem {
    let known: Vec<&str> = served.iter().map(|(number, _)| *number).collect();
    let remedy = format!(
        "known versions: {}; ask for one of them by the path (`/api/v1/…`) or by the header (`Api-Version: 1`), or leave the header out",
        known.join(", ")
    );
    Problem::new(ProblemKind::InvalidApiVersion, detail).with_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, headers: &[&str]) -> Result<&'static str, String> {
        asked_of(KNOWN, path, headers)
    }

    fn asked_of(served: &[Version], path: &str, headers: &[&str]) -> Result<&'static str, String> {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(API_VERSION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        chosen(served, path, &map).map(|version| version.0).map_err(|problem| problem.detail)
    }

    #[test]
    fn the_current_version_is_the_one_that_answers_name() {
        assert_eq!(asked("/auth/login", &[CURRENT.to_str().unwrap()]), asked("/auth/login", &[]));
    }

    #[test]
    fn a_path_and_a_header_that_contradict_each_other_are_refused() {
        let two = [("1", ApiVersion("v1")), ("2", ApiVersion("v2"))];
        let asked = |path: &str, headers: &[&str]| asked_of(&two, path, headers);
        assert_eq!(
            (asked("/x", &[]), asked("/x", &["1"]), asked("/api/v1/x", &[])),
            (Ok("v2"), Ok("v1"), Ok("v1"))
        );
        assert_eq!(asked("/api/v2/x", &["2"]), Ok("v2"));
        for (path, headers) in [("/api/v1/x", &["2"][..]), ("/api/v2/x", &["1"]), ("/x", &["1", "2"])] {
            assert!(
                asked(path, headers).unwrap_err().contains("two different versions"),
                "{path} {headers:?}"
            );
        }
    }

    #[test]
    fn a_version_comes_by_path_or_header_and_never_by_guessing() {
        for path in ["/api/v1/positions", "/api/v1", "/auth/login", "/", "/api/vault", "/api/v", "/api/v1x/y"]
        {
            assert_eq!(asked(path, &[]), Ok("v1"), "{path}");
            assert_eq!(asked(path, &["1"]), Ok("v1"), "{path}");
            assert_eq!(asked(path, &["1", " 1 "]), Ok("v1"), "{path}");
            for unknown in ["2", "v1", "01", "", "1.0", "latest", "é"] {
                assert!(asked(path, &[unknown]).unwrap_err().contains("not served"), "{path} {unknown:?}");
            }
        }
        for path in ["/api/v2/positions", "/api/v0", "/api/v01/positions", "/api/v99999999999999999999"] {
            assert!(asked(path, &[]).unwrap_err().starts_with("the path asks for"), "{path}");
            assert!(asked(path, &["1"]).is_err(), "{path}");
        }
    }
}
