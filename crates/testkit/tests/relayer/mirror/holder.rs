//! What the holder of a signer does, and one who was.

use std::time::Duration;

use alloy_primitives::B256;
use plimsoll_relayer::attempt::Flight;
use plimsoll_relayer::book::{Book as _, Ending, PgBook, Told};
use plimsoll_relayer::post::lease_name;
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::route;
use plimsoll_types::{AttemptPurpose, TransactionState};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::shown::shown;
use super::{Held, Twins};

/// A lease that is over is taken within this, if it is not renewed.
const PATIENCE: Duration = Duration::from_secs(2);

impl Twins {
    /// Another node takes the signer; the one before it keeps what it thinks it has.
    pub(super) async fn takes_over(&mut self) {
        let SignerId { chain_id, address } = self.at;
        self.nodes.push(String::new());
        let last = self.nodes.len() - 1;
        // Of all who stand by it is the one whom the signer is routed to: so it does not wait for another.
        for number in 0.. {
            self.nodes[last] = format!("node-{number}");
            let is_new = self.nodes[..last].iter().all(|node| *node != self.nodes[last]);
            if is_new && route::preferred(&self.nodes, chain_id, address) == Some(&self.nodes[last]) {
                break;
            }
        }
        // By turns: whoever takes a lease renews all that it has, and the one before must not have this one for good.
        let leases = self.leases[self.holders.get(&self.at).map_or(0, Vec::len) % 2].clone();
        let book = PgBook::new(self.db.clone(), leases, self.nodes[last].clone());
        let stop = CancellationToken::new();
        let post = loop {
            // Nobody gave it back, and it is over.
            sqlx::query("UPDATE leases SET expires_at = clock_timestamp() WHERE name = $1")
                .bind(lease_name(self.at))
                .execute(self.db.worker())
                .await
                .unwrap();
            // Who had it may have renewed it just then.
            let taken = tokio::time::timeout(PATIENCE, book.acquire(self.at, &stop)).await;
            if let Ok(taken) = taken {
                break taken.unwrap();
            }
        };
        let of_signer = self.holders.entry(self.at).or_default();
        if let Some(Held { holding, .. }) = of_signer.last() {
            let now = self.tables.now();
            self.tables.store().free_lease(&lease_name(self.at), holding.token(), now);
        }
        let memory = self.memory.named(&self.nodes[last]);
        let holding = memory.acquire(self.at, &stop).await.unwrap();
        of_signer.push(Held { book, memory, post, holding });
    }

    /// Who acts: mostly the one who may.
    pub(super) fn holder(&mut self) -> usize {
        let last = self.holders[&self.at].len() - 1;
        if self.dice.permille(150) { self.dice.index(last + 1) } else { last }
    }

    pub(super) async fn enters(&mut self) {
        let behind = None;
        let limit = 1 + self.dice.index(3);
        let queued = self.pg.queue(self.at, behind, limit).await.unwrap();
        let mut ids: Vec<_> = queued.iter().map(|queued| queued.id).collect();
        if ids.is_empty() || self.dice.permille(100) {
            // One that may not enter, or not any more.
            let Some((id, _)) = self.handed.first() else { return };
            ids = vec![*id];
        }
        let next = self.pg.progress(self.at).await.unwrap().next_nonce;
        let floor = if self.dice.permille(150) { next + self.dice.up_to(3) } else { 0 };
        let wrong = u64::from(self.dice.permille(150));
        let first = next.max(floor) + wrong;
        let tenant = Some(self.tenant);
        let attempts: Vec<_> =
            ids.into_iter().zip(first..).map(|(id, nonce)| self.attempt(id, tenant, nonce, 1)).collect();
        let holder = self.holder();
        let Held { book, memory, post, holding } = &self.holders[&self.at][holder];
        let real = book.enter(post, self.at, floor, &attempts).await;
        let ours = memory.enter(holding, self.at, floor, &attempts).await;
        assert_eq!(shown(&real), shown(&ours), "enter");
    }

