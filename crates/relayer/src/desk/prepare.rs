//! From requests to signed bytes: what is refused before it has a nonce, what gas it gets, what is offered for it.

use alloy_primitives::{Address, Bytes, U256};
use plimsoll_chain::UnsignedTransaction;
use plimsoll_types::{AttemptPurpose, TransactionState};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Shift;
use super::market::Prices;
use super::policy::Replacement;
use super::trial::{Outcome, Trial};
use crate::admission::{self, Admitted};
use crate::attempt::{Attempt, Flight};
use crate::book::{Book, DecidedOn, Ending, Place, Queued};
use crate::envelope::Unsigned;
use crate::fees::{self, Bump, Fees, GasError, Pricing, Terms, Urgency};
use crate::request::{Call, SignerId};

/// A request that can be signed as soon as it has a nonce.
pub(super) struct Ready {
    queued: Queued,
    gas_limit: u64,
    offer: fees::Offer,
}

/// What came of a look at the queue.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) ready: Vec<Ready>,
    pub(super) endings: Vec<Ending>,
    /// What can neither be signed nor ends, and why.
    pub(super) passed: Vec<(Uuid, String)>,
}

impl Prepared {
    /// Leaves out what there is no room for; the last that there is room for, if something was left out.
    pub(super) fn keep(&mut self, room: usize) -> Option<Place> {
        let last =
            (self.ready.len() > room).then(|| self.ready[..room].last().map(|last| last.queued.place()));
        self.ready.truncate(room);
        last.flatten()
    }

    fn pass(&mut self, signer: SignerId, id: Uuid, why: String) {
        tracing::debug!(%signer, transaction_id = %id, why, "a request cannot enter the window");
        self.passed.push((id, why));
    }

    fn end(&mut self, id: Uuid, end: TransactionState, why: String) {
        self.endings.push(Ending { id, end, why, reason: None });
    }
}

