//! A tenant's ledger from one end to the other.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{B256, I256};
use plimsoll_proof::ledger::checkpoint::{Checkpoint, NoteKey};
use plimsoll_proof::ledger::encoding::Encoder;
use plimsoll_proof::ledger::log::{Entry, NO_ENTRY};
use plimsoll_proof::ledger::tiles::{Tile, completed};
use plimsoll_proof::ledger::tree::Frontier;
use plimsoll_proof::ledger::verify::Verifier;
use plimsoll_store::Tx;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::page::{PAGE_ENTRIES, Page, examine, read};
use super::{Finding, MAX_FINDINGS, Progress, TenantReport};
use crate::repo::seal::Log;
use crate::repo::sealed as sealed_repo;
use crate::repo::sealed::Leaf;
use crate::repo::verify::{self as repo, Said};

/// Pages that a reader is ahead.
const AHEAD_PAGES: usize = 2;
/// Rows of `ledger_staging` that are read at a time.
const STAGED_ROWS: i64 = 16;

/// What is known of a tenant so far.
struct Walk {
    tenant_id: Uuid,
    log: Log,
    verifier: Verifier,
    head_hash: B256,
    /// The roots of the tiles of level 0, in order.
    tile_roots: Vec<B256>,
    report: TenantReport,
}

