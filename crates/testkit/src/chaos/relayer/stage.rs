//! Everybody who has a part, and what is done to them.

mod chain;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::{Address, U256};
use plimsoll_relayer::keys::Key as _;
use plimsoll_relayer::post::lease_name;
use plimsoll_relayer::request::SignerId;
use tokio::time::{Instant, sleep};

use super::Trace;
use super::book::Tables;
use super::endpoint::{Endpoint, Manners};
use super::journal::Journal;
use super::judge::{Judge, Truth, lock, signer_id};
use super::misfortune::Misfortune;
use super::node::Node;
use super::store::{Broken, Store};
use super::story::{Act, Settings, Story};
use super::tenants::{Tenants, tenant};
use super::transaction::Pen;
use super::world::{Account, CHAIN_ID, GWEI, World};
use crate::chaos::conduct::Conduct;
use crate::chaos::dice::Dice;

/// When all is well, everything has its end within this: the longest patience of the relayer is some minutes.
const RESTS_WITHIN: Duration = Duration::from_secs(20 * 60);
/// How often it is looked whether it has.
const LOOKS_EACH: Duration = Duration::from_secs(1);
/// What comes to a signer that hands over is moved so often.
const MOVES_EACH: Duration = Duration::from_secs(2);
/// A finney, in wei.
const FINNEY: u128 = 1_000_000 * GWEI;
/// What signers have at first, and in the end, in finney.
const RICH: u64 = 1_000_000;

/// Everybody who has a part.
pub(super) struct Stage {
    settings: Settings,
    world: Arc<Mutex<World>>,
    tables: Arc<Tables>,
    trace: Arc<Trace>,
    judge: Arc<Judge>,
    journal: Arc<Journal>,
    tenants: Tenants,
    endpoints: Vec<Endpoint>,
    nodes: Vec<Arc<Node>>,
    pens: Vec<Pen>,
    dice: Mutex<Dice>,
}

/// Whoever compares moves what comes to a signer that hands over. Never ends.
async fn moves(tables: Arc<Tables>, trace: Arc<Trace>) {
    loop {
        sleep(MOVES_EACH).await;
        if tables.store().broken == Some(Broken::NeverMovedAgain) {
            continue;
        }
        let hand_over = |store: &mut Store| {
            store.unfinished(CHAIN_ID).into_iter().map(|signer| store.hand_over(signer)).sum::<usize>()
        };
        // Where it does not come through, it is done the next time.
        let moved = tables.transact(hand_over).await.unwrap_or_default();
        trace.count(|counts| counts.moved += moved as u64);
    }
}

fn wei(finney: u64) -> U256 {
    U256::from(u128::from(finney) * FINNEY)
}

fn manners(settings: &Settings) -> Manners {
    Manners { conduct: Conduct::calm(settings.slowest_ms, 0), odd_permille: 10, may_despair: false }
}

impl Stage {
    pub(super) fn new(seed: u64, settings: &Settings, trace: &Arc<Trace>, broken: Option<Broken>) -> Self {
        let pen = |place: usize| {
            let address = Address::repeat_byte(u8::try_from(0xa0 + place).expect("few"));
            Pen::new(address, Duration::from_millis(settings.signature_ms))
        };
        let pens: Vec<_> = (0..settings.signers.len()).map(pen).collect();
        let accounts = pens
            .iter()
            .zip(&settings.signers)
            .map(|(pen, (sent, _))| (pen.address(), Account { nonce: *sent, balance: wei(RICH) }));
        let mut world = World::new(&settings.clients, accounts, Dice::new(seed, 2));
        world.course.rumour_ms = settings.rumour_ms;
        let world = Arc::new(Mutex::new(world));
        let mut store = Store::default();
        store.broken = broken;
        for (pen, (_, requeues)) in pens.iter().zip(&settings.signers) {
            store.register(signer_id(pen.address()), *requeues);
        }
        let tables = Tables::new(store);
        *tables.misfortune() = Some(Misfortune {
            dice: Dice::new(seed, 3),
            lost_permille: 0,
            answer_lost_permille: 0,
            slowest_ms: settings.database_ms,
            busy_ms: 0,
            down_until: None,
            lost: 0,
            answers_lost: 0,
        });
        let judge = Arc::new(Judge {
            world: Arc::clone(&world),
            trace: Arc::clone(trace),
            truth: Mutex::new(Truth::default()),
            confirmations: settings.confirmations,
            finality: settings.finality,
        });
        tables.watched_by(Arc::clone(&judge) as Arc<_>);
        let endpoint = |place: usize| {
            let dice = Dice::new(seed, 100 + place as u64);
            Endpoint::new(place, Arc::clone(&tables), Arc::clone(&judge), manners(settings), dice)
        };
        let endpoints: Vec<_> = (0..settings.clients.len()).map(endpoint).collect();
        let (tables_of_journal, judge_of_journal) = (Arc::clone(&tables), Arc::clone(&judge));
        let journal =
            Journal::new(tables_of_journal, judge_of_journal, settings.journal_ms, Dice::new(seed, 4));
        let journal = Arc::new(journal);
        let node = |place: usize| {
            let dice = Dice::new(seed, 200 + place as u64);
            let around = (&tables, trace);
            Arc::new(Node::new(place, settings, &pens, &endpoints, &journal, around, dice))
        };
        let nodes = (0..settings.nodes).map(node).collect();
        let tenants = Tenants::new(&tables, &judge, &journal, &pens, Dice::new(seed, 5));
        Self {
            settings: settings.clone(),
            world,
            tables,
            trace: Arc::clone(trace),
            judge,
            journal,
            tenants,
            endpoints,
            nodes,
            pens,
            dice: Mutex::new(Dice::new(seed, 6)),
        }
    }

