//! `plimsoll backup` and `plimsoll restore`.

use std::path::Path;

use super::print;
use crate::config::{Config, DatabaseSource};
use crate::failure::Failure;

pub(crate) async fn backup(config: &Config, file: &Path) -> Result<(), Failure> {
    let DatabaseSource::Private(directory) = &config.database.source else {
        return Err(Failure::usage(
            "the database is a Postgres of your own, which Plimsoll does not back up",
        )
        .remedy("use that server's own backups, or `pg_dump`"));
    };
    let manifest = plimsoll_store::backup(directory, file).await?;
    print(&format!(
        "wrote {}: schema version {}, as of {}, {} bytes\n",
        file.display(),
        manifest.schema_version,
        manifest.made_at,
        manifest.archive_bytes
    ))
}

pub(crate) async fn restore(file: &Path, directory: &Path) -> Result<(), Failure> {
    let manifest = plimsoll_store::restore(file, directory).await?;
    print(&format!(
        "restored {} as of {}, schema version {}\nit is fenced: `plimsoll fence status` says more, `plimsoll fence lift` lifts it\n",
        directory.display(),
        manifest.made_at,
        manifest.schema_version
    ))
}