impl<B: Book> Shift<'_, B> {
    fn terms(&self, prices: &Prices, priority: i16, max_fee_limit: Option<u128>) -> Terms {
        let options = &self.desk.options;
        Terms {
            // A chain without base fees takes no transaction that names one, whatever is configured.
            pricing: if prices.has_base_fee { options.pricing } else { Pricing::GasPrice },
            urgency: Urgency::of_priority(priority),
            min_priority_fee_per_gas: options.min_priority_fee_per_gas,
            max_fee_per_gas: options.max_fee_per_gas,
            max_fee_limit,
        }
    }

    /// Sorts what waits into what can be signed and what ends here; the rest is passed over, and it is kept why.
    pub(super) async fn prepare(&mut self, prices: &Prices, balance: U256, queued: Vec<Queued>) -> Prepared {
        let mut prepared = Prepared::default();
        let mut open = Vec::new();
        for queued in queued {
            match end_of(&queued, prices.head) {
                Some((end, why)) => prepared.end(queued.id, end, why),
                None => open.push(queued),
            }
        }
        let entry = &self.desk.options.entry;
        let answers = entry.gates.ask(self.desk.signer, prices.head, &open.iter().collect::<Vec<_>>()).await;
        let mut priced = Vec::new();
        for (queued, answer) in open.into_iter().zip(answers) {
            let answer =
                if answer == Admitted::Yes { admission::by_its_block(queued.decided_on) } else { answer };
            match answer {
                Admitted::Yes => {}
                Admitted::Refused { end, why } => {
                    prepared.end(queued.id, end.state(), why);
                    continue;
                }
                Admitted::Held { why } => {
                    prepared.pass(self.desk.signer, queued.id, why);
                    continue;
                }
            }
            match fees::offer(&prices.market, &self.terms(prices, queued.priority, queued.max_fee_limit)) {
                Ok(offer) => priced.push((queued, offer)),
                Err(above) => prepared.pass(self.desk.signer, queued.id, above.to_string()),
            }
        }
        let wanted = priced.iter().filter_map(|(queued, _)| Some((queued.id, self.trial(queued)?)));
        let wanted = wanted.collect();
        let mut tried = self.asked.trials.of(wanted).await;
        let mut budget = balance;
        for live in self.live.values() {
            budget = budget.saturating_sub(live.flight.max_cost_wei());
        }
        for (queued, offer) in priced {
            let needed = match tried.remove(&queued.id) {
                Some(Outcome::Gas(gas)) => gas,
                Some(Outcome::Reverts(reason)) => {
                    let why = format!("it would revert: {reason}");
                    let end = TransactionState::Failed;
                    prepared.endings.push(Ending { id: queued.id, end, why, reason: Some(*reason) });
                    continue;
                }
                Some(Outcome::Unknown(why)) => {
                    prepared.pass(self.desk.signer, queued.id, why);
                    continue;
                }
                None if self.trial(&queued).is_some() => {
                    let why = "no endpoint has told yet whether it would revert, and what gas it needs";
                    prepared.pass(self.desk.signer, queued.id, why.to_owned());
                    continue;
                }
                None => 0,
            };
            let gas_limit = match self.gas_limit(prices, &queued.call, queued.gas_limit, needed) {
                Ok(gas_limit) => gas_limit,
                Err(error) => {
                    prepared.end(queued.id, TransactionState::Failed, error.to_string());
                    continue;
                }
            };
            let cost = fees::max_cost_wei(gas_limit, offer.fees, queued.call.value);
            let Some(rest) = budget.checked_sub(cost) else {
                let why = format!("its signer has {budget} wei left and it may cost {cost}: fund the signer");
                prepared.pass(self.desk.signer, queued.id, why);
                continue;
            };
            budget = rest;
            prepared.ready.push(Ready { queued, gas_limit, offer });
        }
        if let Err(error) = self.desk.book.hold(&prepared.passed).await {
            // For people alone: what holds them is found again in the next round.
            tracing::warn!(signer = %self.desk.signer, %error, "what holds requests could not be kept");
        }
        prepared
    }

    /// What is to be tried out before this may enter: where its gas is estimated, that is the simulation.
    fn trial(&self, queued: &Queued) -> Option<Trial> {
        let simulates = queued.simulate.unwrap_or(self.desk.options.entry.simulates);
        (queued.gas_limit.is_none() || simulates).then(|| self.trial_of(&queued.call, queued.gas_limit))
    }

    fn trial_of(&self, call: &Call, gas_limit: Option<u64>) -> Trial {
        let (from, to, value, data) = (self.desk.signer.address, call.to, call.value, call.data.clone());
        Trial { transaction: UnsignedTransaction { from, to, value, data }, gas_limit }
    }

    fn gas_limit(
        &self,
        prices: &Prices,
        call: &Call,
        asked: Option<u64>,
        estimate: u64,
    ) -> Result<u64, GasError> {
        let minimum = fees::minimum_gas(call.to.is_none(), &call.data);
        let margin = self.desk.options.pricing.gas_margin_percent();
        let most = fees::most_gas(self.desk.signer.chain_id, prices.block_gas_limit);
        fees::gas_limit(asked, estimate, margin, minimum, most)
    }

    /// The gas limit of another attempt: `latest`, or what is estimated to be needed now. Or why there is none.
    async fn gas_again(
        &mut self,
        prices: &Prices,
        id: Uuid,
        call: &Call,
        latest: Option<u64>,
    ) -> Result<u64, String> {
        let estimate = if latest.is_some() {
            0
        } else {
            let trial = self.trial_of(call, None);
            match self.asked.trials.of(vec![(id, trial)]).await.remove(&id) {
                Some(Outcome::Gas(gas)) => gas,
                Some(Outcome::Reverts(reason)) => return Err(format!("it would revert: {reason}")),
                Some(Outcome::Unknown(why)) => return Err(why),
                None => return Err("no endpoint has told yet what gas it needs".to_owned()),
            }
        };
        self.gas_limit(prices, call, latest, estimate).map_err(|error| error.to_string())
    }

    /// Signs these from this nonce on, as many as can be signed without a gap; and the place of the one that could not be.
    pub(super) async fn sign(&self, first: u64, ready: Vec<Ready>) -> (Vec<Flight>, Option<Place>) {
        let chain_id = self.desk.signer.chain_id;
        let unsigned: Vec<_> = (first..)
            .zip(&ready)
            .map(|(nonce, ready)| Unsigned {
                chain_id,
                nonce,
                fees: ready.offer.fees,
                gas_limit: ready.gas_limit,
                call: ready.queued.call.clone(),
            })
            .collect();
        let payloads: Vec<_> = unsigned.iter().map(Unsigned::payload).collect();
        let signatures = self.desk.key.sign_all(&payloads).await;
        let mut flights = Vec::with_capacity(ready.len());
        for ((unsigned, ready), signature) in unsigned.into_iter().zip(ready).zip(signatures) {
            let signature = match signature {
                Ok(signature) => signature,
                Err(error) => {
                    tracing::warn!(signer = %self.desk.signer, %error, "a transaction could not be signed");
                    return (flights, Some(ready.queued.place()));
                }
            };
            let signed = unsigned.signed(&signature);
            let Queued { id, tenant_id, call, gas_limit, max_fee_limit, priority, .. } = ready.queued;
            flights.push(Flight {
                call,
                gas_asked: gas_limit,
                max_fee_limit,
                priority,
                end_wanted: None,
                speed_up: None,
                is_fill: false,
                committed_at: OffsetDateTime::now_utc(),
                latest: Attempt {
                    transaction_id: id,
                    tenant_id,
                    nonce: unsigned.nonce,
                    number: 1,
                    purpose: AttemptPurpose::Send,
                    fees: unsigned.fees,
                    gas_limit: unsigned.gas_limit,
                    raw: signed.raw,
                    tx_hash: signed.tx_hash,
                    why: ready.offer.why,
                },
            });
        }
        (flights, None)
    }

    /// Another attempt for the same nonce: with a better offer, or to do nothing instead. Or why there is none.
    pub(super) async fn replace(
        &mut self,
        prices: &Prices,
        flight: &Flight,
        how: Replacement,
    ) -> Result<Flight, String> {
        let latest = &flight.latest;
        let purpose = next_purpose(flight, how);
        let does_nothing = matches!(purpose, AttemptPurpose::Cancel | AttemptPurpose::Fill);
        // To get out of the way, the signer's own limit counts, not the request's.
        let limit = if does_nothing { None } else { flight.max_fee_limit };
        let terms = self.terms(prices, flight.priority, limit);
        let more =
            || fees::replacement(latest.fees, &prices.market, &terms).map_err(|above| above.to_string());
        let offer = match how {
            Replacement::Cancel | Replacement::Gas => more()?,
            Replacement::Bump | Replacement::Outbid => {
                let behind = (latest.nonce > self.front()).then_some(self.front());
                match fees::bump(latest.fees, &prices.market, &terms, behind) {
                    Bump::To(offer) => offer,
                    Bump::NoUse { .. } if how == Replacement::Outbid => more()?,
                    Bump::NoUse { why } => return Err(why),
                    Bump::AtCap(above) => return Err(above.to_string()),
                }
            }
        };
        let call = if does_nothing { self.nothing() } else { flight.call.clone() };
        let asked = if does_nothing || how == Replacement::Gas { None } else { Some(latest.gas_limit) };
        let gas_limit = self.gas_again(prices, latest.transaction_id, &call, asked).await?;
        if how == Replacement::Gas && gas_limit <= latest.gas_limit {
            return Err(format!("{gas_limit} gas is estimated, and it has {} already", latest.gas_limit));
        }
        let made = Making {
            transaction_id: latest.transaction_id,
            tenant_id: latest.tenant_id,
            nonce: latest.nonce,
            number: latest.number + 1,
            purpose,
            fees: offer.fees,
            gas_limit,
            why: match flight.speed_up.as_ref().filter(|_| how == Replacement::Outbid) {
                Some(wish) => format!("{wish}; {}", offer.why),
                None => offer.why,
            },
        };
        let attempt = self.make(made, call).await?;
        Ok(with_attempt(flight, attempt))
    }

    /// Attempts that fill these nonces; as many as could be made.
    pub(super) async fn make_fills(&mut self, prices: &Prices, fills: &[(Uuid, u64)]) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for &(transaction_id, nonce) in fills {
            let Ok(offer) = fees::offer(&prices.market, &self.terms(prices, 1, None)) else { break };
            let nothing = self.nothing();
            let Ok(gas_limit) = self.gas_again(prices, transaction_id, &nothing, None).await else { break };
            let made = Making {
                transaction_id,
                tenant_id: None,
                nonce,
                number: 1,
                purpose: AttemptPurpose::Fill,
                fees: offer.fees,
                gas_limit,
                why: format!(
                    "nothing has this nonce, and nothing behind it could be included; {}",
                    offer.why
                ),
            };
            match self.make(made, self.nothing()).await {
                Ok(attempt) => attempts.push(attempt),
                Err(_) => break,
            }
        }
        attempts
    }

    /// A call of the signer to itself, without anything.
    fn nothing(&self) -> Call {
        let to: Address = self.desk.signer.address;
        Call { to: Some(to), value: U256::ZERO, data: Bytes::new() }
    }

    async fn make(&self, making: Making, call: Call) -> Result<Attempt, String> {
        let Making { transaction_id, tenant_id, nonce, number, purpose, fees, gas_limit, why } = making;
        let unsigned = Unsigned { chain_id: self.desk.signer.chain_id, nonce, fees, gas_limit, call };
        let signature = self.desk.key.sign(&unsigned.payload()).await.map_err(|error| error.to_string())?;
        let signed = unsigned.signed(&signature);
        let (raw, tx_hash) = (signed.raw, signed.tx_hash);
        Ok(Attempt { transaction_id, tenant_id, nonce, number, purpose, fees, gas_limit, raw, tx_hash, why })
    }
}

