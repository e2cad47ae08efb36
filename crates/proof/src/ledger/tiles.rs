//! How a tree is kept: in tiles of 256 hashes (C2SP `tlog-tiles`), full ones only.
//!
//! The hashes of level 0 are the entries', those of level `l + 1` the roots of the tiles of level `l`. A tile is written once, when the tree's
//! size reaches its end, and never changes. What is not full is made from the entries, and from the roots of the full tiles below; so a tile's root is
//! worth keeping beside it.
//!
//! Reading is in two steps, so that nothing here waits: [`Needs::new`] says what a plan takes, and [`TiledNodes`] is filled with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use alloy_primitives::B256;

use super::tree::{NodeId, Nodes, node_hash};

/// How many hashes a tile has.
pub const TILE_WIDTH: usize = 256;
/// How long a tile is.
pub const TILE_BYTES: usize = TILE_WIDTH * 32;
/// The levels of the tree that one level of tiles spans.
const TILE_HEIGHT: u8 = 8;
/// A tree of less than 2^64 entries has no full tile above that.
const TOP_LEVEL: u8 = 6;

/// A tile's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// 0 has the hashes of entries, 1 the roots of tiles of level 0, and so on.
    pub level: u8,
    /// Its place in its level, from 0.
    pub index: u64,
}

/// A full tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile(Vec<B256>);

/// What is no full tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes are no full tile, which has {TILE_BYTES}")]
pub struct MalformedTile {
    /// How many there are.
    pub bytes: usize,
}

/// The tiles of a level that are full in a tree of this size.
fn full_tiles(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(level + 1) * u32::from(TILE_HEIGHT)).unwrap_or(0)
}

/// The tiles that became full as the tree grew from one size to the other, those below first: what has to be written. From 0: all
/// that are full at a size.
pub fn completed(from_size: u64, to_size: u64) -> impl Iterator<Item = TileId> {
    (0..=TOP_LEVEL).flat_map(move |level| {
        let new = full_tiles(from_size, level)..full_tiles(to_size, level);
        new.map(move |index| TileId { level, index })
    })
}

impl TileId {
    /// What its hashes are, in order: at level 0 those of these entries, above it the roots of the tiles of these indices in the
    /// level below.
    #[must_use]
    pub fn hashes(self) -> Range<u64> {
        let width = TILE_WIDTH as u64;
        self.index * width..(self.index + 1) * width
    }
}

impl Tile {
    /// Of 256 hashes.
    ///
    /// # Errors
    /// Where there are more or fewer.
    pub fn new(hashes: Vec<B256>) -> Result<Self, MalformedTile> {
        if hashes.len() != TILE_WIDTH {
            return Err(MalformedTile { bytes: hashes.len() * 32 });
        }
        Ok(Self(hashes))
    }

    /// As it is stored.
    ///
    /// # Errors
    /// Where it does not have [`TILE_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedTile> {
        if bytes.len() != TILE_BYTES {
            return Err(MalformedTile { bytes: bytes.len() });
        }
        Ok(Self(bytes.chunks_exact(32).map(B256::from_slice).collect()))
    }

    /// Hash after hash.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|hash| hash.0).collect()
    }

    /// The root of the subtree that the tile is: its hash in the level above.
    #[must_use]
    pub fn root(&self) -> B256 {
        perfect_root(self.0.clone())
    }
}

/// The root over a power of two of hashes.
fn perfect_root(mut hashes: Vec<B256>) -> B256 {
    while hashes.len() > 1 {
        hashes = hashes.chunks_exact(2).map(|pair| node_hash(pair[0], pair[1])).collect();
    }
    hashes[0]
}

/// Where a node's hash comes from in a tree of some size.
enum Source {
    /// From these hashes of a full tile.
    Tile(TileId, Range<usize>),
    /// From the roots of these tiles of a level.
    Roots(u8, Range<u64>),
    /// From these entries.
    Entries(Range<u64>),
}

impl Source {
    fn of(node: NodeId, size: u64) -> Self {
        let (level, height) = (node.level / TILE_HEIGHT, node.level % TILE_HEIGHT);
        let first = node.index << height;
        let hashes = first..first + (1 << height);
        let tile = TileId { level, index: first / TILE_WIDTH as u64 };
        // A node that is the root of a tile takes 32 bytes, and not the whole tile that it is in.
        let is_tile_root = height == 0;
        match level.checked_sub(1) {
            Some(below) if is_tile_root => Self::Roots(below, hashes),
            _ if tile.index < full_tiles(size, level) => {
                let start = usize::try_from(first % TILE_WIDTH as u64).expect("less than 256");
                Self::Tile(tile, start..start + (1 << height))
            }
            Some(below) => Self::Roots(below, hashes),
            None => Self::Entries(hashes),
        }
    }
}

