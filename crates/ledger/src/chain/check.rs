//! The books against the chain: for every account that the chain can be asked about, what the books held at a block and what the chain says of that block's state, by its hash.
//!
//! **Why a comparison is exact.** The block that the books stand at and the balances at that block are read in one snapshot; the chain is asked for the state after the block of that hash, demanded
//! canonical (`plimsoll_chain::probe`). A difference counts when the chain gives the same number again. What could not be asked is unverified, never equal.

use alloy_primitives::B256;
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::probe::{Probe, ProbeOptions, Reading, probes_at};
use plimsoll_chain::{Pool, RpcError};
use plimsoll_store::{Db, Tx};
use plimsoll_types::{Amount, Balance, hash_text};
use serde::Serialize;
use uuid::Uuid;

use super::opening;
use crate::balance::AsOf;
use crate::book::NormalSide;
use crate::repo::chain::{self, Probed, Standing};

/// How far books and chain may be apart, in the smallest unit, unless somebody says otherwise.
pub const TOLERANCE: u64 = 1;
/// Accounts that are compared at a time.
const PAGE: i64 = 500;
/// Postings that a difference names.
const EXPLAINING: i64 = 5;

/// An account in which books and chain differ.
#[derive(Clone, Debug, Serialize)]
pub struct Break {
    /// Whose books.
    pub tenant_id: Uuid,
    /// The account.
    pub account_id: Uuid,
    /// Its name.
    pub name: String,
    /// What it is kept in.
    pub currency: String,
    /// What the books held, on the account's normal side.
    pub ledger: Balance,
    /// What the chain says.
    pub chain: Balance,
    /// The chain less the books.
    pub difference: Balance,
    /// Whether it is what the account held before its first posting, which no posting explains.
    pub is_opening: bool,
    /// Postings on the account that could explain it: those of just this amount first, then the last ones.
    pub postings: Vec<Uuid>,
}

/// An account that could not be compared.
#[derive(Clone, Debug, Serialize)]
pub struct Unverified {
    /// The account.
    pub account_id: Uuid,
    /// Its name.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// What a comparison found.
#[derive(Clone, Debug, Serialize)]
pub struct BalanceReport {
    /// The chain.
    pub chain_id: u64,
    /// The block that the books stand at; none: nothing is booked of this chain.
    pub block_number: Option<u64>,
    /// Its hash.
    pub block_hash: Option<String>,
    /// Accounts that are equal, within the tolerance.
    pub equal: u64,
    /// Those that are not.
    pub breaks: Vec<Break>,
    /// Those that could not be compared.
    pub unverified: Vec<Unverified>,
    #[serde(skip)]
    pub(super) standing: Option<Standing>,
}

impl BalanceReport {
    /// Differences that are no opening balances.
    #[must_use]
    pub fn unexplained(&self) -> usize {
        self.breaks.iter().filter(|found| !found.is_opening).count()
    }

