//! Sending signed transactions: in batches, each once, and an answer for each.
//!
//! Three things can come of a transaction: the node answered it, the answer is unknown, or it did not leave. They are kept apart because
//! the next step differs: an answer is read, what is unknown may be in the node's pool or in a block, and what did not leave is as before.
//! Nothing is sent again here. (Over a WebSocket, a session that breaks may carry the same bytes twice, since alloy repeats what is in
//! flight when it reconnects; they have one hash, so the second time is "already known" or "nonce too low", never a second effect.)

use alloy_primitives::{B256, Bytes, hex};
use plimsoll_proof::hex::Hex;
use serde_json::value::RawValue;

use super::Rpc;
use crate::{
    client::{BATCH_REQUESTS, Refusal},
    error::{Cause, ErrorClass, Method, RpcError},
};

const SEND_RAW: Method = Method::Borrowed("eth_sendRawTransaction");

/// Bytes of signed transactions in one batch, unless one alone is larger. In hex they are twice as many; geth reads requests of up to 5 MB
/// (`node/rpcstack.go`, `maxRequestContentLength`).
const BATCH_RAW_BYTES: usize = 1024 * 1024;

/// What a node said against one transaction, word for word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What it means of the endpoint, whatever was asked: that it wants to be asked less often, say.
    pub class: ErrorClass,
    /// The JSON-RPC error's code.
    pub code: i64,
    /// Its message.
    pub message: String,
    /// Its `data`, as JSON text; none if there is none.
    pub data: Option<String>,
}

impl From<Refusal> for Refused {
    fn from(Refusal { class, error }: Refusal) -> Self {
        let data = error.data.map(|data| data.get().to_owned());
        Self { class, code: error.code, message: error.message.into_owned(), data }
    }
}

/// Why there is no hash for a transaction that was to be sent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// The node answered this transaction with an error. That may still mean that it has the transaction ("already known").
    #[error("the node answered with error {}: {}", .0.code, .0.message)]
    Refused(Refused),
    /// It was sent, and no answer came that can be believed: it may have arrived, and it may be in a block.
    #[error("whether it arrived is unknown: {0}")]
    Unknown(RpcError),
    /// It was not sent: the client would not send, or an earlier batch of the same call was not answered.
    #[error("it was not sent: {0}")]
    NotSent(RpcError),
}

impl SendError {
    fn of_batch(error: RpcError) -> Self {
        match error.cause() {
            Cause::Local(_) => Self::NotSent(error),
            _ => Self::Unknown(error),
        }
    }
}

impl Rpc {
    /// Sends signed transactions (`eth_sendRawTransaction`) in batches of at most [`BATCH_REQUESTS`], one batch after the other, in order.
    /// One answer for each, in their order: the hash that the node gives it, which the caller compares with its own, or what there is
    /// instead. One that is refused does not disturb the others.
    ///
    /// Nothing is retried, whatever happens. A batch that fails as a whole is [`SendError::Unknown`] for all that it held, and what
    /// would have come after it is [`SendError::NotSent`].
    pub async fn send_raw(&self, raws: &[Bytes]) -> Vec<Result<B256, SendError>> {
        let mut answers = Vec::with_capacity(raws.len());
        let mut rest = raws;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_len(rest));
            match self.send_batch(batch).await {
                Ok(members) => answers.extend(members),
                Err(error) => {
                    answers.extend(batch.iter().map(|_| Err(SendError::of_batch(error.clone()))));
                    answers.extend(later.iter().map(|_| Err(SendError::NotSent(error.clone()))));
                    break;
                }
            }
            rest = later;
        }
        answers
    }

    async fn send_batch(&self, raws: &[Bytes]) -> Result<Vec<Result<B256, SendError>>, RpcError> {
        let params = raws.iter().map(|raw| self.client.params(&SEND_RAW, &[hex::encode_prefixed(raw)]));
        let members = self.client.ask_once(&SEND_RAW, &params.collect::<Result<Vec<_>, _>>()?).await?;
        let answers = members.into_iter().map(|member| match member {
            Ok(raw) => self.sent_hash(&raw),
            Err(refusal) => Err(SendError::Refused(refusal.into())),
        });
        Ok(answers.collect())
    }

    fn sent_hash(&self, raw: &RawValue) -> Result<B256, SendError> {
        let hash: Result<Hex<B256>, _> = serde_json::from_str(raw.get());
        hash.map(|hash| hash.0).map_err(|error| {
            SendError::Unknown(self.client.malformed(&SEND_RAW, error.to_string(), raw.get()))
        })
    }
}

