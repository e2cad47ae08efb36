use std::convert::Infallible;

use alloy_primitives::{B256, hex};
use proptest::prelude::*;

use super::{
    EMPTY_ROOT, Frontier, MalformedFrontier, NodeId, Nodes, OutOfRange, Plan, ProofFault, leaf_hash,
    node_hash, verify_consistency, verify_inclusion,
};
use crate::ledger::sha256;

/// The leaves of Certificate Transparency's own tests (`merkle_tree_test.cc`, transparency-dev/merkle).
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
/// The roots of the first one, two, … of them.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
/// Index, size, proof.
const INCLUSIONS: [(usize, usize, &[&str]); 5] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];
/// First size, second size, proof.
const CONSISTENCIES: [(usize, usize, &[&str]); 5] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        6,
        7,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
];

fn hash(text: &str) -> B256 {
    B256::from_slice(&hex::decode(text).unwrap())
}

/// RFC 6962, section 2.1, word for word: the tree of these leaves, by recursion.
fn plain_root(leaves: &[B256]) -> B256 {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(plain_root(left), plain_root(right))
        }
    }
}

fn split(leaves: usize) -> usize {
    let mut k = 1;
    while k * 2 < leaves {
        k *= 2;
    }
    k
}

fn plain_path(index: usize, leaves: &[B256]) -> Vec<B256> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, other) = if index < left.len() {
        (plain_path(index, left), right)
    } else {
        (plain_path(index - left.len(), right), left)
    };
    path.push(plain_root(other));
    path
}

/// The sides of a path, without its hashes: two places with the same sides are not told apart by a proof of inclusion.
fn plain_sides(index: usize, size: usize) -> Vec<bool> {
    if size <= 1 {
        return Vec::new();
    }
    let k = split(size);
    let is_left = index < k;
    let mut sides = if is_left { plain_sides(index, k) } else { plain_sides(index - k, size - k) };
    sides.push(is_left);
    sides
}

