//! `plimsoll ledger voucher`: one posting as an accountant files it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use plimsoll_ledger::register;
use plimsoll_types::api::LedgerPosting;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::close::exact;
use super::layout::table;
use super::{Of, side};
use crate::cli::Whose;
use crate::commands::admin::sheet::Sheet;
use crate::commands::{print, print_json};
use crate::failure::Failure;

impl Of<'_> {
    pub(super) async fn voucher(&self, id: Uuid, whose: &Whose, json: bool) -> Result<(), Failure> {
        let tenant_id = self.tenant(whose).await?;
        let mut tx = self.db.tenant_tx(&[tenant_id]).await?;
        let posting = of_id(&mut tx, tenant_id, id).await?;
        let mut names = BTreeMap::new();
        for line in &posting.lines {
            if let Entry::Vacant(name) = names.entry(line.account_id) {
                let account = register::by_id(&mut tx, tenant_id, line.account_id).await?;
                name.insert(account.map(|account| account.name).unwrap_or_default());
            }
        }
        if json {
            return print_json(&json!({ "posting": posting, "accounts": names }));
        }
        let rows = posting.lines.iter().map(|line| {
            vec![
                names[&line.account_id].clone(),
                side(line.debit),
                side(line.credit),
                line.currency.clone(),
                line.entry_type.clone(),
            ]
        });
        let rows: Vec<_> = rows.collect();
        let columns =
            [("account", false), ("debit", true), ("credit", true), ("currency", false), ("kind", false)];
        let rows: Vec<_> = rows.iter().map(Vec::as_slice).collect();
        print(&format!("{}\n{}", head(&posting).lines(), table(&columns, &rows)))
    }
}

/// The tenant's posting of this id.
pub(super) async fn of_id(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    id: Uuid,
) -> Result<LedgerPosting, Failure> {
    plimsoll_ledger::read::by_id(conn, tenant_id, id).await?.ok_or_else(|| {
        Failure::new(format!("the tenant has no posting {id}"))
            .remedy("`plimsoll ledger entries` lists the postings that there are")
    })
}

/// What there is to say of it, but for its lines.
fn head(of: &LedgerPosting) -> Sheet {
    let late = (of.booked_at != of.effective_at).then(|| exact(of.booked_at));
    let has_notes = of.metadata.as_object().is_some_and(|notes| !notes.is_empty());
    let all = [
        ("voucher", Some(of.posting_id.to_string())),
        ("operation", Some(of.operation_type.clone())),
        ("domain", Some(of.domain.clone())),
        ("happened", Some(exact(of.effective_at))),
        ("counts_at", late),
        ("recorded", Some(exact(of.recorded_at))),
        ("by", Some(of.created_by.clone())),
        ("for_user", of.user_id.map(|id| id.to_string())),
        ("request", Some(of.request_id.to_string())),
        ("transaction_task", of.internal_tx_id.map(|id| id.to_string())),
        ("trace", of.trace_id.map(|id| id.to_string())),
        ("chain_transaction", of.chain_tx_hash.map(|hash| hash.to_string())),
        ("chain_block", of.chain_block_number.map(|number| number.to_string())),
        ("reverses", of.reverses.map(|id| id.to_string())),
        ("reversed_by", of.reversed_by.map(|id| id.to_string())),
        ("compensates", of.compensates.map(|id| id.to_string())),
        ("reason", of.reason.clone()),
        ("number_in_log", of.leaf_index.map(|index| index.to_string())),
        ("notes", has_notes.then(|| of.metadata.to_string())),
    ];
    let given = all.into_iter().filter_map(|(name, text)| Some((name, text?)));
    given.fold(Sheet::new(), |sheet, (name, text)| sheet.with(name, text))
}
