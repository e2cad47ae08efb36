//! What a backfill would ask of the nodes, find, and take: from what is on record, and from a few ranges of the chain. Nothing is written.

mod report;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use plimsoll_chain::abi::Contracts;
use plimsoll_chain::interval::{Interval, IntervalPolicy};
use plimsoll_chain::{ErrorClass, Log, LogFilter, Pool};
use plimsoll_journal::backfills::{BackfillError, Order, check, last_pace};
use plimsoll_journal::{Certificate, Filter, Uncovered, certificates, standing, stored, uncovered};
use plimsoll_store::Db;
use plimsoll_types::Completeness;

pub use self::report::{Coverage, Estimate, Preview, Sample};
use crate::added_senders;
use crate::config::IngestConfig;
use crate::content;
use crate::plan::BlockId;

/// Ranges of the chain that are asked for, at most.
const SAMPLES: u64 = 3;
/// How many headers are asked for in a batch.
const HEADERS_PER_BATCH: u64 = 100;
/// A header as JSON, most of it the bloom; about.
const HEADER_BYTES: u64 = 1_800;
/// A log as JSON without topics and data; about.
const LOG_BYTES: u64 = 520;
/// A topic as JSON.
const TOPIC_BYTES: u64 = 69;
/// What an event takes in the raw store, the journal and their indexes, without its data; about.
const ROW_BYTES: u64 = 900;
/// How often its data is kept: as it was, and decoded.
const KEPT_TIMES: u64 = 4;
/// Steps of the ranges' growth that are followed; what is left goes on as the last of them.
const MAX_STEPS: u64 = 100_000;

/// Looks at what a backfill would be like.
///
/// # Errors
/// [`BackfillError`]: it would be refused. That no node could be asked is no error: the preview says so, and what it does not know.
pub async fn preview(
    db: &Db,
    pool: &Pool,
    contracts: &Contracts,
    config: &IngestConfig,
    order: &Order,
) -> Result<Preview, BackfillError> {
    let Order { chain_id, from, to, .. } = *order;
    check(&mut *db.worker().acquire().await?, order).await?;
    let standing = standing(db, chain_id).await?.ok_or(BackfillError::NotBegun { chain_id })?;
    let on = standing.final_block.ok_or(BackfillError::NothingFinal { chain_id })?;
    let config = &config.watching(&added_senders(db, chain_id).await?);
    let filter = content::filter_for(config, contracts, order);
    let level = config.proving(order.level).backfill_completeness;
    let coverage = {
        let all = certificates(db, chain_id).await?;
        let proven: Vec<_> = all.iter().filter(|it| it.level >= level).cloned().collect();
        coverage(&filter, [&all, &proven], (from, to))
    };
    let mut policy = config.range;
    let (samples, unsampled) = if filter.contracts.is_empty() {
        (Vec::new(), None)
    } else {
        match look(db, pool, &filter, &mut policy, order, (on.number, on.hash)).await {
            Ok(samples) => (samples, None),
            Err(LookError::Node(why)) => (Vec::new(), Some(why)),
            Err(LookError::Refused(error)) => return Err(error),
        }
    };
    let parallel = order.parallel_ranges.map_or(config.ranges_in_flight as u64, u64::from).max(1);
    let pace = last_pace(db, chain_id).await?;
    let asks = Asks {
        blocks: to - from + 1,
        level,
        watches_senders: !filter.senders.is_empty(),
        parallel,
        policy,
        pace,
    };
    let estimate = estimate(&asks, &samples);
    Ok(Preview { order: order.clone(), blocks: asks.blocks, level, coverage, samples, unsampled, estimate })
}

