//! The book in memory, with which the relayer is simulated, is the book in Postgres: the same scripts of operations, right ones and wrong ones, go through
//! both, the fold's verdicts too, and after each step all that is in them is the same.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use plimsoll_journal::{
    Body, ChainIdentity, Filter, Fold as _, Record, Tail, Transaction, Undone, Writer,
};
use plimsoll_relayer::attempt::{Attempt, Flight};
use plimsoll_relayer::book::{Book, BookError, Ending, PgBook, Told};
use plimsoll_relayer::fees::Fees;
use plimsoll_relayer::fold::VerdictFold;
use plimsoll_relayer::grant::{ForeignUse, SignerPolicy};
use plimsoll_relayer::request::{Call, Request, SignerId, Validity};
use plimsoll_relayer::{AcceptError, Acceptor, Bell, call_off, signers};
use plimsoll_store::{DEFAULT_TERM, Db, Lease, Leases, Partitions};
use plimsoll_testkit::chaos::dice::Dice;
use plimsoll_testkit::chaos::relayer::{Entry, Handed, Holding, MemoryBook, Row, Seen, Store, Tables};
use plimsoll_types::{Amount, AttemptPurpose, Context, JournalKind, TransactionState};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const SCRIPTS: u64 = 24;
const STEPS: u64 = 40;
/// Longer than a test lasts.
const TERM: Duration = Duration::from_secs(3_600);

/// A block of a script's chain.
struct Mined {
    number: u64,
    hash: B256,
    included: Vec<Transaction>,
}

/// Both books.
struct Twins {
    dice: Dice,
    db: Db,
    acceptor: Acceptor,
    tenant: Uuid,
    signer: SignerId,
    leases: [Leases; 2],
    pg: [PgBook; 2],
    tables: Arc<Tables>,
    memory: MemoryBook,
    fold: VerdictFold,
    /// Who held the lease, the last of whom holds it now: the node, and both its rights.
    holders: Vec<(usize, Lease, Holding)>,
    handed: Vec<(Uuid, Request)>,
    chain: Vec<Mined>,
    final_number: u64,
    seq: i64,
}

fn shown<T: Debug>(told: &Result<T, BookError>) -> String {
    match told {
        Ok(told) => format!("{told:?}"),
        Err(BookError::Fenced(_)) => "fenced".to_owned(),
        Err(BookError::Unknown(_)) => "unknown".to_owned(),
        Err(_) => "refused".to_owned(),
    }
}

/// A row as both show it.
fn text(row: &Row) -> String {
    fn or<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
    }
    let hex = |hash: Option<B256>| or(hash.map(alloy_primitives::hex::encode));
    let purpose = row.ours.map(|ours| match ours.purpose {
        AttemptPurpose::Send => "send",
        AttemptPurpose::Bump => "bump",
        AttemptPurpose::Cancel => "cancel",
        AttemptPurpose::Fill => "fill",
    });
    [
        row.id.to_string(),
        row.state.to_string(),
        row.version.to_string(),
        or(row.nonce),
        or(row.end_wanted),
        or(row.end_why.clone()),
        or(row.taken.map(|taken| taken.block_number)),
        hex(row.taken.map(|taken| taken.block_hash)),
        hex(row.taken.map(|taken| taken.tx_hash)),
        or(row.taken.map(|taken| taken.succeeded)),
        or(row.ours.map(|ours| ours.attempt)),
        or(purpose),
        or(row.ours.map(|ours| ours.gas_used)),
        or(row.ours.map(|ours| ours.gas_paid_wei)),
        row.is_final.to_string(),
    ]
    .join("|")
}

const ROWS: &str = "SELECT array_to_string(ARRAY[id::text, state::text, version::text, nonce::text, end_wanted::text, end_why, block_number::text,
        encode(block_hash, 'hex'), encode(tx_hash, 'hex'), succeeded::text, attempt::text, purpose::text, gas_used::text, gas_paid_wei::text, is_final::text], '|', '-')
    FROM managed_transactions WHERE chain_id = $1 ORDER BY id";
