//! Whether an answer is too old to act on. Pure: marks and limits in, reasons out.
//!
//! The raw store lags behind the node; a fold lags behind the journal. What a reader cares about is the sum, so [`fresh`] measures the
//! fold's watermark against the node's head, while [`fold_reasons`] blames the fold only for its own part.

use std::collections::HashMap;

use plimsoll_types::api::{Fresh, Reason, ReasonCode};
use serde_json::Value;

/// When a chain's data counts as stale. `None`: that measure does not count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FreshLimits {
    /// The most blocks that an answer may be behind the node's head.
    pub max_lag_blocks: Option<u64>,
    /// The longest that a journal record may wait to be applied, in seconds.
    pub max_lag_seconds: Option<f64>,
    /// The longest that the node may go without telling a head, in seconds.
    pub max_head_age_seconds: Option<f64>,
}

impl Default for FreshLimits {
    /// 2 blocks (spec 5), 10 s for a record, 60 s for a head.
    fn default() -> Self {
        Self { max_lag_blocks: Some(2), max_lag_seconds: Some(10.0), max_head_age_seconds: Some(60.0) }
    }
}

/// [`FreshLimits`] by chain: a chain with 100 ms blocks wants other numbers than one with 12 s blocks.
#[derive(Clone, Debug, Default)]
pub struct FreshnessLimits {
    /// For a chain that has none of its own.
    pub default: FreshLimits,
    /// By chain id.
    pub chains: HashMap<u64, FreshLimits>,
}

impl FreshnessLimits {
    /// The limits of a chain.
    #[must_use]
    pub fn of(&self, chain_id: u64) -> &FreshLimits {
        self.chains.get(&chain_id).unwrap_or(&self.default)
    }
}

/// Where a chain stands, from one snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ChainMarks {
    pub(crate) chain_id: u64,
    /// The first block that is followed: until a block is covered, the lag counts from it.
    pub(crate) start_block: u64,
    pub(crate) head_number: Option<u64>,
    pub(crate) confirmed_number: Option<u64>,
    pub(crate) final_number: Option<u64>,
    pub(crate) node_head_number: Option<u64>,
    pub(crate) node_head_age_seconds: Option<f64>,
    /// The last journal record; 0 before the first.
    pub(crate) last_seq: u64,
    /// Why it is halted; `None` when it is followed.
    pub(crate) halt: Option<Value>,
}

/// Where a fold over that chain stands, from the same snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FoldMarks {
    pub(crate) name: String,
    pub(crate) seq: u64,
    pub(crate) watermark: Option<u64>,
    /// Why it is stopped; `None` when it runs.
    pub(crate) stop: Option<Value>,
    /// The age of the first record that it has not applied; `None` when there is none.
    pub(crate) unapplied_seconds: Option<f64>,
}

impl FoldMarks {
    pub(crate) fn lag_records(&self, chain: &ChainMarks) -> u64 {
        chain.last_seq.saturating_sub(self.seq)
    }

    /// Blocks of the journal that it has not covered. During a reorg the journal's head may be the lower one: then 0.
    pub(crate) fn lag_blocks(&self, chain: &ChainMarks) -> u64 {
        let Some(head) = chain.head_number else { return 0 };
        match self.watermark {
            Some(watermark) => head.saturating_sub(watermark),
            None => head.saturating_add(1).saturating_sub(chain.start_block),
        }
    }

    /// 0 when everything is applied; `None` when records wait and the first of them cannot be found.
    pub(crate) fn lag_seconds(&self, chain: &ChainMarks) -> Option<f64> {
        if self.lag_records(chain) == 0 { Some(0.0) } else { self.unapplied_seconds.map(seconds) }
    }
}

impl ChainMarks {
    /// Blocks between the node's head and the journal's.
    pub(crate) fn lag_blocks(&self) -> Option<u64> {
        self.lag_of(self.head_number)
    }

    /// Blocks to follow up to the node's head that are not `covered`.
    fn lag_of(&self, covered: Option<u64>) -> Option<u64> {
        let node = self.node_head_number?;
        Some(match covered {
            Some(covered) => node.saturating_sub(covered),
            None => node.saturating_add(1).saturating_sub(self.start_block),
        })
    }
}

/// To the millisecond, never negative: a clock that was set back is not a lag below zero.
pub(crate) fn seconds(value: f64) -> f64 {
    (value.max(0.0) * 1_000.0).round() / 1_000.0
}

/// What is wrong with the raw store of a chain.
pub(crate) fn chain_reasons(chain: &ChainMarks, limits: &FreshLimits) -> Vec<Reason> {
    let mut why = node_reasons(chain, limits);
    ahead(chain, chain.head_number, &mut why);
    behind(chain.lag_blocks(), limits, &mut why);
    why
}

/// What is wrong with a fold, its chain's own troubles left out.
pub(crate) fn fold_reasons(chain: &ChainMarks, fold: &FoldMarks, limits: &FreshLimits) -> Vec<Reason> {
    let mut why = Vec::new();
    work_reasons(chain, fold, limits, &mut why);
    let lag = fold.lag_blocks(chain);
    if let Some(limit) = limits.max_lag_blocks
        && fold.watermark.is_some()
        && lag > limit
    {
        why.push(reason(
            ReasonCode::LagBlocks,
            format!("fold {} is {lag} blocks behind the journal; the limit is {limit}", fold.name),
        ));
    }
    why
}

