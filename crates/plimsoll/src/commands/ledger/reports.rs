//! `plimsoll ledger statement`, `trial-balance` and `balance-sheet`: each of one moment of the database.

use plimsoll_ledger::report::{self, After, Moment, REPORT_ACCOUNTS_MAX, Scope};
use plimsoll_ledger::statement::{self, By, StatementLine, Window};
use plimsoll_ledger::{AccountClass, Direction};
use plimsoll_types::Balance;
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::layout::{Row, parts, table};
use super::{Of, named};
use crate::cli::{Report, StatementBy, StatementOf};
use crate::commands::{print, print_json, when};
use crate::failure::Failure;

/// Before anything that is booked.
const BEGINNING: OffsetDateTime = time::macros::datetime!(0001-01-01 0:00 UTC);

impl Of<'_> {
    pub(super) async fn statement(&self, asked: &StatementOf) -> Result<(), Failure> {
        let tenant_id = self.tenant(&asked.whose).await?;
        let mut tx = self.db.tenant_snapshot(&[tenant_id]).await?;
        let account = named::account(&mut tx, tenant_id, &asked.account, &asked.of).await?;
        let window = Window {
            by: match asked.by {
                StatementBy::Effective => By::Effective,
                StatementBy::Booked => By::Booked,
                StatementBy::Recorded => By::Recorded,
            },
            after: asked.after.unwrap_or(BEGINNING),
            through: asked.through.unwrap_or_else(OffsetDateTime::now_utc),
        };
        let found = statement::statement(
            &mut tx,
            tenant_id,
            account.account_id,
            window,
            asked.after_line,
            asked.limit,
        );
        let found = found.await?.ok_or_else(|| Failure::new("the account is gone"))?;
        let shown = |balance| on_normal_side(account.class, balance);
        if asked.json {
            return print_json(&json!({
                "account_id": account.account_id,
                "name": account.name,
                "class": account.class.as_str(),
                "domain": account.domain,
                "currency": account.currency,
                "opening": shown(found.opening),
                "brought_forward": shown(found.brought_forward),
                "closing": shown(found.closing),
                "lines": found.lines.iter().map(|line| of_line(line, &shown(line.balance))).collect::<Vec<_>>(),
                "next_after_line": found.next,
            }));
        }
        print(&format!(
            "{} ({}) of {}, in {}\n",
            account.name,
            account.class.as_str(),
            account.domain,
            account.currency
        ))?;
        let mut rows = vec![cells([
            "".into(),
            "brought forward".into(),
            String::new(),
            String::new(),
            shown(found.brought_forward),
            String::new(),
        ])];
        rows.extend(found.lines.iter().map(|line| {
            let (debit, credit) = sides(line);
            let late = if line.booked_at == line.effective_at { "" } else { ", late" };
            cells([
                when(line.effective_at).to_string(),
                format!("{}{late}", line.operation_type),
                debit,
                credit,
                shown(line.balance),
                line.posting_id.to_string(),
            ])
        }));
        if found.next.is_none() {
            rows.push(cells([
                "".into(),
                "closing balance".into(),
                String::new(),
                String::new(),
                shown(found.closing),
                String::new(),
            ]));
        }
        let columns = [
            ("when", false),
            ("what", false),
            ("debit", true),
            ("credit", true),
            ("balance", true),
            ("posting", false),
        ];
        print(&table(&columns, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>()))?;
        match found.next {
            Some(next) => print(&format!("there is more: --after-line {next}, with the same --through\n")),
            None => Ok(()),
        }
    }

    pub(super) async fn trial_balance(&self, asked: &Report) -> Result<(), Failure> {
        let tenant_id = self.tenant(&asked.whose).await?;
        let (scope, moment) = (scope(tenant_id, asked), moment(asked));
        let mut tx = self.db.tenant_snapshot(&[tenant_id]).await?;
        let (mut rows, mut items, mut after) = (Vec::new(), Vec::new(), None);
        // Ends: each page begins behind the last one.
        loop {
            let page =
                report::trial_balance(&mut tx, &scope, moment, after.as_ref(), REPORT_ACCOUNTS_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some(After {
                domain: last.domain.clone(),
                name: last.name.clone(),
                currency: last.currency.clone(),
            });
            for found in page {
                let (debit, credit) = two_sides(found.balance);
                if asked.json {
                    items.push(json!({
                        "account_id": found.account_id,
                        "name": found.name,
                        "account_type": found.account_type.as_str(),
                        "class": found.class.as_str(),
                        "domain": found.domain,
                        "currency": found.currency,
                        "raw_balance": found.balance,
                    }));
                } else if found.balance != Balance::ZERO {
                    rows.push(Row::new(
                        &found.domain,
                        &found.currency,
                        cells([found.name, found.class.as_str().into(), debit, credit]),
                    ));
                }
            }
        }
        if asked.json {
            return print_json(&items);
        }
        for sheet in report::totals(&mut tx, &scope, moment)
            .await?
            .chunk_by(|a, b| a.domain == b.domain && a.currency == b.currency)
        {
            let sum = |side: fn(&report::ClassTotal) -> alloy_primitives::U512| {
                sheet.iter().map(side).fold(alloy_primitives::U512::ZERO, |sum, it| sum + it)
            };
            let (debits, credits) = (sum(|it| it.debits), sum(|it| it.credits));
            let total = cells(["total".into(), String::new(), debits.to_string(), credits.to_string()]);
            rows.push(Row::new(&sheet[0].domain, &sheet[0].currency, total));
        }
        let columns = [("account", false), ("class", false), ("debit", true), ("credit", true)];
        parts(&columns, rows, "there is no account")
    }

    pub(super) async fn balance_sheet(&self, asked: &Report) -> Result<(), Failure> {
        let tenant_id = self.tenant(&asked.whose).await?;
        let mut tx = self.db.tenant_snapshot(&[tenant_id]).await?;
        let totals = report::totals(&mut tx, &scope(tenant_id, asked), moment(asked)).await?;
        let sheets = report::balance_sheets(&totals);
        if asked.json {
            let sheet = |of: &report::BalanceSheet| {
                json!({
                    "domain": of.domain,
                    "currency": of.currency,
                    "assets": of.assets.to_string(),
                    "liabilities": of.liabilities.to_string(),
                    "equity": of.equity.to_string(),
                    "result": of.result.to_string(),
                    "difference": of.difference().to_string(),
                })
            };
            return print_json(&sheets.iter().map(sheet).collect::<Vec<_>>());
        }
        let mut rows = Vec::new();
        for of in &sheets {
            let all = [
                ("assets", of.assets),
                ("liabilities", of.liabilities),
                ("equity", of.equity),
                ("result", of.result),
                ("difference", of.difference()),
            ];
            rows.extend(all.map(|(name, sum)| {
                Row::new(&of.domain, &of.currency, cells([name.into(), sum.to_string()]))
            }));
        }
        parts(&[("", false), ("balance", true)], rows, "there is no account")
    }
}

