//! `plimsoll migrate`.

use std::fmt::Write as _;

use super::print;
use crate::config::{Config, Loaded};
use crate::database::{migrate_database, named};
use crate::failure::Failure;

pub(crate) async fn migrate(loaded: &Loaded, config: &Config) -> Result<(), Failure> {
    let report = migrate_database(loaded, config).await?;
    let mut out = String::new();
    for (version, description) in &report.applied {
        writeln!(out, "applied {version} {description}")?;
    }
    writeln!(out, "{} is at schema version {}", named(&config.database.source), report.to_version)?;
    print(&out)
}
