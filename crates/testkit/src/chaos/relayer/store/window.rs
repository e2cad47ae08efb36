//! What the holder of a signer's lease reads and commits.

use alloy_primitives::{Bytes, U256};
use plimsoll_relayer::attempt::{Attempt, Flight};
use plimsoll_relayer::book::{BookError, DecidedOn, Ending, Entered, Place, Queued, Told};
use plimsoll_relayer::post::lease_name;
use plimsoll_relayer::request::{Call, Request, SignerId};
use plimsoll_types::TransactionState;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{AttemptRow, Broken, Row, Store, refused};

/// What a row does: a fill does nothing, to itself.
fn call_of(row: &Row) -> Call {
    let nothing = || Call { to: Some(row.signer.address), value: U256::ZERO, data: Bytes::new() };
    row.request.as_ref().map_or_else(nothing, |request| request.call.clone())
}

impl Store {
    /// The next requests of a signer, behind a place.
    #[must_use]
    pub fn queue(
        &self,
        signer: SignerId,
        behind: Option<Place>,
        limit: usize,
        now: OffsetDateTime,
    ) -> Vec<Queued> {
        let is_open = |row: &&Row| {
            row.signer == signer
                && row.state == TransactionState::Pending
                && !self.hands_over(row.signer)
                && (row.end_wanted.is_some() || !self.is_switched_off(row))
        };
        let mut queued: Vec<_> = self.rows.iter().filter(is_open).map(|row| self.queued(row, now)).collect();
        queued.retain(|queued| behind.is_none_or(|behind| queued.place() > behind));
        queued.sort_by_key(Queued::place);
        queued.truncate(limit);
        queued
    }

    fn queued(&self, row: &Row, now: OffsetDateTime) -> Queued {
        let request = row.request.as_ref();
        let validity = request.map(|request| request.validity).unwrap_or_default();
        let decided_on = |hash| match self.journal.blocks.get(&hash) {
            Some(true) => DecidedOn::Stands,
            Some(false) => DecidedOn::Left,
            None => DecidedOn::Unknown,
        };
        Queued {
            id: row.id,
            tenant_id: row.tenant_id(),
            call: call_of(row),
            gas_limit: request.and_then(|request| request.gas_limit),
            max_fee_limit: request.and_then(|request| request.max_fee_limit),
            priority: request.map_or(0, |request| request.priority),
            valid_until_block: validity.until_block,
            as_of_block_hash: validity.as_of_block_hash,
            is_late: validity.until.is_some_and(|until| until < now),
            decided_on: validity.as_of_block_hash.map_or(DecidedOn::Stands, decided_on),
            called_off: row.end_wanted.and_then(|_| row.end_why.clone()),
            simulate: request.and_then(|request| request.simulate),
        }
    }

    /// What is under way from a nonce on.
    #[must_use]
    pub fn flights(&self, signer: SignerId, from: u64) -> Vec<Flight> {
        let held_under = self.leases.get(&lease_name(signer)).map(|lease| lease.token);
        let of_signer = self.nonces.range((signer, from)..=(signer, u64::MAX));
        let rows = of_signer.map(|((_, nonce), place)| (*nonce, &self.rows[*place]));
        rows.filter(|(_, row)| row.state == TransactionState::Tracking && row.taken.is_none())
            .filter_map(|(nonce, row)| {
                let mut of_nonce = self.attempts.range((signer, nonce, 0)..=(signer, nonce, u32::MAX));
                let (_, latest) = of_nonce.next_back()?;
                if self.broken == Some(Broken::NotTakenOver) && Some(latest.token) != held_under {
                    return None;
                }
                Some(Flight {
                    call: call_of(row),
                    gas_asked: row.request.as_ref().and_then(|request| request.gas_limit),
                    max_fee_limit: row.request.as_ref().and_then(|request| request.max_fee_limit),
                    priority: row.request.as_ref().map_or(0, |request| request.priority),
                    end_wanted: row.end_wanted.map(|end| (end, row.end_why.clone().unwrap_or_default())),
                    speed_up: None,
                    is_fill: row.request.is_none(),
                    committed_at: latest.committed_at,
                    latest: Attempt {
                        transaction_id: row.id,
                        tenant_id: row.tenant_id(),
                        ..latest.attempt.clone()
                    },
                })
            })
            .collect()
    }