    /// Plays the story to its end, and judges.
    pub(super) async fn tell(&self, story: &Story) {
        let mut background = tokio::task::JoinSet::new();
        background.spawn(Arc::clone(&self.journal).writes());
        background.spawn(Arc::clone(&self.journal).folds());
        for node in &self.nodes {
            background.spawn(Arc::clone(node).lives());
        }
        background.spawn(moves(Arc::clone(&self.tables), Arc::clone(&self.trace)));
        let (world, every_ms) = (Arc::clone(&self.world), self.settings.block_ms);
        background.spawn(async move {
            loop {
                sleep(Duration::from_millis(every_ms)).await;
                lock(&world).grow();
            }
        });
        for (pause_ms, act) in &story.acts {
            sleep(Duration::from_millis(*pause_ms)).await;
            if self.trace.violation().is_some() {
                break;
            }
            self.trace.note(format_args!("--- {act:?}"));
            self.perform(act);
        }
        if self.trace.violation().is_none() {
            self.trace.note(format_args!("--- all is well"));
            self.heal();
            self.rest().await;
        }
        background.shutdown().await;
        self.sum();
    }

    fn perform(&self, act: &Act) {
        match act {
            Act::HandIn(asked) => asked.iter().for_each(|asked| self.tenants.hands_in(asked)),
            Act::Again { which } => self.tenants.again(*which),
            Act::Otherwise { which } => self.tenants.otherwise(*which),
            Act::CallOff { which } => self.tenants.calls_off(*which),
            Act::Crash { node, polls, down_ms, is_noticed } => {
                self.nodes[*node].dies(*polls, Duration::from_millis(*down_ms), *is_noticed);
            }
            Act::Freeze { node, ms } => {
                self.trace.count(|counts| counts.freezes += 1);
                let node = Arc::clone(&self.nodes[*node]);
                node.freezes(true);
                self.later(*ms, move || node.freezes(false));
            }
            Act::Leave { node, down_ms } => {
                let node = Arc::clone(&self.nodes[*node]);
                node.is_wanted(false);
                self.later(*down_ms, move || node.is_wanted(true));
            }
            Act::LoseSession => {
                let now = self.tables.now();
                let mut store = self.tables.store();
                store.leases.values_mut().for_each(|lease| lease.expires = lease.expires.min(now));
            }
            Act::Database { lost_permille, answer_lost_permille } => {
                self.misfortune(*lost_permille, *answer_lost_permille, Duration::ZERO);
            }
            Act::Busy { ms } => {
                if let Some(misfortune) = &mut *self.tables.misfortune() {
                    misfortune.busy_ms = *ms;
                }
            }
            Act::DatabaseDown { ms } => self.misfortune(0, 0, Duration::from_millis(*ms)),
            Act::Trouble { place, trouble, permille } => {
                let (trouble, permille) = (*trouble, *permille);
                self.endpoints[*place].behaves(|manners| manners.conduct.trouble(trouble, permille));
            }
            Act::Odd { place, permille, may_despair } => self.endpoints[*place].behaves(|manners| {
                (manners.odd_permille, manners.may_despair) = (*permille, *may_despair);
            }),
            Act::Switch { tenant: of, signer, is_on } => {
                let signer = signer.map(|signer| signer_id(self.pens[signer].address()));
                let switch = (of.map(tenant), signer);
                let mut store = self.tables.store();
                _ = if *is_on { store.switches.insert(switch) } else { store.switches.remove(&switch) };
            }
            Act::Rotate { old, new } => {
                let [old, new] = [old, new].map(|place| signer_id(self.pens[*place].address()));
                self.rotates(old, new);
            }
            Act::Look { signer } if self.tables.is_up() => {
                let signer = signer_id(self.pens[*signer].address());
                self.tables.write(|store| store.ask_to_look(signer));
                self.trace.count(|counts| counts.looks += 1);
                self.journal.rings();
            }
            Act::Pen { signer, ms } => {
                let pen = self.pens[*signer].clone();
                pen.goes_away(true);
                self.later(*ms, move || pen.goes_away(false));
            }
            Act::Journal { is_writer, ms } => self.journal.pauses(*is_writer, Duration::from_millis(*ms)),
            Act::Calm => self.calm(),
            _ => self.befall(act),
        }
    }