/// For each address how much of the range is wanted, was asked for, and was proven at the level that a backfill has now.
fn coverage(filter: &Filter, [all, proven]: [&[Certificate]; 2], (from, to): (u64, u64)) -> Vec<Coverage> {
    let gaps = [all, proven].map(|certificates| uncovered(filter, certificates, to));
    let of = |address, is_sender, start: u64| {
        let first = start.max(from);
        let wanted_blocks = (to + 1).saturating_sub(first);
        let open = |gaps: &[Uncovered]| -> u64 {
            let ours = gaps.iter().filter(|gap| (gap.address, gap.is_sender) == (address, is_sender));
            ours.map(|gap| (gap.to + 1).saturating_sub(gap.from.max(first))).sum()
        };
        let [covered_blocks, proven_blocks] = gaps.each_ref().map(|gaps| wanted_blocks - open(gaps));
        Coverage { address, is_sender, wanted_blocks, covered_blocks, proven_blocks }
    };
    let contracts = filter.contracts.iter().map(|(address, start)| of(*address, false, *start));
    contracts.chain(filter.senders.iter().map(|(sender, start)| of(*sender, true, *start))).collect()
}

enum LookError {
    /// No node gives what is to be looked at, and why.
    Node(String),
    Refused(BackfillError),
}

/// Asks for a few ranges, and holds what comes against what is stored of them. What was refused as too much is learned from.
async fn look(
    db: &Db,
    pool: &Pool,
    filter: &Filter,
    policy: &mut IntervalPolicy,
    order: &Order,
    on: BlockId,
) -> Result<Vec<Sample>, LookError> {
    let logs_of = LogFilter::of_addresses(filter.contracts.keys().copied());
    let mut samples = Vec::new();
    for (from, to) in places(order.from, order.to, policy.initial_blocks.max(1)) {
        let mut to = to;
        // Ends: the range is halved down to one block, whose refusal is an error.
        let (logs, elapsed) = loop {
            let began = Instant::now();
            let asked = pool.ask(Some(on.0), |rpc| {
                let logs_of = logs_of.clone();
                async move { rpc.range(from, to, on, &logs_of).await }
            });
            match asked.await {
                Ok(Some((logs, _))) => break (logs, began.elapsed()),
                Ok(None) => {
                    let what =
                        format!("the node does not have the journal's final block {} ({})", on.0, on.1);
                    return Err(LookError::Node(what));
                }
                Err(error) if error.class() == ErrorClass::RangeTooLarge && to > from => {
                    to = from + (to - from) / 2;
                    policy.max_blocks = to - from + 1;
                    policy.initial_blocks = policy.max_blocks;
                }
                Err(error) => return Err(LookError::Node(error.to_string())),
            }
        };
        let ours = stored(db, order.chain_id, from, to)
            .await
            .map_err(|error| LookError::Refused(BackfillError::Journal(error)))?;
        let known: HashSet<_> = ours
            .events
            .iter()
            .filter(|event| ours.live.contains(&event.id))
            .map(|event| (event.block_hash, event.log_index))
            .collect();
        let is_wanted =
            |log: &&Log| filter.contracts.get(&log.address).is_some_and(|start| log.block_number >= *start);
        let wanted: Vec<&Log> = logs.iter().filter(is_wanted).collect();
        let missing = wanted.iter().filter(|log| !known.contains(&(log.block_hash, log.log_index))).count();
        let blocks_with_events: HashSet<_> = wanted.iter().map(|log| log.block_number).collect();
        samples.push(Sample {
            from,
            to,
            events: wanted.len() as u64,
            missing: missing as u64,
            blocks_with_events: blocks_with_events.len() as u64,
            data_bytes: wanted.iter().map(|log| log.data.len() as u64).sum(),
            topics: wanted.iter().map(|log| log.topics.iter().count() as u64).sum(),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        });
    }
    Ok(samples)
}

/// The ranges to look at: all of them where they are few, else one at the bottom, one in the middle and one at the top.
fn places(from: u64, to: u64, span: u64) -> Vec<(u64, u64)> {
    let blocks = to - from + 1;
    if blocks <= SAMPLES * span {
        return (from..=to)
            .step_by(usize::try_from(span).unwrap_or(usize::MAX))
            .map(|first| (first, to.min(first + span - 1)))
            .collect();
    }
    [from, from + (blocks - span) / 2, to - span + 1].map(|first| (first, first + span - 1)).to_vec()
}

