//! Finds what the other commands need, installs what is missing, and says what it does.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::Workspace;

mod debian;
pub(crate) mod deny;
pub(crate) mod node;
pub(crate) mod postgres;
pub(crate) mod python;

/// All of it. Prints one line for each tool.
pub(crate) fn everything(workspace: &Workspace) -> Result<()> {
    compiler()?;
    postgres::find_or_install()?;
    node::modules(workspace)?;
    node::anvil(workspace)?;
    Ok(())
}

/// What tests and benchmarks need: Postgres and Anvil, whose path is returned.
pub(crate) fn for_tests(workspace: &Workspace) -> Result<PathBuf> {
    compiler()?;
    postgres::find_or_install()?;
    node::anvil(workspace)
}

/// Rust links with the system's C compiler, and a few dependencies compile C.
fn compiler() -> Result<()> {
    if process::on_path("cc").is_none() {
        debian::install(
            "a C compiler and linker",
            &["gcc", "libc6-dev"],
            "install a C compiler that is called `cc`",
        )?;
    }
    let cc = process::on_path("cc").context("there is still no `cc` on PATH")?;
    found("C compiler", &first_line(&mut Command::new(&cc), "--version")?, &cc.display().to_string());
    Ok(())
}

/// libFuzzer is C++.
pub(crate) fn cpp_compiler() -> Result<()> {
    compiler()?;
    if process::on_path("c++").is_none() {
        debian::install("a C++ compiler", &["g++"], "install a C++ compiler that is called `c++`")?;
    }
    let cpp = process::on_path("c++").context("there is still no `c++` on PATH")?;
    found("C++ compiler", &first_line(&mut Command::new(&cpp), "--version")?, &cpp.display().to_string());
    Ok(())
}

/// One aligned line: what, which version, where.
fn found(what: &str, version: &str, place: &str) {
    println!("  {what:<12} {version:<28} {place}");
}

fn first_line(command: &mut Command, flag: &str) -> Result<String> {
    let said = process::output(command.arg(flag))?;
    match said.lines().next() {
        Some(line) => Ok(line.to_owned()),
        None => bail!("`{}` printed nothing", process::shown(command)),
    }
}

/// The first run of digits and dots in a program's version line: `15.18` of `postgres (PostgreSQL) 15.18 (Debian …)`.
fn version_number(line: &str) -> Option<String> {
    let start = line.find(|c: char| c.is_ascii_digit())?;
    let rest = &line[start..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    Some(rest[..end].trim_end_matches('.').to_owned())
}

/// The part of a version before the first dot.
fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_programs_print() {
        for (line, version, first) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "15.18", 15),
            ("postgres (PostgreSQL) 18beta1", "18", 18),
            ("v20.20.2", "20.20.2", 20),
            ("anvil Version: 1.7.1", "1.7.1", 1),
            ("cargo-deny 0.20.2.", "0.20.2", 0),
        ] {
            assert_eq!(version_number(line).as_deref(), Some(version), "{line}");
            assert_eq!(major(version), Some(first), "{line}");
        }
        assert_eq!(version_number("no version here"), None);
    }
}