/// What has to be fetched for some nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// These tiles.
    pub tiles: BTreeSet<TileId>,
    /// Of these tiles the root.
    pub tile_roots: BTreeSet<TileId>,
    /// The hashes of these entries, which are in no full tile.
    pub entries: BTreeSet<u64>,
}

impl Needs {
    /// Of these nodes, in a log of `size` entries.
    #[must_use]
    pub fn new(size: u64, nodes: impl IntoIterator<Item = NodeId>) -> Self {
        let mut needs = Self::default();
        for node in nodes {
            match Source::of(node, size) {
                Source::Tile(id, _) => _ = needs.tiles.insert(id),
                Source::Roots(level, indices) => {
                    needs.tile_roots.extend(indices.map(|index| TileId { level, index }));
                }
                Source::Entries(indices) => needs.entries.extend(indices),
            }
        }
        needs
    }
}

/// Nodes of a log from what was fetched of it.
#[derive(Clone, Debug)]
pub struct TiledNodes {
    size: u64,
    tiles: BTreeMap<TileId, Tile>,
    tile_roots: BTreeMap<TileId, B256>,
    entries: BTreeMap<u64, B256>,
}

/// What a node takes and was not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// A tile, or its root.
    #[error("tile {} of level {} of the tree is missing", .0.index, .0.level)]
    Tile(TileId),
    /// An entry's hash.
    #[error("the hash of entry {0} is missing")]
    Entry(u64),
}

impl TiledNodes {
    /// Of a log of `size` entries, with nothing fetched.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self { size, tiles: BTreeMap::new(), tile_roots: BTreeMap::new(), entries: BTreeMap::new() }
    }

    /// Takes a tile.
    pub fn insert_tile(&mut self, id: TileId, tile: Tile) {
        self.tiles.insert(id, tile);
    }

    /// Takes a tile's root.
    pub fn insert_tile_root(&mut self, id: TileId, root: B256) {
        self.tile_roots.insert(id, root);
    }

    /// Takes an entry's hash.
    pub fn insert_entry(&mut self, index: u64, entry_hash: B256) {
        self.entries.insert(index, entry_hash);
    }
}

impl Nodes for TiledNodes {
    type Error = Missing;

