//! What puts a posting right: its reversal, which takes back all of it, and postings that make something of it good. Nothing is changed or removed.
//!
//! # A reversal
//! It is made from its original as that was booked: the same accounts, amounts, currencies and kinds of lines in the same order, each on the other side; of the same user, domain, time and block. So
//! whoever looks at any time or block finds both, or neither: it is as if it had never been. When it was recorded still tells what the books said meanwhile. If the original's
//! period is closed, the reversal counts in the open one, as all that comes late.
//!
//! A posting is reversed once, and a reversal never: what was taken back wrongly is booked anew. The database refuses anything else, whoever inserts it.
//!
//! It is a request like any other where somebody asks for it: closed accounts and limits bind it. A limit says what an account may not come to, whatever the reason is: a deposit that the user has
//! spent is not taken from them by calling it an error. Where it must be, the limit is moved first, or what is missing is booked as a claim, which compensates. What the chain takes back is
//! booked whatever the accounts say.
//!
//! # A compensation
//! Any posting can say that it makes another one good, and why ([`Correction::Compensates`]); there may be many. Neither hinders a reversal.

use std::collections::HashMap;

use plimsoll_types::Context;
use serde_json::Map;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::Refusal;
use crate::error::PostError;
use crate::posting::{Correction, Direction, Draft, Invalid, Line, Origin, Posting};
use crate::repo::corrections as repo;
use crate::repo::corrections::{Original, Target};

/// The operation that a reversal is, in its key.
pub const REVERSAL: &str = "reversal";
/// The most compensations of one posting that its [`Links`] name: the first ones.
pub const COMPENSATIONS_MAX: usize = 1_000;

/// The posting that takes back all of another one of the context's tenant, to be given to [`crate::Intake::post`]. It is the original's user's, whoever acts. `conn` sees that tenant.
///
/// Whether it was reversed before is found when it is booked: so the same request gets the same reversal again.
///
/// # Errors
/// [`Refusal::UnknownPosting`] and [`Refusal::IsReversal`]; [`Invalid`] without a tenant or a reason; the database's.
pub async fn reversal(
    conn: &mut PgConnection,
    posting_id: Uuid,
    reason: &str,
    context: Context,
    origin: Origin,
) -> Result<Posting, PostError> {
    let tenant_id = context.tenant_id.ok_or(Invalid::NoTenant)?;
    let original = repo::original(conn, tenant_id, posting_id).await?;
    let original = original.ok_or(Refusal::UnknownPosting { posting_id })?;
    if original.is_reversal {
        return Err(Refusal::IsReversal { posting_id }.into());
    }
    Ok(Posting::checked(mirror(original, posting_id, reason, context, origin))?)
}

fn mirror(original: Original, posting_id: Uuid, reason: &str, mut context: Context, origin: Origin) -> Draft {
    context.user_id = original.user_id;
    let lines = original.lines.into_iter().map(|line| Line {
        direction: match line.direction {
            Direction::Debit => Direction::Credit,
            Direction::Credit => Direction::Debit,
        },
        ..line
    });
    Draft {
        context,
        operation_type: REVERSAL.into(),
        domain: original.domain,
        origin,
        internal_tx_id: original.internal_tx_id,
        trace_id: original.trace_id,
        effective_at: Some(original.effective_at),
        on_chain: original.on_chain,
        correction: Some((Correction::Reverses(posting_id), reason.to_owned())),
        metadata: Map::new(),
        lines: lines.collect(),
    }
}

/// How a posting and others put each other right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// The posting that it reverses or makes good, and why.
    pub corrects: Option<(Correction, String)>,
    /// What reverses it.
    pub reversed_by: Option<Uuid>,
    /// What makes it good, the oldest first; at most [`COMPENSATIONS_MAX`].
    pub compensated_by: Vec<Uuid>,
}

/// What a tenant's posting puts right, and what puts it right; `None`: there is no such posting.
///
/// # Errors
/// The database's.
pub async fn links(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    posting_id: Uuid,
) -> Result<Option<Links>, sqlx::Error> {
    repo::links(conn, tenant_id, posting_id).await
}

/// The postings that those of a batch put right.
#[derive(Debug, Default)]
pub(crate) struct Targets(HashMap<Uuid, Target>);

impl Targets {
    /// Looks them up. The accounts are locked: a reversal has those of its original, so nobody else reverses one of these meanwhile.
    pub(crate) async fn look(
        conn: &mut PgConnection,
        postings: impl Iterator<Item = &Posting>,
    ) -> Result<Self, sqlx::Error> {
        let ids: Vec<_> = postings.filter_map(target).map(|(id, _)| id).collect();
        if ids.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self(repo::targets(conn, &ids).await?))
    }

    /// Whether what the posting puts right can be put right by it.
    pub(crate) fn allow(&self, posting: &Posting) -> Result<(), Refusal> {
        let Some((posting_id, is_reversal)) = target(posting) else { return Ok(()) };
        let target = self.0.get(&posting_id).filter(|target| target.tenant_id == posting.tenant_id());
        match target {
            None => Err(Refusal::UnknownPosting { posting_id }),
            Some(Target { is_reversal: true, .. }) => Err(Refusal::IsReversal { posting_id }),
            Some(Target { reversed_by: Some(by), .. }) if is_reversal => {
                Err(Refusal::Reversed { posting_id, by: *by })
            }
            Some(_) => Ok(()),
        }
    }

    /// Takes note that the posting is booked.
    pub(crate) fn note(&mut self, posting: &Posting, posting_id: Uuid) {
        if let Some((reversed, true)) = target(posting)
            && let Some(target) = self.0.get_mut(&reversed)
        {
            target.reversed_by = Some(posting_id);
        }
    }
}

/// What a posting puts right, and whether by reversing it.
fn target(posting: &Posting) -> Option<(Uuid, bool)> {
    match posting.draft().correction {
        Some((Correction::Reverses(id), _)) => Some((id, true)),
        Some((Correction::Compensates(id), _)) => Some((id, false)),
        None => None,
    }
}
