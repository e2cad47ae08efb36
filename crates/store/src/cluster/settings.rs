//! How the private server is tuned, as arguments of `postgres`.

use std::path::Path;

const MIB: u64 = 1024 * 1024;
const MIN_BUFFERS_BYTES: u64 = 64 * MIB;
const MAX_BUFFERS_BYTES: u64 = 256 * MIB;
/// Where the system does not say how much memory it has.
const ASSUMED_MEMORY_BYTES: u64 = 2048 * MIB;

/// Name and value of each setting that differs from the server's default, or that everything rests on.
pub(super) fn settings(socket_dir: &Path) -> Vec<(&'static str, String)> {
    let memory = memory_bytes().unwrap_or(ASSUMED_MEMORY_BYTES);
    let buffers_mib = (memory / 8).clamp(MIN_BUFFERS_BYTES, MAX_BUFFERS_BYTES) / MIB;
    let text = |value: &str| value.to_owned();
    vec![
        // Reachable through the socket alone.
        ("listen_addresses", String::new()),
        ("unix_socket_directories", socket_dir.display().to_string()),
        ("unix_socket_permissions", text("0700")),
        ("cluster_name", text("plimsoll")),
        // What was committed stays committed.
        ("fsync", text("on")),
        ("full_page_writes", text("on")),
        ("synchronous_commit", text("on")),
        // One process's pools, its leases, and room for a person with psql.
        ("max_connections", text("80")),
        ("superuser_reserved_connections", text("3")),
        // Partitions are many, and each that a statement touches takes a lock.
        ("max_locks_per_transaction", text("256")),
        ("shared_buffers", format!("{buffers_mib}MB")),
        ("effective_cache_size", format!("{}MB", memory / 2 / MIB)),
        ("maintenance_work_mem", text("64MB")),
        // No replica is fed: the log need only be enough to recover. Checkpoints far apart, and spread.
        ("wal_level", text("minimal")),
        ("max_wal_senders", text("0")),
        ("wal_buffers", text("16MB")),
        ("min_wal_size", text("256MB")),
        ("max_wal_size", text("2GB")),
        ("checkpoint_timeout", text("10min")),
        ("checkpoint_completion_target", text("0.9")),
        ("random_page_cost", text("1.1")),
        ("jit", text("off")),
        ("log_line_prefix", text("%m [%p] %a ")),
        ("log_checkpoints", text("off")),
        ("timezone", text("UTC")),
        ("log_timezone", text("UTC")),
    ]
}

fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
