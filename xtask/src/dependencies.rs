//! Every dependency is used: one that nothing names is compiled, audited and kept up to date for nothing.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// One line for each entry of `[workspace.dependencies]` from elsewhere that no package takes, and for each dependency of a package whose
/// sources do not name it.
pub(crate) fn unused(workspace: &Workspace, sources: &[(String, String)]) -> Result<Vec<String>> {
    let path = workspace.root.join("Cargo.toml");
    let manifest =
        std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    let offered = offered(&manifest);
    if offered.is_empty() {
        bail!("{} offers no dependencies", path.display());
    }
    let taken: BTreeSet<&str> = workspace
        .packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .map(|dependency| dependency.name.as_str())
        .collect();
    let own = |name: &str| workspace.packages.iter().any(|package| package.name == name);
    let untaken = offered.into_iter().filter(|name| !taken.contains(name) && !own(name));
    let mut faults: Vec<String> = untaken
        .map(|name| format!("Cargo.toml: no package takes {name} from [workspace.dependencies]"))
        .collect();
    for package in &workspace.packages {
        let folder = package.folder.strip_prefix(&workspace.root).unwrap_or(&package.folder);
        let own = sources.iter().filter(|(source, _)| Path::new(source).starts_with(folder));
        let texts: Vec<&str> = own.map(|(_, text)| text.as_str()).collect();
        // Sources are read of the crates only.
        if texts.is_empty() {
            continue;
        }
        let idle = package.dependencies.iter().filter(|dependency| {
            !dependency.only_elsewhere && !texts.iter().any(|text| names(text, &dependency.name))
        });
        faults.extend(idle.map(|dependency| format!("{} names {} nowhere", package.name, dependency.name)));
    }
    Ok(faults)
}

/// The keys of `[workspace.dependencies]`; each stands on a line of its own.
fn offered(manifest: &str) -> Vec<&str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .collect()
}

/// Whether the code names the crate: as the beginning of a path, or in a `use`.
fn names(source: &str, package: &str) -> bool {
    let name = package.replace('-', "_");
    source.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.match_indices(&name).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + name.len()..]);
            let is_whole = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            is_whole
                && (after.starts_with("::") || (before.ends_with("use ") && after.starts_with([';', ' '])))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offered_dependencies_are_the_keys_of_their_table() {
        let manifest = "[workspace]\nresolver = \"3\"\n\n[workspace.dependencies]\n# Data.\nserde = \"1\"\ntokio-util = { version = \"1\" }\n\n[workspace.lints.rust]\nx = 1\n";
        assert_eq!(offered(manifest), ["serde", "tokio-util"]);
    }

    #[test]
    fn a_crate_is_named_by_a_path_or_a_use_and_not_by_a_word() {
        for (source, named) in [
            ("use tokio_util::sync::CancellationToken;", true),
            ("let x = tokio_util::x();", true),
            ("use tokio_util;", true),
            ("// tokio_util::x", false),
            ("let my_tokio_util = 1;", false),
            ("my_tokio_util::x()", false),
            ("tokio_utils::x()", false),
        ] {
            assert_eq!(names(source, "tokio-util"), named, "{source}");
        }
    }
}
