//! The committed `.sqlx`: what Postgres says about each compile-time checked query, so that builds need no database.
//!
//! `sqlx`'s macros write one file a query into `SQLX_OFFLINE_DIR` whenever they are expanded against a live
//! `DATABASE_URL`; nothing else is needed. They do not tell cargo that they read either variable, so a crate that is
//! already compiled would not expand them again: its root files are touched first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::postgres::Cluster;
use crate::workspace::Workspace;
use crate::{process, setup};

/// File name to contents.
type Records = BTreeMap<String, String>;

/// Fails when the committed records are not those that the migrations and the queries give.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let fresh = record(workspace)?;
    let committed = read(&folder(workspace))?;
    let differences = differences(&fresh, &committed);
    if differences.is_empty() {
        println!("{} queries, all as committed", fresh.len());
        return Ok(());
    }
    for difference in &differences {
        println!("  {difference}");
    }
    bail!(
        ".sqlx differs from the queries in {} places: run `cargo xtask sqlx` and commit .sqlx",
        differences.len()
    );
}

/// Makes the committed records those that the migrations and the queries give.
pub(crate) fn refresh(workspace: &Workspace) -> Result<()> {
    let fresh = record(workspace)?;
    let folder = folder(workspace);
    let committed = read(&folder)?;
    std::fs::create_dir_all(&folder)?;
    for (name, text) in &fresh {
        if committed.get(name) != Some(text) {
            std::fs::write(folder.join(name), text)?;
        }
    }
    for name in committed.keys().filter(|name| !fresh.contains_key(*name)) {
        std::fs::remove_file(folder.join(name))?;
    }
    let changes = differences(&fresh, &committed);
    for change in &changes {
        println!("  {change}");
    }
    println!("{} queries in {}, {} changed", fresh.len(), folder.display(), changes.len());
    Ok(())
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join(".sqlx")
}

/// Compiles every crate that speaks SQL against a throw-away database and returns what the macros wrote.
fn record(workspace: &Workspace) -> Result<Records> {
    let programs = setup::postgres::find_or_install()?;
    let cluster = Cluster::start(programs, workspace)?;
    let fresh = workspace.target.join("sqlx-recorded");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh)?;
    }
    std::fs::create_dir_all(&fresh)?;
    let mut check = workspace.cargo();
    check.args(["check", "--quiet", "--all-targets"]);
    for package in
        workspace.packages.iter().filter(|package| package.dependencies.iter().any(|d| d.name == "sqlx"))
    {
        check.args(["-p", &package.name]);
        for root in &package.roots {
            touch(root)?;
        }
    }
    check.env("SQLX_OFFLINE", "false").env("SQLX_OFFLINE_DIR", &fresh).env("DATABASE_URL", cluster.url());
    process::run(&mut check).context("the queries could not be checked against the migrated database")?;
    read(&fresh)
}

fn touch(file: &Path) -> Result<()> {
    let open = std::fs::File::options().append(true).open(file);
    open.and_then(|file| file.set_modified(SystemTime::now()))
        .with_context(|| format!("could not touch {}", file.display()))
}

fn read(folder: &Path) -> Result<Records> {
    let mut records = Records::new();
    if !folder.is_dir() {
        return Ok(records);
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("query-") {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("could not read {}", path.display()))?;
            records.insert(name, text);
        }
    }
    Ok(records)
}

/// One line for each record that is missing, left over or changed.
fn differences(fresh: &Records, committed: &Records) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, text) in fresh {
        match committed.get(name) {
            None => lines.push(format!("missing: {}", query(text))),
            Some(old) if old != text => lines.push(format!("changed: {}", query(text))),
            Some(_) => {}
        }
    }
    for (name, text) in committed {
        if !fresh.contains_key(name) {
            lines.push(format!("left over: {}", query(text)));
        }
    }
    lines
}

/// The recorded query on one line, shortened.
fn query(text: &str) -> String {
    const SHOWN_CHARS: usize = 100;
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let words: Vec<_> = value["query"].as_str().unwrap_or("(not a record)").split_whitespace().collect();
    words.join(" ").chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pairs: &[(&str, &str)]) -> Records {
        pairs
            .iter()
            .map(|(name, sql)| (format!("query-{name}.json"), format!(r#"{{"query": "{sql}"}}"#)))
            .collect()
    }

    #[test]
    fn each_kind_of_difference_is_told_apart() {
        let committed = records(&[("a", "SELECT 1"), ("b", "SELECT 2"), ("c", "SELECT 3")]);
        let fresh = records(&[("a", "SELECT 1"), ("b", "SELECT   20"), ("d", "SELECT 4")]);
        assert_eq!(
            differences(&fresh, &committed),
            ["changed: SELECT 20", "missing: SELECT 4", "left over: SELECT 3"]
        );
        assert!(differences(&committed, &committed).is_empty());
    }
}
