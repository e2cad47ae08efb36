//! How an endpoint treats what it is asked.

use std::time::Duration;

use alloy_json_rpc::{ErrorPayload, Id, RequestPacket, Response, ResponsePacket, ResponsePayload};
use alloy_transport::TransportError;
use plimsoll_chain::transport::TransportFailure;

use super::dice::Dice;

/// What is done to a request or to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// It takes its time.
    Slow,
    /// The connection breaks before the question arrives.
    Lost,
    /// The connection breaks before the answer arrives.
    AnswerLost,
    /// Nothing is ever heard of it.
    Silent,
    /// A status of 5xx.
    ServerError,
    /// A status of 429.
    TooMany,
    /// A status of 429 with the time for which it wants to be left alone.
    RetryAfter,
    /// The same in the words of JSON-RPC.
    Busy,
    /// The answer breaks off.
    Truncated,
    /// A member of the batch is answered twice.
    Twice,
    /// A member of the batch is answered twice, in another's place.
    InPlaceOfAnother,
    /// A member of the batch is not answered.
    Missing,
    /// The batch is answered in another order, as is allowed.
    Reordered,
    /// A member of the batch is answered with an error.
    MemberRefused,
    /// The range is refused as too large.
    TooLarge,
    /// By the node behind the address that learns of blocks later, if there is one.
    Stale,
    /// The members of the batch are answered at different moments.
    Torn,
}

impl Fault {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Lost => "lost",
            Self::AnswerLost => "answer_lost",
            Self::Silent => "silent",
            Self::ServerError => "server_error",
            Self::TooMany => "too_many",
            Self::RetryAfter => "retry_after",
            Self::Busy => "busy",
            Self::Truncated => "truncated",
            Self::Twice => "member_twice",
            Self::InPlaceOfAnother => "member_in_place_of_another",
            Self::Missing => "member_missing",
            Self::Reordered => "reordered",
            Self::MemberRefused => "member_refused",
            Self::TooLarge => "range_too_large",
            Self::Stale => "stale_node",
            Self::Torn => "torn_batch",
        }
    }

    /// Whether the question is not answered at all, by no member of its batch.
    pub(super) const fn is_total(self) -> bool {
        !matches!(self, Self::Slow | Self::Reordered | Self::Stale | Self::Torn | Self::MemberRefused)
    }
}

/// A way to be in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A little of everything.
    Flaky,
    /// No connection.
    Down,
    /// Connections, and no answers.
    Mute,
    /// Server errors.
    Failing,
    /// Asked too often.
    Limited,
    /// What arrives is not what was sent.
    Garbled,
    /// Everything takes long.
    Slow,
    /// What is asked in one batch is answered at different moments.
    Torn,
    /// Many ranges are too large.
    Narrow,
    /// A node behind the address that is behind its peers answers more often than not.
    Stale,
}

impl Trouble {
    pub(super) const ALL: [Self; 10] = [
        Self::Flaky,
        Self::Down,
        Self::Mute,
        Self::Failing,
        Self::Limited,
        Self::Garbled,
        Self::Slow,
        Self::Torn,
        Self::Narrow,
        Self::Stale,
    ];

    /// Of a thousand requests, so many have this fault, when the trouble is as large as it gets.
    const fn rates(self) -> &'static [(Fault, u32)] {
        match self {
            Self::Flaky => &[
                (Fault::Slow, 60),
                (Fault::Lost, 30),
                (Fault::AnswerLost, 30),
                (Fault::Silent, 20),
                (Fault::ServerError, 30),
                (Fault::TooMany, 10),
                (Fault::RetryAfter, 10),
                (Fault::Busy, 10),
                (Fault::Truncated, 20),
                (Fault::Twice, 10),
                (Fault::InPlaceOfAnother, 10),
                (Fault::Missing, 10),
                (Fault::Reordered, 60),
                (Fault::MemberRefused, 20),
                (Fault::TooLarge, 20),
                (Fault::Torn, 60),
            ],
            Self::Down => &[(Fault::Lost, 600), (Fault::AnswerLost, 400)],
            Self::Mute => &[(Fault::Silent, 1000)],
            Self::Failing => &[(Fault::ServerError, 1000)],
            Self::Limited => &[(Fault::TooMany, 300), (Fault::RetryAfter, 150), (Fault::Busy, 150)],
            Self::Garbled => &[
                (Fault::Truncated, 250),
                (Fault::Twice, 150),
                (Fault::InPlaceOfAnother, 150),
                (Fault::Missing, 150),
                (Fault::Reordered, 150),
                (Fault::MemberRefused, 150),
            ],
            Self::Slow => &[(Fault::Slow, 900)],
            Self::Torn => &[(Fault::Torn, 900)],
            Self::Narrow => &[(Fault::TooLarge, 700)],
            Self::Stale => &[(Fault::Stale, 700)],
        }
    }
}

/// How an endpoint behaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Conduct {
    /// Faults with the number of a thousand requests that have them, together a thousand at most.
    rates: Vec<(Fault, u32)>,
    /// How long the way to the node and back takes at most, in milliseconds.
    pub(super) slowest_ms: u64,
}

