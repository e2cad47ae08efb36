//! The laws of a journal, checked against its rows alone: what order they stand in, and what they may refer to.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::B256;
use plimsoll_store::Tx;
use sqlx::{PgConnection, PgPool};

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    seq: i64,
    kind: String,
    number: i64,
    reference: i64,
}

/// The raw store's row that a record refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Body {
    number: i64,
    hash: B256,
    /// Of an event its log index, of a transaction its index; 0 of a block.
    index: i32,
}

#[derive(Debug)]
struct Blocks {
    bodies: HashMap<i64, Body>,
    parents: HashMap<i64, B256>,
    states: HashMap<i64, String>,
}

/// Id, number, hash, parent's hash, state.
type BlockRow = (i64, i64, Vec<u8>, Vec<u8>, String);

/// A record that is not retracted.
#[derive(Clone, Debug)]
struct Live {
    seq: i64,
    kind: String,
    number: i64,
    hash: B256,
    id: i64,
}

#[derive(Debug, Default)]
struct Checker {
    /// Unretracted `append`, `included` and `block` records, oldest first.
    stack: Vec<Live>,
    /// Unretracted `confirm` records by block number.
    confirms: BTreeMap<i64, Live>,
    final_number: Option<i64>,
    final_hash: B256,
    /// The block that is being appended: it has no `block` record yet.
    open: Option<Body>,
    open_included: bool,
    /// The block that is being taken back.
    closing: Option<i64>,
}

/// Checks them all; says which record breaks which.
pub async fn check(pool: &PgPool, chain_id: u64) -> Result<(), String> {
    // One snapshot: the node may be at work meanwhile.
    let mut tx = Tx::snapshot(pool).await.map_err(|error| error.to_string())?;
    check_on(&mut tx, chain_id).await
}

async fn bodies(
    conn: &mut PgConnection,
    chain: i64,
    statement: &'static str,
) -> Result<HashMap<i64, Body>, sqlx::Error> {
    let rows: Vec<(i64, i64, Vec<u8>, i32)> = sqlx::query_as(statement).bind(chain).fetch_all(conn).await?;
    Ok(rows
        .into_iter()
        .map(|(id, number, hash, index)| (id, Body { number, hash: B256::from_slice(&hash), index }))
        .collect())
}

/// As [`check`], as this session sees it.
pub async fn check_on(conn: &mut PgConnection, chain_id: u64) -> Result<(), String> {
    let chain = chain_id.cast_signed();
    let read = async {
        let rows: Vec<(i64, String, i64, i64)> = sqlx::query_as(
            "SELECT seq, kind::text, block_number, ref FROM journal WHERE chain_id = $1 ORDER BY seq",
        )
        .bind(chain)
        .fetch_all(&mut *conn)
        .await?;
        let events = "SELECT id, block_number, block_hash, log_index FROM chain_events WHERE chain_id = $1";
        let events = bodies(conn, chain, events).await?;
        let inclusions =
            "SELECT id, block_number, block_hash, tx_index FROM chain_tx_meta WHERE chain_id = $1";
        let inclusions = bodies(conn, chain, inclusions).await?;
        let blocks: Vec<BlockRow> = sqlx::query_as(
            "SELECT id, number, hash, parent_hash, state::text FROM chain_blocks WHERE chain_id = $1",
        )
        .bind(chain)
        .fetch_all(&mut *conn)
        .await?;
        Ok((rows, events, inclusions, blocks))
    };
    let (rows, events, transactions, kept) = read.await.map_err(|error: sqlx::Error| error.to_string())?;
    let mut blocks = Blocks { bodies: HashMap::new(), parents: HashMap::new(), states: HashMap::new() };
    for (id, number, hash, parent, state) in kept {
        blocks.bodies.insert(id, Body { number, hash: B256::from_slice(&hash), index: 0 });
        blocks.parents.insert(id, B256::from_slice(&parent));
        blocks.states.insert(id, state);
    }

    let mut checker = Checker::default();
    let mut kinds: HashMap<i64, Row> = HashMap::new();
    for (expected, (seq, kind, number, reference)) in (1..).zip(rows) {
        let row = Row { seq, kind, number, reference };
        let outcome = if seq == expected {
            checker.take(&row, &kinds, &events, &transactions, &blocks)
        } else {
            Err(format!("the record after {} is missing", expected - 1))
        };
        outcome.map_err(|broken| format!("chain {chain_id}, {row:?}: {broken}\n{checker:?}"))?;
        kinds.insert(seq, row);
    }
    checker.finish(&blocks).map_err(|broken| format!("chain {chain_id}, at the end: {broken}\n{checker:?}"))
}

