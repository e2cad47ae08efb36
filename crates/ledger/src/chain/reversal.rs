//! The exact mirror of a posting: the same accounts, amounts, currencies and kinds of lines in the same order, each on the other side; of the same time and block. So whoever looks at any time or block finds
//! both, or neither.

use plimsoll_types::Context;
use serde_json::Map;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::error::PostError;
use crate::posting::{Correction, Direction, Draft, Line, Origin, Posting};
use crate::repo::chain;

/// The operation that a reversal is, in its key.
const REVERSAL: &str = "reversal";

/// The posting that takes back all of one that the chain brought.
pub(super) async fn reversal(
    conn: &mut PgConnection,
    posting_id: Uuid,
    reason: &str,
    mut context: Context,
) -> Result<Posting, PostError> {
    let original = chain::original(conn, posting_id).await?;
    context.user_id = original.user_id;
    let lines = original.lines.into_iter().map(|line| Line {
        direction: match line.direction {
            Direction::Debit => Direction::Credit,
            Direction::Credit => Direction::Debit,
        },
        ..line
    });
    Ok(Posting::new(Draft {
        context,
        operation_type: REVERSAL.into(),
        domain: original.domain,
        origin: Origin::Chain,
        internal_tx_id: None,
        trace_id: None,
        effective_at: Some(original.effective_at),
        on_chain: original.on_chain,
        correction: Some((Correction::Reverses(posting_id), reason.to_owned())),
        metadata: Map::new(),
        lines: lines.collect(),
    })?)
}
