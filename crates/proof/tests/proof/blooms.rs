//! What the bloom shows and what it leaves open.

use alloy_primitives::{Address, B256, Bloom, Bytes};
use plimsoll_proof::{BloomFault, Explanation, Finding, Log, LogFilter, Part, bloom};
use proptest::prelude::*;

use crate::made;

fn view(log: &Log) -> (Address, &[B256]) {
    (log.address, &log.topics)
}

fn bloom_of(logs: &[Log]) -> Bloom {
    bloom::of_logs(logs.iter().map(view))
}

fn explain(filter: &LogFilter, block: &[Log], returned: &[Log]) -> Result<Explanation, BloomFault> {
    filter.explain(&bloom_of(block), returned.iter().map(view))
}

/// A log of contract `of` with one topic.
fn log(of: u8, topic: u8) -> Log {
    Log { address: Address::repeat_byte(of), topics: vec![B256::repeat_byte(topic)], data: Bytes::new() }
}

#[test]
fn what_the_bloom_rules_out_is_proven_absent() {
    let filter = LogFilter::new(&[Address::repeat_byte(9)], &[]);
    assert!(!filter.may_match(&bloom_of(&[log(1, 1)])));
    assert_eq!(explain(&filter, &[log(1, 1)], &[]), Ok(Explanation::Empty));
    assert_eq!(explain(&LogFilter::default(), &[], &[]), Ok(Explanation::Empty), "a block without logs");
    let topic = LogFilter::new(&[Address::repeat_byte(1)], &[vec![B256::repeat_byte(9)]]);
    assert_eq!(
        explain(&topic, &[log(1, 1)], &[]),
        Ok(Explanation::Empty),
        "the address is there, the topic is not"
    );
}

#[test]
fn a_hit_that_no_returned_log_explains_is_unproven_and_not_wrong() {
    let (one, two) = (Address::repeat_byte(1), Address::repeat_byte(2));
    let filter = LogFilter::new(&[one, two], &[]);
    let block = [log(1, 1), log(2, 2)];
    let unexplained = |addresses: &[Address]| {
        Ok(Explanation::Unexplained { addresses: addresses.to_vec(), topics: Vec::new() })
    };
    assert_eq!(explain(&filter, &block, &[]), unexplained(&[one, two]));
    assert_eq!(explain(&filter, &block, &block[..1]), unexplained(&[two]));
    assert_eq!(explain(&filter, &block, &block), Ok(Explanation::Consistent));

    let topics = vec![B256::repeat_byte(1), B256::repeat_byte(2)];
    let filter = LogFilter::new(&[one], std::slice::from_ref(&topics));
    let block = [log(1, 1), log(1, 2)];
    let open = Ok(Explanation::Unexplained { addresses: Vec::new(), topics: topics[1..].to_vec() });
    assert_eq!(explain(&filter, &block, &block[..1]), open);
}

#[test]
fn the_bloom_cannot_show_a_second_log_like_the_first() {
    let filter = LogFilter::new(&[Address::repeat_byte(1)], &[]);
    let block = [log(1, 1), log(1, 1)];
    assert_eq!(explain(&filter, &block, &block[..1]), Ok(Explanation::Consistent));
    assert_eq!(explain(&LogFilter::default(), &block, &block[..1]), Ok(Explanation::Consistent));
}

#[test]
fn a_log_that_is_not_in_the_bloom_is_a_contradiction() {
    let filter = LogFilter::new(&[Address::repeat_byte(1)], &[]);
    let block = [log(1, 1)];
    for (returned, part) in [
        (log(3, 1), Part::Address(Address::repeat_byte(3))),
        (log(1, 3), Part::Topic(0, B256::repeat_byte(3))),
    ] {
        let fault = explain(&filter, &block, &[log(1, 1), returned]).unwrap_err();
        assert_eq!(fault, BloomFault::NotInBloom { log: 1, part });
        assert_eq!(fault.finding(), Finding::Contradiction);
    }
}

#[test]
fn a_blank_bloom_beside_logs_is_a_contradiction_of_its_own() {
    let filter = LogFilter::new(&[Address::repeat_byte(1)], &[]);
    let fault = explain(&filter, &[], &[log(1, 1), log(1, 2)]).unwrap_err();
    assert_eq!(fault, BloomFault::Blank { logs: 2 });
}

#[test]
fn of_all_logs_none_can_be_hidden_that_sets_a_bit_of_its_own() {
    let block = [log(1, 1), log(2, 2)];
    let fault = explain(&LogFilter::default(), &block, &block[..1]).unwrap_err();
    let bits_of = |logs: &[Log]| bloom_of(logs).iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
    let bits = bits_of(&block) - bits_of(&block[..1]);
    assert_eq!(fault, BloomFault::Hidden { bits });
    let any_topic = LogFilter::new(&[], &[Vec::new(), Vec::new()]);
    assert_eq!(explain(&any_topic, &block, &block), Ok(Explanation::Consistent));
}

proptest! {
    /// Whatever a block has and whatever a filter wants: the honest answer is never in contradiction, and a log that is in
    /// the block and wanted is never ruled out.
    #[test]
    fn an_honest_answer_is_never_contradicted(seeds in prop::collection::vec(0_u64..50, 0..20), wanted in prop::collection::vec(0_u64..60, 0..4), by_topic in any::<bool>()) {
        let block: Vec<Log> = seeds.iter().map(|seed| made::log(*seed)).collect();
        let wanted: Vec<Log> = wanted.iter().map(|seed| made::log(*seed)).collect();
        let addresses: Vec<Address> = wanted.iter().map(|log| log.address).collect();
        let topics: Vec<B256> = wanted.iter().filter_map(|log| log.topics.first().copied()).collect();
        let filter = if by_topic { LogFilter::new(&[], &[topics]) } else { LogFilter::new(&addresses, &[]) };
        let honest: Vec<Log> = block.iter().filter(|log| filter.admits(&log.address, &log.topics)).cloned().collect();
        let bloom = bloom_of(&block);
        prop_assert!(honest.is_empty() || filter.may_match(&bloom));
        let explanation = filter.explain(&bloom, honest.iter().map(view));
        prop_assert!(explanation.is_ok(), "{explanation:?}");
        prop_assert!(explanation != Ok(Explanation::Empty) || honest.is_empty());
    }
}