fn law(holds: bool, broken: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken.to_owned()) }
}

impl Checker {
    fn head(&self) -> Option<&Live> {
        self.stack.iter().rev().find(|live| live.kind == "block")
    }

    fn is_final(&self, number: i64) -> bool {
        self.final_number.is_some_and(|last| number <= last)
    }

    fn take(
        &mut self,
        row: &Row,
        rows: &HashMap<i64, Row>,
        events: &HashMap<i64, Body>,
        transactions: &HashMap<i64, Body>,
        blocks: &Blocks,
    ) -> Result<(), String> {
        if row.kind == "retract" {
            let original = rows.get(&row.reference).ok_or("it takes back a record that is not before it")?;
            return self.retract(row, original);
        }
        self.closed()?;
        let bodies = match row.kind.as_str() {
            "append" => events,
            "included" => transactions,
            _ => &blocks.bodies,
        };
        let body = bodies.get(&row.reference).ok_or("it refers to no row of the raw store")?;
        law(body.number == row.number, "its block number is not its row's")?;
        match row.kind.as_str() {
            "append" => self.content(row, body, false),
            "included" => self.content(row, body, true),
            "block" => self.block(row, body, blocks.parents[&row.reference]),
            "confirm" => self.confirm(row, body),
            "finalize" => self.finalize(row, body),
            _ => Err("there is no such kind".to_owned()),
        }
    }

    /// Whatever was being taken back is taken back whole.
    fn closed(&mut self) -> Result<(), String> {
        if let Some(number) = self.closing.take() {
            let whole = self.stack.last().is_none_or(|live| live.number != number);
            law(whole, "a block was taken back in part")?;
        }
        Ok(())
    }

    fn content(&mut self, row: &Row, body: &Body, included: bool) -> Result<(), String> {
        let head = self.head().map_or(-1, |live| live.number);
        law(row.number > head, "it belongs to a block that has its `block` record already")?;
        if let Some(open) = &self.open {
            if open.number == body.number {
                law(open.hash == body.hash, "two blocks of one height are mixed")?;
                law(!self.open_included || included, "an event after the transactions of its block")?;
                let ordered = self.open_included != included || open.index < body.index;
                law(ordered, "not in the order of the block")?;
            } else {
                law(self.is_final(row.number), "above finality a block has its own `block` record")?;
                law(open.number < body.number, "blocks out of order")?;
            }
        }
        self.open = Some(body.clone());
        self.open_included = included;
        self.push(row, body);
        Ok(())
    }

    fn push(&mut self, row: &Row, body: &Body) {
        let (kind, hash) = (row.kind.clone(), body.hash);
        self.stack.push(Live { seq: row.seq, kind, number: row.number, hash, id: row.reference });
    }

    fn block(&mut self, row: &Row, body: &Body, parent: B256) -> Result<(), String> {
        if let Some(open) = self.open.take() {
            let whole = open.number < row.number || open.hash == body.hash;
            law(whole && open.number <= row.number, "it closes another block than its records'")?;
            let own = open.number == row.number || self.is_final(row.number);
            law(own, "above finality a block has its own `block` record")?;
        }
        if let Some(head) = self.head() {
            law(row.number > head.number, "the head goes back without a retraction")?;
            let next = row.number == head.number + 1;
            law(next || self.is_final(row.number), "a range above finality: `finalize` has to precede it")?;
            law(!next || head.hash == parent, "its parent is not the head")?;
        }
        if self.is_final(row.number) {
            let last = self.final_number == Some(row.number);
            law(!last || self.final_hash == body.hash, "it is not the block that is final at its height")?;
        }
        self.push(row, body);
        Ok(())
    }

