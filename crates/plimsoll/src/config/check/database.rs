//! Which database, and secrets that are given as themselves or in files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use plimsoll_store::DatabaseUrls;

use super::{Check, narrow};
use crate::config::load::{Environment, from_base};
use crate::config::read::Group;
use crate::config::schema::variable;
use crate::config::{Database, DatabaseSource, Origin, Secret};

/// A file that holds one secret is not longer.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// The bit of a file's mode that lets everyone read it.
const READABLE_BY_ALL: u32 = 0o004;
/// Read where the configuration names no database of its own.
pub(in crate::config) const DATABASE_URL: &str = "DATABASE_URL";

impl Check<'_> {
    pub(super) fn database(&mut self, group: Option<&Group>, environment: &Environment) -> Option<Database> {
        let group = group?;
        let (source, origin) = self.database_source(group, environment)?;
        let app_password = self.secret(group, "app_password", "app_password_file");
        let worker_password = self.secret(group, "worker_password", "worker_password_file");
        Some(Database {
            source,
            app_password: app_password.map(|(secret, _)| secret),
            worker_password: worker_password.map(|(secret, _)| secret),
            app_connections: narrow(group.integer("app_connections"))?,
            worker_connections: narrow(group.integer("worker_connections"))?,
            origin,
        })
    }

    /// Whoever names the database most expressly decides: a `PLIMSOLL_…` variable, then the file, then `DATABASE_URL`,
    /// which many tools set for their own ends and which therefore never displaces a database that was named for Plimsoll.
    fn database_source(
        &mut self,
        group: &Group,
        environment: &Environment,
    ) -> Option<(DatabaseSource, Origin)> {
        let from_variable = |key: &&str| matches!(group.origin_of(key), Origin::Variable(name) if name == variable(&format!("database.{key}")));
        let mut given: Vec<&str> =
            ["url", "url_file", "data_dir"].into_iter().filter(|key| group.given(key)).collect();
        if given.iter().any(from_variable) {
            given.retain(from_variable);
        }
        if let [first, second, ..] = given[..] {
            self.problems.add(
                group.origin_of(second),
                format!("`database.{second}` and `database.{first}` both name the database"),
                "keep one: `url` or `url_file` for a Postgres of your own, `data_dir` for Plimsoll's private one",
            );
            return None;
        }
        let (url, origin) = match given.first() {
            Some(&"data_dir") => return self.private(group),
            Some(&"url") => (group.text("url")?.to_owned(), group.origin_of("url")),
            Some(key) => (self.secret_file(group, key)?.0, group.origin_of(key)),
            None => match environment.get(DATABASE_URL).filter(|url| !url.trim().is_empty()) {
                Some(url) => (url.trim().to_owned(), Origin::Variable(DATABASE_URL.into())),
                None => return self.private(group),
            },
        };
        // What has no scheme may begin with a password: none of it is repeated.
        let what = match url.split_once("://") {
            Some(_) => DatabaseUrls::from_url(&url, None, None).err().map(|error| error.to_string()),
            None => Some("the database URL is no URL".into()),
        };
        if let Some(what) = what {
            self.problems.add(origin, what, "write it as `postgres://user:password@host:5432/database`");
            return None;
        }
        Some((DatabaseSource::Url(Secret::new(url)), origin))
    }

    fn private(&mut self, group: &Group) -> Option<(DatabaseSource, Origin)> {
        let (directory, origin) = (self.path(group.text("data_dir")?), group.origin_of("data_dir"));
        // It need not be there yet, but what is there on the way to it must be directories.
        let obstacle = directory.ancestors().find(|path| path.exists()).filter(|path| !path.is_dir());
        if let Some(obstacle) = obstacle {
            self.problems.add(
                origin,
                format!("`database.data_dir`: {obstacle:?} is a file, and a directory is needed there"),
                "name a directory; one that is not there yet is made",
            );
            return None;
        }
        Some((DatabaseSource::Private(directory), origin))
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        from_base(self.base, path)
    }

    /// A secret that is given as itself or in a file; both is a problem.
    pub(super) fn secret(&mut self, group: &Group, key: &str, file_key: &str) -> Option<(Secret, Origin)> {
        match (group.text(key), group.text(file_key)) {
            (Some(_), Some(_)) => {
                // The environment overrides the file also where they name the secret differently.
                let variable = |key| matches!(group.origin_of(key), Origin::Variable(_));
                match (variable(key), variable(file_key)) {
                    (true, false) => self.plain(group, key),
                    (false, true) => {
                        self.secret_file(group, file_key).map(|(text, origin)| (Secret::new(text), origin))
                    }
                    _ => {
                        self.problems.add(
                            group.origin_of(file_key),
                            format!("`{0}.{key}` and `{0}.{file_key}` are both given", group.path),
                            "keep one of the two",
                        );
                        None
                    }
                }
            }
            (Some(_), None) => self.plain(group, key),
            (None, Some(_)) => {
                self.secret_file(group, file_key).map(|(text, origin)| (Secret::new(text), origin))
            }
            (None, None) => None,
        }
    }

    fn plain(&self, group: &Group, key: &str) -> Option<(Secret, Origin)> {
        group.text(key).map(|text| (Secret::new(text), group.origin_of(key)))
    }

    pub(super) fn secret_file(&mut self, group: &Group, key: &str) -> Option<(String, Origin)> {
        let origin = group.origin_of(key);
        let path = self.path(group.text(key)?);
        let (problems, notes) = (&mut *self.problems, &mut self.notes);
        let place = problems.place(&origin);
        let mut refuse = |what: String, remedy: &str| {
            problems.add(origin.clone(), format!("`{}.{key}`: {what}", group.path), remedy);
            None
        };
        if let Ok(metadata) = std::fs::metadata(&path) {
            if metadata.len() > MAX_SECRET_BYTES {
                return refuse(
                    format!("the file {path:?} is {} bytes long", metadata.len()),
                    "name a file that holds the secret and nothing else",
                );
            }
            // A note and no problem: orchestrators mount secrets so, where nobody else can come.
            if metadata.is_file() && metadata.permissions().mode() & READABLE_BY_ALL != 0 {
                notes.push(format!(
                    "{place}: `{}.{key}`: every user of this machine may read the file {path:?}; `chmod o-r` it where there are others",
                    group.path
                ));
            }
        }
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => {
                refuse(format!("the file {path:?} is empty"), "write the secret into it")
            }
            Ok(text) => Some((text.trim().to_owned(), origin)),
            Err(error) => refuse(
                format!("the file {path:?} cannot be read: {error}"),
                "name a file that exists and that this user may read; a relative path starts at the configuration file's directory",
            ),
        }
    }
}