    /// Accounts that were looked at.
    #[must_use]
    pub fn accounts(&self) -> u64 {
        self.equal + self.breaks.len() as u64 + self.unverified.len() as u64
    }
}

/// Why a comparison ended early.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Postgres.
    #[error("reading the books: {0}")]
    Database(#[from] sqlx::Error),
    /// The node does not answer, or has not that block or its state.
    #[error("asking the chain: {0}")]
    Rpc(#[from] RpcError),
    /// The books do not take what the chain did silently.
    #[error("booking what chain {chain_id} did silently: {reason}")]
    Refused {
        /// The chain.
        chain_id: u64,
        /// Why.
        reason: String,
    },
    /// The lease of the continuous comparison.
    #[error(transparent)]
    Lease(#[from] plimsoll_store::LeaseError),
}

/// Compares every account of the chain with the chain, at the block that the books stand at.
///
/// # Errors
/// When the database fails, or the chain cannot be asked about that block: a reorganisation is under way, or the node has pruned its state. Accounts that cannot be compared are no error:
/// the report has them.
pub async fn check(
    db: &Db,
    pool: &Pool,
    chain_id: u64,
    tolerance: Amount,
) -> Result<BalanceReport, CheckError> {
    let mut report = BalanceReport {
        chain_id,
        block_number: None,
        block_hash: None,
        equal: 0,
        breaks: Vec::new(),
        unverified: Vec::new(),
        standing: None,
    };
    let mut tx = Tx::snapshot(db.worker()).await?;
    let Some(standing) = chain::standing(&mut tx, chain_id).await? else { return Ok(report) };
    let mut accounts = Vec::new();
    let mut after = Uuid::nil();
    // Ends: each page begins behind the last one.
    loop {
        let page = chain::probed(&mut tx, chain_id, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.account_id;
        for account in page {
            let held = held_at(&mut tx, &account, standing.block_number).await?;
            accounts.push((account, held));
        }
    }
    tx.commit().await?;
    report.block_number = Some(standing.block_number);
    report.block_hash = Some(hash_text(&standing.block_hash));
    report.standing = Some(standing);
    for accounts in accounts.chunks(usize::try_from(PAGE).unwrap_or(usize::MAX)) {
        compare(pool, chain_id, &standing, tolerance, accounts, &mut report).await?;
    }
    if !report.breaks.is_empty() {
        let accounts = accounts.iter().map(|(account, _)| (account.account_id, account)).collect();
        opening::mark(db, pool, chain_id, tolerance, &accounts, &mut report.breaks).await?;
    }
    let mut conn = db.worker().acquire().await?;
    for found in &mut report.breaks {
        let amount = Amount(found.difference.0.unsigned_abs());
        found.postings = chain::explaining(&mut conn, found.account_id, amount, EXPLAINING).await?;
    }
    Ok(report)
}

/// What the books held at a block, on the account's normal side; none: more than 256 bits say.
pub(super) async fn held_at(
    conn: &mut sqlx::PgConnection,
    account: &Probed,
    block_number: u64,
) -> Result<Option<Balance>, sqlx::Error> {
    let as_of = AsOf { block_number: Some(block_number), ..AsOf::default() };
    let held = crate::balance::balance(conn, account.account_id, as_of).await?.unwrap_or(Balance::ZERO);
    Ok(match account.normal_side {
        NormalSide::Debit => Some(held),
        NormalSide::Credit => held.0.checked_neg().map(Balance),
    })
}

async fn compare(
    pool: &Pool,
    chain_id: u64,
    standing: &Standing,
    tolerance: Amount,
    accounts: &[(Probed, Option<Balance>)],
    report: &mut BalanceReport,
) -> Result<(), CheckError> {
    let answers =
        ask(pool, chain_id, standing.block_hash, accounts.iter().map(|(account, _)| account)).await?;
    let mut differing = Vec::new();
    for ((account, held), answer) in accounts.iter().zip(answers) {
        let unverified = |reason| {
            let (account_id, name) = (account.account_id, account.account.name.clone());
            Unverified { account_id, name, reason }
        };
        match (answer, held) {
            (Err(reason), _) => report.unverified.push(unverified(reason)),
            (Ok(_), None) => report.unverified.push(unverified("the books hold more than 256 bits".into())),
            (Ok(chain), Some(held)) if is_within(chain, *held, tolerance) => report.equal += 1,
            (Ok(chain), Some(held)) => differing.push((account, *held, chain)),
        }
    }
    if differing.is_empty() {
        return Ok(());
    }
    let again =
        ask(pool, chain_id, standing.block_hash, differing.iter().map(|(account, ..)| *account)).await?;
    for ((account, held, chain), again) in differing.into_iter().zip(again) {
        let (account_id, name) = (account.account_id, account.account.name.clone());
        match chain.0.checked_sub(held.0) {
            Some(difference) if again == Ok(chain) => report.breaks.push(Break {
                tenant_id: account.tenant_id,
                account_id,
                name,
                currency: account.currency.clone(),
                ledger: held,
                chain,
                difference: Balance(difference),
                is_opening: false,
                postings: Vec::new(),
            }),
            _ => {
                let reason = "the chain has given two answers for one block".into();
                report.unverified.push(Unverified { account_id, name, reason });
            }
        }
    }
    Ok(())
}

/// Whether two balances are so close.
pub(super) fn is_within(chain: Balance, held: Balance, tolerance: Amount) -> bool {
    chain.0.checked_sub(held.0).is_some_and(|difference| difference.unsigned_abs() <= tolerance.0)
}

/// What the chain says of each account after a block, or why it does not.
pub(super) async fn ask(
    pool: &Pool,
    chain_id: u64,
    block_hash: B256,
    accounts: impl Iterator<Item = &Probed>,
) -> Result<Vec<Result<Balance, String>>, CheckError> {
    let none = Contracts::default();
    let declared: Vec<Result<Probe, String>> =
        accounts.map(|account| account.probe.check(&none).map_err(|invalid| invalid.to_string())).collect();
    let probes: Vec<Probe> = declared.iter().filter_map(|probe| probe.as_ref().ok().cloned()).collect();
    let probed = probes_at(pool, &ProbeOptions::of_chain(chain_id), block_hash, &probes).await?;
    let mut answers = probed.answers.into_iter();
    let mut next = || answers.next().map(|answer| answer.map_err(|error| error.to_string()).and_then(signed));
    Ok(declared
        .into_iter()
        .map(|probe| probe.and_then(|_| next().unwrap_or_else(|| Err("it was not asked".into()))))
        .collect())
}

fn signed(reading: Reading) -> Result<Balance, String> {
    match reading {
        Reading::Signed(balance) => Ok(balance),
        Reading::Unsigned(Amount(amount)) => {
            amount.to_string().parse().map_err(|_| format!("{amount} is more than books can hold"))
        }
    }
}