    fn confirm(&mut self, row: &Row, body: &Body) -> Result<(), String> {
        law(self.open.is_none(), "a mark in the middle of a block")?;
        let live = self.stack.iter().any(|live| live.kind == "block" && live.id == row.reference);
        law(live, "it confirms a block that is not canonical")?;
        law(!self.confirms.contains_key(&row.number), "it confirms a block again")?;
        let unconfirmed_below = self
            .stack
            .iter()
            .any(|l| l.kind == "block" && l.number < row.number && !self.confirms.contains_key(&l.number));
        law(!unconfirmed_below, "a block below is not confirmed")?;
        let (kind, hash) = (row.kind.clone(), body.hash);
        let confirm = Live { seq: row.seq, kind, number: row.number, hash, id: row.reference };
        self.confirms.insert(row.number, confirm);
        Ok(())
    }

    fn finalize(&mut self, row: &Row, body: &Body) -> Result<(), String> {
        law(self.open.is_none(), "a mark in the middle of a block")?;
        law(!self.is_final(row.number), "it is final already")?;
        for live in self.stack.iter().filter(|l| l.kind == "block" && l.number <= row.number) {
            law(self.confirms.contains_key(&live.number), "a block below is not confirmed")?;
            law(
                live.number < row.number || live.id == row.reference,
                "another block is canonical at its height",
            )?;
        }
        self.final_number = Some(row.number);
        self.final_hash = body.hash;
        Ok(())
    }

    fn retract(&mut self, row: &Row, original: &Row) -> Result<(), String> {
        law(self.open.is_none(), "a retraction in the middle of a block")?;
        law(row.number == original.number, "its block number is not that of the record it takes back")?;
        law(!self.is_final(row.number), "it takes back what is final")?;
        if original.kind == "confirm" {
            self.closed()?;
            let confirm = self.confirms.remove(&row.number);
            law(confirm.is_some_and(|c| c.seq == original.seq), "that confirmation is not in force")?;
            let top = self.stack.last().is_some_and(|l| l.kind == "block" && l.number == row.number);
            law(top, "a confirmation goes only right before its own block")?;
            self.closing = Some(row.number);
            return Ok(());
        }
        if self.closing.is_some_and(|number| number != row.number) {
            self.closed()?;
        }
        self.closing = Some(row.number);
        law(!self.confirms.contains_key(&row.number), "its block's confirmation has to be taken back first")?;
        let top = self.stack.pop();
        law(top.is_some_and(|top| top.seq == original.seq), "not the newest record that is not taken back")
    }

    fn finish(&mut self, blocks: &Blocks) -> Result<(), String> {
        self.closed()?;
        law(self.open.is_none(), "a block has no `block` record")?;
        let live: HashMap<i64, &Live> =
            self.stack.iter().filter(|live| live.kind == "block").map(|live| (live.id, live)).collect();
        for (id, state) in &blocks.states {
            let body = &blocks.bodies[id];
            let expected = match live.get(id) {
                _ if self.final_number == Some(body.number) && self.final_hash == body.hash => "final",
                Some(live) if self.is_final(live.number) => "final",
                Some(live) if self.confirms.contains_key(&live.number) => "confirmed",
                Some(_) => "seen",
                // A mark of a backfill's end stays where later marks have gone on.
                None if self.is_final(body.number) && state == "final" => "final",
                None => "orphaned",
            };
            law(state == expected, &format!("block {} is {state}, and should be {expected}", body.number))?;
        }
        Ok(())
    }
}
