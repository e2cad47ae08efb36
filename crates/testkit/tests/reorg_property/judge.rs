//! What a database must say in the end: of the chain, of itself, and of its own replay.

use alloy_primitives::Address;
use plimsoll_store::Db;
use plimsoll_testkit::projection::{JournalCheck, Projection, live_truth};
use plimsoll_testkit::truth;
use plimsoll_views::replay::replay;
use sqlx::PgPool;

use crate::support::laws;
use crate::support::world::{Inclusion, World, contracts};

pub(crate) fn nothing(what: &str, differences: &[String]) -> Result<(), String> {
    if differences.is_empty() { Ok(()) } else { Err(format!("{what}: {differences:#?}")) }
}

pub(crate) async fn projection(db: &Db, chain_id: u64) -> Projection {
    let mut conn = db.worker().acquire().await.unwrap();
    Projection::read(&mut conn, chain_id).await.unwrap()
}

/// What one run's database says against the chain, and against itself.
pub(crate) async fn judge(
    db: &Db,
    chain_id: u64,
    world: &World,
    start_block: u64,
    watched: &[Address],
) -> Result<(), String> {
    let mut conn = db.worker().acquire().await.unwrap();
    let found = live_truth(&mut conn, chain_id).await.map_err(|error| error.to_string())?;
    nothing("events", &truth::differences(&world.true_events(start_block), &found))?;

    let (expected, found) =
        (world.true_inclusions(watched, start_block), inclusions(db.worker(), chain_id).await);
    if expected != found {
        return Err(format!("watched transactions are {expected:#?} on the chain, and here {found:#?}"));
    }
    let expected = world.true_positions(start_block);
    let expected: Vec<_> = expected
        .iter()
        .map(|((who, what), p)| {
            let version = i64::try_from(p.version).unwrap();
            let (number, collateral) = (i64::try_from(p.block_number).unwrap(), p.collateral.to_string());
            (
                who.to_string().to_lowercase(),
                what.to_string().to_lowercase(),
                collateral,
                p.debt.to_string(),
                version,
                number,
            )
        })
        .collect();
    let found: Vec<(String, String, String, String, i64, i64)> = sqlx::query_as(
        r#"SELECT "user", asset, collateral::text, debt::text, version::bigint, last_chain_block FROM position_cache_mirror
           WHERE chain_id = $1 ORDER BY "user", asset"#,
    )
    .bind(chain_id.cast_signed())
    .fetch_all(db.worker())
    .await
    .unwrap();
    if expected != found {
        return Err(format!("positions are {expected:#?} on the chain, and here {found:#?}"));
    }

    let check = JournalCheck::read(&mut conn, chain_id).await.unwrap();
    if !check.is_sound() {
        return Err(format!("{check:?}"));
    }
    laws::check(db.worker(), chain_id).await?;
    Ok(())
}

/// The fold of the whole journal from zero gives what the fold that ran has.
pub(crate) async fn replays(db: &Db, chain_id: u64, start_block: u64) -> Result<(), String> {
    let mut conn = db.worker().acquire().await.unwrap();
    let end = JournalCheck::read(&mut conn, chain_id).await.unwrap().last_seq;
    let replayed = replay(db, chain_id, &contracts(start_block), |_| {}).await;
    let replayed = replayed.map_err(|error| error.to_string())?;
    if replayed.equal && replayed.at_seq == end {
        Ok(())
    } else {
        Err(format!("replayed to {end}: {replayed:#?}"))
    }
}

/// The unretracted inclusions.
async fn inclusions(pool: &PgPool, chain_id: u64) -> Vec<Inclusion> {
    let rows: Vec<(i64, Vec<u8>, i32, String, i64, bool)> = sqlx::query_as(
        "SELECT t.block_number, t.block_hash, t.tx_index, t.sender, t.nonce::bigint, t.succeeded
         FROM journal j JOIN chain_tx_meta t ON t.chain_id = j.chain_id AND t.block_number = j.block_number AND t.id = j.ref
         WHERE j.chain_id = $1 AND j.kind = 'included'
           AND NOT EXISTS (SELECT FROM journal r WHERE r.chain_id = j.chain_id AND r.kind = 'retract' AND r.ref = j.seq)
         ORDER BY t.block_number, t.tx_index",
    )
    .bind(chain_id.cast_signed())
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter()
        .map(|(number, hash, index, sender, nonce, succeeded)| {
            let (number, nonce) = (number.cast_unsigned(), nonce.cast_unsigned());
            let hash = alloy_primitives::B256::from_slice(&hash);
            (number, hash, index.cast_unsigned(), sender.parse().unwrap(), nonce, succeeded)
        })
        .collect()
}