    fn node(&self, id: NodeId) -> Result<B256, Missing> {
        let hashes = match Source::of(id, self.size) {
            Source::Tile(id, range) => {
                self.tiles.get(&id).map(|tile| tile.0[range].to_vec()).ok_or(Missing::Tile(id))?
            }
            Source::Roots(level, indices) => {
                let ids = indices.map(|index| TileId { level, index });
                ids.map(|id| self.tile_roots.get(&id).copied().ok_or(Missing::Tile(id)))
                    .collect::<Result<_, _>>()?
            }
            Source::Entries(indices) => indices
                .map(|index| self.entries.get(&index).copied().ok_or(Missing::Entry(index)))
                .collect::<Result<_, _>>()?,
        };
        Ok(perfect_root(hashes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::tree::{Frontier, Plan, leaf_hash, verify_consistency, verify_inclusion};

    /// A log of so many entries as it is kept: the tiles that were completed one by one, and the entries.
    fn kept(size: u64) -> (BTreeMap<TileId, Tile>, Vec<B256>) {
        let entries: Vec<_> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut tiles: BTreeMap<TileId, Tile> = BTreeMap::new();
        for id in completed(0, size) {
            let hashes = id.hashes().map(|index| match id.level.checked_sub(1) {
                None => entries[usize::try_from(index).unwrap()],
                Some(level) => tiles[&TileId { level, index }].root(),
            });
            let tile = Tile::new(hashes.collect()).unwrap();
            assert_eq!(Tile::from_bytes(&tile.to_bytes()), Ok(tile.clone()));
            tiles.insert(id, tile);
        }
        (tiles, entries)
    }

    fn fetch(size: u64, needs: &Needs, (tiles, entries): &(BTreeMap<TileId, Tile>, Vec<B256>)) -> TiledNodes {
        let mut nodes = TiledNodes::new(size);
        for id in &needs.tiles {
            nodes.insert_tile(*id, tiles[id].clone());
        }
        for id in &needs.tile_roots {
            nodes.insert_tile_root(*id, tiles[id].root());
        }
        for index in &needs.entries {
            assert!(*index >= size / 256 * 256, "entry {index} of {size} is in a full tile");
            nodes.insert_entry(*index, entries[usize::try_from(*index).unwrap()]);
        }
        nodes
    }

    #[test]
    fn tiles_become_full_where_c2sp_says() {
        let counts = |from, to| {
            let mut counts = [0; 7];
            completed(from, to).for_each(|id| counts[usize::from(id.level)] += 1);
            counts
        };
        assert_eq!(counts(0, 255), [0; 7]);
        assert_eq!(counts(0, 256), [1, 0, 0, 0, 0, 0, 0]);
        // The specification's example: 273 full tiles at level 0, one at level 1.
        assert_eq!(counts(0, 70_000), [273, 1, 0, 0, 0, 0, 0]);
        assert_eq!(completed(255, 256).collect::<Vec<_>>(), [TileId { level: 0, index: 0 }]);
        assert_eq!(
            completed(65_535, 65_536).collect::<Vec<_>>(),
            [TileId { level: 0, index: 255 }, TileId { level: 1, index: 0 }],
            "what is below comes first"
        );
        assert_eq!(completed(256, 511).count(), 0);
        assert_eq!(counts(u64::MAX - 1, u64::MAX), [0; 7]);
        assert_eq!(completed(u64::MAX - 256, u64::MAX).map(|id| id.level).collect::<Vec<_>>(), [0]);
        assert_eq!(TileId { level: 1, index: 2 }.hashes(), 512..768);
        assert!(Tile::new(vec![B256::ZERO; 255]).is_err());
        assert!(Tile::from_bytes(&[0; TILE_BYTES + 1]).is_err());
    }

    #[test]
    fn the_root_is_made_of_what_is_kept() {
        for size in [0, 1, 255, 256, 257, 511, 512, 1_000, 65_535, 65_536, 65_537, 70_000] {
            let log = kept(size);
            let mut expected = Frontier::new();
            log.1.iter().for_each(|hash| expected.append(*hash));
            let needs = Needs::new(size, Frontier::needs(size));
            assert_eq!(Frontier::read(&fetch(size, &needs, &log), size), Ok(expected), "size {size}");
        }
    }

    #[test]
    fn no_more_is_fetched_than_it_takes() {
        // The root of a tile, of which the tile above is full too.
        let needs = Needs::new(65_536, [NodeId { level: 8, index: 3 }]);
        let tile_roots = BTreeSet::from([TileId { level: 0, index: 3 }]);
        assert_eq!(needs, Needs { tile_roots, ..Needs::default() });
        // What is within a full tile takes that one, however many of its nodes.
        let nodes = [(0, 700), (1, 351), (7, 5)].map(|(level, index)| NodeId { level, index });
        let tiles = BTreeSet::from([TileId { level: 0, index: 2 }]);
        assert_eq!(Needs::new(768, nodes), Needs { tiles, ..Needs::default() });
        // The root of a log of any size takes no tile at all but their roots, and the last entries.
        let needs = Needs::new(70_000, Frontier::needs(70_000));
        assert_eq!((needs.tiles.len(), needs.tile_roots.len(), needs.entries.len()), (0, 18, 112));
    }

    #[test]
    fn what_was_not_fetched_is_missing_and_never_made_up() {
        let nodes = TiledNodes::new(300);
        assert_eq!(nodes.node(NodeId { level: 0, index: 299 }), Err(Missing::Entry(299)));
        let tile = TileId { level: 0, index: 0 };
        assert_eq!(nodes.node(NodeId { level: 3, index: 4 }), Err(Missing::Tile(tile)));
        assert_eq!(nodes.node(NodeId { level: 8, index: 0 }), Err(Missing::Tile(tile)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn proofs_are_made_of_what_is_kept(
            size in 1_u64..3_000, index in any::<prop::sample::Index>(), first in any::<prop::sample::Index>(),
        ) {
            let log = kept(size);
            let place = index.index(log.1.len());
            let first = u64::try_from(first.index(log.1.len())).unwrap() + 1;
            let index = u64::try_from(place).unwrap();
            let root_of = |size: u64| {
                let mut frontier = Frontier::new();
                log.1[..usize::try_from(size).unwrap()].iter().for_each(|hash| frontier.append(*hash));
                frontier.root()
            };
            let plan = Plan::inclusion(index, size).unwrap();
            let needs = Needs::new(size, plan.needs());
            let proof = plan.read(&fetch(size, &needs, &log)).unwrap();
            prop_assert_eq!(verify_inclusion(log.1[place], index, size, &proof, root_of(size)), Ok(()));
            let plan = Plan::consistency(first, size).unwrap();
            let needs = Needs::new(size, plan.needs());
            let proof = plan.read(&fetch(size, &needs, &log)).unwrap();
            prop_assert_eq!(verify_consistency(first, size, &proof, root_of(first), root_of(size)), Ok(()));
        }
    }
}
