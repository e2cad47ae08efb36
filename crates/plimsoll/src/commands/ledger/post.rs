//! `plimsoll ledger post` and `reverse`: an operator's postings, each with its entry in the audit log.

use std::cell::RefCell;

use plimsoll_bus::Context;
use plimsoll_ledger::{
    Correction, Direction, Draft, Line, Origin, PostError, Posted, Posting, Refusal, post_in, reversal,
};
use plimsoll_types::Amount;
use plimsoll_types::api::{LedgerAccount, LedgerPosting};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Of, in_request, named};
use crate::cli::{Change, Final, How, NewPosting, Whose};
use crate::commands::admin::Admin;
use crate::commands::admin::change::{As, Done};
use crate::commands::admin::sheet::Sheet;
use crate::failure::Failure;

impl Of<'_> {
    pub(super) async fn post(&self, asked: &NewPosting) -> Result<(), Failure> {
        let tenant = self.admin().tenant(&asked.whose).await?;
        let (how, context) = in_request(&asked.change.how, tenant.tenant_id);
        let change = Change { how, ..asked.change.clone() };
        let mut tx = self.db.tenant_tx(&[tenant.tenant_id]).await?;
        let sides = asked.debit.iter().map(|side| (Direction::Debit, side));
        let sides = sides.chain(asked.credit.iter().map(|side| (Direction::Credit, side)));
        let mut lines = Vec::new();
        for (direction, (name, amount)) in sides {
            let account = named::account(&mut tx, tenant.tenant_id, name, &asked.of).await?;
            lines.push((direction, *amount, account));
        }
        drop(tx);
        let context = Context { user_id: asked.user, ..context };
        let posting = posting(context, asked, &lines)?;
        let sheet = sheet(asked, &lines);
        let conflict = Conflict::default();
        let outcome = self
            .admin()
            .change(&change.order(), As::Tenant(tenant.tenant_id), async |conn| {
                let posted = conflict.book(conn, posting.clone()).await?;
                let known = posted.is_replay.then(|| format!(", which is posting {}", posted.posting_id));
                Ok(Done {
                    action: "ledger.post",
                    target_type: "posting",
                    target_id: posted.posting_id.to_string(),
                    order: format!(
                        "post {} to the books of {}{}",
                        asked.operation_type,
                        tenant.name,
                        known.unwrap_or_default()
                    ),
                    confirmation: String::new(),
                    before: posted.is_replay.then(|| sheet.clone()),
                    after: Some(sheet.clone()),
                    secret: None,
                    note: Some(format!("it is posting {}", posted.posting_id)),
                })
            })
            .await;
        conflict.keep(self, outcome, &change.how).await
    }

    pub(super) async fn reverse(&self, id: Uuid, whose: &Whose, change: &Final) -> Result<(), Failure> {
        let tenant = self.admin().tenant(whose).await?;
        let (how, context) = in_request(&change.how, tenant.tenant_id);
        let change = Final { how, ..change.clone() };
        let conflict = Conflict::default();
        let outcome = self
            .admin()
            .change(&change.order(), As::Tenant(tenant.tenant_id), async |conn| {
                let original = super::of_id(conn, tenant.tenant_id, id).await?;
                let made = reversal(conn, id, &change.reason, context.clone(), Origin::Request).await;
                let posted = conflict.book(conn, made.map_err(|error| explained(&error))?).await?;
                let after = standing(&original, true);
                Ok(Done {
                    action: "ledger.reverse",
                    target_type: "posting",
                    target_id: posted.posting_id.to_string(),
                    order: format!("take back posting {id} ({}) of {}", original.operation_type, tenant.name),
                    confirmation: original.operation_type.clone(),
                    before: Some(if posted.is_replay { after.clone() } else { standing(&original, false) }),
                    after: Some(after),
                    secret: None,
                    note: Some(format!("it is posting {}", posted.posting_id)),
                })
            })
            .await;
        conflict.keep(self, outcome, &change.how).await
    }

    pub(super) fn admin(&self) -> Admin<'_> {
        Admin { db: self.db, config: self.config }
    }
}

