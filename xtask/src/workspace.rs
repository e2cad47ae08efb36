//! Where things are: the root, the target directory, the packages.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// The Cargo workspace, as `cargo metadata` tells it.
pub(crate) struct Workspace {
    /// The directory that holds the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
    /// The workspace's own packages.
    pub(crate) packages: Vec<Package>,
}

/// One package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// The directory of its manifest.
    pub(crate) folder: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    /// The root source file of each of its targets: libraries, binaries, tests, examples, benches.
    pub(crate) roots: Vec<PathBuf>,
}

/// A dependency as the package's manifest declares it.
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Only tests, examples and benches see it.
    pub(crate) dev: bool,
    /// It is for other targets than this machine, perhaps only to switch a feature on.
    pub(crate) only_elsewhere: bool,
}

impl Workspace {
    /// Asks cargo about the workspace that this program belongs to.
    pub(crate) fn find() -> Result<Self> {
        // Cargo sets it for `cargo run`; the compiled-in value serves when the binary is called directly.
        let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = xtask.parent().context("the xtask crate has no parent directory")?.to_path_buf();
        let said = process::output(cargo_program().current_dir(&root).args([
            "metadata",
            "--format-version=1",
            "--no-deps",
        ]))?;
        let metadata: Value =
            serde_json::from_str(&said).context("`cargo metadata` printed something other than JSON")?;
        let target =
            metadata["target_directory"].as_str().context("`cargo metadata` names no target directory")?;
        let packages = metadata["packages"].as_array().context("`cargo metadata` names no packages")?;
        Ok(Self { root, target: target.into(), packages: packages.iter().map(package).collect() })
    }

    /// Pinned tools that belong to this checkout.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// `cargo`, in the root, with queries checked against the committed `.sqlx` and no database of the user's in reach.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = cargo_program();
        cargo
            .current_dir(&self.root)
            .env("SQLX_OFFLINE", "true")
            .env_remove("DATABASE_URL")
            .env_remove("SQLX_OFFLINE_DIR");
        cargo
    }
}

fn cargo_program() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn package(value: &Value) -> Package {
    let list = |key: &str| value[key].as_array().cloned().unwrap_or_default();
    Package {
        name: text(&value["name"]),
        folder: PathBuf::from(text(&value["manifest_path"])).parent().map(Into::into).unwrap_or_default(),
        dependencies: list("dependencies")
            .iter()
            .map(|dependency| Dependency {
                name: text(&dependency["name"]),
                dev: dependency["kind"] == "dev",
                only_elsewhere: !dependency["target"].is_null(),
            })
            .collect(),
        roots: list("targets").iter().map(|target| text(&target["src_path"]).into()).collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