/// An attempt that is yet to be signed.
struct Making {
    transaction_id: Uuid,
    tenant_id: Option<Uuid>,
    nonce: u64,
    number: u32,
    purpose: AttemptPurpose,
    fees: Fees,
    gas_limit: u64,
    why: String,
}

/// The end of a request that must not enter the window any more.
fn end_of(queued: &Queued, head: u64) -> Option<(TransactionState, String)> {
    if let Some(why) = &queued.called_off {
        return Some((TransactionState::Cancelled, why.clone()));
    }
    if queued.is_late {
        return Some((TransactionState::Expired, "the time until which it was valid is over".to_owned()));
    }
    if let Some(last) = queued.valid_until_block.filter(|last| head >= *last) {
        let why = format!("it was valid until block {last}, and block {head} is there");
        return Some((TransactionState::Expired, why));
    }
    if queued.decided_on == DecidedOn::Left {
        return Some((
            TransactionState::Expired,
            "the block that it was decided on left the chain".to_owned(),
        ));
    }
    None
}

/// What a flight is after another attempt.
fn with_attempt(flight: &Flight, attempt: Attempt) -> Flight {
    // The wish for a better offer is met with it.
    Flight { latest: attempt, speed_up: None, ..flight.clone() }
}

/// What the next attempt at a nonce is for.
fn next_purpose(flight: &Flight, how: Replacement) -> AttemptPurpose {
    match flight.latest.purpose {
        AttemptPurpose::Fill => AttemptPurpose::Fill,
        AttemptPurpose::Cancel => AttemptPurpose::Cancel,
        AttemptPurpose::Send | AttemptPurpose::Bump if how == Replacement::Cancel => AttemptPurpose::Cancel,
        AttemptPurpose::Send | AttemptPurpose::Bump => AttemptPurpose::Bump,
    }
}