/// A posting that came under another's key. What was to be done is rolled back, and what is to be kept of it with that: so it is put on record by itself.
#[derive(Default)]
struct Conflict(RefCell<Option<Posting>>);

impl Conflict {
    async fn book(&self, conn: &mut PgConnection, posting: Posting) -> Result<Posted, Failure> {
        post_in(conn, &posting).await.map_err(|error| {
            if matches!(error, PostError::Conflict { .. }) {
                self.0.replace(Some(posting));
            }
            explained(&error)
        })
    }

    /// The outcome, with the conflict on record where it is one. A dry run leaves nothing.
    async fn keep(self, of: &Of<'_>, outcome: Result<(), Failure>, how: &How) -> Result<(), Failure> {
        if let Some(posting) = self.0.into_inner().filter(|_| !how.dry_run) {
            let mut tx = of.db.tenant_tx(&[posting.tenant_id()]).await?;
            match post_in(&mut tx, &posting).await {
                Err(PostError::Conflict { .. }) => tx.commit().await?,
                _ => tx.rollback().await?,
            }
        }
        outcome
    }
}

fn posting(
    context: Context,
    asked: &NewPosting,
    lines: &[(Direction, Amount, LedgerAccount)],
) -> Result<Posting, Failure> {
    let domain = lines.first().map_or(&asked.of.domain, |(_, _, account)| &account.domain);
    let line = |(direction, amount, account): &(Direction, Amount, LedgerAccount)| {
        Line::new(account.account_id, *direction, *amount, &account.currency, &asked.entry_type)
    };
    let mut draft = Draft::new(context, &asked.operation_type, domain, lines.iter().map(line).collect());
    draft.effective_at = asked.effective_at;
    draft.correction = asked.compensates.map(Correction::Compensates).zip(asked.change.reason.clone());
    let description = asked.description.iter().map(|text| ("description".to_owned(), text.as_str().into()));
    draft.metadata.extend(description);
    Posting::new(draft).map_err(|error| Failure::usage(error.to_string()))
}

fn sheet(asked: &NewPosting, lines: &[(Direction, Amount, LedgerAccount)]) -> Sheet {
    let line = |(direction, amount, account): &(Direction, Amount, LedgerAccount)| {
        let side = if *direction == Direction::Debit { "debit" } else { "credit" };
        format!("{side} {amount} {} {}", account.currency, account.name)
    };
    Sheet::new()
        .with("operation_type", &*asked.operation_type)
        .with("user", asked.user.map(|user| user.to_string()))
        .at("effective_at", asked.effective_at)
        .with("description", asked.description.clone())
        .with("compensates", asked.compensates.map(|id| id.to_string()))
        .with("lines", lines.iter().map(line).collect::<Vec<_>>())
}

fn standing(of: &LedgerPosting, is_reversed: bool) -> Sheet {
    let line = |line: &plimsoll_types::api::LedgerLine| {
        format!("debit {} credit {} {} {}", line.debit, line.credit, line.currency, line.account_id)
    };
    Sheet::new()
        .with("posting_id", of.posting_id.to_string())
        .with("operation_type", &*of.operation_type)
        .at("effective_at", of.effective_at)
        .with("lines", of.lines.iter().map(line).collect::<Vec<_>>())
        .with("is_reversed", is_reversed)
}

fn explained(error: &PostError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        PostError::Conflict { posting_id, .. } => {
            failure.remedy(format!("`plimsoll ledger voucher {posting_id}` shows what is on record"))
        }
        PostError::Refused(Refusal::UnknownPosting { .. }) => {
            failure.remedy("`plimsoll ledger entries` lists the postings that there are")
        }
        PostError::Refused(Refusal::Reversed { by, .. }) => {
            failure.remedy(format!("`plimsoll ledger voucher {by}` shows its reversal"))
        }
        PostError::Refused(Refusal::Limit { .. }) => {
            failure.remedy("correct the amount; or have the account's limit moved first, on record (`POST /api/v1/ledger/accounts/{account_id}/limits`)")
        }
        PostError::NoBooks { .. } => failure.remedy("`plimsoll ledger chart open` opens them"),
        _ => failure,
    }
}
