//! `plimsoll ledger`: a tenant's books, as whoever runs the platform sees and keeps them. They are read and written as the app's role, confined to the tenant, as over HTTP.

mod chart;
mod close;
mod import;
mod layout;
mod named;
mod post;
mod reports;
mod voucher;

use plimsoll_bus::Context;
use plimsoll_ledger::{AsOf, proofs, read, register};
use plimsoll_store::Db;
use plimsoll_types::Amount;
use plimsoll_types::api::{LedgerAccount, LedgerBalance, LedgerPosting};
use uuid::Uuid;

use self::layout::{Column, Row, brief, parts, table};
use self::voucher::of_id;
use super::admin::sheet::shown;
use super::admin::{Admin, operator};
use super::{print, print_json, when};
use crate::cli::{Accounts, How, Ledger, Postings, Whose};
use crate::config::Config;
use crate::failure::Failure;

/// Entries of the log that an export looks at at a time.
const WINDOW: u64 = 1_000;

pub(crate) async fn ask(config: &Config, db: &Db, asked: &Ledger) -> Result<(), Failure> {
    let of = Of { config, db };
    match asked {
        Ledger::Entries { which, limit, below, json } => of.entries(which, *below, *limit, *json).await,
        Ledger::Post(asked) => of.post(asked).await,
        Ledger::Reverse { posting, whose, change } => of.reverse(*posting, whose, change).await,
        Ledger::Import(asked) => of.import(asked).await,
        Ledger::Voucher { posting, whose, json } => of.voucher(*posting, whose, *json).await,
        Ledger::Statement(asked) => of.statement(asked).await,
        Ledger::TrialBalance(asked) => of.trial_balance(asked).await,
        Ledger::BalanceSheet(asked) => of.balance_sheet(asked).await,
        Ledger::Close { whose, through, change } => of.close(whose, *through, change).await,
        Ledger::Closings { whose, limit, json } => of.closings(whose, *limit, *json).await,
        Ledger::Chart(asked) => of.chart(asked).await,
        Ledger::Accounts(which) => of.accounts(which).await,
        Ledger::Balances { which, effective_at, recorded_at, block } => {
            let as_of = AsOf { effective_at: *effective_at, recorded_at: *recorded_at, block_number: *block };
            of.balances(which, as_of).await
        }
        Ledger::Checkpoint { whose, size } => of.checkpoint(whose, *size).await,
        Ledger::Keys { whose } => of.keys(whose).await,
        Ledger::Proof { posting, whose, size } => of.proof(*posting, whose, *size).await,
        Ledger::Export { which, size } => of.export(which, *size).await,
    }
}

struct Of<'a> {
    config: &'a Config,
    db: &'a Db,
}

impl Of<'_> {
    async fn tenant(&self, whose: &Whose) -> Result<Uuid, Failure> {
        Ok(Admin { db: self.db, config: self.config }.tenant(whose).await?.tenant_id)
    }

    async fn entries(
        &self,
        which: &Postings,
        below: Option<Uuid>,
        limit: i64,
        json: bool,
    ) -> Result<(), Failure> {
        let tenant_id = self.tenant(&which.whose).await?;
        let mut tx = self.db.tenant_tx(&[tenant_id]).await?;
        let found = read::page(&mut tx, tenant_id, &filter(which), below, limit).await?;
        if json {
            return print_json(&found);
        }
        if found.is_empty() {
            return print("there is no such posting\n");
        }
        print(&found.iter().map(entry).collect::<Vec<_>>().join("\n"))
    }

    async fn accounts(&self, which: &Accounts) -> Result<(), Failure> {
        let tenant_id = self.tenant(&which.whose).await?;
        let mut tx = self.db.tenant_tx(&[tenant_id]).await?;
        let found =
            register::accounts(&mut tx, tenant_id, &accounts(which), which.after, which.limit).await?;
        if which.json {
            return print_json(&found);
        }
        parts(&ACCOUNT_COLUMNS, found.iter().map(account).collect(), "there is no such account")?;
        more(which, found.last().map(|last| last.account_id), found.len())
    }

    async fn balances(&self, which: &Accounts, as_of: AsOf) -> Result<(), Failure> {
        let tenant_id = self.tenant(&which.whose).await?;
        let mut tx = self.db.tenant_tx(&[tenant_id]).await?;
        let found =
            register::balances(&mut tx, tenant_id, &accounts(which), as_of, which.after, which.limit).await?;
        if which.json {
            return print_json(&found);
        }
        parts(&BALANCE_COLUMNS, found.iter().map(balance).collect(), "there is no such account")?;
        more(which, found.last().map(|last| last.account_id), found.len())
    }

    async fn checkpoint(&self, whose: &Whose, size: Option<u64>) -> Result<(), Failure> {
        let tenant_id = self.tenant(whose).await?;
        let mut tx = self.db.tenant_tx(&[tenant_id]).await?;
        print(&proofs::checkpoint(&mut tx, tenant_id, size).await?.note)
    }

    async fn keys(&self, whose: &Whose) -> Result<(), Failure> {
        let tenant_id = self.tenant(whose).await?;
        let mut tx = self.db.tenant_tx(&[tenant_id]).await?;
        let keys = proofs::keys(&mut tx, tenant_id).await?;
        print(&keys.into_iter().map(|key| format!("{}\n", key.key)).collect::<String>())
    }

    async fn proof(&self, posting: Uuid, whose: &Whose, size: Option<u64>) -> Result<(), Failure> {
        let tenant_id = self.tenant(whose).await?;
        let mut tx = self.db.tenant_tx(&[tenant_id]).await?;
        print_json(&proofs::inclusion(&mut tx, tenant_id, posting, size).await?)
    }

    async fn export(&self, which: &Postings, size: Option<u64>) -> Result<(), Failure> {
        let tenant_id = self.tenant(&which.whose).await?;
        let mut tx = self.db.tenant_tx(&[tenant_id]).await?;
        let end = proofs::checkpoint(&mut tx, tenant_id, size).await?.tree_size;
        drop(tx);
        let filter = filter(which);
        let mut from = 0;
        while from < end {
            let to = end.min(from + WINDOW);
            let mut tx = self.db.tenant_tx(&[tenant_id]).await?;
            let mut out = Vec::new();
            for posting in read::export(&mut tx, tenant_id, &filter, from..to).await? {
                posting.write_json(&mut out).map_err(|error| Failure::new(error.to_string()))?;
            }
            print(&String::from_utf8_lossy(&out))?;
            from = to;
        }
        Ok(())
    }
}

