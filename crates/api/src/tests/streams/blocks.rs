//! Confirmed blocks over real sockets, with a journal that is written as they listen.

use alloy_primitives::{B256, keccak256};
use plimsoll_journal::{ChainIdentity, Content, Evidence, Filter, NewBlock, Writer};
use plimsoll_store::{DEFAULT_TERM, Leases};
use plimsoll_types::{Completeness, hash_text};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::people::Person;
use super::client::{Block, Source, sleeper};
use super::stalled::BROKEN;
use super::{CHAIN, Served};
use crate::ApiOptions;
use crate::routes::StreamOptions;

const STREAM: &str = "/api/v1/chains/31337/blocks/stream";

/// A chain whose blocks have nothing in them, and its journal.
struct Chain {
    writer: Writer,
    _leases: Leases,
    blocks: Vec<NewBlock>,
}

impl Chain {
    async fn begin(served: &Served) -> Self {
        let leases = Leases::connect(&served.api.db, "writer", DEFAULT_TERM).await.unwrap();
        let lease = leases.acquire("ingest:31337").await.unwrap().unwrap();
        let identity = ChainIdentity {
            chain_id: CHAIN,
            name: "test".into(),
            genesis_hash: B256::ZERO,
            start_block: 0,
            confirmations: 0,
            finality: "64 blocks".into(),
            filter: Filter::default(),
        };
        let writer = Writer::open(&served.api.db, lease, served.tail.clone(), &identity).await.unwrap();
        Self { writer, _leases: leases, blocks: Vec::new() }
    }

    /// Goes back to a block, and on with so many others; all but the last are confirmed.
    async fn fork(&mut self, branch: char, back_to: usize, count: usize) {
        self.blocks.truncate(back_to + 1);
        let ancestor = self.blocks.last().map(|block| (block.number, block.hash));
        let mut contents = Vec::new();
        for _ in 0..count {
            let (number, parent_hash) =
                self.blocks.last().map_or((0, B256::ZERO), |block| (block.number + 1, block.hash));
            let hash = keccak256(format!("{branch} {number} {parent_hash}"));
            let block = NewBlock { number, hash, parent_hash, timestamp: 1_700_000_000 + number };
            self.blocks.push(block.clone());
            let evidence = Evidence { level: Completeness::Receipts, endpoint: "test".into() };
            contents.push(Content { block, events: Vec::new(), transactions: Vec::new(), evidence });
        }
        let confirmed = (self.blocks.len() as u64).checked_sub(2);
        self.writer.replace_above(ancestor, contents, confirmed, None).await.unwrap();
    }

    fn says(&self, kind: &str, number: usize) -> Value {
        let block = &self.blocks[number];
        json!({
            "kind": kind, "chain_id": CHAIN, "number": number, "hash": hash_text(&block.hash),
            "parent_hash": hash_text(&block.parent_hash), "time": time(block.timestamp),
        })
    }
}

fn time(timestamp: u64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(timestamp.cast_signed()).unwrap();
    time.format(&time::format_description::well_known::Rfc3339).unwrap()
}

/// The next blocks; that each one's `id` is its place in the journal.
async fn hear(source: &mut Source, count: usize) -> Vec<Value> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let Block { id, data, event: None, .. } = source.event().await.unwrap() else { panic!("it ended") };
        let mut data = data.unwrap();
        assert_eq!(data["journal_seq"].take().as_i64(), id);
        data.as_object_mut().unwrap().remove("journal_seq");
        heard.push(data);
    }
    heard
}

