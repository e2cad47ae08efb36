//! What happens to the chain and its nodes.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B256, U256};
use plimsoll_relayer::fees::Fees;
use plimsoll_relayer::keys::Key as _;
use plimsoll_relayer::request::Call;
use uuid::Uuid;

use super::{Stage, wei};
use crate::chaos::relayer::judge::lock;
use crate::chaos::relayer::story::{Act, Style};
use crate::chaos::relayer::transaction::{Effect, calldata};
use crate::chaos::relayer::world::{COUNTER, GWEI, LEAST_TIP, World};

impl Stage {
    /// What happens to the chain and its nodes.
    pub(super) fn befall(&self, act: &Act) {
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
            Act::Stranger { signer, place, style, has_effect, is_private, tip_percent } => {
                let tx = self.stranger(world, *signer, *place, *style, *has_effect, *tip_percent);
                if *is_private {
                    world.private.insert(tx);
                }
            }
            _ => {}
        }
    }

    /// Somebody who has the same key sends with it: what.
    fn stranger(
        &self,
        world: &mut World,
        signer: usize,
        place: usize,
        style: Style,
        has_effect: bool,
        tip_percent: u64,
    ) -> B256 {
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
        tx.hash
    }
}
