//! The trie against a plain one, written from the yellow paper's appendix D alone.

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::Encodable;
use plimsoll_proof::{Inclusion, receipts_root};

use crate::made;

/// A string or a list of bytes that are encoded already.
fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bytes.encode(&mut out);
    out
}

fn list(members: &[Vec<u8>]) -> Vec<u8> {
    let payload = members.concat();
    let mut out = Vec::new();
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend(payload);
    out
}

/// Hex-prefix encoding (appendix C).
fn hex_prefix(nibbles: &[u8], is_leaf: bool) -> Vec<u8> {
    let flag = 2 * u8::from(is_leaf) + u8::from(nibbles.len() % 2 == 1);
    let mut all = if nibbles.len() % 2 == 1 { vec![flag] } else { vec![flag, 0] };
    all.extend(nibbles);
    all.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The node over these pairs of remaining nibbles and value.
fn node(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    match pairs {
        [] => string(&[]),
        [(path, value)] => list(&[string(&hex_prefix(path, true)), string(value)]),
        [(first, _), ..] => {
            let shared = (0..first.len())
                .take_while(|at| pairs.iter().all(|(path, _)| path.get(*at) == Some(&first[*at])))
                .count();
            if shared > 0 {
                let rest: Vec<_> = pairs.iter().map(|(path, value)| (&path[shared..], *value)).collect();
                return list(&[string(&hex_prefix(&first[..shared], false)), reference(&node(&rest))]);
            }
            let mut members: Vec<Vec<u8>> = (0..16)
                .map(|nibble| {
                    let below: Vec<_> = pairs
                        .iter()
                        .filter(|(path, _)| path.first() == Some(&nibble))
                        .map(|(path, value)| (&path[1..], *value))
                        .collect();
                    if below.is_empty() { string(&[]) } else { reference(&node(&below)) }
                })
                .collect();
            // No key of a position is the beginning of another.
            members.push(string(&[]));
            list(&members)
        }
    }
}

/// How a parent names a node: itself when short, else its hash.
fn reference(node: &[u8]) -> Vec<u8> {
    if node.len() < 32 { node.to_vec() } else { string(keccak256(node).as_slice()) }
}

fn plain_root(values: &[Vec<u8>]) -> B256 {
    let keys: Vec<Vec<u8>> = (0..values.len() as u64)
        .map(|index| {
            let mut key = Vec::new();
            index.encode(&mut key);
            key.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).collect()
        })
        .collect();
    let pairs: Vec<_> =
        keys.iter().zip(values).map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
    keccak256(node(&pairs))
}

#[test]
fn the_root_of_any_number_of_receipts_is_that_of_a_plain_trie() {
    for count in (0..=20).chain([126, 127, 128, 129, 130, 255, 256, 257, 300, 1000]) {
        let receipts = made::receipts(count);
        let encoded: Vec<Vec<u8>> = receipts
            .iter()
            .map(|reported| {
                let mut out = Vec::new();
                reported.receipt.encode(&mut out);
                out
            })
            .collect();
        assert_eq!(receipts_root(&receipts), plain_root(&encoded), "{count} receipts");
    }
}

#[test]
fn each_receipt_of_a_block_with_three_levels_has_a_proof_and_no_altered_proof_is_one() {
    let (header, receipts) = made::block(made::receipts(300));
    let receipts = header.prove_receipts(receipts).unwrap();
    assert_eq!(receipts.inclusion(300), None);
    for index in [0, 1, 15, 16, 127, 128, 255, 256, 299] {
        let proof = receipts.inclusion(index).unwrap();
        assert_eq!(header.prove_receipt(&proof).unwrap(), receipts.receipts()[index].receipt);
        let text = serde_json::to_string(&proof).unwrap();
        assert_eq!(serde_json::from_str::<Inclusion>(&text).unwrap(), proof, "it travels as JSON");

        let moved = Inclusion { index: proof.index + 1, ..proof.clone() };
        assert!(header.prove_receipt(&moved).is_err(), "another place");
        let other =
            Inclusion { value: receipts.inclusion((index + 1) % 300).unwrap().value, ..proof.clone() };
        assert!(header.prove_receipt(&other).is_err(), "another receipt");
        for nodes in [proof.nodes[1..].to_vec(), proof.nodes[..proof.nodes.len() - 1].to_vec(), Vec::new()] {
            assert!(header.prove_receipt(&Inclusion { nodes, ..proof.clone() }).is_err(), "a node too few");
        }
        for node in 0..proof.nodes.len() {
            for byte in 0..proof.nodes[node].len() {
                let mut altered = proof.clone();
                let mut bytes = altered.nodes[node].to_vec();
                bytes[byte] ^= 1;
                altered.nodes[node] = Bytes::from(bytes);
                assert!(header.prove_receipt(&altered).is_err(), "byte {byte} of node {node}");
            }
        }
    }
}
