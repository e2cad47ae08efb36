//! A short run of every fuzz target: the same inputs each time, no nightly, no cargo-fuzz.
//!
//! libFuzzer is a library that comes with the `libfuzzer-sys` crate and wants a program whose branches are counted. The compiler's own pass does that, by flags that are stable;
//! cargo-fuzz adds a sanitizer for memory errors, which needs nightly, and which code without `unsafe` can do without.
//!
//! A fixed seed and a fixed number of runs from a fixed corpus give the same inputs once nothing else decides: not the clock (which inputs are worth more time), not where the program
//! lies in memory (which comparisons are told apart), not the comparisons within a hash map, whose keys begin with chance in each process.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{process, setup};

const MANIFEST: &str = "fuzz/Cargo.toml";
/// What libFuzzer's random choices begin with.
const SEED: &str = "-seed=1";
/// What the clock decides, what another process may add, and the comparisons: off.
const REPEATABLE: [&str; 3] = ["-entropic=0", "-reload=0", "-use_cmp=0"];
/// An input that takes longer than that is a finding, in seconds.
const TIMEOUT: &str = "-timeout=20";
/// A target that takes more memory than that is a finding, in MB.
const MEMORY: &str = "-rss_limit_mb=2048";
/// Each edge counted, comparisons told to the fuzzer.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                            -Cllvm-args=-sanitizer-coverage-trace-compares";

/// How many inputs each target is given: some ten seconds' worth.
const TARGETS: [(&str, u32); 10] = [
    ("abi", 90_000),
    ("account", 60_000),
    ("answers", 30_000),
    ("checkpoint", 300_000),
    ("header", 120_000),
    ("inclusion", 140_000),
    ("ledger_encoding", 1_500_000),
    ("ledger_export", 150_000),
    ("receipts", 90_000),
    ("transactions", 40_000),
];

/// Builds the targets and runs each; an error names what was found, where it is and how to see it again.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::cpp_compiler()?;
    let target = workspace.target.join("fuzz");
    let host = host()?;
    let mut build = workspace.cargo();
    // With a target of its own, so that build scripts, which no fuzzer is linked to, are not instrumented.
    build.args(["build", "--quiet", "--locked", "--release", "--manifest-path", MANIFEST, "--target", &host]);
    build.arg("--target-dir").arg(&target).env("RUSTFLAGS", INSTRUMENTED);
    build.env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::run(&mut build)?;
    let programs = target.join(host).join("release");
    let mut findings = Vec::new();
    for (name, runs) in TARGETS {
        if let Err(error) = fuzz(workspace, &programs, &target, name, runs) {
            println!("{name}: {error:#}");
            findings.push(name);
        }
    }
    match findings[..] {
        [] => Ok(()),
        _ => bail!("findings in {}", findings.join(", ")),
    }
}

/// One target. What it found lies under `target/fuzz/findings/<target>`.
fn fuzz(workspace: &Workspace, programs: &Path, target: &Path, name: &str, runs: u32) -> Result<()> {
    let program = programs.join(name);
    let (findings, grown) =
        (emptied(&target.join("findings").join(name))?, emptied(&target.join("grown").join(name))?);
    let seeds = workspace.root.join("fuzz/corpus").join(name);
    let mut command = at_fixed_addresses(&program);
    command.args(REPEATABLE).args([
        SEED,
        TIMEOUT,
        MEMORY,
        "-max_len=32768",
        "-print_final_stats=1",
        &format!("-runs={runs}"),
    ]);
    command.arg(format!("-artifact_prefix={}/", findings.display()));
    // What it adds goes into the first, which was empty: nothing that an earlier run found has a say.
    command.arg(grown).arg(&seeds);
    let out = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("could not start `{}`", process::shown(&command)))?;
    let said = String::from_utf8_lossy(&out.stderr);
    if out.status.success() {
        println!("  {name:<14}{}", summary(&said));
        return Ok(());
    }
    let mut report = last_lines(&said);
    for input in inputs(&findings)? {
        report.push_str(&format!(
            "\nthe input is {input}\n  see it again:  {program} {input}\n  make it small: {program} -minimize_crash=1 -runs=100000 {input}\n  \
             once it is mended, keep it as fuzz/corpus/{name}/seed-<what it is>",
            input = input.display(),
            program = program.display(),
        ));
    }
    bail!("{report}\nended with {}", out.status)
}

