//! Everybody who has a part, and what is done to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::{Address, U256};
use plimsoll_relayer::fees::Fees;
use plimsoll_relayer::keys::Key as _;
use plimsoll_relayer::request::Call;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Trace;
use super::book::Tables;
use super::endpoint::{Endpoint, Manners};
use super::journal::Journal;
use super::judge::{Judge, Truth, lock, signer_id};
use super::misfortune::Misfortune;
use super::node::Node;
use super::store::{Broken, Store};
use super::story::{Act, Settings, Story, Style};
use super::tenants::{Tenants, tenant};
use super::transaction::{Effect, Pen, calldata};
use super::world::{Account, COUNTER, GWEI, LEAST_TIP, World};
use crate::chaos::conduct::Conduct;
use crate::chaos::dice::Dice;

/// When all is well, everything has its end within this: the longest patience of the relayer is some minutes.
const RESTS_WITHIN: Duration = Duration::from_secs(20 * 60);
/// How often it is looked whether it has.
const LOOKS_EACH: Duration = Duration::from_secs(1);
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

    /// What happens to the chain and its nodes.
    fn befall(&self, act: &Act) {
        let mut world = lock(&self.world);
        let world = &mut *world;
        match act {
            Act::Lie { place, latest, pending } => world.nodes[*place].lie = (*latest, *pending),
            Act::Lag { place, ms } => world.nodes[*place].lag = Duration::from_millis(*ms),
            Act::Forget { place, permille } => {
                let lost = world.forget(*place, *permille, &mut lock(&self.dice));
                (0..lost).for_each(|_| self.trace.fault("lost_by_a_pool"));
            }
            Act::Deaf { permille } => world.course.deaf_permille = *permille,
            Act::Reorganise { depth, more, forgets_permille } => {
                let head = world.head().number;
                let floor = world.highest.saturating_sub(self.settings.finality);
                let depth = (*depth).min(head.saturating_sub(floor));
                if depth > 0 {
                    world.reorganise(depth, (depth + more).saturating_sub(1).max(1), *forgets_permille);
                    self.trace.count(|counts| counts.reorgs += 1);
                }
            }
            Act::Fees { gwei } => world.course.base_fee = u128::from(*gwei) * GWEI,
            Act::Empty { permille } => world.course.empty_permille = *permille,
            Act::Funds { signer, finney } => world.endow(self.pens[*signer].address(), wei(*finney)),
            Act::Refuse { is_on } => {
                world.course.refuses = *is_on;
                lock(&self.judge.truth).refused |= is_on;
            }
            Act::Stranger { signer, place, style, has_effect, tip_percent } => {
                self.stranger(world, *signer, *place, *style, *has_effect, *tip_percent);
            }
            _ => {}
        }
    }

    /// Somebody who has the same key sends with it.
    fn stranger(
        &self,
        world: &mut World,
        signer: usize,
        place: usize,
        style: Style,
        has_effect: bool,
        tip_percent: u64,
    ) {
        let pen = &self.pens[signer];
        let account = world.account_of(place, pen.address());
        let mut next = account.nonce;
        while world.waiting(place, pen.address(), next).is_some() {
            next += 1;
        }
        let nonce = match style {
            Style::Next => next,
            Style::Replaces => account.nonce,
            Style::Ahead(more) => next + more,
        };
        let there = world.waiting(place, pen.address(), nonce);
        let (fee, tip) = there.map_or((3 * GWEI, LEAST_TIP), |tx| (tx.max_fee, tx.tip));
        let more = |value: u128| value * u128::from(tip_percent) / 100 + 1;
        let fees = Fees { max_fee_per_gas: more(fee), max_priority_fee_per_gas: Some(more(tip)) };
        let theirs = Uuid::from_u128(lock(&self.dice).any().into());
        let effect = if has_effect { Effect::Counts(theirs) } else { Effect::None };
        let call = Call { to: Some(COUNTER), value: U256::ZERO, data: calldata(effect) };
        let tx = Arc::new(pen.writes(nonce, fees, 100_000, call));
        let sent = world.send(place, &tx);
        self.trace.count(|counts| counts.strangers += 1);
        self.trace.note(format_args!("a stranger sends nonce {nonce}: {sent:?}"));
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
            let takings = store.leases.values().map(|lease| lease.token.unsigned_abs().saturating_sub(1));
            counts.takeovers = takings.sum();
        });
        if let Some(misfortune) = &*self.tables.misfortune() {
            (0..misfortune.lost).for_each(|_| self.trace.fault("commit_lost"));
            (0..misfortune.answers_lost).for_each(|_| self.trace.fault("commit_unanswered"));
        }
    }
}
