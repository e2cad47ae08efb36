//! The shape of the house, checked: arrows point down, `types` and `proof` are pure, what `docs/architecture.md` says is absent
//! from the sources is absent, `docs/schema.md` has every column, every dependency is used,
//! and the Prometheus rules ask for series that exist.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{dependencies, process, rules, schema};

/// Each package and its storey. A package may depend only on packages of lower storeys, so capabilities cannot import
/// each other.
const STOREYS: &[(&str, u8)] = &[
    ("plimsoll-types", 0),
    ("plimsoll-proof", 0),
    ("plimsoll-store", 1),
    ("plimsoll-chain", 1),
    ("plimsoll-journal", 2),
    ("plimsoll-bus", 2),
    ("plimsoll-ingest", 3),
    ("plimsoll-ledger", 3),
    ("plimsoll-relayer", 3),
    ("plimsoll-retry", 3),
    ("plimsoll-views", 3),
    ("plimsoll-identity", 3),
    ("plimsoll-api", 4),
    ("plimsoll", 5),
    ("plimsoll-testkit", 6),
    ("xtask", 7),
];

/// Only tests may depend on it, and they may from any storey.
const TESTKIT: &str = "plimsoll-testkit";

/// All that `xtask` may be built from: it compiles before anything else.
const XTASK_DEPENDENCIES: &[&str] = &["anyhow", "clap", "serde_json"];

/// What the browser and the auditor compile too: no I/O, and wasm is a target.
const PURE: &[&str] = &["plimsoll-types", "plimsoll-proof"];

/// Crates that do I/O: none of them is in the tree of a pure one.
const IO_CRATES: &[&str] =
    &["tokio", "mio", "socket2", "sqlx", "sqlx-core", "sqlx-postgres", "reqwest", "hyper", "axum"];

/// Something that the sources do not contain, outside the places that are for it.
struct Absence {
    /// As `docs/architecture.md` states it.
    rule: &'static str,
    /// Any of these, in a line that is not a comment, breaks it.
    words: &'static [&'static str],
    /// Only paths (from the root) that start with one of these are looked at.
    within: &'static [&'static str],
    /// Paths that contain one of these may have it.
    except: &'static [&'static str],
}

const ABSENCES: &[Absence] = &[
    Absence {
        rule: "nothing but the journal's writer puts a record into the journal",
        words: &[
            "INSERT INTO journal ",
            "INSERT INTO journal(",
            "COPY journal ",
            "COPY journal(",
            "UPDATE journal ",
            "DELETE FROM journal ",
        ],
        within: &["crates/"],
        // Tests make up the states that they are about.
        except: &["crates/journal/src/", "crates/testkit/", "/tests/"],
    },
    Absence {
        rule: "nothing moves a fold's cursor but the fold runner",
        words: &["UPDATE fold_cursors", "INSERT INTO fold_cursors"],
        within: &["crates/"],
        // Tests make up the states that they are about.
        except: &["crates/journal/src/", "crates/testkit/", "/tests/"],
    },
    Absence {
        rule: "nothing but the sequencer numbers a stream, and nobody changes what was numbered",
        words: &[
            "INSERT INTO events ",
            "INSERT INTO audit_log ",
            "UPDATE events ",
            "UPDATE audit_log ",
            "DELETE FROM events ",
            "DELETE FROM audit_log ",
            "UPDATE sequences",
            "DELETE FROM events_staging",
            "DELETE FROM audit_staging",
        ],
        within: &["crates/"],
        // Tests make up the states that they are about.
        except: &["crates/store/src/repo/sequencer.rs", "/tests/"],
    },
    Absence {
        rule: "no time decides an order",
        words: &[
            "ORDER BY created_at",
            "ORDER BY recorded_at",
            "ORDER BY observed_at",
            "ORDER BY last_updated_at",
            "ORDER BY updated_at",
        ],
        within: &["crates/"],
        except: &[],
    },
    Absence {
        rule: "no SQL is checked outside a crate's `repo`",
        words: &["query!(", "query_as!(", "query_scalar!("],
        within: &["crates/"],
        // `tenant.rs` sets what row-level security reads; that is the transaction itself, not a query in it.
        except: &["/repo.rs", "/repo/", "/tests/", "crates/testkit/", "crates/store/src/tenant.rs"],
    },
    Absence {
        rule: "no transaction begins on a pooled connection but as a `store::Tx`",
        words: &[
            "begin()",
            "begin_with(",
            "Connection::begin(",
            "PgTransactionManager::begin(",
            "PgTransaction<",
            "Transaction<",
        ],
        within: &["crates/"],
        // The steps of a replay, and the snapshot that it compares with, are on sessions of their own that no pool has. Tests may hold
        // what they like: they end with it.
        except: &[
            "crates/store/src/tx.rs",
            "crates/journal/src/step.rs",
            "crates/views/src/replay.rs",
            "/tests/",
        ],
    },
    Absence {
        rule: "no COPY but through a `CopyBuffer`, which refuses it outside of a transaction",
        words: &["copy_in_raw("],
        within: &["crates/"],
        // The benchmark's floor is what COPY takes without our own encoding; it is in a transaction too.
        except: &["crates/store/src/copy.rs", "crates/testkit/src/bench/floor.rs", "/tests/"],
    },
    Absence {
        rule: "no amount is ever a float",
        words: &["f64", "f32"],
        within: &["crates/types/src/amount.rs", "crates/types/src/postgres.rs", "crates/views/src/"],
        except: &[],
    },
    Absence {
        rule: "no test sleeps: it waits for a signal",
        words: &["sleep("],
        within: &["crates/"],
        // The house of the end-to-end tests waits for other processes, which have no channel to signal on: it looks again and again.
        except: &["/src/", "crates/testkit/tests/e2e/house.rs"],
    },
];