    /// Which of these nonces some request has.
    #[must_use]
    pub fn bound(&self, signer: SignerId, from: u64, to: u64) -> Vec<u64> {
        self.nonces.range((signer, from)..(signer, to.max(from))).map(|((_, nonce), _)| *nonce).collect()
    }

    /// Gives pending requests their nonces.
    ///
    /// # Errors
    /// What Postgres would refuse. Nothing is written then.
    pub fn enter(
        &mut self,
        token: i64,
        signer: SignerId,
        floor: u64,
        attempts: &[Attempt],
        now: OffsetDateTime,
    ) -> Result<Entered, BookError> {
        let Some(first) = attempts.first() else { return Ok(Entered::Committed) };
        let next = self.next_nonce(signer)?.max(floor);
        if next != first.nonce {
            return Ok(Entered::Mispredicted { next });
        }
        let looks_at_the_mark = self.broken != Some(Broken::GivenAfterMoved);
        let may_enter = |attempt: &Attempt| {
            let row = self.row(attempt.transaction_id)?;
            let is_open = row.state == TransactionState::Pending && row.end_wanted.is_none();
            let is_held = self.is_switched_off(row) || self.hands_over(row.signer) && looks_at_the_mark;
            (is_open && !is_held).then_some((self.places[&row.id], attempt.nonce))
        };
        let open: Vec<_> = attempts.iter().filter_map(may_enter).collect();
        // Each gets its nonce as a request of the signer that it has by now, before it is looked at whose it is.
        if open.iter().any(|(place, nonce)| self.nonces.contains_key(&(self.rows[*place].signer, *nonce))) {
            return Err(refused("a nonce has one request at a time"));
        }
        let is_moved = |place: usize| self.rows[place].signer != signer && looks_at_the_mark;
        if open.len() != attempts.len() || open.iter().any(|(place, _)| is_moved(*place)) {
            return Ok(Entered::Overtaken);
        }
        let places: Vec<_> = open.into_iter().map(|(place, _)| place).collect();
        self.may_insert(signer, attempts)?;
        for (place, attempt) in places.into_iter().zip(attempts) {
            self.turn(place, TransactionState::Tracking);
            self.bind(place, attempt.nonce);
        }
        self.insert_attempts(signer, token, attempts, now);
        let last = first.nonce + attempts.len() as u64;
        if self.broken != Some(Broken::NeverMoved) {
            self.advance(signer, last);
        }
        Ok(Entered::Committed)
    }

    /// Keeps further attempts.
    ///
    /// # Errors
    /// As for [`Self::enter`].
    pub fn again(
        &mut self,
        token: i64,
        signer: SignerId,
        attempts: &[Attempt],
        now: OffsetDateTime,
    ) -> Result<(), BookError> {
        self.next_nonce(signer)?;
        self.may_insert(signer, attempts)?;
        if attempts.iter().any(|attempt| self.row(attempt.transaction_id).is_none()) {
            return Err(refused("an attempt for nothing"));
        }
        self.insert_attempts(signer, token, attempts, now);
        Ok(())
    }

    /// Keeps attempts that fill nonces.
    ///
    /// # Errors
    /// As for [`Self::enter`].
    ///
    /// # Panics
    /// Where a nonce is not below the next one.
    pub fn fill(
        &mut self,
        token: i64,
        signer: SignerId,
        attempts: &[Attempt],
        now: OffsetDateTime,
    ) -> Result<(), BookError> {
        let next = self.next_nonce(signer)?;
        assert!(
            attempts.iter().all(|attempt| attempt.nonce < next),
            "what is filled lies below the next nonce"
        );
        if attempts.iter().any(|attempt| self.nonces.contains_key(&(signer, attempt.nonce))) {
            return Err(refused("a nonce has one request at a time"));
        }
        self.may_insert(signer, attempts)?;
        if self.broken == Some(Broken::NeverFilled) {
            return Ok(());
        }
        for attempt in attempts {
            let place = self.insert(attempt.transaction_id, None, signer);
            self.rows[place].state = TransactionState::Tracking;
            self.bind(place, attempt.nonce);
        }
        self.insert_attempts(signer, token, attempts, now);
        Ok(())
    }

