//! Which node works which signer: rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998).
//!
//! Every node gives every signer a weight, and the live node with the highest works it. All nodes that see the same live nodes agree
//! without talking to each other, a node that leaves gives up only its own signers, and one that joins takes only what becomes its own.
//! Nodes may disagree on who is live: then two want the same signer, and the lease decides. Routing is for speed, never for safety.

use std::cmp::Reverse;

use alloy_primitives::Address;
use sha2::{Digest, Sha256};

/// What the hash is for, so that equal bytes hashed elsewhere mean nothing here. It must be the same in every version that runs at once.
const DOMAIN: &[u8] = b"plimsoll relayer route 1";

/// A signer's key at a node.
fn weight(node: &str, chain_id: u64, signer: Address) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    hash.update(chain_id.to_be_bytes());
    hash.update(signer);
    // Last, and alone of a length that varies, so that no two keys have the same bytes.
    hash.update(node);
    hash.finalize().into()
}

/// The nodes in the order in which they are to work a signer: the first that is live does. The order of the list does not matter.
#[must_use]
pub fn order<N: AsRef<str>>(nodes: &[N], chain_id: u64, signer: Address) -> Vec<&str> {
    let mut nodes: Vec<&str> = nodes.iter().map(AsRef::as_ref).collect();
    nodes.sort_by_cached_key(|node| (Reverse(weight(node, chain_id, signer)), (*node).to_owned()));
    nodes.dedup();
    nodes
}

/// The node of these that is to work a signer; none of none.
#[must_use]
pub fn preferred<N: AsRef<str>>(nodes: &[N], chain_id: u64, signer: Address) -> Option<&str> {
    nodes.iter().map(AsRef::as_ref).max_by_key(|node| weight(node, chain_id, signer))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{prelude::*, sample::subsequence};

    use super::*;

    const KEYS: u64 = 10_000;
    const CHAIN: u64 = 42_161;

    fn nodes(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("node-{n}.plimsoll.internal")).collect()
    }

    fn signer(n: u64) -> Address {
        Address::left_padding_from(&n.to_be_bytes())
    }

    fn homes(nodes: &[String]) -> Vec<&str> {
        (0..KEYS).map(|n| preferred(nodes, CHAIN, signer(n)).expect("there is a node")).collect()
    }

    #[test]
    fn signers_are_spread_evenly() {
        for count in [2, 3, 5, 16] {
            let nodes = nodes(count);
            let mut shares: HashMap<&str, u64> = HashMap::new();
            homes(&nodes).into_iter().for_each(|node| *shares.entry(node).or_default() += 1);
            assert_eq!(shares.len(), count);
            // Chi squared over `count - 1` degrees of freedom: beyond 45 by chance once in ten thousand for 16 nodes, and less for fewer.
            let chi_squared_times_keys: u64 =
                shares.values().map(|share| (share * count as u64).abs_diff(KEYS).pow(2)).sum();
            assert!(chi_squared_times_keys < 45 * KEYS * count as u64, "{shares:?}");
        }
    }

    #[test]
    fn only_the_signers_of_a_node_that_leaves_move_and_they_are_spread_too() {
        let all = nodes(5);
        let (gone, left) = all.split_first().unwrap();
        let mut heirs: HashMap<&str, u64> = HashMap::new();
        for (before, after) in homes(&all).into_iter().zip(homes(left)) {
            if before == gone {
                *heirs.entry(after).or_default() += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert_eq!(heirs.len(), 4);
        assert!(heirs.values().all(|heirs| (400..600).contains(heirs)), "{heirs:?}");
    }

    #[test]
    fn a_node_that_joins_takes_its_share_and_nothing_else_moves() {
        let (before, after) = (nodes(4), nodes(5));
        let new = after[4].as_str();
        let moved: Vec<_> =
            homes(&before).into_iter().zip(homes(&after)).filter(|(before, after)| before != after).collect();
        assert!(moved.iter().all(|(_, after)| *after == new), "only to the new one");
        assert!((1_800..2_200).contains(&moved.len()), "{} of {KEYS} moved to one of five", moved.len());
    }

    #[test]
    fn a_signer_is_routed_for_each_chain_by_itself() {
        let nodes = nodes(4);
        let differ =
            (0..1_000).filter(|n| preferred(&nodes, 1, signer(*n)) != preferred(&nodes, 10, signer(*n)));
        assert!((650..850).contains(&differ.count()), "three of four differ");
    }

    #[test]
    fn the_route_is_the_same_in_every_version() {
        let nodes = ["a", "b", "c", "d"];
        let routes: Vec<_> = (0..8).map(|n| preferred(&nodes, CHAIN, signer(n)).unwrap()).collect();
        assert_eq!(routes.concat(), "caadabad", "a node of another version would work other signers");
        assert_eq!(preferred::<&str>(&[], CHAIN, signer(1)), None);
    }

    proptest! {
        #[test]
        fn all_nodes_agree_whatever_the_order_of_their_lists(
            live in subsequence(nodes(8), 0..=8), shuffled in Just(nodes(8)).prop_shuffle(), n in any::<u64>(), chain_id in any::<u64>(),
        ) {
            let same: Vec<_> = shuffled.into_iter().filter(|node| live.contains(node)).collect();
            let order_here = order(&live, chain_id, signer(n));
            prop_assert_eq!(&order_here, &order(&same, chain_id, signer(n)));
            prop_assert_eq!(order_here.first().copied(), preferred(&live, chain_id, signer(n)));
            prop_assert_eq!(order_here.len(), live.len());
            // Who is next is who is first without the first.
            if let Some((first, rest)) = order_here.split_first() {
                let others: Vec<_> = live.iter().filter(|node| node != first).collect();
                prop_assert_eq!(rest.first().copied(), preferred(&others, chain_id, signer(n)));
            }
        }
    }
}
