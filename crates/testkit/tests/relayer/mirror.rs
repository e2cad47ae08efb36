//! The book in memory, with which the relayer is simulated, is the book in Postgres: the same scripts of operations, right ones and wrong ones, go through
//! both, the fold's verdicts too, and after each step all that is in them is the same.

mod chain;
mod handing;
mod holder;
mod shown;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use plimsoll_journal::{ChainIdentity, Filter, Tail, Transaction, Writer};
use plimsoll_relayer::attempt::Attempt;
use plimsoll_relayer::book::{Book as _, PgBook, Queued};
use plimsoll_relayer::fees::Fees;
use plimsoll_relayer::fold::VerdictFold;
use plimsoll_relayer::grant::{ForeignUse, SignerPolicy};
use plimsoll_relayer::post::Post;
use plimsoll_relayer::request::{Call, Request, SignerId, Validity};
use plimsoll_relayer::{AcceptError, Bell, Intake, call_off, post, rotation, signers};
use plimsoll_store::{DEFAULT_TERM, Db, Leases, Partitions};
use plimsoll_testkit::chaos::dice::Dice;
use plimsoll_testkit::chaos::relayer::{Handed, Holding, MemoryBook, Store, Tables};
use plimsoll_types::{AttemptPurpose, Context, TransactionState};
use time::OffsetDateTime;
use uuid::Uuid;

use self::shown::{ATTEMPTS, ROWS, attempt_text, shown, text};

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

/// The right to work a signer, in both books.
struct Held {
    book: PgBook,
    memory: MemoryBook,
    post: Post,
    holding: Holding,
}

