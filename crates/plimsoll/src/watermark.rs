//! The data watermark, asked before a request gets a nonce: nothing that was decided on the chain's data is sent while these are stale.
//!
//! A request that names the block that it was decided on ends when that block leaves the chain, as far as the journal knows. A journal that lags does not know yet. So while it does, such a request is
//! held, and not sent on a block that may be gone; where it is configured so, every request is. What counts as stale is what counts so for the API's answers.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use plimsoll_relayer::admission::{Admission, Admitted};
use plimsoll_relayer::book::Queued;
use plimsoll_relayer::request::SignerId;
use plimsoll_store::Db;

use crate::config::{Chain, OnStaleData};
use crate::repo::{self, JournalMark};

/// The watermark of one chain's journal.
pub(crate) struct Watermark {
    chain_id: u64,
    holds_all: bool,
    max_lag_blocks: u64,
    max_head_age: Duration,
    db: Db,
}

impl fmt::Debug for Watermark {
    /// As it is named where it does not answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the data watermark")
    }
}

impl Watermark {
    /// Of this chain; none where nothing is held for it.
    pub(crate) fn of(chain: &Chain, db: &Db) -> Option<Self> {
        let holds_all = match chain.relayer.on_stale_data {
            OnStaleData::Send => return None,
            OnStaleData::HoldDecided => false,
            OnStaleData::HoldAll => true,
        };
        let Chain { chain_id, max_lag_blocks, max_head_age, .. } = *chain;
        Some(Self { chain_id, holds_all, max_lag_blocks, max_head_age, db: db.clone() })
    }

    /// Why the data are stale; none where they are fresh. `head`: the nodes' newest block.
    async fn stale(&self, head: u64) -> Option<String> {
        match repo::journal_mark(self.db.worker(), self.chain_id).await {
            Ok(Some(mark)) => self.judge(mark, head),
            Ok(None) => Some("this chain's journal has not begun".to_owned()),
            Err(error) => Some(format!("it is not known how far this chain's journal is: {error}")),
        }
    }

    fn judge(&self, mark: JournalMark, head: u64) -> Option<String> {
        if mark.is_halted {
            return Some("this chain's journal is halted: an operator has to look".to_owned());
        }
        let Some(head_number) = mark.head_number else {
            return Some("this chain's journal has no block yet".to_owned());
        };
        let lag = head.max(mark.node_head_number.unwrap_or(0)).saturating_sub(head_number);
        if lag > self.max_lag_blocks {
            return Some(format!("the chain's data are {lag} blocks behind, {} may be", self.max_lag_blocks));
        }
        let limit = self.max_head_age.as_secs_f64();
        match mark.node_head_age_seconds {
            Some(age) if age <= limit => None,
            Some(age) => Some(format!(
                "who keeps the chain's data has not heard of its head for {age:.1} s, {limit:.1} s may be"
            )),
            None => Some("who keeps the chain's data has not heard of its head".to_owned()),
        }
    }
}

impl Admission for Watermark {
    fn admit<'a>(
        &'a self,
        _: SignerId,
        head: u64,
        requests: &'a [&'a Queued],
    ) -> BoxFuture<'a, Vec<Admitted>> {
        Box::pin(async move {
            let concerns = |queued: &Queued| self.holds_all || queued.as_of_block_hash.is_some();
            let why =
                if requests.iter().any(|queued| concerns(queued)) { self.stale(head).await } else { None };
            requests
                .iter()
                .map(|queued| match &why {
                    Some(why) if concerns(queued) => Admitted::Held { why: why.clone() },
                    _ => Admitted::Yes,
                })
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Bytes, U256};
    use plimsoll_relayer::book::DecidedOn;
    use plimsoll_relayer::request::Call;
    use uuid::Uuid;

    use super::*;

    const FRESH: JournalMark = JournalMark {
        head_number: Some(100),
        node_head_number: Some(101),
        node_head_age_seconds: Some(1.0),
        is_halted: false,
    };

    fn queued(as_of_block_hash: Option<B256>) -> Queued {
        Queued {
            id: Uuid::now_v7(),
            tenant_id: None,
            call: Call { to: Some(Address::ZERO), value: U256::ZERO, data: Bytes::new() },
            gas_limit: None,
            max_fee_limit: None,
            priority: 0,
            valid_until_block: None,
            as_of_block_hash,
            is_late: false,
            decided_on: DecidedOn::Stands,
            called_off: None,
            simulate: None,
        }
    }

    async fn watermark(holds_all: bool) -> Watermark {
        let db = Db::connect(&plimsoll_store::testing::database().await).await.unwrap();
        let max_head_age = Duration::from_secs(60);
        Watermark { chain_id: 7, holds_all, max_lag_blocks: 2, max_head_age, db }
    }

    #[tokio::test]
    async fn data_are_stale_when_they_are_behind_when_nobody_hears_of_the_head_and_when_nothing_is_written() {
        let watermark = watermark(false).await;
        assert_eq!(watermark.judge(FRESH, 102), None);
        // A node that lags behind the journal makes nothing stale.
        assert_eq!(watermark.judge(FRESH, 90), None);
        for (mark, head, says) in [
            (FRESH, 103, "3 blocks behind, 2 may be"),
            (JournalMark { node_head_number: Some(103), ..FRESH }, 90, "3 blocks behind"),
            (JournalMark { node_head_age_seconds: Some(60.1), ..FRESH }, 101, "60.1 s"),
            (JournalMark { node_head_age_seconds: None, ..FRESH }, 101, "has not heard"),
            (JournalMark { head_number: None, ..FRESH }, 101, "no block yet"),
            (JournalMark { is_halted: true, ..FRESH }, 101, "halted"),
        ] {
            let why = watermark.judge(mark, head).expect(says);
            assert!(why.contains(says), "{why} does not say {says:?}");
        }
    }

    #[tokio::test]
    async fn what_names_a_block_is_held_while_the_journal_lags_and_the_rest_where_it_is_configured() {
        let signer = SignerId { chain_id: 7, address: Address::ZERO };
        let (decided, other) = (queued(Some(B256::ZERO)), queued(None));
        let requests = [&decided, &other];
        let ask = async |watermark: &Watermark, head| {
            let answers = watermark.admit(signer, head, &requests).await;
            answers.into_iter().map(|answer| answer == Admitted::Yes).collect::<Vec<_>>()
        };
        let one = watermark(false).await;
        // There is no such chain yet.
        assert_eq!(ask(&one, 5).await, [false, true]);
        let put = "INSERT INTO chains (chain_id, name, genesis_hash, confirmations, finality, start_block, head_number, head_hash, rpc_head_number, rpc_head_at)
                   VALUES (7, 'seven', decode(repeat('00', 32), 'hex'), 1, '{}', 0, 5, decode(repeat('01', 32), 'hex'), 5, now())";
        sqlx::query(put).execute(one.db.worker()).await.unwrap();
        assert_eq!(ask(&one, 7).await, [true, true]);
        assert_eq!(ask(&one, 8).await, [false, true]);
        let all = Watermark { holds_all: true, ..one };
        assert_eq!(ask(&all, 8).await, [false, false]);
        assert_eq!(ask(&all, 7).await, [true, true]);
    }
}