/// All of the above; lists everything that is wrong.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut faults = Vec::new();
    for package in &workspace.packages {
        let dependencies =
            package.dependencies.iter().map(|dependency| (dependency.name.as_str(), dependency.dev));
        faults.extend(wrong_arrows(&package.name, dependencies));
    }
    for package in PURE {
        faults.extend(impurities(workspace, package)?);
    }
    faults.extend(schema::undocumented(&workspace.root)?);
    let sources = sources(&workspace.root)?;
    for (path, text) in &sources {
        faults.extend(ABSENCES.iter().flat_map(|absence| presences(absence, path, text)));
    }
    faults.extend(dependencies::unused(workspace, &sources)?);
    faults.extend(rules::unknown_metrics(&workspace.root, &sources)?);
    if let Err(error) = wasm(workspace) {
        faults.push(format!("{} do not both compile to wasm: {error:#}", PURE.join(" and ")));
    }
    for fault in &faults {
        println!("  {fault}");
    }
    if !faults.is_empty() {
        bail!("{} places differ from what docs/ and deploy/ say", faults.len());
    }
    println!(
        "{} packages, {} source files, {} absences hold",
        workspace.packages.len(),
        sources.len(),
        ABSENCES.len()
    );
    Ok(())
}

fn storey(package: &str) -> Option<u8> {
    STOREYS.iter().find(|(name, _)| *name == package).map(|(_, storey)| *storey)
}

/// The dependencies of `package`, given with whether only its tests see them, that do not point down.
fn wrong_arrows<'a>(package: &str, dependencies: impl Iterator<Item = (&'a str, bool)>) -> Vec<String> {
    let Some(own) = storey(package) else {
        return vec![format!("{package} has no storey: give it one in xtask/src/architecture.rs")];
    };
    let mut faults = Vec::new();
    for (name, dev) in dependencies {
        // A crate's own tests may name it again, to switch features on.
        let below = storey(name).is_none_or(|below| below < own) || (dev && name == package);
        if name == TESTKIT && !dev {
            faults.push(format!("{package} depends on {TESTKIT}, which is for tests"));
        } else if !below && name != TESTKIT {
            faults.push(format!("{package} depends on {name}, which does not lie below it"));
        } else if package == "xtask" && !XTASK_DEPENDENCIES.contains(&name) {
            faults.push(format!(
                "xtask depends on {name}; it is built from {} alone",
                XTASK_DEPENDENCIES.join(", ")
            ));
        }
    }
    faults
}

/// Crates that do I/O in the tree of `package` with its default features.
fn impurities(workspace: &Workspace, package: &str) -> Result<Vec<String>> {
    let mut tree = workspace.cargo();
    tree.args(["tree", "--quiet", "-p", package, "-e", "normal", "--prefix", "none", "-f", "{p}"]);
    let tree = process::output(&mut tree)?;
    let names = io_crates(&tree).into_iter();
    Ok(names.map(|name| format!("{package} depends on {name}: it must do no I/O")).collect())
}

