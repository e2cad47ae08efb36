//! Postings that others put right.

use std::collections::HashMap;

use plimsoll_types::Amount;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{hash, to_u64, unreadable};
use crate::correction::{COMPENSATIONS_MAX, Links};
use crate::posting::{Correction, Direction, Line, OnChain};

/// A posting as it was booked, as far as its reversal has it too.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) is_reversal: bool,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) domain: String,
    pub(crate) internal_tx_id: Option<Uuid>,
    pub(crate) trace_id: Option<Uuid>,
    pub(crate) effective_at: OffsetDateTime,
    pub(crate) on_chain: Option<OnChain>,
    pub(crate) lines: Vec<Line>,
}

/// A tenant's posting.
pub(crate) async fn original(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    posting_id: Uuid,
) -> Result<Option<Original>, sqlx::Error> {
    let header = sqlx::query!(
        "SELECT reverses, user_id, domain, internal_tx_id, trace_id, effective_at, chain_id, chain_tx_hash, chain_block_number, chain_block_hash
         FROM ledger_postings WHERE tenant_id = $1 AND posting_id = $2",
        tenant_id,
        posting_id,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(header) = header else { return Ok(None) };
    let lines = sqlx::query!(
        r#"SELECT account_id, debit AS "debit: Amount", credit AS "credit: Amount", currency, entry_type FROM ledger_entries WHERE posting_id = $1 ORDER BY sequence"#,
        posting_id
    )
    .fetch_all(conn)
    .await?;
    let lines = lines.into_iter().map(|line| {
        let (direction, amount) = match line.debit {
            Amount::ZERO => (Direction::Credit, line.credit),
            debit => (Direction::Debit, debit),
        };
        Line {
            account_id: line.account_id,
            direction,
            amount,
            currency: line.currency,
            entry_type: line.entry_type,
        }
    });
    let block = match (header.chain_block_number, header.chain_block_hash) {
        (Some(number), Some(of_block)) => Some((to_u64(number)?, hash(&of_block)?)),
        (None, None) => None,
        _ => return Err(unreadable("a block that has no number, or no hash")),
    };
    let on_chain = match header.chain_id {
        Some(chain_id) => Some(OnChain {
            chain_id: to_u64(chain_id)?,
            tx_hash: header.chain_tx_hash.as_deref().map(hash).transpose()?,
            block,
        }),
        None => None,
    };
    Ok(Some(Original {
        is_reversal: header.reverses.is_some(),
        user_id: header.user_id,
        domain: header.domain,
        internal_tx_id: header.internal_tx_id,
        trace_id: header.trace_id,
        effective_at: header.effective_at,
        on_chain,
        lines: lines.collect(),
    }))
}

/// A posting that is to be put right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) tenant_id: Uuid,
    pub(crate) is_reversal: bool,
    pub(crate) reversed_by: Option<Uuid>,
}

/// These postings, by their ids.
pub(crate) async fn targets(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Target>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT o.posting_id, o.tenant_id, o.reverses IS NOT NULL AS "is_reversal!", r.posting_id AS "reversed_by?"
           FROM unnest($1::uuid[]) AS given(posting_id)
           CROSS JOIN LATERAL (SELECT posting_id, tenant_id, reverses FROM ledger_postings WHERE posting_id = given.posting_id LIMIT 1) AS o
           LEFT JOIN LATERAL (SELECT posting_id FROM ledger_postings WHERE reverses = given.posting_id LIMIT 1) AS r ON true"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    let target = |tenant_id, is_reversal, reversed_by| Target { tenant_id, is_reversal, reversed_by };
    Ok(rows
        .into_iter()
        .map(|row| (row.posting_id, target(row.tenant_id, row.is_reversal, row.reversed_by)))
        .collect())
}

/// How a tenant's posting and others put each other right.
pub(crate) async fn links(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    posting_id: Uuid,
) -> Result<Option<Links>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT p.reverses, p.compensates, p.reason, (SELECT r.posting_id FROM ledger_postings r WHERE r.reverses = p.posting_id) AS reversed_by,
                  ARRAY(SELECT c.posting_id FROM ledger_postings c WHERE c.compensates = p.posting_id ORDER BY c.posting_id LIMIT $3) AS "compensated_by!"
           FROM ledger_postings p WHERE p.tenant_id = $1 AND p.posting_id = $2"#,
        tenant_id,
        posting_id,
        COMPENSATIONS_MAX as i64,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let corrects = match (row.reverses, row.compensates) {
            (Some(id), _) => Some(Correction::Reverses(id)),
            (None, Some(id)) => Some(Correction::Compensates(id)),
            (None, None) => None,
        };
        Links {
            corrects: corrects.zip(row.reason),
            reversed_by: row.reversed_by,
            compensated_by: row.compensated_by,
        }
    }))
}