/// The program, which lies at the same place in memory each time where the system has the means: util-linux's `setarch`.
fn at_fixed_addresses(program: &Path) -> Command {
    let setarch = process::on_path("setarch").filter(|setarch| {
        let works = process::output(Command::new(setarch).args(["-R", "true"]));
        works.inspect_err(|error| println!("  addresses vary, and with them the inputs: {error:#}")).is_ok()
    });
    let Some(setarch) = setarch else { return Command::new(program) };
    let mut command = Command::new(setarch);
    command.arg("-R").arg(program);
    command
}

/// A directory with nothing in it.
fn emptied(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        std::fs::remove_dir_all(path).with_context(|| format!("could not empty {}", path.display()))?;
    }
    std::fs::create_dir_all(path).with_context(|| format!("could not make {}", path.display()))?;
    Ok(path.to_path_buf())
}

fn inputs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = std::fs::read_dir(folder)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
        })
        .with_context(|| format!("could not look into {}", folder.display()))?;
    found.sort();
    Ok(found)
}

/// What libFuzzer counts at the end, in one line.
fn summary(said: &str) -> String {
    let figure = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("stat::{name}:")));
        line.map_or_else(|| "?".to_owned(), |value| value.trim().to_owned())
    };
    let covered = said.lines().rev().find_map(|line| line.split("cov: ").nth(1)?.split(' ').next());
    format!(
        "{:>8} inputs, {} a second, {} places reached",
        figure("number_of_executed_units"),
        figure("average_exec_per_sec"),
        covered.unwrap_or("?")
    )
}

/// The end of what it said, without the input's bytes, which are in its file, and without how it came to them.
fn last_lines(said: &str) -> String {
    const NOISE: [&str; 8] = ["0x", "Base64:", "#", "NEW_FUNC", "MS:", "stat::", "INFO:", "artifact_prefix="];
    const LINES: usize = 25;
    const CHARS: usize = 300;
    let lines: Vec<String> = said
        .lines()
        .filter(|line| !NOISE.iter().any(|noise| line.trim_start().starts_with(noise)))
        .map(|line| line.chars().take(CHARS).collect())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// This machine, as rustc names it.
fn host() -> Result<String> {
    let said = process::output(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
    }

    #[test]
    fn every_target_is_run_from_a_corpus_and_every_corpus_has_a_target() {
        let names = |folder: &str, ending: &str| -> Vec<String> {
            let entries = inputs(&root().join(folder)).unwrap();
            let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().replace(ending, "");
            entries.iter().map(name).collect()
        };
        let run: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names("fuzz/fuzz_targets", ".rs"), run);
        assert_eq!(names("fuzz/corpus", ""), run);
        for (name, _) in TARGETS {
            assert!(
                !inputs(&root().join("fuzz/corpus").join(name)).unwrap().is_empty(),
                "{name} has no seed"
            );
        }
    }

    #[test]
    fn a_run_is_summed_up_in_a_line() {
        let said = "INFO: Seed: 1\n#2 INITED cov: 812 ft: 900 corp: 2\n#60 DONE cov: 900 ft: 1 corp: 3\n\
                    stat::number_of_executed_units: 60\nstat::average_exec_per_sec:     30\n";
        assert_eq!(summary(said), "      60 inputs, 30 a second, 900 places reached");
    }

    #[test]
    fn a_finding_is_told_without_its_bytes() {
        let said = "#12 NEW cov: 1\n\tNEW_FUNC[1/2]: 0x5\nthread panicked at x.rs:1\n0x12,0x13,\nBase64: EhM=\nSUMMARY: libFuzzer: deadly signal";
        assert_eq!(last_lines(said), "thread panicked at x.rs:1\nSUMMARY: libFuzzer: deadly signal");
    }
}
