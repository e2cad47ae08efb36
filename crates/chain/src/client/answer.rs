//! What came back: answers put to the requests that they are of, and decoded.

use alloy_json_rpc::{Id, Response, ResponsePacket, ResponsePayload};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::explain::refusal;
use super::{Client, Member};
use crate::{
    error::{Cause, ErrorClass, Method, RpcError, excerpt},
    transport::PARSE_INLINE_BYTES,
};

impl Client {
    /// Puts answers in the order of the ids. Servers may answer a batch in any order, and refuse a whole batch
    /// with one error without an id.
    pub(super) fn match_answers(
        &self,
        method: &Method,
        ids: &[Id],
        packet: ResponsePacket,
    ) -> Result<Vec<Member>, RpcError> {
        let mut responses: Vec<Response> = match packet {
            ResponsePacket::Single(response) => vec![response],
            ResponsePacket::Batch(responses) => responses,
        };
        if let [Response { id: Id::None, payload: ResponsePayload::Failure(error) }] = responses.as_slice() {
            let refusal = refusal(method, error.clone());
            return if let [_] = ids { Ok(vec![Err(refusal)]) } else { Err(self.refused(method, &refusal)) };
        }
        if responses.len() != ids.len() {
            let what = format!("{} answers to {} requests", responses.len(), ids.len());
            return Err(self.malformed(method, what, ""));
        }
        for (place, id) in ids.iter().enumerate() {
            // Nearly always they are in order, and then this search ends at once.
            let found = (place..responses.len()).find(|&i| responses[i].id == *id).ok_or_else(|| {
                self.malformed(method, format!("no answer carries the id {id} of the request"), "")
            })?;
            responses.swap(place, found);
        }
        Ok(responses
            .into_iter()
            .map(|response| match response.payload {
                ResponsePayload::Success(result) => Ok(result),
                ResponsePayload::Failure(error) => Err(refusal(method, error)),
            })
            .collect())
    }

    /// Decodes an answer, off the reactor's threads if it is large.
    pub(crate) async fn decode<T: DeserializeOwned + Send + 'static>(
        &self,
        method: &Method,
        raw: Box<RawValue>,
    ) -> Result<T, RpcError> {
        self.decode_with(method, raw, |text| serde_json::from_str(text).map_err(|error| error.to_string()))
            .await
    }

    /// The same with a function of one's own, which says what is wrong.
    pub(crate) async fn decode_with<T: Send + 'static>(
        &self,
        method: &Method,
        raw: Box<RawValue>,
        decode: impl FnOnce(&str) -> Result<T, String> + Send + 'static,
    ) -> Result<T, RpcError> {
        let len = raw.get().len();
        let run = move || decode(raw.get()).map_err(|what| (what, excerpt(raw.get())));
        let decoded = if len < PARSE_INLINE_BYTES {
            run()
        } else {
            tokio::task::spawn_blocking(run).await.map_err(|error| {
                self.error(
                    method,
                    ErrorClass::Transient,
                    Cause::Local(format!("decoding was cut off: {error}")),
                )
            })?
        };
        decoded.map_err(|(what, beginning)| self.malformed(method, what, &beginning))
    }
}