    /// Ends pending requests.
    pub fn end(&mut self, endings: &[Ending]) {
        use TransactionState::{Cancelled, Expired, Failed, Pending};
        for end in [Failed, Cancelled, Expired] {
            for ending in endings.iter().filter(|ending| ending.end == end) {
                let place = self.places.get(&ending.id).copied();
                if let Some(place) = place.filter(|place| self.rows[*place].state == Pending) {
                    self.rows[place].end_why = Some(ending.why.clone());
                    self.turn(place, end);
                }
            }
        }
    }

    /// Asks for the end of a request that is under way.
    pub fn want_end(&mut self, ending: &Ending) {
        let Some(place) = self.places.get(&ending.id).copied() else { return };
        let row = &mut self.rows[place];
        if row.state == TransactionState::Tracking && row.end_wanted.is_none() {
            (row.end_wanted, row.end_why) = (Some(ending.end), Some(ending.why.clone()));
        }
    }

    /// Keeps what endpoints answered.
    ///
    /// # Errors
    /// An answer to bytes that are not committed.
    pub fn record(&mut self, told: &[Told]) -> Result<(), BookError> {
        if told.iter().any(|told| self.attempt(told.tx_hash).is_none()) {
            return Err(refused("an answer to bytes that are not committed"));
        }
        self.broadcasts += told.len() as u64;
        Ok(())
    }

    fn hands_over(&self, signer: SignerId) -> bool {
        self.signers.get(&signer).is_some_and(|row| row.rotated_to.is_some())
    }

    fn next_nonce(&self, signer: SignerId) -> Result<u64, BookError> {
        self.signers.get(&signer).map(|row| row.next_nonce).ok_or_else(|| refused("no such signer"))
    }

    fn advance(&mut self, signer: SignerId, next_nonce: u64) {
        if let Some(row) = self.signers.get_mut(&signer) {
            row.next_nonce = next_nonce;
        }
    }

    fn bind(&mut self, place: usize, nonce: u64) {
        self.rows[place].nonce = Some(nonce);
        self.nonces.insert((self.rows[place].signer, nonce), place);
    }

    pub(super) fn unbind(&mut self, place: usize) {
        if let Some(nonce) = self.rows[place].nonce.take() {
            self.nonces.remove(&(self.rows[place].signer, nonce));
        }
    }

    /// Which row has this nonce.
    pub(super) fn bound_to(&self, signer: SignerId, nonce: u64) -> Option<usize> {
        self.nonces.get(&(signer, nonce)).copied()
    }

    fn may_insert(&self, signer: SignerId, attempts: &[Attempt]) -> Result<(), BookError> {
        let mut fresh: Vec<(u64, u32, Uuid)> = Vec::new();
        for attempt in attempts {
            let key = (signer, attempt.nonce, attempt.number);
            let is_double = fresh.iter().any(|(nonce, number, _)| (*nonce, *number) == (key.1, key.2));
            if is_double || self.attempts.contains_key(&key) || self.hashes.contains_key(&attempt.tx_hash) {
                return Err(refused("an attempt is there already"));
            }
            fresh.push((key.1, key.2, attempt.transaction_id));
        }
        Ok(())
    }

    fn insert_attempts(&mut self, signer: SignerId, token: i64, attempts: &[Attempt], now: OffsetDateTime) {
        for attempt in attempts {
            let key = (signer, attempt.nonce, attempt.number);
            let row = AttemptRow { attempt: attempt.clone(), committed_at: now, token };
            self.hashes.insert(attempt.tx_hash, key);
            self.attempts.insert(key, row);
        }
    }

    /// What a request asked for, by the transaction's id.
    #[must_use]
    pub fn request(&self, id: Uuid) -> Option<&Request> {
        self.row(id).and_then(|row| row.request.as_ref())
    }
}