/// Both books.
struct Twins {
    dice: Dice,
    db: Db,
    intake: Intake,
    tenant: Uuid,
    signers: [SignerId; 2],
    /// The signer that a step is about.
    at: SignerId,
    leases: [Leases; 2],
    pg: PgBook,
    tables: Arc<Tables>,
    memory: MemoryBook,
    fold: VerdictFold,
    /// Who held each signer's lease, the last of whom holds it now.
    holders: BTreeMap<SignerId, Vec<Held>>,
    /// Those who stand by.
    nodes: Vec<String>,
    handed: Vec<(Uuid, Request)>,
    chain: Vec<Mined>,
    final_number: u64,
    seq: i64,
}

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
        let signers = [0x51, 0x52].map(|byte| SignerId { chain_id, address: Address::repeat_byte(byte) });
        let mut store = Store::default();
        let policies = signers.map(|signer| {
            let requeues = !dice.permille(300);
            store.register(signer, requeues);
            SignerPolicy {
                name: signer.to_string(),
                chain_id,
                address: signer.address,
                window: std::num::NonZeroU32::new(64).unwrap(),
                max_fee_per_gas_wei: None,
                on_foreign_use: if requeues { ForeignUse::Requeue } else { ForeignUse::Replace },
                grants: Vec::new(),
            }
        });
        signers::register(db, &policies).await.unwrap();
        let tables = Tables::new(store);
        Self {
            dice,
            intake: Intake::start(db.clone(), "a", policies, Bell::default()),
            tenant,
            at: signers[0],
            signers,
            pg: PgBook::new(db.clone(), leases[0].clone(), "a".into()),
            leases,
            memory: MemoryBook::new(Arc::clone(&tables), TERM, "a"),
            tables,
            fold: VerdictFold::new(chain_id, signers.map(|signer| signer.address), None),
            holders: BTreeMap::new(),
            nodes: Vec::new(),
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

    async fn hands_in(&mut self) {
        let known = !self.handed.is_empty() && self.dice.permille(250);
        let request = if known {
            let mut request = self.handed[self.dice.index(self.handed.len())].1.clone();
            request.priority += i16::from(self.dice.permille(500));
            request
        } else {
            self.request()
        };
        let told = self.intake.accept(request.clone()).await;
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
            signer: self.at,
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
                as_of_block_hash: self.dice.pick(&[None, None, of_chain]),
            },
            simulate: self.dice.pick(&[None, None, Some(true), Some(false)]),
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

    async fn calls_off(&mut self) {
        if self.handed.is_empty() {
            return;
        }
        let id = self.handed[self.dice.index(self.handed.len())].0;
        let real = call_off(&self.db, self.tenant, id, "the tenant says so").await.unwrap();
        assert_eq!(real, self.tables.store().call_off(id, "the tenant says so"), "call off");
    }

    async fn switches(&mut self) {
        let (tenant, signer) = (self.tenant, self.at);
        let switch =
            self.dice.pick(&[(Some(tenant), None), (Some(tenant), Some(signer)), (None, Some(signer))]);
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

    async fn step(&mut self) {
        self.at = self.dice.pick(&self.signers);
        match self.dice.up_to(104) {
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
            88..=99 => self.marks().await,
            100 => self.rotates().await,
            101..=103 => self.hands_over().await,
            _ => self.asks_to_look().await,
        }
    }

    /// All that is in both.
    async fn are_the_same(&mut self, step: u64) {
        let rows =
            |statement| sqlx::query_scalar::<_, String>(statement).bind(self.at.chain_id.cast_signed());
        let real_rows = rows(ROWS).fetch_all(self.db.worker()).await.unwrap();
        let real_attempts = rows(ATTEMPTS).fetch_all(self.db.worker()).await.unwrap();
        {
            let store = self.tables.store();
            let mut ours: Vec<_> = store.rows.iter().map(text).collect();
            ours.sort();
            assert_eq!(real_rows, ours, "requests after step {step}");
            let attempts: Vec<_> =
                store.attempts.iter().map(|((signer, ..), row)| attempt_text(*signer, row)).collect();
            assert_eq!(real_attempts, attempts, "attempts after step {step}");
            (0..store.rows.len()).for_each(|place| store.check(place).unwrap());
        }
        for signer in self.signers {
            self.is_the_same_of(signer, step).await;
        }
        let mut conn = self.db.worker().acquire().await.unwrap();
        let mut unfinished = rotation::unfinished(&mut conn, self.at.chain_id).await.unwrap();
        unfinished.sort();
        assert_eq!(unfinished, self.tables.store().unfinished(self.at.chain_id), "after step {step}");
    }

    /// What both have of a signer.
    async fn is_the_same_of(&self, signer: SignerId, step: u64) {
        let mut conn = self.db.worker().acquire().await.unwrap();
        let node = post::node_of(&mut conn, signer).await.unwrap();
        drop(conn);
        assert_eq!(node, self.tables.store().node_of(signer, self.tables.now()), "node after step {step}");
        let (real, ours) = (&self.pg, &self.memory);
        let progress = (real.progress(signer).await, ours.progress(signer).await);
        assert_eq!(shown(&progress.0), shown(&progress.1), "progress after step {step}");
        let all = (real.queue(signer, None, 100).await, ours.queue(signer, None, 100).await);
        assert_eq!(shown(&all.0), shown(&all.1), "queue after step {step}");
        let behind = all.0.unwrap().first().map(Queued::place);
        let rest = (real.queue(signer, behind, 2).await, ours.queue(signer, behind, 2).await);
        assert_eq!(shown(&rest.0), shown(&rest.1), "queue behind a place after step {step}");
        let mut flights = ours.flights(signer, 0).await.unwrap();
        for flight in &mut flights {
            flight.committed_at = OffsetDateTime::UNIX_EPOCH;
        }
        assert_eq!(
            format!("{:?}", self.flights(signer).await),
            format!("{flights:?}"),
            "flights after step {step}"
        );
        let bound = (real.bound(signer, 1, 20).await, ours.bound(signer, 1, 20).await);
        assert_eq!(shown(&bound.0), shown(&bound.1), "bound after step {step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_book_in_memory_is_the_book_in_postgres() {
    let db = plimsoll_store::testing::db().await;
    let mut rotated = false;
    let mut reached = std::collections::BTreeSet::new();
    for script in 0..SCRIPTS {
        println!("script {script}");
        let mut twins = Twins::new(&db, script).await;
        for signer in twins.signers {
            twins.at = signer;
            twins.takes_over().await;
        }
        for step in 0..STEPS {
            twins.step().await;
            twins.are_the_same(step).await;
            rotated |= twins.tables.store().signers.values().any(|row| row.rotated_to.is_some());
            reached.extend(twins.tables.store().rows.iter().map(|row| row.state.as_str()));
        }
    }
    assert!(rotated, "no signer hands over");
    assert_eq!(reached.len(), TransactionState::ALL.len(), "the scripts reach {reached:?} only");
}
