//! A page of a log: read, and everything in it hashed that needs no other page.

use std::ops::Range;

use alloy_primitives::B256;
use plimsoll_proof::ledger::checkpoint::{Checkpoint, NoteKey, origin};
use plimsoll_proof::ledger::encoding::Encoder;
use plimsoll_proof::ledger::export::ExportedPosting;
use plimsoll_proof::ledger::log::Entry;
use plimsoll_proof::ledger::tiles::{TILE_WIDTH, Tile};
use plimsoll_proof::ledger::verify::Examined;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Finding;
use crate::repo::sealed as repo;
use crate::repo::sealed::{Leaf, Stored, StoredCheckpoint};

/// Entries of a page: of some full tiles.
pub(super) const PAGE_ENTRIES: u64 = 8 * TILE_WIDTH as u64;

/// What a page's entries come to.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) range: Range<u64>,
    /// Each entry that is there and has a posting, with its hash.
    pub(super) examined: Vec<(B256, Examined)>,
    /// The roots of its tiles, as the entries give them.
    pub(super) tile_roots: Vec<B256>,
    /// The checkpoints of sizes that end in it.
    pub(super) checkpoints: Vec<StoredCheckpoint>,
    pub(super) signatures: u64,
    pub(super) unchecked_signatures: u64,
    pub(super) findings: Vec<Finding>,
}

/// Reads and examines the entries of a range, which begins with a tile.
pub(super) async fn read(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    range: Range<u64>,
    keys: &[NoteKey],
) -> Result<Page, sqlx::Error> {
    let leaves = repo::leaves(conn, tenant_id, range.clone()).await?;
    let ids: Vec<_> = leaves.iter().map(|leaf| leaf.posting_id).collect();
    let postings = repo::postings(conn, &ids).await?;
    let checkpoints = repo::checkpoints(conn, tenant_id, range.start, range.end).await?;
    let mut page = Page {
        range,
        examined: Vec::with_capacity(leaves.len()),
        tile_roots: Vec::new(),
        checkpoints: Vec::new(),
        signatures: 0,
        unchecked_signatures: 0,
        findings: Vec::new(),
    };
    page.tiles(conn, tenant_id, &leaves).await?;
    for checkpoint in &checkpoints {
        page.signature(tenant_id, checkpoint, keys);
    }
    page.checkpoints = checkpoints;
    let mut encoder = Encoder::new();
    for (leaf, posting) in leaves.into_iter().zip(postings) {
        match posting {
            Some(posting) => {
                let examined = examine(&mut encoder, leaf, posting, &mut page.findings);
                page.examined.push((leaf.entry_hash, examined));
            }
            None => {
                let what = "it has an entry in the log, and is not there";
                page.findings.push(Finding::of_posting(Some(leaf.index), leaf.posting_id, what));
            }
        }
    }
    Ok(page)
}

/// A posting under its entry.
pub(super) fn examine(
    encoder: &mut Encoder,
    leaf: Leaf,
    stored: Stored,
    findings: &mut Vec<Finding>,
) -> Examined {
    let Leaf { index, posting_id, prev_entry_hash, entry_hash } = leaf;
    let Stored { posting, lines, digest, faults } = stored;
    let mut faults = faults;
    let entry = Entry { tenant_id: posting.tenant_id, index, prev_entry_hash, posting_digest: digest };
    if entry.hash() != entry_hash {
        faults.push(format!("its stored digest is {digest}, which its entry was not made of"));
    }
    findings.extend(faults.into_iter().map(|what| Finding::of_posting(Some(index), posting_id, what)));
    Examined::examine(
        encoder,
        ExportedPosting { posting, lines, leaf_index: index, prev_entry_hash, entry_hash },
    )
}

impl Page {
    /// Compares the tiles that the page has with its entries.
    async fn tiles(
        &mut self,
        conn: &mut PgConnection,
        tenant_id: Uuid,
        leaves: &[Leaf],
    ) -> Result<(), sqlx::Error> {
        let width = TILE_WIDTH as u64;
        let wanted = self.range.start / width..self.range.end / width;
        let mut kept = repo::tiles(conn, tenant_id, 0, wanted.clone()).await?.into_iter().peekable();
        for place in wanted {
            let first = place * width;
            let hashes = leaves.iter().filter(|leaf| (first..first + width).contains(&leaf.index));
            // What is missing of it is found as missing.
            let Ok(tile) = Tile::new(hashes.map(|leaf| leaf.entry_hash).collect()) else { continue };
            let root = tile.root();
            let is_kept = kept
                .next_if(|kept| kept.tile == place)
                .is_some_and(|kept| kept.hashes == tile.to_bytes() && kept.root_hash == root);
            if !is_kept {
                self.findings.push(Finding::of_ledger(format!(
                    "tile {place} of level 0 is not there, or not what its entries give"
                )));
            }
            self.tile_roots.push(root);
        }
        Ok(())
    }

    fn signature(&mut self, tenant_id: Uuid, kept: &StoredCheckpoint, keys: &[NoteKey]) {
        // The sealer signs what is committed: a row without a note waits for that.
        let Some(note) = &kept.note else { return };
        let is_of = |key: &&NoteKey| {
            key.name() == kept.origin || origin(key.name(), tenant_id).as_ref() == Ok(&kept.origin)
        };
        // A log's key is named after it.
        let named = |key: &NoteKey| NoteKey::new(&kept.origin, key.public_key()).ok();
        let Some(key) = keys.iter().find(is_of).and_then(named) else {
            self.unchecked_signatures += 1;
            return;
        };
        let size = kept.tree_size;
        match Checkpoint::verify(note, &key, &kept.origin) {
            Ok(signed) if (signed.size, signed.root) == (size, kept.root_hash) => self.signatures += 1,
            Ok(signed) => self.findings.push(Finding::of_ledger(format!(
                "the checkpoint of size {size} has a note that is signed for size {} and root {}",
                signed.size, signed.root
            ))),
            Err(fault) => {
                self.findings.push(Finding::of_ledger(format!("the checkpoint of size {size}: {fault}")));
            }
        }
    }
}