    pub(super) async fn flights(&self, signer: SignerId) -> Vec<Flight> {
        let mut flights = self.pg.flights(signer, 0).await.unwrap();
        for flight in &mut flights {
            flight.committed_at = OffsetDateTime::UNIX_EPOCH;
        }
        flights
    }

    pub(super) async fn again(&mut self) {
        let flights = self.flights(self.at).await;
        let Some(flight) = (!flights.is_empty()).then(|| flights[self.dice.index(flights.len())].clone())
        else {
            return;
        };
        let latest = flight.latest;
        let number = latest.number + u32::from(!self.dice.permille(150));
        let mut attempt = self.attempt(latest.transaction_id, latest.tenant_id, latest.nonce, number);
        attempt.purpose = match flight.end_wanted {
            _ if flight.is_fill => AttemptPurpose::Fill,
            Some(_) => AttemptPurpose::Cancel,
            None => AttemptPurpose::Bump,
        };
        let holder = self.holder();
        let Held { book, memory, post, holding } = &self.holders[&self.at][holder];
        let attempts = [attempt];
        let real = book.again(post, self.at, &attempts).await;
        let ours = memory.again(holding, self.at, &attempts).await;
        assert_eq!(shown(&real), shown(&ours), "again");
    }

    pub(super) async fn fills(&mut self) {
        let next = self.pg.progress(self.at).await.unwrap().next_nonce;
        if next == 0 {
            return;
        }
        let bound = self.pg.bound(self.at, 0, next).await.unwrap();
        let gap = (0..next).find(|nonce| !bound.contains(nonce));
        let nonce = gap.filter(|_| !self.dice.permille(100)).unwrap_or(next - 1);
        let id = Uuid::from_u128(self.dice.any().into());
        let mut attempt = self.attempt(id, None, nonce, 1);
        attempt.purpose = AttemptPurpose::Fill;
        let holder = self.holder();
        let Held { book, memory, post, holding } = &self.holders[&self.at][holder];
        let attempts = [attempt];
        let real = book.fill(post, self.at, &attempts).await;
        let ours = memory.fill(holding, self.at, &attempts).await;
        assert_eq!(shown(&real), shown(&ours), "fill");
    }

    pub(super) async fn ends(&mut self) {
        use TransactionState::{Cancelled, Expired, Failed};
        if self.handed.is_empty() {
            return;
        }
        let count = 1 + self.dice.index(2);
        let endings: Vec<_> = (0..count)
            .map(|_| {
                let id = self.handed[self.dice.index(self.handed.len())].0;
                Ending {
                    id,
                    end: self.dice.pick(&[Failed, Cancelled, Expired]),
                    why: "a script".into(),
                    reason: None,
                }
            })
            .collect();
        let wants = self.dice.permille(500);
        let holder = self.holder();
        let Held { book, memory, post, holding } = &self.holders[&self.at][holder];
        let (real, ours) = if wants {
            let ending = &endings[0];
            (book.want_end(post, ending).await, memory.want_end(holding, ending).await)
        } else {
            (book.end(post, &endings).await, memory.end(holding, &endings).await)
        };
        assert_eq!(shown(&real), shown(&ours), "end");
    }

    pub(super) async fn records(&mut self) {
        let flights = self.flights(self.at).await;
        let known = flights.first().map(|flight| flight.latest.tx_hash);
        let tx_hash = known.filter(|_| !self.dice.permille(200)).unwrap_or(B256::repeat_byte(1));
        let told = [Told {
            tx_hash,
            tenant_id: Some(self.tenant),
            endpoint: "one".into(),
            answer: "accepted",
            detail: None,
            sent_at: OffsetDateTime::UNIX_EPOCH,
        }];
        let real = self.pg.record(self.at.chain_id, &told).await;
        let ours = self.memory.record(self.at.chain_id, &told).await;
        assert_eq!(shown(&real), shown(&ours), "record");
    }
}
