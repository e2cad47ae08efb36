//! The model as a transport.

use std::task::{Context, Poll};

use alloy_json_rpc::{
    ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest,
};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use serde_json::Value;
use serde_json::value::to_raw_value;
use tower::Service;

use super::ModelChain;

impl ModelChain {
    /// The answer to one request.
    ///
    /// # Errors
    ///
    /// The request, or the answer, is no JSON.
    pub fn answer(&self, request: &SerializedRequest) -> Result<Response, TransportError> {
        let params = match request.params() {
            Some(raw) => serde_json::from_str(raw.get()).map_err(TransportErrorKind::custom)?,
            None => Value::Null,
        };
        let payload = match self.respond(request.method(), &params) {
            Ok(result) => {
                ResponsePayload::Success(to_raw_value(&result).map_err(TransportErrorKind::custom)?)
            }
            Err(refusal) => ResponsePayload::Failure(ErrorPayload {
                code: refusal.code,
                message: refusal.message.into(),
                data: None,
            }),
        };
        Ok(Response { id: request.id().clone(), payload })
    }

    /// The answer to a packet.
    pub fn answers(
        &self,
        packet: RequestPacket,
    ) -> impl Future<Output = Result<ResponsePacket, TransportError>> + Send + use<> {
        let chain = self.clone();
        async move {
            // As with a real node, other tasks run between question and answer.
            tokio::task::yield_now().await;
            answer_each(&packet, |request| chain.answer(request))
        }
    }
}

/// The answer to a packet whose members are answered one after the other.
///
/// # Errors
///
/// The first member that is not answered.
pub fn answer_each(
    packet: &RequestPacket,
    mut answer: impl FnMut(&SerializedRequest) -> Result<Response, TransportError>,
) -> Result<ResponsePacket, TransportError> {
    match packet {
        RequestPacket::Single(request) => answer(request).map(ResponsePacket::Single),
        RequestPacket::Batch(requests) => {
            requests.iter().map(answer).collect::<Result<_, _>>().map(ResponsePacket::Batch)
        }
    }
}

impl Service<RequestPacket> for ModelChain {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.answers(packet))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, LogDraft, Orphans, TxDraft};
    use super::*;
    use alloy_primitives::{Address, B256, Bytes};
    use alloy_transport::{BoxTransport, Transport};
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "the callers write their parameters in place")]
    fn ask(chain: &ModelChain, method: &str, params: Value) -> Value {
        chain.respond(method, &params).unwrap()
    }

    fn tx(nonce: u8) -> TxDraft {
        let contract = Address::repeat_byte(0xcc);
        let log =
            LogDraft { address: contract, topics: vec![B256::repeat_byte(1)], data: vec![nonce].into() };
        let mut tx =
            TxDraft::with_logs(Address::repeat_byte(0xee), contract, nonce.into(), vec![log.clone(), log]);
        tx.answers.push(Answer { to: contract, calldata: Bytes::new(), result: vec![nonce].into() });
        tx
    }

    #[test]
    fn it_is_a_transport_as_a_node_s_is() {
        let boxed: BoxTransport = ModelChain::new(1, 4).boxed();
        drop(boxed);
    }

    #[test]
    fn a_chain_that_flips_to_another_branch_and_back_shows_the_first_again() {
        let chain = ModelChain::new(1, 4);
        let fork = chain.push(vec![tx(0)]);
        let a = chain.push(vec![tx(1)]);
        let b = chain.add(fork, vec![tx(2), tx(1)], 7);
        let before = (chain.truth(), ask(&chain, "eth_getBlockByNumber", json!(["latest", true])));
        chain.switch_to(b);
        assert_ne!(chain.truth(), before.0);
        assert_eq!(ask(&chain, "eth_getBlockByNumber", json!(["0x2", false]))["hash"], json!(b));
        assert_eq!(ask(&chain, "eth_getLogs", json!([{ "blockHash": a }])).as_array().unwrap().len(), 2);
        chain.set_orphans(Orphans::Forgotten);
        assert_eq!(ask(&chain, "eth_getBlockByHash", json!([a, false])), Value::Null);
        chain.switch_to(a);
        assert_eq!((chain.truth(), ask(&chain, "eth_getBlockByNumber", json!(["latest", true]))), before);
    }

    #[test]
    fn logs_receipts_and_calls_agree_with_the_truth() {
        let chain = ModelChain::new(1, 4);
        chain.push(vec![tx(0)]);
        let mut reverted = tx(1);
        reverted.succeeded = false;
        chain.push(vec![reverted, tx(2)]);
        let logs = ask(
            &chain,
            "eth_getLogs",
            json!([{ "fromBlock": "0x0", "address": [Address::repeat_byte(0xcc)] }]),
        );
        let from_receipts: Vec<Value> = (1..=2)
            .flat_map(|n| {
                ask(&chain, "eth_getBlockReceipts", json!([format!("{n:#x}")])).as_array().unwrap().clone()
            })
            .flat_map(|receipt| receipt["logs"].as_array().unwrap().clone())
            .collect();
        assert_eq!(logs.as_array().unwrap(), &from_receipts);
        assert_eq!(chain.truth().len(), 4);
        assert_eq!(from_receipts[3]["logIndex"], "0x1", "a reverted transaction takes no log index");
        let call = json!({ "to": Address::repeat_byte(0xcc), "data": "0x" });
        assert_eq!(ask(&chain, "eth_call", json!([call, "0x1"])), "0x00");
        assert_eq!(ask(&chain, "eth_call", json!([call, "latest"])), "0x02");
        assert!(chain.respond("eth_call", &json!([call, "0x0"])).unwrap_err().message.contains("reverted"));
    }

    #[test]
    fn a_lagging_node_knows_nothing_above_its_head() {
        let chain = ModelChain::new(1, 4);
        (0..5).for_each(|n| _ = chain.push(vec![tx(n)]));
        chain.lag(2);
        assert_eq!(ask(&chain, "eth_blockNumber", json!([])), "0x3");
        assert_eq!(ask(&chain, "eth_getBlockByNumber", json!(["0x4", false])), Value::Null);
        assert_eq!(ask(&chain, "eth_getBlockByHash", json!([chain.tip(), false])), Value::Null);
        chain.fail_next(1);
        assert!(chain.respond("eth_blockNumber", &json!([])).is_err());
        assert_eq!(chain.answered("eth_blockNumber"), 1);
    }
}
