//! `plimsoll backup` and `plimsoll restore`.

use std::io::ErrorKind;
use std::path::Path;

use plimsoll_store::{BackupError, Cluster};

use super::{print, when};
use crate::config::{Config, DatabaseSource};
use crate::failure::Failure;

pub(crate) async fn backup(config: &Config, file: &Path) -> Result<(), Failure> {
    let DatabaseSource::Private(directory) = &config.database.source else {
        return Err(Failure::usage(
            "the database is a Postgres of your own, which Plimsoll does not back up",
        )
        .remedy("use that server's own backups, or `pg_dump`"));
    };
    Cluster::urls_of(directory)?; // says so when there is none; a backup must not make one
    let manifest = plimsoll_store::backup(directory, file).await.map_err(explained)?;
    print(&format!(
        "wrote {}: schema version {}, as of {}, {} bytes\n",
        file.display(),
        manifest.schema_version,
        when(manifest.made_at),
        manifest.archive_bytes
    ))
}

pub(crate) async fn restore(file: &Path, directory: &Path) -> Result<(), Failure> {
    let manifest = plimsoll_store::restore(file, directory).await.map_err(explained)?;
    print(&format!(
        "restored {} as of {}, schema version {}\nit is fenced: `plimsoll fence status` says more, `plimsoll fence lift` lifts it\n",
        directory.display(),
        when(manifest.made_at),
        manifest.schema_version
    ))
}

/// Paths are the commonest mistakes with both.
fn explained(error: BackupError) -> Failure {
    if let BackupError::Exists { .. } = &error {
        return Failure::usage(error.to_string()).remedy("name another file, or move this one away");
    }
    let leads_nowhere =
        matches!(&error, BackupError::File { source, .. } if source.kind() == ErrorKind::NotFound);
    let failure = Failure::from(error);
    if leads_nowhere {
        return failure
            .remedy("name a file in a directory that exists; a relative path starts where you are");
    }
    failure
}