fn cells<const N: usize>(cells: [String; N]) -> Vec<String> {
    cells.into()
}

fn scope(tenant_id: Uuid, asked: &Report) -> Scope {
    Scope { tenant_id, domain: asked.domain.clone(), currency: asked.currency.clone() }
}

fn moment(asked: &Report) -> Moment {
    Moment { effective_at: asked.effective_at, booked_at: asked.booked_at, recorded_at: asked.recorded_at }
}

/// Debits less credits, as an account of this class shows them.
fn on_normal_side(class: AccountClass, balance: Balance) -> String {
    match class {
        AccountClass::Asset | AccountClass::Expense => balance.to_string(),
        AccountClass::Liability | AccountClass::Equity | AccountClass::Income => balance
            .0
            .checked_neg()
            .map_or_else(|| format!("-({balance})"), |turned| Balance(turned).to_string()),
    }
}

/// Debits less credits, in the column of its side.
fn two_sides(balance: Balance) -> (String, String) {
    let sum = balance.0.unsigned_abs().to_string();
    if balance.0.is_negative() { (String::new(), sum) } else { (sum, String::new()) }
}

fn sides(line: &StatementLine) -> (String, String) {
    let amount = line.amount.to_string();
    match line.direction {
        Direction::Debit => (amount, String::new()),
        Direction::Credit => (String::new(), amount),
    }
}

fn of_line(line: &StatementLine, balance: &str) -> serde_json::Value {
    let (debit, credit) = sides(line);
    let or_nothing = |side: String| if side.is_empty() { "0".to_owned() } else { side };
    json!({
        "account_version": line.account_version,
        "posting_id": line.posting_id,
        "sequence": line.sequence,
        "operation_type": line.operation_type,
        "request_id": line.request_id,
        "entry_type": line.entry_type,
        "debit": or_nothing(debit),
        "credit": or_nothing(credit),
        "balance": balance,
        "effective_at": super::close::exact(line.effective_at),
        "booked_at": super::close::exact(line.booked_at),
        "recorded_at": super::close::exact(line.recorded_at),
    })
}
