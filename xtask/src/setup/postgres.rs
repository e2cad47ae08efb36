//! The Postgres server programs: found on the machine, or installed without starting a server.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{debian, first_line, found, major, version_number};
use crate::process;

/// Plimsoll's SQL needs this version or later.
const OLDEST_MAJOR: u32 = 15;

/// Debian asks this directory how a newly installed server makes its cluster.
const CLUSTER_SETTINGS: &str = "/etc/postgresql-common/createcluster.d";

/// Names the directory of the server programs, before all search; Plimsoll itself reads it too.
const BIN_VARIABLE: &str = "PLIMSOLL_PG_BIN";

/// Debian puts each version's programs into `<version>/bin` under here, off `PATH`.
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";

/// A set of server programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Programs {
    /// The directory of `postgres`, `initdb`, `pg_ctl` and `psql`.
    pub(crate) bin: PathBuf,
    /// As `postgres --version` says it.
    version: String,
}

/// The newest usable installation; installed from apt when there is none.
pub(crate) fn find_or_install() -> Result<Programs> {
    let programs = match newest(installed()) {
        Some(programs) => programs,
        None if std::env::var_os(BIN_VARIABLE).is_some() => {
            bail!(
                "{BIN_VARIABLE} does not name a directory with the programs of Postgres {OLDEST_MAJOR} or later: mend it or unset it"
            )
        }
        None => install()?,
    };
    found("Postgres", &programs.version, &programs.bin.display().to_string());
    Ok(programs)
}

fn install() -> Result<Programs> {
    // The package would make a cluster and start a server, which nobody asked for; it is told not to, for this once.
    let settings = Path::new(CLUSTER_SETTINGS);
    let note = settings.join("plimsoll-setup.conf");
    let keep_quiet = process::on_path("apt-get").is_some()
        && !Path::new("/etc/postgresql-common/createcluster.conf").exists();
    let note_text = note.display().to_string();
    if keep_quiet {
        println!("telling Debian's Postgres package not to start a server of its own ({note_text})");
        process::run(&mut debian::as_root("mkdir", &["-p", CLUSTER_SETTINGS])?)?;
        process::run(&mut debian::as_root(
            "sh",
            &["-c", &format!("echo 'create_main_cluster = false' > {note_text}")],
        )?)?;
    }
    let installed_now = debian::install(
        &format!("Postgres {OLDEST_MAJOR} or later"),
        &["postgresql", "postgresql-contrib"],
        "install the Postgres server programs from https://www.postgresql.org/download/",
    );
    if keep_quiet {
        process::run(&mut debian::as_root("rm", &["-f", &note_text])?)?;
    }
    installed_now?;
    newest(installed()).with_context(|| {
        format!("the Postgres that the system's packages offer is older than {OLDEST_MAJOR}: install a later one from https://www.postgresql.org/download/")
    })
}

/// Every installation that answers, whatever its version, looked for exactly where Plimsoll itself looks.
fn installed() -> Vec<Programs> {
    if let Some(bin) = std::env::var_os(BIN_VARIABLE) {
        return probe(bin.into()).into_iter().collect();
    }
    let on_path = process::on_path("postgres").and_then(|file| file.parent().map(Path::to_path_buf));
    let debian =
        std::fs::read_dir(DEBIAN_ROOT).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    on_path.into_iter().chain(debian).filter_map(probe).collect()
}

fn probe(bin: PathBuf) -> Option<Programs> {
    if !["postgres", "initdb", "pg_ctl", "psql"].iter().all(|name| process::is_executable(&bin.join(name))) {
        return None;
    }
    let line = first_line(&mut Command::new(bin.join("postgres")), "--version").ok()?;
    Some(Programs { bin, version: version_number(&line)? })
}

/// The highest version that is not too old.
fn newest(installed: Vec<Programs>) -> Option<Programs> {
    let age = |programs: &Programs| {
        programs.version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>()
    };
    installed.into_iter().filter(|programs| major(&programs.version) >= Some(OLDEST_MAJOR)).max_by_key(age)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(version: &str) -> Programs {
        Programs { bin: PathBuf::from(format!("/pg/{version}")), version: version.to_owned() }
    }

    #[test]
    fn the_newest_server_that_is_new_enough_is_taken() {
        for (have, want) in [
            (vec![], None),
            (vec!["14.9"], None),
            (vec!["15.9", "15.18"], Some("15.18")),
            (vec!["17.2", "9.6", "16.11"], Some("17.2")),
        ] {
            let chosen = newest(have.iter().map(|version| at(version)).collect());
            assert_eq!(chosen, want.map(at), "of {have:?}");
        }
    }
}
