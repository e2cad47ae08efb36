//! The whole ledger against itself: every posting's hashes, every account's history, every log and its tree, every signed checkpoint.
//!
//! # What it looks at
//! One moment of the database, by several connections at once. Of each tenant: each entry's posting, whether its lines' checksums, its digest, its entry's hash and the link to the one before are
//! what its content gives; the tiles, the frontier and the size that the log is kept with; each checkpoint's root and signature; that debits are credits, that accounts' versions have no gap and
//! their balances follow from line to line; that `asset_balances` has what the last line left; that currencies sum to nothing; that what has no entry waits for one.
//!
//! # How
//! Pages of the log are read and hashed on several connections, round and round, and put together in the log's order by one
//! (`plimsoll_proof::ledger::verify::Verifier`), which does what needs the order: the chain, the tree, the accounts. What accounts are said to hold is read once for all tenants. So what stays in memory is a few pages and
//! an entry an account.
//!
//! Somebody who can rewrite the database as a whole leaves no trace in it: compare with a checkpoint that you kept.

mod page;
mod walk;

use std::fmt;

use plimsoll_proof::ledger::checkpoint::NoteKey;
use plimsoll_proof::ledger::verify::{Break, Fault, MAX_BREAKS};
use plimsoll_store::{Db, Tx};
use uuid::Uuid;

use crate::repo::verify as repo;

/// So many findings of a tenant are named; further ones are counted.
pub const MAX_FINDINGS: usize = MAX_BREAKS;
/// How many connections read at once, beside the one that holds the moment; each hashes what it read. The smallest pool that can be configured has as many.
const CONNECTIONS: usize = 3;

/// What is verified.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Whose ledgers; `None`: everybody's.
    pub tenants: Option<Vec<Uuid>>,
    /// The public keys that checkpoints may be signed with, named after a tenant's log, or after the logs of all tenants (what stands before `/<tenant_id>`). A checkpoint of a log that none of them
    /// is of is counted as unchecked.
    pub keys: Vec<NoteKey>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whose ledger is being looked at.
    pub tenant_id: Uuid,
    /// How many entries of its log have been.
    pub done: u64,
    /// Of how many.
    pub entries: u64,
}

/// Something that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The posting's place in the log.
    pub index: Option<u64>,
    /// The posting.
    pub posting_id: Option<Uuid>,
    /// The line in it, from 1.
    pub line: Option<u16>,
    /// The account.
    pub account_id: Option<Uuid>,
    /// What does not hold.
    pub what: String,
}

/// What came of a tenant's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantReport {
    /// Whose.
    pub tenant_id: Uuid,
    /// The entries of its log that were looked at.
    pub entries: u64,
    /// The postings that wait for theirs.
    pub unsealed: u64,
    /// The lines of all these.
    pub lines: u64,
    /// The accounts that those are on.
    pub accounts: u64,
    /// The checkpoints whose root was compared.
    pub checkpoints: u64,
    /// Those of them whose signature was verified.
    pub signatures: u64,
    /// Those that are signed under a name that no key was given for.
    pub unchecked_signatures: u64,
    /// What does not hold: the first [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many findings there are.
    pub finding_count: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By tenant.
    pub tenants: Vec<TenantReport>,
}

impl Report {
    /// Whether all holds that was looked at.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.tenants.iter().all(|tenant| tenant.finding_count == 0)
    }
}

/// Verifies ledgers, and tells of its progress as it goes.
///
/// # Errors
/// The database's: nothing is known then. What does not hold is no error, but in the report.
pub async fn verify(
    db: &Db,
    scope: &Scope,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Report, sqlx::Error> {
    let mut leader = Tx::snapshot(db.worker()).await?;
    let moment = repo::export(&mut leader).await?;
    let mut readers = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut reader = Tx::snapshot(db.worker()).await?;
        repo::join(&mut reader, &moment).await?;
        readers.push(reader);
    }
    let tenants = match &scope.tenants {
        Some(tenants) => tenants.clone(),
        None => repo::tenants(&mut leader).await?,
    };
    let mut said = repo::said(&mut leader, &tenants).await?;
    let mut report = Report::default();
    for tenant_id in tenants {
        let said = said.remove(&tenant_id).unwrap_or_default();
        let walked = walk::tenant(&mut leader, readers, tenant_id, &scope.keys, said, progress).await?;
        report.tenants.push(walked.0);
        readers = walked.1;
    }
    for reader in readers {
        reader.rollback().await?;
    }
    leader.rollback().await?;
    Ok(report)
}

impl Finding {
    fn of_ledger(what: impl Into<String>) -> Self {
        Self { index: None, posting_id: None, line: None, account_id: None, what: what.into() }
    }

    fn of_posting(index: Option<u64>, posting_id: Uuid, what: impl Into<String>) -> Self {
        Self { index, posting_id: Some(posting_id), ..Self::of_ledger(what) }
    }

    fn of_account(account_id: Uuid, what: impl Into<String>) -> Self {
        Self { account_id: Some(account_id), ..Self::of_ledger(what) }
    }

    fn of_break(found: &Break) -> Self {
        let what = match &found.fault {
            Fault::Root { computed, expected } => {
                format!(
                    "the entries have the root {computed}, and the frontier that the log is kept with has {expected}"
                )
            }
            Fault::Truncated { from, size } => {
                format!("the log is of {size} entries, and those from index {from} on are not there")
            }
            Fault::Beyond { size } => format!("it is beyond the end of the log, which is of {size} entries"),
            fault => fault.to_string(),
        };
        let (line, account_id) = match &found.fault {
            Fault::LineChecksum { sequence, .. } | Fault::LineOrder { sequence, .. } => {
                (Some(*sequence), None)
            }
            Fault::Currency { sequence, account_id, .. }
            | Fault::VersionGap { sequence, account_id, .. }
            | Fault::VersionRepeated { sequence, account_id, .. }
            | Fault::BalanceAfter { sequence, account_id, .. } => (Some(*sequence), Some(*account_id)),
            _ => (None, None),
        };
        Self { index: found.index, posting_id: found.posting_id, line, account_id, what }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.posting_id, self.index, self.account_id) {
            (Some(posting_id), Some(index), _) => write!(f, "posting {posting_id} at index {index}: ")?,
            (Some(posting_id), None, _) => write!(f, "posting {posting_id}: ")?,
            (None, _, Some(account_id)) => write!(f, "account {account_id}: ")?,
            (None, _, None) => {}
        }
        f.write_str(&self.what)
    }
}