fn plain_subproof(first: usize, leaves: &[B256], is_whole: bool) -> Vec<B256> {
    if first == leaves.len() {
        return if is_whole { Vec::new() } else { vec![plain_root(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = if first <= k {
        (plain_subproof(first, left, is_whole), right)
    } else {
        (plain_subproof(first - k, right, false), left)
    };
    proof.push(plain_root(other));
    proof
}

struct Plain<'a>(&'a [B256]);

impl Nodes for Plain<'_> {
    type Error = Infallible;

    fn node(&self, id: NodeId) -> Result<B256, Infallible> {
        let start = usize::try_from(id.index << id.level).unwrap();
        Ok(plain_root(&self.0[start..start + (1 << id.level)]))
    }
}

fn inclusion(leaves: &[B256], index: u64, size: u64) -> Vec<B256> {
    Plan::inclusion(index, size).unwrap().read(&Plain(leaves)).unwrap()
}

fn consistency(leaves: &[B256], first: u64, second: u64) -> Vec<B256> {
    Plan::consistency(first, second).unwrap().read(&Plain(leaves)).unwrap()
}

fn made_leaves(count: usize) -> Vec<B256> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn flipped(hash: B256, bit: usize) -> B256 {
    let mut bytes = hash.0;
    bytes[bit / 8] ^= 1 << (bit % 8);
    B256::new(bytes)
}

#[test]
fn roots_and_proofs_are_those_of_certificate_transparency() {
    let leaves = LEAVES.map(|leaf| leaf_hash(&hex::decode(leaf).unwrap()));
    let roots = ROOTS.map(hash);
    assert_eq!(Frontier::new().root(), EMPTY_ROOT);
    assert_eq!(EMPTY_ROOT, sha256(&[]));
    let mut frontier = Frontier::new();
    for (leaf, root) in leaves.iter().zip(roots) {
        frontier.append(*leaf);
        assert_eq!(frontier.root(), root, "size {}", frontier.size());
    }
    for (index, size, proof) in INCLUSIONS {
        let proof: Vec<_> = proof.iter().copied().map(hash).collect();
        let (leaf, root, index, size) = (leaves[index], roots[size - 1], index as u64, size as u64);
        assert_eq!(inclusion(&leaves, index, size), proof, "{index} in {size}");
        assert_eq!(verify_inclusion(leaf, index, size, &proof, root), Ok(()));
    }
    for (first, second, proof) in CONSISTENCIES {
        let proof: Vec<_> = proof.iter().copied().map(hash).collect();
        let (root, later) = (roots[first - 1], roots[second - 1]);
        let (first, second) = (first as u64, second as u64);
        assert_eq!(consistency(&leaves, first, second), proof, "{first} in {second}");
        assert_eq!(verify_consistency(first, second, &proof, root, later), Ok(()));
    }
}

#[test]
fn each_size_has_the_root_and_the_proofs_of_the_recursive_definition() {
    const MOST: usize = 70;
    let leaves = made_leaves(MOST);
    let mut frontier = Frontier::new();
    for size in 0..=MOST {
        let (tree, n) = (&leaves[..size], size as u64);
        let root = plain_root(tree);
        assert_eq!(frontier.root(), root, "size {size}");
        assert_eq!(Frontier::read(&Plain(tree), n), Ok(frontier.clone()));
        assert_eq!(Frontier::from_parts(n, frontier.subtrees().to_vec()), Ok(frontier.clone()));
        for (index, leaf) in tree.iter().enumerate() {
            let proof = inclusion(tree, index as u64, n);
            assert_eq!(proof, plain_path(index, tree), "{index} in {size}");
            assert_eq!(verify_inclusion(*leaf, index as u64, n, &proof, root), Ok(()));
        }
        for first in 0..=size {
            let proof = consistency(tree, first as u64, n);
            let expected = if first == 0 { Vec::new() } else { plain_subproof(first, tree, true) };
            assert_eq!(proof, expected, "{first} in {size}");
            let first_root = plain_root(&leaves[..first]);
            assert_eq!(verify_consistency(first as u64, n, &proof, first_root, root), Ok(()));
        }
        if size < MOST {
            frontier.append(leaves[size]);
        }
    }
}

#[test]
fn what_no_tree_has_is_refused() {
    assert_eq!(Plan::inclusion(3, 3), Err(OutOfRange::Entry { index: 3, size: 3 }));
    assert_eq!(Plan::consistency(4, 3), Err(OutOfRange::Sizes { first: 4, second: 3 }));
    let some = B256::repeat_byte(1);
    assert!(verify_inclusion(some, 0, 0, &[], some).is_err());
    assert!(verify_inclusion(some, 1, 1, &[], some).is_err());
    assert_eq!(verify_inclusion(some, 0, 1, &[], some), Ok(()));
    assert!(verify_consistency(2, 1, &[], some, some).is_err());
    // An empty tree has one root, and proofs of what needs none are empty.
    assert!(verify_consistency(0, 3, &[], some, some).is_err());
    assert_eq!(verify_consistency(0, 3, &[], EMPTY_ROOT, some), Ok(()));
    assert!(verify_consistency(0, 3, &[some], EMPTY_ROOT, some).is_err());
    assert!(verify_consistency(0, 0, &[], EMPTY_ROOT, some).is_err());
    assert!(verify_consistency(3, 3, &[some], some, some).is_err());
    assert!(verify_consistency(3, 3, &[], some, EMPTY_ROOT).is_err());
    assert!(verify_consistency(3, 5, &[], some, some).is_err());
    assert_eq!(
        Frontier::from_parts(5, vec![some]),
        Err(MalformedFrontier { size: 5, found: 1, expected: 2 })
    );
    // The largest sizes neither overflow nor take long.
    let most = u64::MAX;
    assert_eq!(Plan::inclusion(most - 1, most).unwrap().needs().count(), 63);
    assert!(verify_inclusion(some, most - 1, most, &[some; 64], some).is_err());
    assert!(verify_consistency(most - 1, most, &[some; 70], some, some).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn proofs_of_some_hundred_leaves_are_those_of_the_recursive_definition(
        size in 1_usize..700, index in any::<prop::sample::Index>(), first in any::<prop::sample::Index>(),
    ) {
        let leaves = made_leaves(size);
        let (index, first) = (index.index(size), 1 + first.index(size));
        let mut frontier = Frontier::new();
        leaves.iter().for_each(|leaf| frontier.append(*leaf));
        prop_assert_eq!(frontier.root(), plain_root(&leaves));
        prop_assert_eq!(inclusion(&leaves, index as u64, size as u64), plain_path(index, &leaves));
        let proof = consistency(&leaves, first as u64, size as u64);
        prop_assert_eq!(proof, plain_subproof(first, &leaves, true));
    }

    #[test]
    fn a_proof_of_inclusion_is_refused_once_anything_is_changed(
        size in 1_usize..300, index in any::<prop::sample::Index>(), bit in 0_usize..256, other in 1_u64..400,
    ) {
        let leaves = made_leaves(size);
        let (n, index) = (size as u64, index.index(size));
        let (leaf, root, at) = (leaves[index], plain_root(&leaves), index as u64);
        let proof = inclusion(&leaves, at, n);
        prop_assert_eq!(verify_inclusion(leaf, at, n, &proof, root), Ok(()));
        prop_assert!(verify_inclusion(flipped(leaf, bit), at, n, &proof, root).is_err());
        prop_assert!(verify_inclusion(leaf, at, n, &proof, flipped(root, bit)).is_err());
        for step in 0..proof.len() {
            let mut wrong = proof.clone();
            wrong[step] = flipped(wrong[step], bit);
            prop_assert!(verify_inclusion(leaf, at, n, &wrong, root).is_err());
            wrong = proof.clone();
            wrong.remove(step);
            prop_assert!(verify_inclusion(leaf, at, n, &wrong, root).is_err());
        }
        for added in [leaf, root] {
            prop_assert!(verify_inclusion(leaf, at, n, &[&proof[..], &[added]].concat(), root).is_err());
            prop_assert!(verify_inclusion(leaf, at, n, &[&[added], &proof[..]].concat(), root).is_err());
        }
        for wrong in (0..n + 3).filter(|wrong| *wrong != at) {
            prop_assert!(verify_inclusion(leaf, wrong, n, &proof, root).is_err(), "as entry {}", wrong);
        }
        // Another size with that size's root never passes; with the same root it does exactly where the way is the same.
        if other != n {
            let other_leaves = made_leaves(usize::try_from(other).unwrap());
            let refused = verify_inclusion(leaf, at, other, &proof, plain_root(&other_leaves)).is_err();
            prop_assert!(refused, "in the tree of {}", other);
            let passes = verify_inclusion(leaf, at, other, &proof, root).is_ok();
            let is_same_way = at < other && plain_sides(index, other_leaves.len()) == plain_sides(index, size);
            prop_assert_eq!(passes, is_same_way, "with size {}", other);
        }
    }

    #[test]
    fn a_proof_of_consistency_is_refused_once_anything_is_changed(
        second in 2_usize..300, first in any::<prop::sample::Index>(), bit in 0_usize..256, other in 1_u64..400,
    ) {
        let leaves = made_leaves(400);
        let first = 1 + first.index(second - 1);
        let root_of = |size: u64| plain_root(&leaves[..usize::try_from(size).unwrap()]);
        let (m, n) = (first as u64, second as u64);
        let (root, later) = (root_of(m), root_of(n));
        let proof = consistency(&leaves, m, n);
        prop_assert_eq!(verify_consistency(m, n, &proof, root, later), Ok(()));
        prop_assert!(verify_consistency(m, n, &proof, flipped(root, bit), later).is_err());
        prop_assert!(verify_consistency(m, n, &proof, root, flipped(later, bit)).is_err());
        prop_assert!(verify_consistency(m, n, &proof, later, root).is_err());
        for step in 0..proof.len() {
            let mut wrong = proof.clone();
            wrong[step] = flipped(wrong[step], bit);
            prop_assert!(verify_consistency(m, n, &wrong, root, later).is_err());
            wrong = proof.clone();
            wrong.remove(step);
            prop_assert!(verify_consistency(m, n, &wrong, root, later).is_err());
        }
        for added in [root, later] {
            prop_assert!(verify_consistency(m, n, &[&proof[..], &[added]].concat(), root, later).is_err());
            prop_assert!(verify_consistency(m, n, &[&[added], &proof[..]].concat(), root, later).is_err());
        }
        // A checkpoint gives sizes with their roots.
        if other != m {
            prop_assert!(verify_consistency(other, n, &proof, root_of(other), later).is_err());
        }
        if other != n {
            prop_assert!(verify_consistency(m, other, &proof, root, root_of(other)).is_err());
        }
        // A leaf of the first tree that was changed later.
        let mut changed = leaves[..second].to_vec();
        changed[first - 1] = flipped(changed[first - 1], bit);
        let proof = consistency(&changed, m, n);
        let fault = verify_consistency(m, n, &proof, root, plain_root(&changed));
        prop_assert!(matches!(fault, Err(ProofFault::FirstRoot { .. } | ProofFault::Root { .. })), "{:?}", fault);
    }
}
