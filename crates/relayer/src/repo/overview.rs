//! The global view, as the worker reads it.

use plimsoll_types::Amount;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{address, to_u64, unreadable};
use crate::overview::{Holder, Overview, QUEUE_COUNTED, Sighting};
use crate::reconcile::Finding;
use crate::request::SignerId;

/// All signers.
pub(crate) async fn signers(conn: &mut PgConnection) -> Result<Vec<Overview>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT s.chain_id, s.address, s.name, s.next_nonce, s.rotated_to, s.rotated_at, p.consumed_next,
                  waiting.n AS "queued!", waiting.oldest AS oldest_queued_at, under_way.n AS "in_flight!", front.committed_at AS "front_since?",
                  l.holder AS "holder?", l.fencing_token AS "token?", l.expires_at AS "expires_at?",
                  g.latest AS "latest?", g.pending AS "pending?", g.balance_wei AS "balance_wei?: Amount", g.needed_wei AS "needed_wei?: Amount",
                  g.answered AS "answered?", g.endpoints AS "endpoints?", g.findings AS "findings?: Json<Vec<Finding>>", g.seen_at AS "seen_at?",
                  clock_timestamp() AS "read_at!"
           FROM signers s JOIN signer_progress p USING (chain_id, address)
           CROSS JOIN LATERAL (SELECT count(*) AS n, min(created_at) AS oldest
                               FROM (SELECT created_at FROM managed_transactions t WHERE t.chain_id = s.chain_id AND t.signer = s.address AND t.state = 'pending'
                                     ORDER BY priority DESC, id LIMIT $1) AS t) AS waiting
           CROSS JOIN LATERAL (SELECT count(*) AS n FROM managed_transactions t
                               WHERE t.chain_id = s.chain_id AND t.signer = s.address AND t.state = 'tracking' AND t.block_hash IS NULL) AS under_way
           LEFT JOIN LATERAL (SELECT a.committed_at FROM managed_transactions t JOIN transaction_attempts a USING (chain_id, signer, nonce)
                              WHERE t.chain_id = s.chain_id AND t.signer = s.address AND t.state = 'tracking' AND t.block_hash IS NULL
                              ORDER BY t.nonce, a.attempt LIMIT 1) AS front ON true
           LEFT JOIN leases l ON l.name = 'signer/' || s.chain_id || '/' || s.address AND l.expires_at > clock_timestamp()
           LEFT JOIN signer_sightings g ON g.chain_id = s.chain_id AND g.address = s.address
           ORDER BY s.chain_id, s.name"#,
        QUEUE_COUNTED,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let rotated_to = match (row.rotated_to, row.rotated_at) {
                (Some(to), Some(at)) => Some((address(&to)?, at)),
                _ => None,
            };
            let lease = match (row.holder, row.token, row.expires_at) {
                (Some(holder), Some(token), Some(expires_at)) => {
                    Some(Holder { holder, token: to_u64(token)?, expires_at })
                }
                _ => None,
            };
            let sighting = match (row.seen_at, row.needed_wei, row.findings, row.answered, row.endpoints) {
                (Some(seen_at), Some(needed_wei), Some(findings), Some(answered), Some(endpoints)) => {
                    Some(Sighting {
                        latest: row.latest.map(to_u64).transpose()?,
                        pending: row.pending.map(to_u64).transpose()?,
                        balance_wei: row.balance_wei.map(|balance| balance.0),
                        needed_wei: needed_wei.0,
                        answered: to_u32(answered)?,
                        endpoints: to_u32(endpoints)?,
                        findings: findings.0,
                        seen_at,
                    })
                }
                _ => None,
            };
            Ok(Overview {
                signer: SignerId { chain_id: to_u64(row.chain_id)?, address: address(&row.address)? },
                name: row.name,
                next_nonce: to_u64(row.next_nonce)?,
                consumed_next: to_u64(row.consumed_next)?,
                queued: to_u64(row.queued)?,
                oldest_queued_at: row.oldest_queued_at,
                in_flight: to_u64(row.in_flight)?,
                front_since: row.front_since,
                rotated_to,
                lease,
                sighting,
                read_at: row.read_at,
            })
        })
        .collect()
}

fn to_u32(value: i32) -> Result<u32, sqlx::Error> {
    u32::try_from(value).map_err(|_| unreadable(format!("{value} is negative")))
}
