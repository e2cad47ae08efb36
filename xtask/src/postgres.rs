//! A throw-away Postgres with every migration applied, reachable over a Unix socket only.
//!
//! Postgres refuses to run as root, so root starts its programs as `postgres` (or `nobody`). The server is our child
//! in our process group: Ctrl-C ends both.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::setup::postgres::Programs;
use crate::workspace::Workspace;

const START_LIMIT: Duration = Duration::from_secs(30);
const START_POLL: Duration = Duration::from_millis(50);
/// Names the socket file; stated everywhere, since `PGPORT` would change the default.
const PORT: &str = "5432";
const DATABASE: &str = "plimsoll";

/// A running server; dropped, it stops and its files go.
pub(crate) struct Cluster {
    programs: Programs,
    /// Holds `data` and the socket.
    home: PathBuf,
    user: Option<User>,
    server: Option<Child>,
}

#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// Makes a cluster in a new temporary directory, starts it, and applies `migrations/*.sql` in order of name.
    pub(crate) fn start(programs: Programs, workspace: &Workspace) -> Result<Self> {
        let home = std::env::temp_dir().join(format!("plimsoll-xtask-{}", std::process::id()));
        std::fs::create_dir_all(&home).with_context(|| format!("could not create {}", home.display()))?;
        let user = if process::is_root()? { Some(unprivileged()?) } else { None };
        if let Some(user) = user {
            chown(&home, Some(user.uid), Some(user.gid))?;
        }
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700))?;
        let mut cluster = Self { programs, home, user, server: None };
        cluster.initialise()?;
        cluster.migrate(&workspace.root.join("migrations"))?;
        Ok(cluster)
    }

    /// For `sqlx`'s macros, as the superuser.
    pub(crate) fn url(&self) -> String {
        let host = self.home.display().to_string().replace('/', "%2F");
        format!(
            "postgres:///{DATABASE}?host={host}&port={PORT}&user=postgres&options=-c%20search_path%3D{DATABASE}"
        )
    }

    fn initialise(&mut self) -> Result<()> {
        let data = self.home.join("data");
        let mut initdb = self.program("initdb");
        initdb
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data);
        process::output(&mut initdb)?;
        let mut server = self.program("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(&self.home).args(["-p", PORT]);
        server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "log_min_messages=fatal"]);
        let child =
            server.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("could not start Postgres")?;
        self.server = Some(child);
        let began = Instant::now();
        while self.sql("postgres", "SELECT 1").is_err() {
            if let Some(status) = self.server.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("Postgres ended with {status} before it answered");
            }
            if began.elapsed() > START_LIMIT {
                bail!("Postgres did not answer within {START_LIMIT:?}");
            }
            std::thread::sleep(START_POLL);
        }
        Ok(())
    }

    /// The three roles, the schema and the migrations, as the server itself would find them after `plimsoll migrate`.
    fn migrate(&self, folder: &Path) -> Result<()> {
        self.sql("postgres", "CREATE ROLE plimsoll_owner LOGIN")?;
        self.sql("postgres", "CREATE ROLE plimsoll_app LOGIN")?;
        self.sql("postgres", "CREATE ROLE plimsoll_worker LOGIN BYPASSRLS")?;
        self.sql("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        self.sql(DATABASE, &format!("CREATE SCHEMA {DATABASE} AUTHORIZATION plimsoll_owner"))?;
        for file in migrations(folder)? {
            // Opened by us: the server's user may not be allowed to read the checkout.
            let open = File::open(&file).with_context(|| format!("could not read {}", file.display()))?;
            let mut psql = self.psql(DATABASE);
            psql.env("PGOPTIONS", format!("-c search_path={DATABASE} -c role=plimsoll_owner")).args([
                "--single-transaction",
                "-f",
                "-",
            ]);
            process::output_from(&mut psql, open)
                .with_context(|| format!("migration {} failed", file.display()))?;
        }
        Ok(())
    }

    fn sql(&self, database: &str, statement: &str) -> Result<String> {
        process::output(self.psql(database).args(["-c", statement]))
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-p", PORT, "-d", database, "-h"])
            .arg(&self.home);
        psql
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.bin.join(name));
        command.current_dir(&self.home);
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let stop = process::output(
                self.program("pg_ctl").args(["stop", "--mode=immediate", "-D"]).arg(self.home.join("data")),
            );
            // A server that does not listen is still our child: it must not outlive us.
            if stop.is_err()
                && let Err(error) = server.kill()
            {
                eprintln!("could not stop the throw-away Postgres: {error}");
            }
            if let Err(error) = server.wait() {
                eprintln!("could not wait for the throw-away Postgres: {error}");
            }
        }
        if let Err(error) = std::fs::remove_dir_all(&self.home) {
            eprintln!("could not remove {}: {error}", self.home.display());
        }
    }
}

/// The migrations in the order in which they apply.
pub(crate) fn migrations(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    if files.is_empty() {
        bail!("{} holds no migrations", folder.display());
    }
    Ok(files)
}

fn unprivileged() -> Result<User> {
    for name in ["postgres", "nobody"] {
        let ask = |flag| process::output(Command::new("id").args([flag, name]));
        if let (Ok(uid), Ok(gid)) = (ask("-u"), ask("-g")) {
            return Ok(User { uid: uid.trim().parse()?, gid: gid.trim().parse()? });
        }
    }
    bail!("Postgres will not run as root, and there is neither a user `postgres` nor `nobody` to run it as")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup;

    #[test]
    fn every_migration_applies_to_a_new_server_that_leaves_nothing_behind() {
        let workspace = Workspace::find().unwrap();
        let programs = setup::postgres::find_or_install().unwrap();
        let cluster = Cluster::start(programs, &workspace).unwrap();
        let count = "SELECT count(*) FROM pg_class WHERE relnamespace = 'plimsoll'::regnamespace AND relrowsecurity AND NOT relforcerowsecurity";
        assert!(cluster.sql(DATABASE, count).unwrap().contains(" 0\n"));
        let home = cluster.home.clone();
        assert!(home.join("data/postmaster.pid").exists());
        drop(cluster);
        assert!(!home.exists());
    }
}
