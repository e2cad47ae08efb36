//! What a run costs: CPU time of this process and of the Postgres under it, and this process's peak memory.

use std::fs;

/// Clock ticks a second in `/proc` (`sysconf(_SC_CLK_TCK)`; 100 on every Linux that Rust supports).
const TICKS_PER_SECOND: u64 = 100;

/// CPU time so far, milliseconds: the process (`None`: this one), the server process `postgres` and its children, living and reaped.
pub(super) fn cpu_ms_of(process: Option<u32>, postgres: Option<i32>) -> u64 {
    let own = ticks(&process.map_or_else(|| "self".to_owned(), |pid| pid.to_string()), false);
    let server = postgres.map_or(0, |pid| {
        let children = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            (parent_of(&name)? == pid).then(|| ticks(&name, false))
        });
        ticks(&pid.to_string(), true) + children.sum::<u64>()
    });
    (own + server) * 1000 / TICKS_PER_SECOND
}

/// The largest resident set so far, MB (10^6 bytes).
pub(super) fn rss_peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024 / 1_000_000
}

/// The fields of `/proc/<pid>/stat` after the command, which may hold anything.
fn stat(pid: &str) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn parent_of(pid: &str) -> Option<i32> {
    pid.parse::<i32>().ok()?;
    stat(pid)?.get(1)?.parse().ok()
}

fn ticks(pid: &str, with_reaped: bool) -> u64 {
    let fields = stat(pid).unwrap_or_default();
    let last = if with_reaped { 14 } else { 12 };
    (11..=last).filter_map(|i| fields.get(i)?.parse::<u64>().ok()).sum()
}
