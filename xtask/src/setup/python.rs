//! Python, and what pip brings at pinned versions and digests: schemathesis, which tests the API against its own document.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{debian, first_line, found};
use crate::process;
use crate::workspace::Workspace;

const REMEDY: &str = "install Python 3.10 or later with its `venv` module";
const PINS: &str = "xtask/tools/requirements.txt";

/// The `schemathesis` program: the one that `PLIMSOLL_SCHEMATHESIS` names, else the pinned one.
pub(crate) fn schemathesis(workspace: &Workspace) -> Result<PathBuf> {
    let program = match std::env::var_os("PLIMSOLL_SCHEMATHESIS").filter(|path| !path.is_empty()) {
        Some(path) => std::path::absolute(path)?,
        None => install(workspace)?.join("bin/schemathesis"),
    };
    let version = first_line(&mut Command::new(&program), "--version")?;
    found(
        "schemathesis",
        version.trim_start_matches("schemathesis, version "),
        &program.display().to_string(),
    );
    Ok(program)
}

/// Installs exactly what is pinned into an environment of its own, where that is not done yet.
fn install(workspace: &Workspace) -> Result<PathBuf> {
    let (pins, home) = (workspace.root.join(PINS), workspace.tools().join("python"));
    let done = home.join("installed.txt");
    let want = std::fs::read(&pins).with_context(|| format!("could not read {}", pins.display()))?;
    if std::fs::read(&done).is_ok_and(|have| have == want) {
        return Ok(home);
    }
    if process::on_path("python3").is_none() {
        debian::install("Python", &["python3", "python3-venv"], REMEDY)?;
    }
    println!("installing schemathesis with pip into {}", home.display());
    if home.exists() {
        std::fs::remove_dir_all(&home).with_context(|| format!("could not remove {}", home.display()))?;
    }
    let venv = || {
        let mut python = Command::new("python3");
        python.args(["-m", "venv"]).arg(&home);
        python
    };
    if process::output(&mut venv()).is_err() {
        // Debian has the module in a package of its own.
        debian::install("Python's venv module", &["python3-venv"], REMEDY)?;
        process::run(&mut venv())?;
    }
    let mut pip = Command::new(home.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]);
    process::run(pip.args(["--only-binary", ":all:", "--requirement"]).arg(&pins))
        .context("pip could not install the pinned tools; is the package index reachable?")?;
    // Written last: an interrupted installation is not taken for a whole one.
    std::fs::write(&done, want)?;
    Ok(home)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_pinned_package_has_an_exact_version_and_a_digest_and_no_host() {
        let pins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/requirements.txt");
        let text = std::fs::read_to_string(pins).unwrap().replace("\\\n", "");
        let packages: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(packages.iter().any(|package| package.starts_with("schemathesis==")));
        for package in packages {
            assert!(package.contains("==") && package.contains("--hash=sha256:"), "{package}");
            assert!(!package.contains("://"), "{package} is tied to one host");
        }
    }
}