/// What would be asked for.
struct Asks {
    blocks: u64,
    level: Completeness,
    watches_senders: bool,
    parallel: u64,
    policy: IntervalPolicy,
    /// Blocks and seconds of the last one.
    pace: Option<(u64, f64)>,
}

fn estimate(asks: &Asks, samples: &[Sample]) -> Estimate {
    let total = |of: fn(&Sample) -> u64| samples.iter().map(of).sum::<u64>();
    let sampled_blocks = total(Sample::blocks);
    let scaled = |count: u64| {
        (sampled_blocks > 0).then(|| {
            let all = u128::from(count) * u128::from(asks.blocks) / u128::from(sampled_blocks.max(1));
            u64::try_from(all).unwrap_or(u64::MAX)
        })
    };
    let looks = samples.len() as u64;
    let elapsed_ms = total(|sample| sample.elapsed_ms).checked_div(looks);
    let log_requests = ranges(asks, total(|sample| sample.events), sampled_blocks, elapsed_ms.unwrap_or(0));
    let looks_at_headers = asks.level > Completeness::Trusted || asks.watches_senders;
    // With each range: its end, and twice the final block that it must be on.
    let header_requests = 3 * log_requests + if looks_at_headers { asks.blocks } else { 0 };
    let events = scaled(total(|sample| sample.events));
    let missing = scaled(total(|sample| sample.missing));
    let receipt_requests = if asks.level == Completeness::Receipts {
        scaled(total(|sample| sample.blocks_with_events))
    } else {
        Some(0)
    };
    let block_requests = if asks.watches_senders { asks.blocks } else { 0 };
    let log_bytes = scaled(total(|sample| {
        sample.events * LOG_BYTES + sample.topics * TOPIC_BYTES + 2 * sample.data_bytes
    }));
    let received_bytes =
        log_bytes.map(|bytes| bytes.saturating_add(header_requests.saturating_mul(HEADER_BYTES)));
    let event_bytes = total(|sample| sample.events * ROW_BYTES + KEPT_TIMES * sample.data_bytes);
    let stored_bytes = missing.map(|missing| {
        missing.saturating_mul(event_bytes.checked_div(total(|sample| sample.events)).unwrap_or(0))
    });
    let by_pace = asks.pace.map(|(blocks, seconds)| seconds_for(asks.blocks, blocks, seconds));
    let by_samples = elapsed_ms.map(|each_ms| {
        let batches = log_requests
            .saturating_add((header_requests / HEADERS_PER_BATCH).saturating_add(block_requests))
            .saturating_add(receipt_requests.unwrap_or(0));
        batches.saturating_mul(each_ms) / asks.parallel / 1_000
    });
    Estimate {
        log_requests,
        header_requests,
        receipt_requests,
        block_requests,
        events,
        missing,
        received_bytes,
        stored_bytes,
        seconds: by_pace.or(by_samples),
        is_measured: by_pace.is_some(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "block numbers are far below 2^52"
)]
fn seconds_for(blocks: u64, of_blocks: u64, seconds: f64) -> u64 {
    (blocks as f64 * seconds / of_blocks.max(1) as f64).ceil() as u64
}

/// How many ranges it takes when they grow as those of a backfill do.
fn ranges(asks: &Asks, logs: u64, in_blocks: u64, elapsed_ms: u64) -> u64 {
    let mut interval = Interval::new(asks.policy);
    let (mut left, mut count) = (asks.blocks, 0);
    // Ends: each turn takes a block at least.
    while left > 0 {
        let span = interval.blocks().min(left);
        if count == MAX_STEPS {
            return count + left.div_ceil(span);
        }
        let found = (u128::from(logs) * u128::from(span)).checked_div(u128::from(in_blocks)).unwrap_or(0);
        interval.on_success(
            span,
            u64::try_from(found).unwrap_or(u64::MAX),
            Duration::from_millis(elapsed_ms),
        );
        left -= span;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_blocks_are_all_looked_at_and_of_many_the_bottom_the_middle_and_the_top() {
        assert_eq!(places(5, 5, 10), [(5, 5)]);
        assert_eq!(places(1, 25, 10), [(1, 10), (11, 20), (21, 25)]);
        assert_eq!(places(1, 30, 10), [(1, 10), (11, 20), (21, 30)]);
        assert_eq!(places(1, 31, 10), [(1, 10), (11, 20), (22, 31)]);
        assert_eq!(places(0, 999, 10), [(0, 9), (495, 504), (990, 999)]);
    }

    fn asks(level: Completeness) -> Asks {
        let policy = IntervalPolicy { initial_blocks: 10, max_blocks: 10, ..IntervalPolicy::default() };
        Asks { blocks: 1_000, level, watches_senders: false, parallel: 2, policy, pace: None }
    }

    fn sample(from: u64, events: u64, missing: u64) -> Sample {
        Sample {
            from,
            to: from + 9,
            events,
            missing,
            blocks_with_events: events.min(10),
            data_bytes: events * 100,
            topics: events * 2,
            elapsed_ms: 40,
        }
    }

    #[test]
    fn what_was_sampled_is_scaled_to_the_whole() {
        let samples = [sample(0, 3, 1), sample(495, 0, 0), sample(990, 3, 2)];
        let found = estimate(&asks(Completeness::Bloom), &samples);
        assert_eq!((found.log_requests, found.header_requests), (100, 1_300));
        assert_eq!((found.events, found.missing), (Some(200), Some(100)));
        assert_eq!((found.receipt_requests, found.block_requests), (Some(0), 0));
        assert_eq!(found.received_bytes, Some(200 * (520 + 2 * 69 + 200) + 1_300 * 1_800));
        assert_eq!(found.stored_bytes, Some(100 * (900 + 400)));
        // 100 ranges and 13 batches of headers, 40 ms each, two at a time.
        assert_eq!((found.seconds, found.is_measured), (Some(2), false));
    }

    #[test]
    fn each_level_asks_for_what_it_proves_by() {
        let samples = [sample(0, 3, 0)];
        let trusted = estimate(&asks(Completeness::Trusted), &samples);
        assert_eq!((trusted.header_requests, trusted.receipt_requests), (300, Some(0)));
        let receipts = estimate(&asks(Completeness::Receipts), &samples);
        assert_eq!((receipts.header_requests, receipts.receipt_requests), (1_300, Some(300)));
        let senders = estimate(&Asks { watches_senders: true, ..asks(Completeness::Trusted) }, &samples);
        assert_eq!((senders.header_requests, senders.block_requests), (1_300, 1_000));
    }

    #[test]
    fn a_pace_that_was_measured_counts_for_more_than_a_sample_and_without_both_nothing_is_made_up() {
        let measured = Asks { pace: Some((500, 30.0)), ..asks(Completeness::Bloom) };
        let found = estimate(&measured, &[sample(0, 1, 0)]);
        assert_eq!((found.seconds, found.is_measured), (Some(60), true));
        let blind = estimate(&asks(Completeness::Receipts), &[]);
        assert_eq!((blind.events, blind.missing, blind.seconds), (None, None, None));
        assert_eq!((blind.received_bytes, blind.stored_bytes, blind.receipt_requests), (None, None, None));
        assert_eq!(blind.log_requests, 100);
    }

    #[test]
    fn ranges_are_counted_as_they_grow() {
        let growing = IntervalPolicy {
            initial_blocks: 100,
            max_blocks: 1_000,
            increase_blocks: 100,
            ..IntervalPolicy::default()
        };
        let asks = Asks { policy: growing, blocks: 1_000, ..asks(Completeness::Bloom) };
        // 100, 200, 300, 400.
        assert_eq!(ranges(&asks, 0, 10, 1), 4);
        // As full as an answer should be with one block, it shrinks to that: 100, 50, 25, 12, 6, 3, 1, 1, …
        assert_eq!(ranges(&asks, 100 * growing.target_logs, 100, 1), 810);
        let endless = Asks { blocks: 10_000_000_000, ..asks };
        assert!(ranges(&endless, 0, 10, 1) > 10_000_000);
    }
}