    /// An operator has a signer hand over to another, where that can be.
    fn rotates(&self, old: SignerId, new: SignerId) {
        if !self.tables.is_up() {
            return;
        }
        match self.tables.write(|store| store.rotate(old, new)) {
            Ok(moved) => {
                self.trace.note(format_args!("{old} hands {moved} over to {new}"));
                self.trace.count(|counts| {
                    counts.rotations += 1;
                    counts.moved += moved as u64;
                });
                self.journal.rings();
            }
            Err(refused) => self.trace.note(format_args!("{refused}")),
        }
    }

    fn misfortune(&self, lost_permille: u32, answer_lost_permille: u32, down: Duration) {
        if let Some(misfortune) = &mut *self.tables.misfortune() {
            (misfortune.lost_permille, misfortune.answer_lost_permille) =
                (lost_permille, answer_lost_permille);
            misfortune.busy_ms = 0;
            misfortune.down_until = (!down.is_zero()).then(|| Instant::now() + down);
        }
    }

    fn later(&self, ms: u64, does: impl FnOnce() + Send + 'static) {
        tokio::spawn(async move {
            sleep(Duration::from_millis(ms)).await;
            does();
        });
    }

    /// Endpoints and database are as they were at first.
    fn calm(&self) {
        self.misfortune(0, 0, Duration::ZERO);
        for endpoint in &self.endpoints {
            endpoint.behaves(|manners_of| *manners_of = manners(&self.settings));
        }
        let mut world = lock(&self.world);
        world.nodes.iter_mut().for_each(|node| (node.lag, node.lie) = (Duration::ZERO, (0, 0)));
        world.course.deaf_permille = 0;
    }

    /// All is well, and stays so.
    fn heal(&self) {
        self.calm();
        for endpoint in &self.endpoints {
            endpoint.behaves(|manners| {
                (manners.conduct, manners.odd_permille) = (Conduct::healed(20), 0);
            });
        }
        self.nodes.iter().for_each(|node| node.heals());
        self.pens.iter().for_each(|pen| pen.goes_away(false));
        self.journal.heals();
        self.tables.store().switches.clear();
        let mut world = lock(&self.world);
        world.heal();
        self.pens.iter().for_each(|pen| world.endow(pen.address(), wei(RICH)));
    }

    /// Waits until everything has its end, and judges it.
    async fn rest(&self) {
        let healed = Instant::now();
        loop {
            if self.trace.violation().is_some() {
                return;
            }
            let awaited = self.judge.awaited(&self.tables.store());
            let Some(awaited) = awaited else { break };
            if healed.elapsed() > RESTS_WITHIN {
                return self.trace.violated(format!("it does not come to rest: {awaited}"));
            }
            sleep(LOOKS_EACH).await;
        }
        self.trace.count(|counts| counts.rest_seconds_max = healed.elapsed().as_secs());
        self.judge.at_rest(&self.tables.store(), &self.tenants.accepted());
    }

    fn sum(&self) {
        let store = self.tables.store();
        let blocks = lock(&self.world).blocks.len() as u64;
        self.trace.count(|counts| {
            counts.blocks = blocks;
            counts.attempts = store.attempts.len() as u64;
            counts.fills = store.rows.iter().filter(|row| row.request.is_none()).count() as u64;
            let of_signers = store.signers.keys().filter_map(|signer| store.leases.get(&lease_name(*signer)));
            let takings = of_signers.map(|lease| lease.token.unsigned_abs().saturating_sub(1));
            counts.takeovers = takings.sum();
            counts.hand_overs = self.tables.hand_overs();
        });
        if let Some(misfortune) = &*self.tables.misfortune() {
            (0..misfortune.lost).for_each(|_| self.trace.fault("commit_lost"));
            (0..misfortune.answers_lost).for_each(|_| self.trace.fault("commit_unanswered"));
        }
    }
}