/// The same under a request that has its id now, and the context of what it does to the books. A posting's key has that id too: asked for again under it, it is the same posting.
fn in_request(how: &How, tenant_id: Uuid) -> (How, Context) {
    let request_id = how.request_id.unwrap_or_else(Uuid::now_v7);
    let context = Context::new(request_id, operator::actor()).on_behalf_of(tenant_id, None);
    (How { request_id: Some(request_id), ..how.clone() }, context)
}

fn filter(which: &Postings) -> read::Filter {
    read::Filter {
        request_id: which.request_id,
        account_id: which.account,
        domain: which.domain.clone(),
        operation_type: which.operation_type.clone(),
        since: which.since,
        until: which.until,
        ..read::Filter::default()
    }
}

fn accounts(which: &Accounts) -> register::Filter {
    register::Filter {
        name: which.name.clone(),
        domain: which.domain.clone(),
        currency: which.currency.clone(),
        ..register::Filter::default()
    }
}

/// A posting with its lines below it.
fn entry(of: &LedgerPosting) -> String {
    const COLUMNS: [Column; 4] = [("account", false), ("debit", true), ("credit", true), ("currency", false)];
    let place = of.leaf_index.map_or_else(|| "not sealed yet".to_owned(), |index| format!("number {index}"));
    let rows: Vec<_> = of
        .lines
        .iter()
        .map(|line| [line.account_id.to_string(), side(line.debit), side(line.credit), brief(&line.currency)])
        .collect();
    let rows: Vec<_> = rows.iter().map(<[String; 4]>::as_slice).collect();
    let (id, operation) = (of.posting_id, shown(&of.operation_type.as_str().into()));
    format!("{id}  {operation}  {}  {place}\n{}", when(of.effective_at), table(&COLUMNS, &rows))
}

/// What is on one side of a line; nothing on the other.
fn side(amount: Amount) -> String {
    if amount == Amount::ZERO { String::new() } else { amount.to_string() }
}

const ACCOUNT_COLUMNS: [Column; 7] = [
    ("account_id", false),
    ("name", false),
    ("type", false),
    ("class", false),
    ("at least", true),
    ("at most", true),
    ("closed", false),
];

fn account(of: &LedgerAccount) -> Row {
    let cells = vec![
        of.account_id.to_string(),
        of.name.clone(),
        of.account_type.as_str().into(),
        of.class.as_str().into(),
        of.min_balance.map(|limit| limit.to_string()).unwrap_or_default(),
        of.max_balance.map(|limit| limit.to_string()).unwrap_or_default(),
        of.closed_at.map(|at| when(at).to_string()).unwrap_or_default(),
    ];
    Row::new(&of.domain, &of.currency, cells)
}

const BALANCE_COLUMNS: [Column; 4] =
    [("account_id", false), ("name", false), ("balance", true), ("block", true)];

fn balance(of: &LedgerBalance) -> Row {
    let block = of.last_updated_block.as_ref().map(|block| block.number.to_string());
    let cells =
        vec![of.account_id.to_string(), of.name.clone(), of.balance.to_string(), block.unwrap_or_default()];
    Row::new(&of.domain, &of.currency, cells)
}

/// Says how to go on where there may be more than was asked for.
fn more(which: &Accounts, last: Option<Uuid>, found: usize) -> Result<(), Failure> {
    match last.filter(|_| usize::try_from(which.limit).is_ok_and(|limit| found == limit)) {
        Some(last) => print(&format!("there may be more: --after {last}\n")),
        None => Ok(()),
    }
}