fn io_crates(tree: &str) -> Vec<&str> {
    let mut names: Vec<_> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| IO_CRATES.contains(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The pure crates compile to wasm; looked at where the target is installed.
fn wasm(workspace: &Workspace) -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let libdir = process::output(std::process::Command::new("rustc").current_dir(&workspace.root).args([
        "--print",
        "target-libdir",
        "--target",
        TARGET,
    ]))?;
    if !Path::new(libdir.trim()).is_dir() {
        println!(
            "not checked that {} compile to wasm: `rustup target add {TARGET}` would allow it",
            PURE.join(" and ")
        );
        return Ok(());
    }
    let packages = PURE.iter().flat_map(|package| ["-p", package]);
    process::run(workspace.cargo().args(["check", "--quiet", "--target", TARGET]).args(packages))
}

/// Lines of the file that have what should be absent, as `path:line: rule`.
fn presences(absence: &Absence, path: &str, text: &str) -> Vec<String> {
    if !absence.within.iter().any(|start| path.starts_with(start))
        || absence.except.iter().any(|part| path.contains(part))
    {
        return Vec::new();
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let hits = lines.filter(|(_, line)| absence.words.iter().any(|word| has_word(line, word)));
    hits.map(|(index, line)| format!("{path}:{}: {}: {}", index + 1, absence.rule, line.trim())).collect()
}

/// Whether `line` has `word` other than as the tail of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Every Rust source of the crates: path from the root, and text.
fn sources(root: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("crates")];
    // Ends: the file tree is finite and links are not followed.
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("could not read {}", folder.display()))?
        {
            let entry = entry?;
            let path: PathBuf = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("could not read {}", path.display()))?;
                let short = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                found.push((short, text));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_that_does_not_point_down_is_found() {
        for (package, dependency, dev, fault) in [
            ("plimsoll-views", "plimsoll-journal", false, None),
            ("plimsoll-views", "plimsoll-ingest", false, Some("does not lie below")),
            ("plimsoll-store", "plimsoll-journal", false, Some("does not lie below")),
            ("plimsoll-journal", "plimsoll-testkit", true, None),
            ("plimsoll-store", "plimsoll-store", true, None),
            ("plimsoll-journal", "plimsoll-testkit", false, Some("is for tests")),
            ("plimsoll-api", "axum", false, None),
            ("xtask", "tokio", false, Some("alone")),
            ("plimsoll-newcomer", "plimsoll-types", false, Some("has no storey")),
        ] {
            let faults = wrong_arrows(package, [(dependency, dev)].into_iter());
            match fault {
                None => assert!(faults.is_empty(), "{package} on {dependency}: {faults:?}"),
                Some(part) => assert!(
                    faults.len() == 1 && faults[0].contains(part),
                    "{package} on {dependency}: {faults:?}"
                ),
            }
        }
    }

    #[test]
    fn a_transaction_that_begins_on_a_pool_is_found_where_it_is_not_allowed() {
        for (path, text, hits) in [
            ("crates/journal/src/writer.rs", "let mut tx = self.db.worker().begin().await?;", 1),
            ("crates/views/src/repo/read.rs", "let mut tx = pool.begin_with(SNAPSHOT).await?;", 1),
            ("crates/journal/src/runner.rs", "let mut tx = sqlx::Connection::begin(conn).await?;", 1),
            ("crates/journal/src/writer.rs", "let mut tx = db.begin_worker().await?;", 0),
            ("crates/journal/src/writer.rs", "let mut tx = self.begin(&blocks, &[]).await?;", 0),
            ("crates/journal/src/writer.rs", "transactions: Vec<Transaction>,", 0),
            ("crates/store/src/tx.rs", "PgTransactionManager::begin(&mut tx, statement).await?;", 0),
            ("crates/store/tests/database/leases.rs", "db.worker().begin().await.unwrap();", 0),
        ] {
            let found: usize = ABSENCES
                .iter()
                .filter(|a| a.rule.contains("Tx"))
                .map(|a| presences(a, path, text).len())
                .sum();
            assert_eq!(found, hits, "{path}: {text}");
        }
    }

    #[test]
    fn an_io_crate_deep_in_the_tree_is_found() {
        let tree = "plimsoll-types v0.1.0 (/src)\nserde v1.0.0\ntokio v1.54.0\ntokio-macros v2.0.0\ntokio v1.54.0 (*)\n";
        assert_eq!(io_crates(tree), ["tokio"]);
    }

    #[test]
    fn what_should_be_absent_is_found_in_code_and_not_in_comments() {
        let floats = Absence {
            rule: "no float",
            words: &["f64"],
            within: &["crates/types/src/"],
            except: &["/shown.rs"],
        };
        for (path, text, hits) in [
            ("crates/types/src/amount.rs", "let x: f64 = 1.0;", 1),
            ("crates/types/src/amount.rs", "/// Never an f64.\n    // not f64 either", 0),
            ("crates/types/src/amount.rs", "let elf64 = 1;", 0),
            ("crates/types/src/shown.rs", "let x: f64 = 1.0;", 0),
            ("crates/api/src/lib.rs", "let x: f64 = 1.0;", 0),
        ] {
            assert_eq!(presences(&floats, path, text).len(), hits, "{path}: {text}");
        }
    }
}
