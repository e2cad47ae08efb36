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

/// What is served: as the header has it, and as paths and fingerprints do.
const KNOWN: [(&str, ApiVersion); 1] = [("1", ApiVersion("v1"))];

/// Notes the version that the request is for.
pub(crate) fn choose(request: &mut Request) -> Result<(), Problem> {
    let version = chosen(request.uri().path(), request.headers())?;
    request.extensions_mut().insert(version);
    Ok(())
}

fn chosen(path: &str, headers: &HeaderMap) -> Result<ApiVersion, Problem> {
    let of_path = of_path(path).map(|number| known(number, "the path")).transpose()?;
    let mut of_header = None;
    for value in headers.get_all(API_VERSION) {
        let number = value.to_str().unwrap_or("(not ASCII)").trim();
        let version = known(number, "`Api-Version`")?;
        if of_header.or(of_path).is_some_and(|other: ApiVersion| other.0 != version.0) {
            return Err(wrong("the path and `Api-Version` ask for different versions".to_owned()));
        }
        of_header = Some(version);
    }
    Ok(of_path.or(of_header).unwrap_or(KNOWN[KNOWN.len() - 1].1))
}

/// The number in `/api/v<number>`, whatever follows.
fn of_path(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/api/v")?;
    let number = rest.split('/').next().unwrap_or(rest);
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(number)
}

fn known(number: &str, place: &str) -> Result<ApiVersion, Problem> {
    let found = KNOWN.iter().find(|(known, _)| *known == number).map(|(_, version)| *version);
    found.ok_or_else(|| wrong(format!("{place} asks for version `{}`, which is not served", shown(number))))
}

fn wrong(detail: String) -> Problem {
    let known: Vec<&str> = KNOWN.iter().map(|(number, _)| *number).collect();
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
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(API_VERSION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        chosen(path, &map).map(|version| version.0).map_err(|problem| problem.detail)
    }

    #[test]
    fn the_current_version_is_the_one_that_answers_name() {
        assert_eq!(asked("/auth/login", &[CURRENT.to_str().unwrap()]), asked("/auth/login", &[]));
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
