//! Asking once. For what changes something, the client must not decide to ask again: a request that was not answered may have been
//! carried out.

use serde_json::value::RawValue;

use super::{BATCH_REQUESTS, Client, Member};
use crate::error::{Method, RpcError};

impl Client {
    /// Asks questions of one method, at most [`BATCH_REQUESTS`], in one batch, in one attempt: neither a lost answer nor a refusal that may
    /// pass is asked again.
    pub(crate) async fn ask_once(
        &self,
        method: &Method,
        params: &[Box<RawValue>],
    ) -> Result<Vec<Member>, RpcError> {
        debug_assert!(params.len() <= BATCH_REQUESTS, "the caller makes chunks");
        let requests = params.iter().map(|params| self.request(method, params));
        self.attempt(method, requests.collect::<Result<_, _>>()?).await
    }
}
