//! `plimsoll fence`: whether a restored database is still fenced, and the operator's word that lifts it.

use std::path::Path;

use super::{print, when};
use crate::cli::Decision;
use crate::config::{Config, DatabaseSource};
use crate::failure::Failure;

pub(crate) fn status(config: &Config) -> Result<(), Failure> {
    match plimsoll_store::fence_status(data_dir(config)?)? {
        Some(fence) => print(&format!(
            "fenced since {}: {}\nthe backup was made at {}; lift the fence with `plimsoll fence lift` once you have looked\n",
            when(fence.since),
            fence.reason,
            when(fence.backup_made_at)
        )),
        None => print("not fenced\n"),
    }
}

pub(crate) fn lift(config: &Config, decision: &Decision) -> Result<(), Failure> {
    let fence = plimsoll_store::lift_fence(data_dir(config)?, &decision.operator, &decision.reason)?;
    print(&format!("the fence of {} is lifted\n", when(fence.since)))
}

fn data_dir(config: &Config) -> Result<&Path, Failure> {
    match &config.database.source {
        DatabaseSource::Private(directory) => Ok(directory),
        DatabaseSource::Url(_) => Err(Failure::usage("the database is a Postgres of your own, which Plimsoll does not restore or fence")
            .remedy("name the private Postgres's directory: `--config` with `database.data_dir`, or PLIMSOLL_DATABASE__DATA_DIR")),
    }
}
