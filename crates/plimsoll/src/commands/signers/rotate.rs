//! `plimsoll signers rotate`: one hands over to another, on record.

use plimsoll_relayer::overview::Overview;
use plimsoll_relayer::rotation::{self, MOVED_MAX, RotateError};
use plimsoll_store::Db;
use plimsoll_types::address_text;

use super::view::named;
use crate::cli::Final;
use crate::commands::admin::Admin;
use crate::commands::admin::change::{As, Done};
use crate::commands::admin::sheet::Sheet;
use crate::config::Config;
use crate::failure::Failure;

pub(super) async fn rotate(
    config: &Config,
    db: &Db,
    (old, new, chain): (&str, &str, Option<u64>),
    change: &Final,
) -> Result<(), Failure> {
    let old = named(db, old, chain).await?;
    let new = named(db, new, chain.or(Some(old.signer.chain_id))).await?;
    Admin { db, config }
        .change(&change.order(), As::Worker(None), async |conn| {
            let moved = rotation::rotate(conn, old.signer, new.signer).await.map_err(explained)?;
            Ok(Done {
                action: "relayer.signer.rotate",
                target_type: "signer",
                target_id: old.signer.to_string(),
                order: format!("have the signer {} hand over to {}", old.name, new.name),
                confirmation: old.name.clone(),
                before: Some(state(&old, old.rotated_to.map(|(to, _)| address_text(&to)), 0)),
                after: Some(state(&old, Some(address_text(&new.signer.address)), moved)),
                secret: None,
                note: Some(format!(
                    "keep {} configured until nothing of it is under way: `plimsoll signers show {}`",
                    old.name, old.name
                )),
            })
        })
        .await?;
    // The mark is set: what is left is moved by whoever comes first, this command or a process with the role.
    let mut is_more = !change.how.dry_run;
    while is_more {
        let mut tx = db.begin_worker().await?;
        let moved = rotation::hand_over(&mut tx, old.signer).await.map_err(explained)?;
        tx.commit().await?;
        is_more = moved == MOVED_MAX;
    }
    Ok(())
}

fn state(old: &Overview, rotated_to: Option<String>, moved: usize) -> Sheet {
    Sheet::new()
        .with("signer", address_text(&old.signer.address))
        .with("rotated_to", rotated_to)
        .with("requests_moved", moved)
        .with("under_way", old.in_flight)
}

fn explained(error: RotateError) -> Failure {
    match error {
        RotateError::Database(error) => error.into(),
        RotateError::Publish(error) => Failure::new(error.to_string()),
        other => Failure::new(other.to_string())
            .remedy("`plimsoll signers list` shows who signs on which chain, and who hands over"),
    }
}
