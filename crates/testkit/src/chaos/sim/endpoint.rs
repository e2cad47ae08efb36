//! An endpoint as a transport: what it is asked goes to one of its nodes, unless something happens to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, Response, ResponsePayload, SerializedRequest};
use alloy_primitives::U64;
use alloy_transport::{BoxTransport, TransportError, TransportErrorKind};
use plimsoll_chain::transport::{self, TransportFailure};
use serde_json::Value;
use tokio::time::Instant;

use super::Trace;
use super::conduct::{Answer, Fault, garble, refusal};
use super::dice::Dice;
use super::lies::Liar;
use super::network::Network;

/// The longest that something slow takes, in milliseconds.
const SLOWEST_MS: u64 = 4_000;
/// The longest pause between two answers of a torn batch, in milliseconds.
const TORN_MS: u64 = 400;

/// An endpoint. Clones are one.
#[derive(Clone)]
pub(super) struct Endpoint(Arc<Inner>);

struct Inner {
    place: usize,
    network: Arc<Network>,
    trace: Arc<Trace>,
    dice: Mutex<Dice>,
    liar: Option<Liar>,
}

/// What chance has in store for a request.
struct Fate {
    fault: Option<Fault>,
    there: Duration,
    back: Duration,
    pauses: Vec<Duration>,
    refusal: Option<Answer>,
    dice: Dice,
}

impl Endpoint {
    pub(super) fn new(
        place: usize,
        network: Arc<Network>,
        trace: Arc<Trace>,
        dice: Dice,
        liar: Option<Liar>,
    ) -> Self {
        Self(Arc::new(Inner { place, network, trace, dice: Mutex::new(dice), liar }))
    }

    /// As it is asked.
    pub(super) fn transport(&self) -> BoxTransport {
        let endpoint = self.clone();
        transport::answering(move |packet| {
            let fate = endpoint.fate(&packet);
            let Inner { place, trace, .. } = &*endpoint.0;
            trace.count(|counts| counts.requests += 1);
            if let Some(fault) = fate.fault {
                trace.fault(fault.name());
            }
            let (first, more) = (&packet.requests()[0], packet.len() - 1);
            let params = first.params().map_or("", |params| params.get());
            trace
                .note(format_args!("endpoint {place} is asked: {} {params} and {more} more", first.method()));
            endpoint.clone().answer(packet, fate)
        })
    }

    /// Throws the dice for one request: at once, so that the order of throws is the order of requests.
    fn fate(&self, packet: &RequestPacket) -> Fate {
        let Inner { place, network, dice, .. } = &*self.0;
        let conduct = network.conduct(*place);
        let mut dice = dice.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = conduct.draw(&mut dice);
        let millis = |dice: &mut Dice, most| Duration::from_millis(dice.up_to(most));
        let there = millis(&mut dice, conduct.slowest_ms);
        let slow = if fault == Some(Fault::Slow) { millis(&mut dice, SLOWEST_MS) } else { Duration::ZERO };
        let back = slow + millis(&mut dice, conduct.slowest_ms);
        let members = packet.len();
        let torn = if fault == Some(Fault::Torn) { TORN_MS } else { 0 };
        let pauses = (1..members).map(|_| millis(&mut dice, torn)).collect();
        let refusal = fault.and_then(|fault| refusal(fault, packet, &mut dice));
        let dice = Dice::new(dice.any(), 0);
        Fate { fault, there, back, pauses, refusal, dice }
    }

    async fn answer(self, packet: RequestPacket, fate: Fate) -> Answer {
        let Fate { fault, there, back, pauses, refusal, mut dice } = fate;
        let Inner { place, network, trace, .. } = &*self.0;
        let numbers = canonical_questions(&packet);
        let heard =
            |is_answered| numbers.iter().for_each(|number| network.said(*place, *number, is_answered));
        let began = Instant::now();
        tokio::time::sleep(there).await;
        // As with a real node, other tasks run between question and answer.
        tokio::task::yield_now().await;
        match fault {
            Some(Fault::Silent) => {
                heard(false);
                std::future::pending::<()>().await;
            }
            Some(Fault::AnswerLost) => _ = self.ask(&packet, fault, &pauses).await?,
            _ => {}
        }
        if let Some(refusal) = refusal {
            heard(false);
            if let Err(TransportError::Transport(kind)) = &refusal {
                self.rests(kind);
            }
            trace.note(format_args!("endpoint {place}: {fault:?}"));
            return refusal;
        }
        let is_batch = matches!(packet, RequestPacket::Batch(_));
        let answers = self.ask(&packet, fault, &pauses).await?;
        let is_whole = answers.iter().all(|answer| matches!(answer.payload, ResponsePayload::Success(_)));
        let is_in_time = began.elapsed() + back < network.request_timeout();
        heard(
            is_whole
                && is_in_time
                && !fault.is_some_and(Fault::is_total)
                && fault != Some(Fault::MemberRefused),
        );
        tokio::time::sleep(back).await;
        trace.note(format_args!("endpoint {place}: {}", shown(&answers, fault)));
        garble(fault, answers, is_batch, &mut dice)
    }

    /// One node answers all.
    async fn ask(
        &self,
        packet: &RequestPacket,
        fault: Option<Fault>,
        pauses: &[Duration],
    ) -> Result<Vec<Response>, TransportError> {
        let Inner { place, network, liar, .. } = &*self.0;
        let node = network.node(*place, fault == Some(Fault::Stale));
        let requests = packet.requests();
        let mut answers = Vec::with_capacity(requests.len());
        for (request, pause) in requests.iter().zip([Duration::ZERO].iter().chain(pauses)) {
            if !pause.is_zero() {
                tokio::time::sleep(*pause).await;
            }
            let answer = node.answer(request)?;
            answers.push(match liar {
                Some(liar) => liar.tells(request, answer)?,
                None => answer,
            });
        }
        Ok(answers)
    }

    /// Remembers for how long it said that it wants to be left alone.
    fn rests(&self, kind: &TransportErrorKind) {
        let TransportErrorKind::Custom(error) = kind else { return };
        if let Some(TransportFailure::Http { retry_after: Some(duration), .. }) = error.downcast_ref() {
            self.0.network.rests(self.0.place, *duration);
        }
    }
}

/// The heights of the canonical blocks that are asked for.
fn canonical_questions(packet: &RequestPacket) -> Vec<u64> {
    let number = |request: &SerializedRequest| {
        let params: Value = serde_json::from_str(request.params()?.get()).ok()?;
        let tag: U64 = serde_json::from_value(params.get(0)?.clone()).ok()?;
        (request.method() == "eth_getBlockByNumber").then(|| tag.to())
    };
    packet.requests().iter().filter_map(number).collect()
}

/// Answers in short, without the ids, which count through the whole process.
fn shown(answers: &[Response], fault: Option<Fault>) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for answer in answers {
        let written = match &answer.payload {
            ResponsePayload::Success(result) => write!(text, "{} bytes, ", result.get().len()),
            ResponsePayload::Failure(error) => write!(text, "{}, ", error.message),
        };
        written.expect("a string can be written to");
    }
    if let Some(fault) = fault {
        text.push_str(fault.name());
    }
    text
}