const ATTEMPTS: &str = "SELECT array_to_string(ARRAY[nonce::text, attempt::text, transaction_id::text, purpose::text, encode(tx_hash, 'hex'), fencing_token::text], '|', '-')
    FROM transaction_attempts WHERE chain_id = $1 ORDER BY nonce, attempt";

impl Twins {
    async fn new(db: &Db, script: u64) -> Self {
        let mut dice = Dice::new(script, 9);
        let chain_id = 1_000 + script;
        let tenant = Uuid::from_u128(u128::from(script) + 1);
        sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)")
            .bind(tenant)
            .bind(tenant.to_string())
            .execute(db.worker())
            .await
            .unwrap();
        let leases = [
            Leases::connect(db, "a", DEFAULT_TERM).await.unwrap(),
            Leases::connect(db, "b", DEFAULT_TERM).await.unwrap(),
        ];
        let writing = leases[0].acquire(&plimsoll_ingest::lease_name(chain_id)).await.unwrap().unwrap();
        let identity = ChainIdentity {
            chain_id,
            name: "mirror".into(),
            genesis_hash: B256::ZERO,
            start_block: 1,
            confirmations: 2,
            finality: "as it is told".into(),
            filter: Filter::default(),
        };
        Writer::open(db, writing, Tail::default(), &identity).await.unwrap();
        let mut partitions = Partitions::default();
        for table in ["chain_blocks", "chain_tx_meta"] {
            partitions.ensure(db.worker(), table, chain_id, 0, 1).await.unwrap();
        }
        let signer = SignerId { chain_id, address: Address::repeat_byte(0x51) };
        let requeues = !dice.permille(300);
        let policy = SignerPolicy {
            name: "mirror".into(),
            chain_id,
            address: signer.address,
            window: std::num::NonZeroU32::new(64).unwrap(),
            max_fee_per_gas_wei: None,
            on_foreign_use: if requeues { ForeignUse::Requeue } else { ForeignUse::Replace },
            grants: Vec::new(),
        };
        signers::register(db, &[policy]).await.unwrap();
        let mut store = Store::default();
        store.register(signer, requeues);
        let tables = Tables::new(store);
        let book = |place: usize, name: &str| PgBook::new(db.clone(), leases[place].clone(), name.into());
        Self {
            dice,
            acceptor: Acceptor::start(db.clone(), "a".into(), [signer], Bell::default()),
            tenant,
            signer,
            pg: [book(0, "a"), book(1, "b")],
            leases: leases.clone(),
            memory: MemoryBook::new(Arc::clone(&tables), TERM),
            tables,
            fold: VerdictFold::new(chain_id, [signer.address], None),
            holders: Vec::new(),
            handed: Vec::new(),
            chain: Vec::new(),
            final_number: 0,
            seq: 0,
            db: db.clone(),
        }
    }

    fn bytes(&mut self) -> B256 {
        keccak256(self.dice.any().to_be_bytes())
    }

    /// Another node takes the signer; the one before it keeps what it thinks it has.
    async fn takes_over(&mut self) {
        let node = self.holders.last().map_or(0, |(node, ..)| 1 - node);
        if let Some((_, lease, holding)) = self.holders.last() {
            lease.clone().release().await.unwrap();
            let now = self.tables.now();
            self.tables.store().free_lease(self.signer, holding.token(), now);
        }
        let stop = CancellationToken::new();
        let name = plimsoll_relayer::book::lease_name(self.signer);
        let lease = self.leases[node].acquire_wait(&name, &stop).await.unwrap();
        let holding = self.memory.acquire(self.signer, &stop).await.unwrap();
        assert_eq!(lease.token(), holding.token());
        self.holders.push((node, lease, holding));
    }

    /// Who acts: mostly the one who may.
    fn holder(&mut self) -> usize {
        let last = self.holders.len() - 1;
        if self.dice.permille(150) { self.dice.index(last + 1) } else { last }
    }

    async fn hands_in(&mut self) {
        let known = !self.handed.is_empty() && self.dice.permille(250);
        let request = if known {
            let mut request = self.handed[self.dice.index(self.handed.len())].1.clone();
            request.priority += i16::from(self.dice.permille(500));
            request
        } else {
            self.request()
        };
        let told = self.acceptor.accept(request.clone()).await;
        let id = match &told {
            Ok(accepted) => accepted.id,
            Err(AcceptError::Conflict { id, .. }) => *id,
            Err(other) => panic!("{other}"),
        };
        let handed = self.tables.store().accept(id, &request);
        match (&told, handed) {
            (Ok(accepted), Handed::New) => assert!(!accepted.is_replay),
            (Ok(accepted), Handed::Known(theirs)) => assert!(accepted.is_replay && theirs == id),
            (Err(_), Handed::Conflict(theirs)) => assert_eq!(theirs, id),
            (told, handed) => panic!("{told:?} and {handed:?}"),
        }
        if handed == Handed::New {
            self.handed.push((id, request));
        }
    }

    fn request(&mut self) -> Request {
        let mut context = Context::new(Uuid::from_u128(self.dice.any().into()), "test");
        context.tenant_id = Some(self.tenant);
        let never = OffsetDateTime::from_unix_timestamp(10_000).unwrap();
        let always = OffsetDateTime::from_unix_timestamp(7_000_000_000).unwrap();
        let of_chain = self.chain.last().map(|block| block.hash);
        Request {
            context,
            operation_type: "mirror".into(),
            signer: self.signer,
            call: Call {
                to: self.dice.permille(900).then_some(Address::repeat_byte(3)),
                value: U256::from(self.dice.up_to(9)),
                data: Bytes::from_static(&[1, 2]),
            },
            gas_limit: self.dice.permille(500).then_some(90_000),
            max_fee_limit: self.dice.permille(300).then_some(77),
            priority: self.dice.pick(&[0, 0, 3, -1]),
            validity: Validity {
                until: self.dice.pick(&[None, None, Some(never), Some(always)]),
                until_block: self.dice.permille(200).then_some(12),
                as_of_block_hash: self.dice.pick(&[None, None, of_chain, Some(B256::repeat_byte(9))]),
            },
        }
    }

    fn attempt(&mut self, id: Uuid, tenant: Option<Uuid>, nonce: u64, number: u32) -> Attempt {
        let hash = self.bytes();
        Attempt {
            transaction_id: id,
            tenant_id: tenant,
            nonce,
            number,
            purpose: AttemptPurpose::Send,
            fees: Fees { max_fee_per_gas: 9, max_priority_fee_per_gas: self.dice.permille(700).then_some(2) },
            gas_limit: 50_000,
            raw: Bytes::copy_from_slice(hash.as_slice()),
            tx_hash: hash,
            why: "a script".into(),
        }
    }

    async fn enters(&mut self) {
        let behind = None;
        let limit = 1 + self.dice.index(3);
        let queued = self.pg[0].queue(self.signer, behind, limit).await.unwrap();
        let mut ids: Vec<_> = queued.iter().map(|queued| queued.id).collect();
        if ids.is_empty() || self.dice.permille(100) {
            // One that may not enter, or not any more.
            let Some((id, _)) = self.handed.first() else { return };
            ids = vec![*id];
        }
        let next = self.pg[0].progress(self.signer).await.unwrap().next_nonce;
        let floor = if self.dice.permille(150) { next + self.dice.up_to(3) } else { 0 };
        let wrong = u64::from(self.dice.permille(150));
        let first = next.max(floor) + wrong;
        let tenant = Some(self.tenant);
        let attempts: Vec<_> =
            ids.into_iter().zip(first..).map(|(id, nonce)| self.attempt(id, tenant, nonce, 1)).collect();
        let holder = self.holder();
        let (node, lease, holding) = &self.holders[holder];
        let real = self.pg[*node].enter(lease, self.signer, floor, &attempts).await;
        let ours = self.memory.enter(holding, self.signer, floor, &attempts).await;
        assert_eq!(shown(&real), shown(&ours), "enter");
    }

    async fn flights(&self) -> Vec<Flight> {
        let mut flights = self.pg[0].flights(self.signer, 0).await.unwrap();
        for flight in &mut flights {
            flight.committed_at = OffsetDateTime::UNIX_EPOCH;
        }
        flights
    }

    async fn again(&mut self) {
        let flights = self.flights().await;
        let Some(flight) = (!flights.is_empty()).then(|| flights[self.dice.index(flights.len())].clone()) else {
            return;
        };
        let latest = flight.latest;
        let number = latest.number + u32::from(!self.dice.permille(150));
        let mut attempt = self.attempt(latest.transaction_id, latest.tenant_id, latest.nonce, number);
        attempt.purpose = match flight.end_wanted {
            _ if flight.is_fill => AttemptPurpose::Fill,
            Some(_) => AttemptPurpose::Cancel,
            None => AttemptPurpose::Bump,
        };
        let holder = self.holder();
        let (node, lease, holding) = &self.holders[holder];
        let attempts = [attempt];
        let real = self.pg[*node].again(lease, self.signer, &attempts).await;
        let ours = self.memory.again(holding, self.signer, &attempts).await;
        assert_eq!(shown(&real), shown(&ours), "again");
    }

    async fn fills(&mut self) {
        let next = self.pg[0].progress(self.signer).await.unwrap().next_nonce;
        if next == 0 {
            return;
        }
        let bound = self.pg[0].bound(self.signer, 0, next).await.unwrap();
        let gap = (0..next).find(|nonce| !bound.contains(nonce));
        let nonce = gap.filter(|_| !self.dice.permille(100)).unwrap_or(next - 1);
        let id = Uuid::from_u128(self.dice.any().into());
        let mut attempt = self.attempt(id, None, nonce, 1);
        attempt.purpose = AttemptPurpose::Fill;
        let holder = self.holder();
        let (node, lease, holding) = &self.holders[holder];
        let attempts = [attempt];
        let real = self.pg[*node].fill(lease, self.signer, &attempts).await;
        let ours = self.memory.fill(holding, self.signer, &attempts).await;
        assert_eq!(shown(&real), shown(&ours), "fill");
    }

    async fn ends(&mut self) {
        use TransactionState::{Cancelled, Expired, Failed};
        if self.handed.is_empty() {
            return;
        }
        let count = 1 + self.dice.index(2);
        let endings: Vec<_> = (0..count)
            .map(|_| {
                let id = self.handed[self.dice.index(self.handed.len())].0;
                Ending { id, end: self.dice.pick(&[Failed, Cancelled, Expired]), why: "a script".into() }
            })
            .collect();
        let wants = self.dice.permille(500);
        let holder = self.holder();
        let (node, lease, holding) = &self.holders[holder];
        let (real, ours) = if wants {
            let ending = &endings[0];
            (self.pg[*node].want_end(lease, ending).await, self.memory.want_end(holding, ending).await)
        } else {
            (self.pg[*node].end(lease, &endings).await, self.memory.end(holding, &endings).await)
        };
        assert_eq!(shown(&real), shown(&ours), "end");
    }

    async fn records(&mut self) {
        let flights = self.flights().await;
        let known = flights.first().map(|flight| flight.latest.tx_hash);
        let tx_hash = known.filter(|_| !self.dice.permille(200)).unwrap_or(B256::repeat_byte(1));
        let told = [Told {
            tx_hash,
            tenant_id: Some(self.tenant),
            endpoint: "one".into(),
            answer: "accepted",
            detail: None,
            sent_at: OffsetDateTime::UNIX_EPOCH,
        }];
        let real = self.pg[0].record(self.signer.chain_id, &told).await;
        let ours = self.memory.record(self.signer.chain_id, &told).await;
        assert_eq!(shown(&real), shown(&ours), "record");
    }

    async fn calls_off(&mut self) {
        if self.handed.is_empty() {
            return;
        }
        let id = self.handed[self.dice.index(self.handed.len())].0;
        let real = call_off(&self.db, self.tenant, id, "the tenant says so").await.unwrap();
        assert_eq!(real, self.tables.store().call_off(id, "the tenant says so"), "call off");
    }

    async fn switches(&mut self) {
        let (tenant, signer) = (self.tenant, self.signer);
        let switch = self.dice.pick(&[(Some(tenant), None), (Some(tenant), Some(signer)), (None, Some(signer))]);
        let is_on = self.tables.store().switches.contains(&switch);
        let address = switch.1.map(|signer| plimsoll_types::address_text(&signer.address));
        let statement = if is_on {
            "DELETE FROM kill_switches WHERE tenant_id IS NOT DISTINCT FROM $1 AND chain_id IS NOT DISTINCT FROM $2 AND signer IS NOT DISTINCT FROM $3"
        } else {
            "INSERT INTO kill_switches (tenant_id, chain_id, signer, thrown_by, reason) VALUES ($1, $2, $3, 'test', 'a script')"
        };
        sqlx::query(statement)
            .bind(switch.0)
            .bind(switch.1.map(|signer| signer.chain_id.cast_signed()))
            .bind(address)
            .execute(self.db.worker())
            .await
            .unwrap();
        let mut store = self.tables.store();
        _ = if is_on { store.switches.remove(&switch) } else { store.switches.insert(switch) };
    }

    /// A block, with what consumes the next nonces: attempts of ours, or a stranger's.
    async fn grows(&mut self) {
        let number = self.chain.last().map_or(1, |block| block.number + 1);
        let hash = self.bytes();
        let used = self.chain.iter().map(|block| block.included.len() as u64).sum::<u64>();
        let mut included = Vec::new();
        for (place, nonce) in (used..used + self.dice.up_to(3)).enumerate() {
            let attempts: Vec<_> = {
                let store = self.tables.store();
                let of_nonce = store.attempts.range((self.signer, nonce, 0)..=(self.signer, nonce, u32::MAX));
                of_nonce.map(|(_, row)| row.attempt.tx_hash).collect()
            };
            let is_theirs = attempts.is_empty() || self.dice.permille(200);
            let tx_hash = if is_theirs { self.bytes() } else { attempts[self.dice.index(attempts.len())] };
            included.push(Transaction {
                id: self.dice.any().cast_signed() >> 1,
                block_number: number,
                block_hash: hash,
                tx_hash,
                tx_index: u32::try_from(place).unwrap(),
                sender: self.signer.address,
                to: None,
                nonce,
                succeeded: !self.dice.permille(250),
                gas_used: Amount::from(21_000_u64),
                effective_gas_price: Amount::from(2_u64),
                gas_paid_wei: Amount::from(42_000_u64),
                request_id: None,
            });
        }
        self.keeps(number, hash, &included).await;
        let seen: Vec<_> = included.iter().map(seen).collect();
        let records: Vec<_> = included.iter().map(|tx| self.record(JournalKind::Included, tx)).collect();
        self.folds(&records, &seen.iter().map(|seen| Entry::Included(*seen)).collect::<Vec<_>>()).await;
        self.chain.push(Mined { number, hash, included });
    }

    /// What the chain's writer keeps of a block.
    async fn keeps(&self, number: u64, hash: B256, included: &[Transaction]) {
        let chain_id = self.signer.chain_id.cast_signed();
        sqlx::query("INSERT INTO chain_blocks (chain_id, number, hash, id, parent_hash, time, state) VALUES ($1, $2, $3, $2, $3, now(), 'seen')")
            .bind(chain_id)
            .bind(number.cast_signed())
            .bind(hash.to_vec())
            .execute(self.db.worker())
            .await
            .unwrap();
        for tx in included {
            sqlx::query(
                "INSERT INTO chain_tx_meta (chain_id, block_number, block_hash, tx_index, id, tx_hash, sender, nonce, succeeded, gas_used, effective_gas_price, gas_paid_wei)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8::bigint, $9, 21000, 2, 42000)",
            )
            .bind(chain_id)
            .bind(number.cast_signed())
            .bind(hash.to_vec())
            .bind(tx.tx_index.cast_signed())
            .bind(tx.id)
            .bind(tx.tx_hash.to_vec())
            .bind(plimsoll_types::address_text(&tx.sender))
            .bind(tx.nonce.cast_signed())
            .bind(tx.succeeded)
            .execute(self.db.worker())
            .await
            .unwrap();
        }
        let mut store = self.tables.store();
        store.journal.blocks.insert(hash, true);
        store.journal.inclusions.extend(included.iter().map(seen));
    }

    fn record(&mut self, kind: JournalKind, tx: &Transaction) -> Record {
        self.seq += 1;
        Record {
            seq: self.seq,
            kind,
            block_number: tx.block_number,
            body: Body::Transaction(Arc::new(tx.clone())),
        }
    }

    async fn folds(&mut self, records: &[Record], entries: &[Entry]) {
        if records.is_empty() {
            return;
        }
        let mut tx = self.db.begin_worker().await.unwrap();
        self.fold.apply(&mut tx, None, records).await.unwrap();
        tx.commit().await.unwrap();
        self.tables.store().apply(self.signer.chain_id, entries);
    }

    /// The newest block leaves the chain, if it is not final.
    async fn leaves(&mut self) {
        let Some(block) = self.chain.pop_if(|block| block.number > self.final_number) else { return };
        sqlx::query("UPDATE chain_blocks SET state = 'orphaned' WHERE chain_id = $1 AND hash = $2")
            .bind(self.signer.chain_id.cast_signed())
            .bind(block.hash.to_vec())
            .execute(self.db.worker())
            .await
            .unwrap();
        self.tables.store().journal.blocks.insert(block.hash, false);
        let mut undone = Vec::new();
        for tx in block.included.iter().rev() {
            let record = self.record(JournalKind::Included, tx);
            undone.push(Undone { retract_seq: record.seq, record, undo: None });
        }
        let mut tx = self.db.begin_worker().await.unwrap();
        self.fold.undo(&mut tx, undone).await.unwrap();
        tx.commit().await.unwrap();
        let seen: Vec<_> = block.included.iter().rev().map(seen).collect();
        self.tables.store().undo(self.signer.chain_id, &seen);
    }

    /// A block has the confirmations, or is final.
    async fn marks(&mut self) {
        let Some(top) = self.chain.last().map(|block| block.number) else { return };
        let is_final = self.dice.permille(500);
        let number = top.saturating_sub(self.dice.up_to(3));
        if number == 0 || is_final && number <= self.final_number {
            return;
        }
        self.seq += 1;
        let block = plimsoll_journal::Block {
            id: 1,
            number,
            hash: B256::ZERO,
            parent_hash: B256::ZERO,
            time: OffsetDateTime::UNIX_EPOCH,
        };
        let (kind, entry) = match is_final {
            true => (JournalKind::Finalize, Entry::Finalize(number)),
            false => (JournalKind::Confirm, Entry::Confirm(number)),
        };
        if is_final {
            self.final_number = number;
        }
        let record = Record { seq: self.seq, kind, block_number: number, body: Body::Block(Arc::new(block)) };
        self.folds(&[record], &[entry]).await;
    }

    async fn step(&mut self) {
        match self.dice.up_to(99) {
            0..=19 => self.hands_in().await,
            20..=23 => self.calls_off().await,
            24..=27 => self.takes_over().await,
            28..=44 => self.enters().await,
            45..=52 => self.again().await,
            53..=57 => self.fills().await,
            58..=63 => self.ends().await,
            64..=65 => self.records().await,
            66..=67 => self.switches().await,
            68..=82 => self.grows().await,
            83..=87 => self.leaves().await,
            _ => self.marks().await,
        }
    }

    /// All that is in both.
    async fn are_the_same(&mut self, step: u64) {
        let rows = |statement| sqlx::query_scalar::<_, String>(statement).bind(self.signer.chain_id.cast_signed());
        let real_rows = rows(ROWS).fetch_all(self.db.worker()).await.unwrap();
        let real_attempts = rows(ATTEMPTS).fetch_all(self.db.worker()).await.unwrap();
        {
            let store = self.tables.store();
            let mut ours: Vec<_> = store.rows.iter().map(text).collect();
            ours.sort();
            assert_eq!(real_rows, ours, "requests after step {step}");
            let attempts: Vec<_> = store
                .attempts
                .iter()
                .map(|((_, nonce, number), row)| {
                    let purpose = match row.attempt.purpose {
                        AttemptPurpose::Send => "send",
                        AttemptPurpose::Bump => "bump",
                        AttemptPurpose::Cancel => "cancel",
                        AttemptPurpose::Fill => "fill",
                    };
                    let hash = alloy_primitives::hex::encode(row.attempt.tx_hash);
                    format!("{nonce}|{number}|{}|{purpose}|{hash}|{}", row.attempt.transaction_id, row.token)
                })
                .collect();
            assert_eq!(real_attempts, attempts, "attempts after step {step}");
            (0..store.rows.len()).for_each(|place| store.check(place).unwrap());
        }
        let signer = self.signer;
        let (real, ours) = (&self.pg[0], &self.memory);
        let progress = (real.progress(signer).await, ours.progress(signer).await);
        assert_eq!(shown(&progress.0), shown(&progress.1), "progress after step {step}");
        let all = (real.queue(signer, None, 100).await, ours.queue(signer, None, 100).await);
        assert_eq!(shown(&all.0), shown(&all.1), "queue after step {step}");
        let behind = all.0.unwrap().first().map(plimsoll_relayer::book::Queued::place);
        let rest = (real.queue(signer, behind, 2).await, ours.queue(signer, behind, 2).await);
        assert_eq!(shown(&rest.0), shown(&rest.1), "queue behind a place after step {step}");
        let mut flights = ours.flights(signer, 0).await.unwrap();
        for flight in &mut flights {
            flight.committed_at = OffsetDateTime::UNIX_EPOCH;
        }
        assert_eq!(format!("{:?}", self.flights().await), format!("{flights:?}"), "flights after step {step}");
        let bound = (real.bound(signer, 1, 20).await, ours.bound(signer, 1, 20).await);
        assert_eq!(shown(&bound.0), shown(&bound.1), "bound after step {step}");
    }
}

fn seen(tx: &Transaction) -> Seen {
    Seen {
        sender: tx.sender,
        nonce: tx.nonce,
        tx_hash: tx.tx_hash,
        block_number: tx.block_number,
        block_hash: tx.block_hash,
        succeeded: tx.succeeded,
        gas_used: tx.gas_used.0,
        gas_paid_wei: tx.gas_paid_wei.0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_book_in_memory_is_the_book_in_postgres() {
    let db = plimsoll_store::testing::db().await;
    let mut reached = std::collections::BTreeSet::new();
    for script in 0..SCRIPTS {
        println!("script {script}");
        let mut twins = Twins::new(&db, script).await;
        twins.takes_over().await;
        for step in 0..STEPS {
            twins.step().await;
            twins.are_the_same(step).await;
            reached.extend(twins.tables.store().rows.iter().map(|row| row.state.as_str()));
        }
    }
    assert_eq!(reached.len(), TransactionState::ALL.len(), "the scripts reach {reached:?} only");
}
