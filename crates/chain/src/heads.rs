//! Knowing early that the head may have moved.
//!
//! A hint is only a reason to look: the follower reads the head itself, so a hint that is lost, late or wrong
//! costs time and nothing else. Therefore losing the socket is no error here, it makes the clock tick instead.

use std::{sync::Arc, time::Duration};

use alloy_primitives::B256;
use plimsoll_proof::hex::Hex;
use serde::Deserialize;
use tokio::{sync::watch, time::Instant};

use crate::{
    client::Client,
    error::Method,
    transport::{Feed, WsLink},
};

/// How often to look where nothing is announced.
const POLL: Duration = Duration::from_millis(500);

/// How often to look although heads are announced: an announcement may be lost.
const POLL_BESIDE_FEED: Duration = Duration::from_secs(2);

const SUBSCRIBE: Method = Method::Borrowed("eth_subscribe");

/// Why to look at the head now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadHint {
    /// The node announced this block as its head.
    Announced {
        /// Its height.
        number: u64,
        /// Its hash.
        hash: B256,
    },
    /// Time has passed, or the announcements were interrupted.
    Due,
}

/// A stream of hints that does not end.
pub struct HeadStream {
    client: Arc<Client>,
    source: Option<Source>,
    poll: Option<Duration>,
    due: Instant,
}

/// Where announcements come from.
struct Source {
    link: Arc<WsLink>,
    sessions: watch::Receiver<u64>,
    feed: Option<Feed>,
}

#[derive(Deserialize)]
struct Announcement {
    number: Hex<u64>,
    hash: Hex<B256>,
}

impl HeadStream {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        let source =
            client.link().map(|link| Source { link: link.clone(), sessions: link.changes(), feed: None });
        Self { client, source, poll: None, due: Instant::now() }
    }

    /// Looks at this interval, whether or not heads are announced.
    #[must_use]
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.poll = Some(interval);
        self
    }

    /// Whether heads are announced now.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        matches!(&self.source, Some(Source { feed: Some(_), .. }))
    }

    /// Waits until the head may have moved. The first call returns at once. Cancel safe; announcements that
    /// pile up between calls are one hint, the latest.
    pub async fn next_head_hint(&mut self) -> HeadHint {
        let hint = self.wait().await;
        let poll = self.poll.unwrap_or(if self.is_announced() { POLL_BESIDE_FEED } else { POLL });
        self.due = Instant::now() + poll;
        hint
    }

    async fn wait(&mut self) -> HeadHint {
        self.subscribe_if_needed().await;
        let Some(Source { link, sessions, feed }) = &mut self.source else {
            tokio::time::sleep_until(self.due).await;
            return HeadHint::Due;
        };
        let Some(open) = feed else {
            tokio::time::sleep_until(self.due).await;
            return HeadHint::Due;
        };
        let on = open.generation();
        let moved_on = async {
            // Ends: either the generation differs, or the sender lives in `link` and this waits for a change.
            while link.generation() == on && sessions.changed().await.is_ok() {}
        };
        tokio::select! {
            biased;
            item = open.latest() => {
                match item.map(|raw| serde_json::from_str::<Announcement>(raw.get())) {
                    Some(Ok(head)) => return HeadHint::Announced { number: head.number.0, hash: head.hash.0 },
                    Some(Err(error)) => {
                        tracing::warn!(endpoint = self.client.endpoint(), %error, "an announced head is unreadable");
                        return HeadHint::Due;
                    }
                    None => *feed = None,
                }
            }
            () = moved_on => *feed = None,
            () = tokio::time::sleep_until(self.due) => return HeadHint::Due,
        }
        HeadHint::Due
    }

    /// Subscribes where there is a socket and no live subscription. What fails is tried again with the next
    /// hint; a node that serves no subscriptions is asked no more.
    async fn subscribe_if_needed(&mut self) {
        let Some(source) = &mut self.source else { return };
        if source.feed.is_some() {
            return;
        }
        let endpoint = self.client.endpoint();
        let request = self
            .client
            .params(&SUBSCRIBE, &["newHeads"])
            .and_then(|params| self.client.request(&SUBSCRIBE, &params));
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, "heads cannot be subscribed to; looking by the clock");
                self.source = None;
                return;
            }
        };
        let generation = source.link.generation();
        match tokio::time::timeout(self.client.request_timeout(), Feed::open(&source.link, request)).await {
            Ok(Ok(Ok(feed))) => {
                tracing::debug!(endpoint, session = feed.generation(), "subscribed to new heads");
                source.feed = Some(feed);
                // What was announced before is not told again: look now.
                self.due = Instant::now();
            }
            Ok(Ok(Err(refusal))) => {
                tracing::warn!(endpoint, refusal, "the node announces no heads; looking by the clock");
                self.source = None;
            }
            Ok(Err(error)) => {
                let error = self.client.explain(&SUBSCRIBE, error);
                tracing::warn!(%error, "no announcements of heads for now; looking by the clock");
            }
            Err(_) => {
                source.link.retire(generation);
                tracing::warn!(endpoint, "no answer to the subscription of heads; looking by the clock");
            }
        }
    }
}
