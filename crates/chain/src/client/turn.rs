//! When a request may go: as the endpoint asked, and as its limit has it.

use super::Client;
use crate::error::{Cause, ErrorClass, Method, RpcError};

impl Client {
    /// Waits until the endpoint may be asked again, unless it asked for more time than anybody waits for an answer. The turns of a limit are
    /// waited for however long they take: as many wait at once as may be in flight, and who gave up would take the next turn in vain, too.
    pub(super) async fn await_turn(&self, method: &Method) -> Result<(), RpcError> {
        let rest = self.health.rest();
        if rest > self.request_timeout {
            let what = format!("it asked to be left alone, for another {} s", rest.as_secs());
            let class = ErrorClass::RateLimited { retry_after: Some(rest) };
            return Err(self.error(method, class, Cause::Local(what)));
        }
        let wait = self.health.admit();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use alloy_json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload};
    use futures::future::join_all;
    use serde_json::value::to_raw_value;
    use tokio::time::Instant;

    use crate::{EndpointConfig, Rpc, transport};

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_gets_it_however_many_wait_before() {
        let answer = |packet: RequestPacket| {
            let payload = ResponsePayload::Success(to_raw_value("0x7").unwrap());
            let id = packet.requests()[0].id().clone();
            std::future::ready(Ok(ResponsePacket::Single(Response { id, payload })))
        };
        let config = EndpointConfig {
            request_timeout: Duration::from_millis(500),
            requests_per_second: Some(2.0),
            max_retries: 0,
            ..EndpointConfig::new("http://slow")
        };
        let rpc = Rpc::over(transport::answering(answer), &config);
        let began = Instant::now();
        let answers = join_all((0..20).map(|_| rpc.chain_id())).await;
        assert!(answers.iter().all(|answer| matches!(answer, Ok(7))), "{answers:?}");
        assert_eq!(began.elapsed().as_secs(), 9, "20 requests at 2 a second");
    }
}