/// How far to believe an answer: of a fold, or of the raw store when there is none.
pub(crate) fn fresh(chain: &ChainMarks, fold: Option<&FoldMarks>, limits: &FreshLimits) -> Fresh {
    let Some(fold) = fold else {
        let why = chain_reasons(chain, limits);
        let lag_blocks = chain.lag_blocks();
        return Fresh { lag_blocks, lag_records: 0, lag_seconds: Some(0.0), stale: !why.is_empty(), why };
    };
    let lag_blocks = chain.lag_of(fold.watermark);
    let mut why = node_reasons(chain, limits);
    ahead(chain, fold.watermark, &mut why);
    work_reasons(chain, fold, limits, &mut why);
    behind(lag_blocks, limits, &mut why);
    Fresh {
        lag_blocks,
        lag_records: fold.lag_records(chain),
        lag_seconds: fold.lag_seconds(chain),
        stale: !why.is_empty(),
        why,
    }
}

/// The text of a halt or a stop: its main sentence and its remedy, where it has them.
pub(crate) fn halt_text(why: &Value) -> String {
    let part = |keys: &[&str]| keys.iter().find_map(|key| why.get(key).and_then(Value::as_str));
    match (part(&["what", "error", "reason"]), part(&["remedy"])) {
        (Some(what), Some(remedy)) => format!("{what} ({remedy})"),
        (Some(what), None) => what.to_owned(),
        (None, _) => why.to_string(),
    }
}

pub(crate) fn reason(code: ReasonCode, text: String) -> Reason {
    Reason { code, text }
}

fn node_reasons(chain: &ChainMarks, limits: &FreshLimits) -> Vec<Reason> {
    let mut why = Vec::new();
    if let Some(halt) = &chain.halt {
        why.push(reason(
            ReasonCode::ChainHalted,
            format!("chain {} is halted: {}", chain.chain_id, halt_text(halt)),
        ));
    }
    match (chain.node_head_number, chain.node_head_age_seconds, limits.max_head_age_seconds) {
        (None, _, _) => {
            why.push(reason(
                ReasonCode::NoHead,
                format!("no head of chain {} has come from its node yet", chain.chain_id),
            ));
        }
        (Some(_), Some(age), Some(limit)) if age > limit => why.push(reason(
            ReasonCode::NoHead,
            format!(
                "no head of chain {} has come from its node for {:.0} s; the limit is {limit:.0} s",
                chain.chain_id, age
            ),
        )),
        _ => {}
    }
    if let (None, Some(node)) = (chain.head_number, chain.node_head_number)
        && node < chain.start_block
    {
        why.push(reason(
            ReasonCode::ChainNotStarted,
            format!(
                "chain {} is followed from block {} on, and its node's head is {node}: it begins when the node is there, or correct `start_block`",
                chain.chain_id, chain.start_block
            ),
        ));
    }
    why
}

fn ahead(chain: &ChainMarks, covered: Option<u64>, why: &mut Vec<Reason>) {
    if let (Some(node), Some(covered)) = (chain.node_head_number, covered)
        && covered > node
    {
        why.push(reason(
            ReasonCode::AheadOfNode,
            format!(
                "block {covered} is covered, but the node's head is only {node}: the node has fallen back"
            ),
        ));
    }
}

fn behind(lag_blocks: Option<u64>, limits: &FreshLimits, why: &mut Vec<Reason>) {
    if let (Some(lag), Some(limit)) = (lag_blocks, limits.max_lag_blocks)
        && lag > limit
    {
        why.push(reason(
            ReasonCode::LagBlocks,
            format!("{lag} blocks behind the node's head; the limit is {limit}"),
        ));
    }
}