async fn open(served: &Served, who: &Person, query: &str, last: Option<i64>) -> Source {
    Source::open_path(served.addr, STREAM, &who.token, query, last).await
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmed_blocks_come_in_order_once_and_are_taken_back_in_words() {
    let served = Served::start().await;
    let ada = served.viewer("acme").await;
    let mut chain = Chain::begin(&served).await;
    chain.fork('a', 0, 4).await;
    let mut live = open(&served, &ada, "?after=0", None).await;
    assert_eq!(live.status, 200, "{}", live.head);
    assert!(live.head.to_lowercase().contains("content-type: text/event-stream"), "{}", live.head);
    let mut wanted: Vec<_> = (0..3).map(|number| chain.says("confirmed", number)).collect();
    assert_eq!(hear(&mut live, 3).await, wanted);
    // Two confirmed blocks are taken back, newest first, before others are confirmed.
    let retracted = [chain.says("retracted", 2), chain.says("retracted", 1)];
    chain.fork('b', 0, 5).await;
    let after: Vec<_> =
        retracted.into_iter().chain((1..5).map(|number| chain.says("confirmed", number))).collect();
    assert_eq!(hear(&mut live, after.len()).await, after);
    chain.writer.finalize(&chain.blocks[3]).await.unwrap();
    let last = chain.says("final", 3);
    assert_eq!(hear(&mut live, 1).await, std::slice::from_ref(&last));
    wanted.extend(after);
    wanted.push(last);
    // Cut off anywhere, and again with what was handled last.
    let (mut ids, mut again, mut place) = (Vec::new(), open(&served, &ada, "?after=0", None).await, 0);
    while place < wanted.len() {
        let block = again.event().await.unwrap();
        ids.push(block.id.unwrap());
        place += 1;
        again = open(&served, &ada, "?after=0", ids.last().copied()).await;
        let rest = wanted.len() - place;
        assert_eq!(hear(&mut again, rest).await, wanted[place..], "after {ids:?}");
        again = open(&served, &ada, "", ids.last().copied()).await;
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_blocks_is_refused_where_it_would_say_nothing_or_something_else() {
    let served = Served::start().await;
    let ada = served.viewer("acme").await;
    let mut chain = Chain::begin(&served).await;
    chain.fork('a', 0, 2).await;
    for (path, query, last, status, slug) in [
        ("/api/v1/chains/5/blocks/stream", "", None, 404, "unknown-chain"),
        ("/api/v1/chains/main/blocks/stream", "", None, 400, "invalid-parameter"),
        (STREAM, "?after=1000", None, 400, "invalid-cursor"),
        (STREAM, "", Some(1_000), 400, "invalid-cursor"),
        (STREAM, "", Some(-1), 400, "invalid-cursor"),
        (STREAM, "?after=x", None, 400, "invalid-parameter"),
        (STREAM, "?type=x", None, 400, "unknown-parameter"),
    ] {
        let mut refused = Source::open_path(served.addr, path, &ada.token, query, last).await;
        assert_eq!(refused.status, status, "{path}{query} {last:?}: {}", refused.head);
        let body = refused.rest().await;
        assert!(body.contains(&format!("urn:plimsoll:problem:{slug}")), "{body}");
    }
    served.api.problem(STREAM, 401, "unauthenticated").await;
    assert!(timeout(BROKEN, served.api.state.streams().ended()).await.is_ok(), "no refusal keeps a place");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_blocks_that_is_stuck_stalls_no_other_and_is_cut_off() {
    // Together far more than the buffers of both ends hold.
    const ROUNDS: usize = 20;
    const BLOCKS: usize = 1_000;
    let streams = StreamOptions { max: 2, max_per_tenant: 2, pulse_ms: 20 };
    let options = ApiOptions { write_timeout_ms: 200, streams, ..ApiOptions::default() };
    let served = Served::start_with(options).await;
    let ada = served.viewer("acme").await;
    let mut chain = Chain::begin(&served).await;
    chain.fork('a', 0, 1).await;
    let request =
        format!("GET {STREAM}?after=0 HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\r\n", ada.token);
    let stuck = sleeper(served.addr, &request, "HTTP/1.1 200 OK").await;
    let mut quick = open(&served, &ada, "?after=0", None).await;
    for round in 0..ROUNDS {
        chain.fork('a', chain.blocks.len() - 1, BLOCKS).await;
        for number in round * BLOCKS..(round + 1) * BLOCKS {
            assert_eq!(hear(&mut quick, 1).await, [chain.says("confirmed", number)]);
        }
    }
    drop(quick);
    timeout(BROKEN, served.api.state.streams().ended()).await.expect("both places are free");
    assert!(
        served.api.get("/metrics").await.body.contains("subscriber_lag_records{stream=\"blocks:31337\"}")
    );
    drop(stuck);
    served.stop().await;
}