impl Conduct {
    /// As good as it gets, with a node behind the address that is behind its peers in so many of a thousand cases.
    pub(super) fn calm(slowest_ms: u64, stale_permille: u32) -> Self {
        Self { rates: vec![(Fault::Reordered, 20), (Fault::Stale, stale_permille)], slowest_ms }
    }

    /// No fault at all.
    pub(super) fn healed(slowest_ms: u64) -> Self {
        Self { rates: Vec::new(), slowest_ms }
    }

    /// In trouble, so many thousandths of the worst.
    pub(super) fn trouble(&mut self, trouble: Trouble, permille: u32) {
        self.rates = trouble.rates().iter().map(|(fault, rate)| (*fault, rate * permille / 1000)).collect();
    }

    pub(super) fn draw(&self, dice: &mut Dice) -> Option<Fault> {
        let mut throw = u32::try_from(dice.up_to(999)).expect("below a thousand");
        for (fault, rate) in &self.rates {
            match throw.checked_sub(*rate) {
                Some(left) => throw = left,
                None => return Some(*fault),
            }
        }
        None
    }
}

/// What becomes of a request that is not answered, by a fault that needs no node for it.
pub(super) fn refusal(fault: Fault, packet: &RequestPacket, dice: &mut Dice) -> Option<Answer> {
    let error = match fault {
        Fault::Lost | Fault::AnswerLost => {
            TransportFailure::Connection("connection reset by peer".to_owned())
        }
        Fault::ServerError => {
            let status = dice.pick(&[500, 502, 503, 504]);
            TransportFailure::Http { status, body: String::new(), retry_after: None }
        }
        Fault::TooMany => TransportFailure::Http { status: 429, body: String::new(), retry_after: None },
        Fault::RetryAfter => {
            // The longest is more than anybody waits for within a request.
            let retry_after = Some(Duration::from_secs(dice.pick(&[0, 1, 1, 2, 3, 10, 40])));
            TransportFailure::Http { status: 429, body: String::new(), retry_after }
        }
        Fault::TooLarge if is_about_logs(packet) => TransportFailure::TooLarge { limit_bytes: 1 << 20 },
        Fault::Busy => {
            let error = failure(-32_005, "too many requests");
            let whole = Response { id: Id::None, payload: error.clone() };
            return Some(Ok(match packet {
                RequestPacket::Single(request) => {
                    ResponsePacket::Single(Response { id: request.id().clone(), payload: error })
                }
                RequestPacket::Batch(_) => ResponsePacket::Single(whole),
            }));
        }
        _ => return None,
    };
    Some(Err(error.into()))
}

fn is_about_logs(packet: &RequestPacket) -> bool {
    packet.method_names().any(|method| method == "eth_getLogs")
}

/// What a transport answers.
pub(super) type Answer = Result<ResponsePacket, TransportError>;

/// What of a node's answers arrives.
pub(super) fn garble(
    fault: Option<Fault>,
    mut answers: Vec<Response>,
    is_batch: bool,
    dice: &mut Dice,
) -> Answer {
    let place = dice.index(answers.len());
    match fault {
        Some(Fault::Truncated) => return truncate(&answers, is_batch, dice),
        Some(Fault::Twice) => answers.push(answers[place].clone()),
        Some(Fault::InPlaceOfAnother) if answers.len() > 1 => {
            let other = (place + 1) % answers.len();
            answers[other] = answers[place].clone();
        }
        Some(Fault::Missing | Fault::InPlaceOfAnother) => _ = answers.remove(place),
        Some(Fault::Reordered) => answers.rotate_left(place),
        Some(Fault::MemberRefused) => {
            let (code, message) = dice.pick(&[
                (-32_603, "Internal error"),
                (-32_000, "the server is overloaded"),
                (-32_000, "header not found"),
                (-32_005, "too many requests"),
            ]);
            answers[place].payload = failure(code, message);
        }
        _ => {}
    }
    Ok(match answers.pop() {
        Some(only) if answers.is_empty() && !is_batch => ResponsePacket::Single(only),
        last => {
            answers.extend(last);
            ResponsePacket::Batch(answers)
        }
    })
}

fn failure(code: i64, message: &'static str) -> ResponsePayload {
    ResponsePayload::Failure(ErrorPayload { code, message: message.into(), data: None })
}

/// Reads as much of the answers as came through: never all of it, so never anything.
fn truncate(answers: &[Response], is_batch: bool, dice: &mut Dice) -> Answer {
    let text = match answers {
        [only] if !is_batch => serde_json::to_string(only),
        _ => serde_json::to_string(answers),
    }
    .map_err(TransportError::ser_err)?;
    // A share of the length, which has as many digits as the ids: those count through the whole process.
    let keep = text.len() * usize::try_from(dice.up_to(999)).expect("below a thousand") / 1000;
    let keep = (0..=keep).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    serde_json::from_str::<ResponsePacket>(&text[..keep])
        .map_err(|error| TransportError::deser_err(error, &text[..keep.min(80)]))
}