fn work_reasons(chain: &ChainMarks, fold: &FoldMarks, limits: &FreshLimits, why: &mut Vec<Reason>) {
    if let Some(stop) = &fold.stop {
        why.push(reason(
            ReasonCode::FoldStopped,
            format!("fold {} is stopped: {}", fold.name, halt_text(stop)),
        ));
    }
    if fold.watermark.is_none() {
        why.push(reason(
            ReasonCode::FoldNotStarted,
            format!("fold {} has not covered a block yet", fold.name),
        ));
    }
    let Some(limit) = limits.max_lag_seconds else { return };
    let text = match fold.lag_seconds(chain) {
        Some(lag) if lag <= limit => return,
        Some(lag) => {
            format!("fold {} has a record that waits since {lag:.1} s; the limit is {limit} s", fold.name)
        }
        None => format!("fold {} has records to apply that the journal no longer holds", fold.name),
    };
    why.push(reason(ReasonCode::LagSeconds, text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chain() -> ChainMarks {
        ChainMarks {
            chain_id: 1,
            head_number: Some(100),
            node_head_number: Some(100),
            node_head_age_seconds: Some(0.5),
            last_seq: 1_000,
            ..ChainMarks::default()
        }
    }

    fn fold() -> FoldMarks {
        FoldMarks {
            name: "views".into(),
            seq: 1_000,
            watermark: Some(100),
            stop: None,
            unapplied_seconds: None,
        }
    }

    fn codes(chain: &ChainMarks, fold: &FoldMarks) -> Vec<ReasonCode> {
        fresh(chain, Some(fold), &FreshLimits::default()).why.iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn what_is_in_step_is_fresh_and_each_trouble_has_its_reason() {
        use ReasonCode::*;
        let cases: Vec<(&str, ChainMarks, FoldMarks, &[ReasonCode])> = vec![
            ("in step", chain(), fold(), &[]),
            ("two blocks are within the limit", chain(), FoldMarks { watermark: Some(98), ..fold() }, &[]),
            ("three are not", chain(), FoldMarks { watermark: Some(97), ..fold() }, &[LagBlocks]),
            (
                "the raw store's lag is the reader's too",
                ChainMarks { node_head_number: Some(110), ..chain() },
                fold(),
                &[LagBlocks],
            ),
            (
                "a record that waits long",
                chain(),
                FoldMarks { seq: 999, unapplied_seconds: Some(11.0), ..fold() },
                &[LagSeconds],
            ),
            ("a record that is gone", chain(), FoldMarks { seq: 999, ..fold() }, &[LagSeconds]),
            (
                "a node that is silent",
                ChainMarks { node_head_age_seconds: Some(61.0), ..chain() },
                fold(),
                &[NoHead],
            ),
            ("a node that never spoke", ChainMarks { node_head_number: None, ..chain() }, fold(), &[NoHead]),
            (
                "a node that fell back",
                ChainMarks { node_head_number: Some(99), ..chain() },
                fold(),
                &[AheadOfNode],
            ),
            (
                "a halted chain with a stopped fold",
                ChainMarks { halt: Some(json!({"what": "deep reorg"})), ..chain() },
                FoldMarks { stop: Some(json!({"error": "poison"})), ..fold() },
                &[ChainHalted, FoldStopped],
            ),
        ];
        for (story, chain, fold, wanted) in cases {
            assert_eq!(codes(&chain, &fold), wanted, "{story}");
        }
    }

    #[test]
    fn a_quiet_chain_is_not_a_stalled_one() {
        let quiet = FoldMarks { unapplied_seconds: Some(86_400.0), ..fold() };
        let fresh = fresh(&chain(), Some(&quiet), &FreshLimits::default());
        assert_eq!((fresh.lag_seconds, fresh.stale), (Some(0.0), false));
    }

    #[test]
    fn a_fold_is_not_blamed_for_the_raw_stores_lag() {
        let behind = ChainMarks { node_head_number: Some(200), ..chain() };
        assert_eq!(fold_reasons(&behind, &fold(), &FreshLimits::default()), []);
        assert_eq!(chain_reasons(&behind, &FreshLimits::default())[0].code, ReasonCode::LagBlocks);
    }

    #[test]
    fn lag_never_goes_below_zero_when_the_head_falls_back() {
        let rewound = ChainMarks { head_number: Some(95), node_head_number: Some(95), ..chain() };
        assert_eq!(fold().lag_blocks(&rewound), 0);
        assert_eq!(seconds(-3.0), 0.0);
    }

    #[test]
    fn a_chain_that_starts_in_the_future_has_not_started_and_lags_by_nothing() {
        let waiting = |node| ChainMarks {
            head_number: None,
            node_head_number: Some(node),
            start_block: 500,
            ..chain()
        };
        let told = |marks: &ChainMarks| {
            let why = chain_reasons(marks, &FreshLimits::default());
            (marks.lag_blocks(), why.iter().map(|reason| reason.code).collect::<Vec<_>>())
        };
        assert_eq!(told(&waiting(100)), (Some(0), vec![ReasonCode::ChainNotStarted]));
        assert_eq!(told(&waiting(499)), (Some(0), vec![ReasonCode::ChainNotStarted]));
        assert_eq!(told(&waiting(500)), (Some(1), vec![]));
        assert_eq!(told(&waiting(502)), (Some(3), vec![ReasonCode::LagBlocks]));
    }

    #[test]
    fn before_its_first_block_a_fold_lags_by_those_that_the_journal_has() {
        let marks = ChainMarks { start_block: 90, ..chain() };
        assert_eq!(FoldMarks { watermark: None, ..fold() }.lag_blocks(&marks), 11, "90 to 100");
        assert_eq!(FoldMarks { watermark: Some(90), ..fold() }.lag_blocks(&marks), 10);
    }

    #[test]
    fn a_limit_that_is_off_does_not_count() {
        let off = FreshLimits { max_lag_blocks: None, max_lag_seconds: None, max_head_age_seconds: None };
        let old = FoldMarks { seq: 1, watermark: Some(1), unapplied_seconds: Some(1e6), ..fold() };
        assert!(!fresh(&chain(), Some(&old), &off).stale);
    }
}
