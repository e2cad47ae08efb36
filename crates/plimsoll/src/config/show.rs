//! The configuration in effect, as TOML, each value with its origin and no secret in it.

use std::fmt::Write as _;

use super::load::Loaded;
use super::read::{Checked, Group, Setting};
use super::schema::{Kind, Section};
use super::settings::ROOT;
use super::source::Origin;

/// How wide the values' column is, before the origins begin.
const COLUMN: usize = 56;

impl Loaded {
    /// The settings in effect as TOML, with a comment that says where each comes from.
    pub(crate) fn show(&self) -> String {
        let mut out = String::new();
        self.sections(&self.root, &ROOT, "", &mut out);
        out
    }

    fn sections(&self, group: &Group, section: &Section, path: &str, out: &mut String) {
        for inner in section.sections {
            let header =
                if path.is_empty() { inner.name.to_owned() } else { format!("{path}.{}", inner.name) };
            for group in group.groups(inner.name) {
                if !out.is_empty() {
                    out.push('\n');
                }
                let line = if inner.repeated { format!("[[{header}]]") } else { format!("[{header}]") };
                out.push_str(&line);
                out.push('\n');
                for setting in &group.settings {
                    let line = format!("{} = {}", setting.key.name, shown(setting));
                    let origin = match &setting.origin {
                        Origin::Default => "default".to_owned(),
                        origin => self.problems.place(origin),
                    };
                    writeln!(out, "{line:<COLUMN$} # {origin}").expect("a String takes every write");
                }
                self.sections(group, inner, &header, out);
            }
        }
    }
}

fn shown(setting: &Setting) -> String {
    match (&setting.value, setting.key.kind) {
        (Checked::Text(_), Kind::Secret) => quoted("(secret)"),
        (Checked::Text(url), Kind::Url) => quoted(&redacted_url(url)),
        (Checked::Text(text), _) => quoted(text),
        (Checked::Integer(number), _) => number.to_string(),
        (Checked::Texts(texts), _) => {
            format!("[{}]", texts.iter().map(|(text, _)| quoted(text)).collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Scheme, host and port. User parts, paths and queries are where keys and passwords are.
pub(crate) fn redacted_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(unreadable)".into() };
    let (authority, tail) = match rest.find(['/', '?', '#']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("…@", host));
    let tail = if tail.len() > 1 { "/…" } else { tail };
    format!("{scheme}://{user}{host}{tail}")
}

#[cfg(test)]
mod tests {
    use super::redacted_url;

    #[test]
    fn of_a_url_only_scheme_and_host_are_shown() {
        for (url, shown) in [
            ("https://user:pw@node.example/v3/key?k=s#x", "https://…@node.example/…"),
            ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
            ("ws://[::1]:8546/", "ws://[::1]:8546/"),
            ("postgres://a:p@ss@db.example:5432/books", "postgres://…@db.example:5432/…"),
            ("secret", "(unreadable)"),
        ] {
            assert_eq!(redacted_url(url), shown);
        }
    }
}