/// How many of these go into one batch: as many as fit, and at least one.
fn batch_len(raws: &[Bytes]) -> usize {
    let mut bytes = 0;
    let fits = |raw: &&Bytes| {
        bytes += raw.len();
        bytes <= BATCH_RAW_BYTES
    };
    raws.iter().take(BATCH_REQUESTS).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use alloy_json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload};
    use alloy_transport::TransportError;
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;
    use crate::{
        EndpointConfig,
        transport::{self, TransportFailure},
    };

    /// What the node does with a batch.
    #[derive(Clone)]
    enum Act {
        /// Answers each member: its hash is made of the first byte sent; the members named here get this error.
        Answer(Vec<(usize, Value)>),
        /// Answers each member with this result.
        Say(Value),
        Fail(TransportFailure),
        /// Refuses the batch with one error without an id.
        RefuseAll(Value),
        Silence,
    }

    type Sent = Arc<Mutex<Vec<Vec<String>>>>;

    fn bytes_of(request: &alloy_json_rpc::SerializedRequest) -> String {
        let params: Vec<String> = serde_json::from_str(request.params().unwrap().get()).unwrap();
        params.into_iter().next().unwrap()
    }

    fn hash_of(raw: &str) -> B256 {
        B256::repeat_byte(u8::from_str_radix(&raw[2..4], 16).unwrap())
    }

    fn error(json: &Value) -> ResponsePayload {
        ResponsePayload::Failure(serde_json::from_value(json.clone()).unwrap())
    }

    fn answer(act: &Act, packet: &RequestPacket) -> Result<ResponsePacket, TransportError> {
        let requests = packet.requests();
        let result = |value: &Value| ResponsePayload::Success(to_raw_value(value).unwrap());
        let payload = |place: usize, request| match act {
            Act::Answer(refused) => refused
                .iter()
                .find(|(refused, _)| *refused == place)
                .map_or_else(|| result(&json!(hash_of(&bytes_of(request)))), |(_, json)| error(json)),
            Act::Say(value) => result(value),
            _ => unreachable!("only these answer the members"),
        };
        match act {
            Act::Fail(failure) => return Err(failure.clone().into()),
            Act::RefuseAll(json) => {
                let response = Response { id: alloy_json_rpc::Id::None, payload: error(json) };
                return Ok(ResponsePacket::Batch(vec![response]));
            }
            _ => {}
        }
        let responses = requests
            .iter()
            .enumerate()
            .map(|(place, request)| Response { id: request.id().clone(), payload: payload(place, request) });
        Ok(ResponsePacket::Batch(responses.collect()))
    }

    /// A node that acts by this script, and what it was sent, batch by batch.
    fn node(acts: Vec<Act>) -> (Rpc, Sent) {
        let (acts, sent) = (Arc::new(Mutex::new(VecDeque::from(acts))), Sent::default());
        let log = Arc::clone(&sent);
        let transport = transport::answering(move |packet: RequestPacket| {
            assert!(packet.method_names().all(|method| method == SEND_RAW));
            log.lock().unwrap().push(packet.requests().iter().map(bytes_of).collect());
            let act = acts.lock().unwrap().pop_front().expect("a batch that the script does not expect");
            async move {
                if matches!(act, Act::Silence) {
                    std::future::pending::<()>().await;
                }
                answer(&act, &packet)
            }
        });
        // Retries are allowed on purpose: none may happen.
        (Rpc::over(transport, &EndpointConfig::new("http://node")), sent)
    }

    fn raws(count: u8) -> Vec<Bytes> {
        (0..count).map(|n| Bytes::from(vec![n, 0xee])).collect()
    }

    #[tokio::test]
    async fn each_is_answered_in_order_and_an_error_is_its_own() {
        let known = json!({ "code": -32_000, "message": "already known" });
        let poor = json!({ "code": -32_003, "message": "insufficient funds", "data": { "have": "0x0" } });
        let (rpc, sent) =
            node(vec![Act::Answer(vec![(3, known), (99, poor)]), Act::Answer(vec![]), Act::Answer(vec![])]);
        let raws: Vec<_> = (0..=204).map(|n| Bytes::from(vec![n, 0xee])).collect();
        let answers = rpc.send_raw(&raws).await;
        assert_eq!(answers.len(), raws.len());
        for (place, answer) in answers.into_iter().enumerate() {
            let refused = |code, message: &str, data: Option<&str>| Refused {
                class: ErrorClass::Rejected,
                code,
                message: message.to_owned(),
                data: data.map(str::to_owned),
            };
            match (place, answer) {
                (3, Err(SendError::Refused(told))) => {
                    assert_eq!(told, refused(-32_000, "already known", None));
                }
                (99, Err(SendError::Refused(told))) => {
                    assert_eq!(told, refused(-32_003, "insufficient funds", Some(r#"{"have":"0x0"}"#)));
                }
                (place, Ok(hash)) => assert_eq!(hash, B256::repeat_byte(u8::try_from(place).unwrap())),
                (place, other) => panic!("transaction {place}: {other:?}"),
            }
        }
        let sent = sent.lock().unwrap();
        assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 5]);
        assert!(sent.iter().flatten().eq(raws.iter().map(hex::encode_prefixed).collect::<Vec<_>>().iter()));
    }

    #[tokio::test]
    async fn nothing_is_sent_twice_whatever_is_answered() {
        let busy = |message: &str| json!({ "code": -32_005, "message": message });
        let acts = [
            Act::Fail(TransportFailure::Connection("reset by peer".to_owned())),
            Act::Fail(TransportFailure::Http { status: 503, body: String::new(), retry_after: None }),
            Act::Fail(TransportFailure::Http { status: 429, body: String::new(), retry_after: None }),
            Act::RefuseAll(busy("rate limit exceeded, try again")),
            Act::Answer(vec![
                (0, busy("rate limit exceeded, try again")),
                (1, busy("upstream connection timed out")),
            ]),
        ];
        for act in acts {
            let is_whole = !matches!(act, Act::Answer(_));
            let (rpc, sent) = node(vec![act]);
            let answers = rpc.send_raw(&raws(2)).await;
            assert_eq!(sent.lock().unwrap().len(), 1, "{answers:?}");
            assert_eq!(answers.len(), 2);
            for answer in answers {
                match answer {
                    Err(SendError::Unknown(_)) if is_whole => {}
                    Err(SendError::Refused(_)) if !is_whole => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_lost_answer_covered_is_unknown_and_what_would_have_followed_was_not_sent() {
        let (rpc, sent) = node(vec![Act::Answer(vec![]), Act::Silence]);
        let raws: Vec<_> = (0..=249).map(|n| Bytes::from(vec![n])).collect();
        let answers = rpc.send_raw(&raws).await;
        assert_eq!(sent.lock().unwrap().len(), 2);
        assert!(answers[..100].iter().all(Result::is_ok));
        for answer in &answers[100..200] {
            assert!(matches!(answer, Err(SendError::Unknown(error)) if error.is_timeout()), "{answer:?}");
        }
        for answer in &answers[200..] {
            assert!(matches!(answer, Err(SendError::NotSent(error)) if error.is_timeout()), "{answer:?}");
        }
        assert_eq!(answers.len(), 250);
    }

    #[tokio::test]
    async fn a_result_that_is_no_hash_says_nothing() {
        for result in [json!(null), json!(true), json!("0x"), json!("0xab"), json!({ "hash": "0x0" })] {
            let (rpc, _) = node(vec![Act::Say(result.clone())]);
            let answers = rpc.send_raw(&raws(2)).await;
            for answer in answers {
                let Err(SendError::Unknown(error)) = answer else { panic!("{result}: {answer:?}") };
                assert_eq!(error.class(), ErrorClass::Protocol, "{error}");
            }
        }
    }

    #[tokio::test]
    async fn what_did_not_leave_is_known_not_to_have_been_sent() {
        let local = TransportFailure::Local("the URL is unusable".to_owned());
        let (rpc, _) = node(vec![Act::Fail(local)]);
        let answers = rpc.send_raw(&raws(1)).await;
        assert!(matches!(answers[..], [Err(SendError::NotSent(_))]), "{answers:?}");
        let (rpc, sent) = node(vec![]);
        assert!(rpc.send_raw(&[]).await.is_empty() && sent.lock().unwrap().is_empty());
    }

    #[test]
    fn a_batch_is_bounded_by_its_bytes_too() {
        let of = |bytes: usize| Bytes::from(vec![0; bytes]);
        for (raws, len) in [
            (vec![of(BATCH_RAW_BYTES + 1), of(1)], 1),
            (vec![of(BATCH_RAW_BYTES), of(1)], 1),
            (vec![of(BATCH_RAW_BYTES - 1), of(1), of(1)], 2),
            (vec![of(110); 101], 100),
            (vec![of(1); 3], 3),
        ] {
            assert_eq!(batch_len(&raws), len);
        }
    }
}
