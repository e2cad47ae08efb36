//! From requests to signed bytes: what is refused before it has a nonce, what gas it gets, what is offered for it.

use alloy_primitives::{Address, Bytes, U256};
use futures::StreamExt;
use plimsoll_chain::{CallError, UnsignedTransaction};
use plimsoll_types::{AttemptPurpose, TransactionState};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Shift;
use super::market::Prices;
use super::policy::Replacement;
use crate::attempt::{Attempt, Flight};
use crate::book::{Book, Ending, Place, Queued};
use crate::envelope::Unsigned;
use crate::fees::{self, Bump, Fees, Terms, Urgency};
use crate::request::{Call, SignerId};

/// Estimates of gas that are asked for at once.
const ESTIMATES: usize = 16;

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
    /// Whether something can neither be signed nor ends.
    pub(super) has_passed: bool,
}

impl Prepared {
    /// Leaves out what there is no room for; the last that there is room for, if something was left out.
    pub(super) fn keep(&mut self, room: usize) -> Option<Place> {
        let last =
            (self.ready.len() > room).then(|| self.ready[..room].last().map(|last| last.queued.place()));
        self.ready.truncate(room);
        last.flatten()
    }

    fn pass(&mut self, signer: SignerId, id: Uuid, why: &str) {
        tracing::debug!(%signer, transaction_id = %id, why, "a request cannot enter the window");
        self.has_passed = true;
    }
}

/// Whether a request can get a gas limit.
enum Gas {
    Limit(u64),
    /// It cannot succeed.
    Refused(String),
    /// Not now.
    Unknown(String),
}

impl<B: Book> Shift<'_, B> {
    fn terms(&self, priority: i16, max_fee_limit: Option<u128>) -> Terms {
        let options = &self.desk.options;
        Terms {
            pricing: options.pricing,
            urgency: Urgency::of_priority(priority),
            min_priority_fee_per_gas: options.min_priority_fee_per_gas,
            max_fee_per_gas: options.max_fee_per_gas,
            max_fee_limit,
        }
    }

    /// Sorts what waits into what can be signed and what ends here; the rest is passed over.
    pub(super) async fn prepare(&self, prices: &Prices, balance: U256, queued: Vec<Queued>) -> Prepared {
        let mut prepared = Prepared::default();
        let mut priced = Vec::new();
        for queued in queued {
            if let Some((end, why)) = end_of(&queued, prices.head) {
                prepared.endings.push(Ending { id: queued.id, end, why });
                continue;
            }
            match fees::offer(&prices.market, &self.terms(queued.priority, queued.max_fee_limit)) {
                Ok(offer) => priced.push((queued, offer)),
                Err(above) => prepared.pass(self.desk.signer, queued.id, &above.to_string()),
            }
        }
        let asked: Vec<_> =
            priced.iter().map(|(queued, _)| self.gas(prices, &queued.call, queued.gas_limit)).collect();
        let gas: Vec<_> = futures::stream::iter(asked).buffered(ESTIMATES).collect().await;
        let mut budget = balance;
        for live in self.live.values() {
            budget = budget.saturating_sub(live.flight.max_cost_wei());
        }
        for ((queued, offer), gas) in priced.into_iter().zip(gas) {
            match gas {
                Gas::Refused(why) => {
                    prepared.endings.push(Ending { id: queued.id, end: TransactionState::Failed, why });
                }
                Gas::Unknown(why) => prepared.pass(self.desk.signer, queued.id, &why),
                Gas::Limit(gas_limit) => {
                    let cost = fees::max_cost_wei(gas_limit, offer.fees, queued.call.value);
                    let Some(rest) = budget.checked_sub(cost) else {
                        let why = format!(
                            "its signer has {budget} wei left and it may cost {cost}: fund the signer"
                        );
                        prepared.pass(self.desk.signer, queued.id, &why);
                        continue;
                    };
                    budget = rest;
                    prepared.ready.push(Ready { queued, gas_limit, offer });
                }
            }
        }
        prepared
    }

    async fn gas(&self, prices: &Prices, call: &Call, asked: Option<u64>) -> Gas {
        let minimum = fees::minimum_gas(call.to.is_none(), &call.data);
        let estimate = match asked {
            Some(_) => 0,
            None => match self.estimate(call).await {
                Ok(estimate) => estimate,
                Err(gas) => return gas,
            },
        };
        let margin = self.desk.options.pricing.gas_margin_percent();
        let most = fees::most_gas(self.desk.signer.chain_id, prices.block_gas_limit);
        match fees::gas_limit(asked, estimate, margin, minimum, most) {
            Ok(limit) => Gas::Limit(limit),
            Err(error) => Gas::Refused(error.to_string()),
        }
    }

    async fn estimate(&self, call: &Call) -> Result<u64, Gas> {
        let transaction = UnsignedTransaction {
            from: self.desk.signer.address,
            to: call.to,
            value: call.value,
            data: call.data.clone(),
        };
        let asked = self.desk.market.pool().ask(None, |rpc| {
            let transaction = transaction.clone();
            async move { rpc.estimate_gas(&transaction).await }
        });
        match asked.await {
            Ok(Ok(gas)) => Ok(gas),
            Ok(Err(CallError::Reverted { message, data })) => {
                Err(Gas::Refused(format!("it would revert: {message} ({data})")))
            }
            Ok(Err(failed @ CallError::Failed { .. })) => Err(Gas::Unknown(failed.to_string())),
            Err(error) => Err(Gas::Unknown(error.to_string())),
        }
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
        &self,
        prices: &Prices,
        flight: &Flight,
        how: Replacement,
    ) -> Result<Flight, String> {
        let latest = &flight.latest;
        let purpose = next_purpose(flight, how);
        let does_nothing = matches!(purpose, AttemptPurpose::Cancel | AttemptPurpose::Fill);
        // To get out of the way, the signer's own limit counts, not the request's.
        let limit = if does_nothing { None } else { flight.max_fee_limit };
        let terms = self.terms(flight.priority, limit);
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
        let gas_limit = match self.gas(prices, &call, asked).await {
            Gas::Limit(limit) => limit,
            Gas::Refused(why) | Gas::Unknown(why) => return Err(why),
        };
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
    pub(super) async fn make_fills(&self, prices: &Prices, fills: &[(Uuid, u64)]) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for &(transaction_id, nonce) in fills {
            let Ok(offer) = fees::offer(&prices.market, &self.terms(1, None)) else { break };
            let Gas::Limit(gas_limit) = self.gas(prices, &self.nothing(), None).await else { break };
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
    if queued.has_lost_its_block {
        let why =
            "the block that it was decided on is not in the canonical chain, as far as the journal knows";
        return Some((TransactionState::Expired, why.to_owned()));
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
