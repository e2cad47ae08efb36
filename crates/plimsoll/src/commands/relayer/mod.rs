//! `plimsoll relayer`: what is held back, and whether database and chain agree.

mod halts;
mod reconcile;

use plimsoll_store::Db;

use crate::cli::Relayer;
use crate::config::{Config, Loaded};
use crate::failure::Failure;

pub(crate) async fn ask(loaded: &Loaded, config: &Config, db: &Db, asked: &Relayer) -> Result<(), Failure> {
    match asked {
        Relayer::Halts { json } => halts::list(config, db, *json).await,
        Relayer::Halt(meant) => halts::halt(config, db, meant).await,
        Relayer::Resume(meant) => halts::resume(config, db, meant).await,
        Relayer::Reconcile(asked) => reconcile::reconcile((loaded, config), db, asked).await,
    }
}
