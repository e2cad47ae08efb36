//! A log while it grows.

use alloy_primitives::B256;
use plimsoll_proof::ledger::log::ChainHead;
use plimsoll_proof::ledger::tiles::{self, TILE_WIDTH, Tile, TileId};
use plimsoll_proof::ledger::tree::{Frontier, MalformedFrontier};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Unsealed;
use crate::repo::seal as repo;
use crate::repo::seal::{Log, Staged};

/// A leaf that is new.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf {
    pub(crate) tenant_id: Uuid,
    pub(crate) index: u64,
    pub(crate) posting_id: Uuid,
    pub(crate) prev_entry_hash: B256,
    pub(crate) entry_hash: B256,
}

/// A log, and what is appended to it.
pub(super) struct Growing {
    from: u64,
    head: ChainHead,
    pub(super) frontier: Frontier,
    new: Vec<Leaf>,
}

impl Growing {
    pub(super) fn of(log: Log) -> Result<Self, MalformedFrontier> {
        let Log { tenant_id, size, head_hash, frontier } = log;
        let frontier = Frontier::from_parts(size, frontier)?;
        let head = ChainHead { tenant_id, size, entry_hash: head_hash };
        Ok(Self { from: size, head, frontier, new: Vec::new() })
    }

    pub(super) fn append(&mut self, row: &Staged) {
        for (posting_id, digest) in row.postings.iter().zip(&row.digests) {
            let (entry, entry_hash) = self.head.append(*digest);
            self.frontier.append(entry_hash);
            self.new.push(Leaf {
                tenant_id: entry.tenant_id,
                index: entry.index,
                posting_id: *posting_id,
                prev_entry_hash: entry.prev_entry_hash,
                entry_hash,
            });
        }
    }

    pub(super) fn leaves(&self) -> impl Iterator<Item = Leaf> + '_ {
        self.new.iter().copied()
    }

    pub(super) fn moved(&self) -> Log {
        Log {
            tenant_id: self.head.tenant_id,
            size: self.head.size,
            head_hash: self.head.entry_hash,
            frontier: self.frontier.subtrees().to_vec(),
        }
    }

    /// Writes the tiles that became full, those below first.
    pub(super) async fn keep_tiles(&self, conn: &mut PgConnection) -> Result<(), Unsealed> {
        let tenant_id = self.head.tenant_id;
        for id in tiles::completed(self.from, self.head.size) {
            let hashes = match id.level {
                0 => self.entries(conn, id).await?,
                level => repo::tile_roots(conn, tenant_id, level - 1, id.hashes()).await?,
            };
            let tile = Tile::new(hashes)
                .map_err(|fault| Unsealed::One { tenant_id, what: format!("tile {id:?}: {fault}") })?;
            repo::insert_tile(conn, tenant_id, id, &tile.to_bytes(), tile.root())
                .await
                .map_err(|error| Unsealed::of_some(error, &[tenant_id]))?;
        }
        Ok(())
    }

    /// The hashes of a tile's entries: of those before from the table, of the new ones as they are.
    async fn entries(&self, conn: &mut PgConnection, id: TileId) -> Result<Vec<B256>, sqlx::Error> {
        let wanted = id.hashes();
        let mut hashes = Vec::with_capacity(TILE_WIDTH);
        if wanted.start < self.from {
            let before = wanted.start..self.from.min(wanted.end);
            hashes = repo::entry_hashes(conn, self.head.tenant_id, before).await?;
        }
        let is_wanted = |leaf: &&Leaf| wanted.contains(&leaf.index);
        hashes.extend(self.new.iter().filter(is_wanted).map(|leaf| leaf.entry_hash));
        Ok(hashes)
    }
}
