//! The same answers by looking at every line: slow, and plain.

use std::collections::BTreeSet;

use plimsoll_ledger::report::Moment;
use plimsoll_ledger::statement::{By, Window};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::Books;

/// A line, with what it changed.
#[derive(Clone, Debug)]
pub(crate) struct Folded {
    pub(crate) account_id: Uuid,
    pub(crate) account_version: i64,
    pub(crate) change: i64,
    effective_at: OffsetDateTime,
    booked_at: OffsetDateTime,
    recorded_at: OffsetDateTime,
}

/// Every line of a tenant's, in the order of each account.
pub(crate) struct Fold(pub(crate) Vec<Folded>);

impl Fold {
    pub(crate) async fn of(books: &Books) -> Self {
        type Row = (Uuid, i64, String, OffsetDateTime, OffsetDateTime, OffsetDateTime);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT e.account_id, e.account_version, (e.debit - e.credit)::text, p.effective_at, p.booked_at, p.recorded_at
             FROM ledger_entries e JOIN ledger_postings p USING (posting_id) WHERE p.tenant_id = $1 ORDER BY e.account_id, e.account_version",
        )
        .bind(books.tenant_id)
        .fetch_all(books.db.worker())
        .await
        .unwrap();
        let folded =
            |(account_id, account_version, change, effective_at, booked_at, recorded_at): Row| Folded {
                account_id,
                account_version,
                change: change.parse().unwrap(),
                effective_at,
                booked_at,
                recorded_at,
            };
        Self(rows.into_iter().map(folded).collect())
    }

    /// What an account held.
    pub(crate) fn balance(&self, account: Uuid, moment: Moment) -> i64 {
        self.of_account(account).filter(|line| line.counts(moment)).map(|line| line.change).sum()
    }

    /// The lines of a window with the balance after each, and the balances before and after it.
    pub(crate) fn statement(&self, account: Uuid, window: Window) -> (i64, Vec<(i64, i64)>, i64) {
        let at = |time| match window.by {
            By::Effective => Moment { effective_at: Some(time), ..Moment::default() },
            By::Booked => Moment { booked_at: Some(time), ..Moment::default() },
            By::Recorded => Moment { recorded_at: Some(time), ..Moment::default() },
        };
        let opening = self.balance(account, at(window.after));
        let mut balance = opening;
        let within = |line: &&Folded| line.counts(at(window.through)) && !line.counts(at(window.after));
        let lines = self.of_account(account).filter(within).map(|line| {
            balance += line.change;
            (line.account_version, balance)
        });
        let lines: Vec<_> = lines.collect();
        (opening, lines, self.balance(account, at(window.through)))
    }

    pub(crate) fn accounts(&self) -> BTreeSet<Uuid> {
        self.0.iter().map(|line| line.account_id).collect()
    }

    fn of_account(&self, account: Uuid) -> impl Iterator<Item = &Folded> {
        self.0.iter().filter(move |line| line.account_id == account)
    }
}

impl Folded {
    fn counts(&self, Moment { effective_at, booked_at, recorded_at }: Moment) -> bool {
        effective_at.is_none_or(|at| self.effective_at <= at)
            && booked_at.is_none_or(|at| self.booked_at <= at)
            && recorded_at.is_none_or(|at| self.recorded_at <= at)
    }
}