/// Verifies a tenant's ledger, of which this is said; and gives the readers back.
pub(super) async fn tenant(
    leader: &mut PgConnection,
    readers: Vec<Tx>,
    tenant_id: Uuid,
    keys: &[NoteKey],
    said: Said,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(TenantReport, Vec<Tx>), sqlx::Error> {
    let counts = repo::counts(leader, tenant_id).await?;
    let log = repo::log(leader, tenant_id).await?;
    let mut walk = Walk::new(tenant_id, log);
    let entries = walk.log.size.max(counts.entries_end);
    let readers = walk.pages(readers, entries, keys, progress).await?;
    walk.end_of_log(leader, counts).await?;
    walk.unsealed(leader).await?;
    walk.nothing_else(leader, counts, said.lines).await?;
    walk.balances(said);
    Ok((walk.finish(), readers))
}

impl Walk {
    fn new(tenant_id: Uuid, log: Option<Log>) -> Self {
        let mut report = TenantReport {
            tenant_id,
            entries: 0,
            unsealed: 0,
            lines: 0,
            accounts: 0,
            checkpoints: 0,
            signatures: 0,
            unchecked_signatures: 0,
            findings: Vec::new(),
            finding_count: 0,
        };
        let log = log.unwrap_or_else(|| {
            report.found(Finding::of_ledger("the tenant has no books, or they have no log"));
            Log { tenant_id, size: 0, head_hash: NO_ENTRY, frontier: Vec::new() }
        });
        let root = match Frontier::from_parts(log.size, log.frontier.clone()) {
            Ok(frontier) => frontier.root(),
            Err(fault) => {
                report.found(Finding::of_ledger(fault.to_string()));
                B256::ZERO
            }
        };
        let verifier = Verifier::new(tenant_id, &Checkpoint::new("", log.size, root));
        Self { tenant_id, log, verifier, head_hash: NO_ENTRY, tile_roots: Vec::new(), report }
    }

    /// Has the readers read the log's pages, one after the other, and takes them in in the log's order.
    async fn pages(
        &mut self,
        readers: Vec<Tx>,
        entries: u64,
        keys: &[NoteKey],
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Vec<Tx>, sqlx::Error> {
        let (count, tenant_id) = (readers.len() as u64, self.tenant_id);
        let (mut tasks, mut pages) = (Vec::new(), Vec::new());
        for (number, mut reader) in (0..).zip(readers) {
            let (sender, receiver) = mpsc::channel(AHEAD_PAGES);
            let keys = keys.to_vec();
            pages.push(receiver);
            tasks.push(tokio::spawn(async move {
                // Ends: its pages are some of the log's.
                let mut start = number * PAGE_ENTRIES;
                while start < entries {
                    let range = start..(start + PAGE_ENTRIES).min(entries);
                    let page = read(&mut reader, tenant_id, range, &keys).await?;
                    if sender.send(page).await.is_err() {
                        break;
                    }
                    start += count * PAGE_ENTRIES;
                }
                Ok::<_, sqlx::Error>(reader)
            }));
        }
        for turn in (0..pages.len()).cycle() {
            // The first that has no further page is the end of the log, or has failed.
            let Some(page) = pages[turn].recv().await else { break };
            let done = page.range.end;
            self.page(page);
            progress(Progress { tenant_id, done, entries });
        }
        drop(pages);
        let mut readers = Vec::with_capacity(tasks.len());
        for task in tasks {
            let joined = task.await.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?;
            readers.push(joined?);
        }
        Ok(readers)
    }

    fn page(&mut self, page: Page) {
        let mut checkpoints = page.checkpoints.into_iter().peekable();
        self.report.signatures += page.signatures;
        self.report.unchecked_signatures += page.unchecked_signatures;
        for finding in page.findings {
            self.report.found(finding);
        }
        self.tile_roots.extend(page.tile_roots);
        for (entry_hash, examined) in page.examined {
            self.verifier.add(Ok(examined));
            self.head_hash = entry_hash;
            let Some(tree) = self.verifier.tree() else { continue };
            while let Some(kept) = checkpoints.next_if(|kept| kept.tree_size <= tree.size()) {
                self.report.checkpoints += 1;
                if (tree.size(), tree.root()) != (kept.tree_size, kept.root_hash) {
                    self.report.found(Finding::of_ledger(format!(
                        "the checkpoint of size {} has the root {}, and its entries have {}",
                        kept.tree_size,
                        kept.root_hash,
                        tree.root()
                    )));
                }
            }
        }
    }

    /// What the log is kept with, and what there is beyond it.
    async fn end_of_log(&mut self, conn: &mut PgConnection, counts: repo::Counts) -> Result<(), sqlx::Error> {
        self.report.entries = self.verifier.postings();
        if self.head_hash != self.log.head_hash {
            let (kept, found) = (self.log.head_hash, self.head_hash);
            self.report.found(Finding::of_ledger(format!(
                "the log is kept with the last entry's hash {kept}, and its last entry has {found}"
            )));
        }
        let is_frontier = self.verifier.tree().is_none_or(|tree| tree.subtrees() == self.log.frontier);
        if !is_frontier {
            let what = "the frontier that the log is kept with is not its entries'";
            self.report.found(Finding::of_ledger(what));
        }
        if self.verifier.tree().is_some() && self.report.checkpoints != counts.checkpoints {
            let (there, fit) = (counts.checkpoints, self.report.checkpoints);
            self.report.found(Finding::of_ledger(format!(
                "there are {there} checkpoints, and {fit} of sizes that the log has come to"
            )));
        }
        let mut below = std::mem::take(&mut self.tile_roots);
        let mut tiles = below.len() as u64;
        let mut levels: BTreeMap<u8, u64> = BTreeMap::new();
        for id in completed(0, self.log.size).filter(|id| id.level > 0) {
            *levels.entry(id.level).or_default() += 1;
        }
        for (level, count) in levels {
            let kept = sealed_repo::tiles(conn, self.tenant_id, level, 0..count).await?;
            let mut roots = Vec::new();
            for (place, hashes) in (0..count).zip(below.chunks_exact(256)) {
                let Ok(tile) = Tile::new(hashes.to_vec()) else { continue };
                let is_kept = kept.iter().any(|kept| {
                    kept.tile == place && kept.hashes == tile.to_bytes() && kept.root_hash == tile.root()
                });
                if !is_kept {
                    self.report.found(Finding::of_ledger(format!(
                        "tile {place} of level {level} is not there, or not what is below it gives"
                    )));
                }
                roots.push(tile.root());
            }
            tiles += count;
            below = roots;
        }
        if self.verifier.tree().is_some() && tiles != counts.tiles {
            let there = counts.tiles;
            self.report.found(Finding::of_ledger(format!(
                "there are {there} tiles, and a log of {} entries has {tiles}",
                self.log.size
            )));
        }
        Ok(())
    }

    /// What waits for its entry.
    async fn unsealed(&mut self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let mut encoder = Encoder::new();
        let mut after = i64::MIN;
        while let Some((last, ids, digests)) = repo::staged(conn, self.tenant_id, after, STAGED_ROWS).await? {
            after = last;
            let stored = sealed_repo::postings(conn, &ids).await?;
            for ((posting_id, digest), stored) in ids.into_iter().zip(digests.chunks(32)).zip(stored) {
                let Some(stored) = stored else {
                    let what = "it waits to be sealed, and is not there";
                    self.report.found(Finding::of_posting(None, posting_id, what));
                    continue;
                };
                // As the entry that it would get.
                let index = self.log.size + self.report.unsealed;
                let prev_entry_hash = NO_ENTRY;
                let tenant_id = self.tenant_id;
                let posting_digest = B256::from_slice(digest);
                let entry_hash = Entry { tenant_id, index, prev_entry_hash, posting_digest }.hash();
                let leaf = Leaf { index, posting_id, prev_entry_hash, entry_hash };
                let mut findings = Vec::new();
                let examined = examine(&mut encoder, leaf, stored, &mut findings);
                self.verifier.add_unsealed(examined);
                for finding in findings {
                    self.report.found(Finding { index: None, ..finding });
                }
                self.report.unsealed += 1;
            }
        }
        Ok(())
    }

    /// There is no posting that was not looked at, and no line.
    async fn nothing_else(
        &mut self,
        conn: &mut PgConnection,
        counts: repo::Counts,
        lines: u64,
    ) -> Result<(), sqlx::Error> {
        let limit = MAX_FINDINGS as u64;
        if counts.postings != self.report.entries + self.report.unsealed {
            for posting_id in repo::lost(conn, self.tenant_id, limit).await? {
                let what = "it has no entry in the log, and does not wait for one";
                self.report.found(Finding::of_posting(None, posting_id, what));
            }
        }
        self.report.lines = self.verifier.lines();
        if lines != self.report.lines {
            for (posting_id, sequence) in repo::stray_lines(conn, self.tenant_id, limit).await? {
                let what = format!("line {sequence} is there, and its posting is not the tenant's");
                let line = u16::try_from(sequence).ok();
                self.report.found(Finding { line, ..Finding::of_posting(None, posting_id, what) });
            }
        }
        Ok(())
    }

    /// What accounts are said to hold is what their lines left.
    fn balances(&mut self, said: Said) {
        let mut left: HashMap<Uuid, (u64, I256)> =
            self.verifier.accounts().map(|(id, version, balance)| (id, (version, balance))).collect();
        self.report.accounts = left.len() as u64;
        for it in said.held {
            let (version, balance) = left.remove(&it.account_id).unwrap_or((0, I256::ZERO));
            if (it.version, it.balance.0) != (version, balance) {
                self.report.found(Finding::of_account(
                    it.account_id,
                    format!(
                        "it is said to hold {} at version {}, and its lines come to {balance} at version {version}",
                        it.balance, it.version
                    ),
                ));
            }
        }
        let mut strangers: Vec<_> = left.into_keys().collect();
        strangers.sort_unstable();
        for account_id in strangers {
            let what = "it has lines, and is none of the tenant's accounts";
            self.report.found(Finding::of_account(account_id, what));
        }
        for (currency, sum) in said.unbalanced {
            let what = format!("the balances in {currency} sum to {sum}, and not to nothing");
            self.report.found(Finding::of_ledger(what));
        }
    }

    fn finish(mut self) -> TenantReport {
        let verified = self.verifier.finish();
        self.report.finding_count += verified.break_count;
        let room = MAX_FINDINGS.saturating_sub(self.report.findings.len());
        self.report.findings.extend(verified.breaks.iter().take(room).map(Finding::of_break));
        self.report
    }
}

impl TenantReport {
    fn found(&mut self, finding: Finding) {
        self.finding_count += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }
}
