//! What the holder of a signer does, and one who was.

use alloy_primitives::B256;
use plimsoll_relayer::attempt::Flight;
use plimsoll_relayer::book::{Book as _, Ending, Told};
use plimsoll_types::{AttemptPurpose, TransactionState};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Twins;
use super::shown::shown;

impl Twins {
    /// Another node takes the signer; the one before it keeps what it thinks it has.
    pub(super) async fn takes_over(&mut self) {
        let node = self.holders.last().map_or(0, |(node, ..)| 1 - node);
        if let Some((_, lease, holding)) = self.holders.last() {
            lease.clone().release().await.unwrap();
            let now = self.tables.now();
            self.tables.store().free_lease(self.signer, holding.token(), now);
        }
        let stop = CancellationToken::new();
        let name = plimsoll_relayer::book::lease_name(self.signer);
        let lease = self.leases[node].acquire_wait(&name, &stop).await.unwrap();
        let holding = self.memory.acquire(self.signer, &stop).await.unwrap();
        assert_eq!(lease.token(), holding.token());
        self.holders.push((node, lease, holding));
    }

    /// Who acts: mostly the one who may.
    pub(super) fn holder(&mut self) -> usize {
        let last = self.holders.len() - 1;
        if self.dice.permille(150) { self.dice.index(last + 1) } else { last }
    }

    pub(super) async fn enters(&mut self) {
        let behind = None;
        let limit = 1 + self.dice.index(3);
        let queued = self.pg[0].queue(self.signer, behind, limit).await.unwrap();
        let mut ids: Vec<_> = queued.iter().map(|queued| queued.id).collect();
        if ids.is_empty() || self.dice.permille(100) {
            // One that may not enter, or not any more.
            let Some((id, _)) = self.handed.first() else { return };
            ids = vec![*id];
        }
        let next = self.pg[0].progress(self.signer).await.unwrap().next_nonce;
        let floor = if self.dice.permille(150) { next + self.dice.up_to(3) } else { 0 };
        let wrong = u64::from(self.dice.permille(150));
        let first = next.max(floor) + wrong;
        let tenant = Some(self.tenant);
        let attempts: Vec<_> =
            ids.into_iter().zip(first..).map(|(id, nonce)| self.attempt(id, tenant, nonce, 1)).collect();
        let holder = self.holder();
        let (node, lease, holding) = &self.holders[holder];
        let real = self.pg[*node].enter(lease, self.signer, floor, &attempts).await;
        let ours = self.memory.enter(holding, self.signer, floor, &attempts).await;
        assert_eq!(shown(&real), shown(&ours), "enter");
    }

    pub(super) async fn flights(&self) -> Vec<Flight> {
        let mut flights = self.pg[0].flights(self.signer, 0).await.unwrap();
        for flight in &mut flights {
            flight.committed_at = OffsetDateTime::UNIX_EPOCH;
        }
        flights
    }

    pub(super) async fn again(&mut self) {
        let flights = self.flights().await;
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
        let (node, lease, holding) = &self.holders[holder];
        let attempts = [attempt];
        let real = self.pg[*node].again(lease, self.signer, &attempts).await;
        let ours = self.memory.again(holding, self.signer, &attempts).await;
        assert_eq!(shown(&real), shown(&ours), "again");
    }

    pub(super) async fn fills(&mut self) {
        let next = self.pg[0].progress(self.signer).await.unwrap().next_nonce;
        if next == 0 {
            return;
        }
        let bound = self.pg[0].bound(self.signer, 0, next).await.unwrap();
        let gap = (0..next).find(|nonce| !bound.contains(nonce));
        let nonce = gap.filter(|_| !self.dice.permille(100)).unwrap_or(next - 1);
        let id = Uuid::from_u128(self.dice.any().into());
        let mut attempt = self.attempt(id, None, nonce, 1);
        attempt.purpose = AttemptPurpose::Fill;
        let holder = self.holder();
        let (node, lease, holding) = &self.holders[holder];
        let attempts = [attempt];
        let real = self.pg[*node].fill(lease, self.signer, &attempts).await;
        let ours = self.memory.fill(holding, self.signer, &attempts).await;
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
                Ending { id, end: self.dice.pick(&[Failed, Cancelled, Expired]), why: "a script".into() }
            })
            .collect();
        let wants = self.dice.permille(500);
        let holder = self.holder();
        let (node, lease, holding) = &self.holders[holder];
        let (real, ours) = if wants {
            let ending = &endings[0];
            (self.pg[*node].want_end(lease, ending).await, self.memory.want_end(holding, ending).await)
        } else {
            (self.pg[*node].end(lease, &endings).await, self.memory.end(holding, &endings).await)
        };
        assert_eq!(shown(&real), shown(&ours), "end");
    }

    pub(super) async fn records(&mut self) {
        let flights = self.flights().await;
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
        let real = self.pg[0].record(self.signer.chain_id, &told).await;
        let ours = self.memory.record(self.signer.chain_id, &told).await;
        assert_eq!(shown(&real), shown(&ours), "record");
    }
}
