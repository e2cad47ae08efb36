//! Clients of the ledger: each offers postings, asks again for what it got no answer to, and keeps a book of what it offered and what it was told.

use std::collections::HashSet;
use std::time::Duration;

use alloy_primitives::B256;
use anyhow::{Context as _, Result, ensure};
use plimsoll_types::api::{PostedLedgerPosting, PostedLedgerPostings};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::chaos::client::{self, Call, Heard, Told, ask, once};
use crate::chaos::dice::Dice;
use crate::chaos::people::Person;

/// What every posting of theirs is in.
pub(super) const CURRENCY: &str = "USDC";
/// A client takes up to so long before it offers the next.
const PAUSE_MS: u64 = 25;
/// Postings of a batch.
const BATCH: (u64, u64) = (2, 8);
const POST: &str = "/api/v1/ledger/post";

/// A posting as it was offered.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) tenant_id: Uuid,
    pub(super) request_id: Uuid,
    pub(super) operation_type: &'static str,
    pub(super) debit: Uuid,
    pub(super) credit: Uuid,
    pub(super) amount: u64,
    /// The posting that it takes back.
    pub(super) reverses: Option<Uuid>,
    /// What it was answered with: the posting, and the checksum of the request.
    pub(super) answer: Option<(Uuid, B256)>,
}

/// What a client kept.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) offered: Vec<Offered>,
    pub(super) contradictions: Vec<String>,
    pub(super) retries: u64,
    pub(super) repeats: u64,
    pub(super) conflicts: u64,
}

impl Book {
    /// What another kept, too.
    pub(super) fn take(&mut self, other: Self) {
        let Self { offered, contradictions, retries, repeats, conflicts } = other;
        self.offered.extend(offered);
        self.contradictions.extend(contradictions);
        self.retries += retries;
        self.repeats += repeats;
        self.conflicts += conflicts;
    }
}

/// Somebody who offers postings.
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    /// Who takes them.
    pub(super) bases: Vec<String>,
    pub(super) person: Person,
    pub(super) accounts: Vec<Uuid>,
    pub(super) dice: Dice,
    pub(super) book: Book,
    /// By place: what was taken back, or is to be.
    pub(super) reversed: HashSet<usize>,
}

impl Client {
    /// Offers postings until told to end, and then has an answer to each that it did not give up.
    pub(super) async fn live(mut self, end: CancellationToken) -> Result<Book> {
        while !end.is_cancelled() {
            match self.dice.up_to(99) {
                0..55 => self.one().await?,
                55..72 => self.several().await?,
                72..82 => self.take_back().await?,
                82..90 => self.repeat().await?,
                90..94 => self.contradict().await?,
                _ => self.give_up().await?,
            }
            let pause = self.dice.up_to(PAUSE_MS);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(self.book)
    }

    fn id(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.dice.any(), self.dice.any())
    }

    /// Something new, between two accounts, the first two of which are everybody's favourites.
    fn new_offer(&mut self) -> Offered {
        let hot = self.dice.permille(300);
        let (debit, credit) = if hot { (0, 1) } else { (self.place(), self.place()) };
        let credit = if debit == credit { (credit + 1) % self.accounts.len() } else { credit };
        Offered {
            tenant_id: self.person.tenant_id,
            request_id: self.id(),
            operation_type: self.dice.pick(&["deposit", "transfer"]),
            debit: self.accounts[debit],
            credit: self.accounts[credit],
            amount: self.dice.within(1, 1_000_000),
            reverses: None,
            answer: None,
        }
    }

    fn place(&mut self) -> usize {
        self.dice.index(self.accounts.len())
    }

    fn call(&self, path: impl Into<String>, key: String, body: Value) -> Call {
        Call { path: path.into(), key, token: self.person.token.clone(), body }
    }

    /// Asks until there is an answer, at one process after the other.
    async fn ask<T: serde::de::DeserializeOwned>(&mut self, call: Call) -> Result<Heard<T>> {
        // Where it is asked first is by chance.
        let turn = self.dice.index(self.bases.len());
        self.bases.rotate_left(turn);
        let Told { heard, retries } = ask(self.http.clone(), self.bases.clone(), call).await?;
        self.book.retries += retries;
        Ok(heard)
    }

    /// It was offered, and this was heard.
    fn heard(&mut self, mut offered: Offered, heard: Heard<PostedLedgerPosting>) {
        match heard {
            Heard::Accepted(posted) => offered.answer = Some((posted.posting_id, posted.checksum)),
            Heard::Refused(why) => self.contradict_by(format!("{} is refused: {why}", offered.request_id)),
        }
        self.book.offered.push(offered);
    }

    fn contradict_by(&mut self, what: String) {
        self.book.contradictions.push(what);
    }

    async fn one(&mut self) -> Result<()> {
        let offered = self.new_offer();
        let call = self.call(POST, client::key("post", offered.request_id), body(&offered));
        let heard = self.ask(call).await?;
        self.heard(offered, heard);
        Ok(())
    }

    async fn several(&mut self) -> Result<()> {
        let count = self.dice.within(BATCH.0, BATCH.1);
        let offered: Vec<_> = (0..count).map(|_| self.new_offer()).collect();
        let (request_id, tenant_id) = (self.id(), self.person.tenant_id);
        let postings: Vec<_> = offered.iter().map(body).collect();
        let body = json!({ "request_id": request_id, "tenant_id": tenant_id, "postings": postings });
        let call = self.call(format!("{POST}/batch"), client::key("batch", request_id), body);
        let items = match self.ask::<PostedLedgerPostings>(call).await? {
            Heard::Accepted(posted) => posted.items,
            Heard::Refused(why) => {
                self.contradict_by(format!("the batch {request_id} is refused: {why}"));
                Vec::new()
            }
        };
        ensure!(items.len() == offered.len(), "of {} postings {} are answered", offered.len(), items.len());
        for (offered, item) in offered.into_iter().zip(items) {
            let why = item.detail.unwrap_or_default();
            let heard = item.posting.map_or(Heard::Refused(why), Heard::Accepted);
            self.heard(offered, heard);
        }
        Ok(())
    }

    /// Something of its own that was answered and does not take anything back; none: there is nothing yet.
    fn known(&mut self) -> Option<(usize, Uuid)> {
        let count = self.book.offered.len();
        let place = if count == 0 { return None } else { self.dice.index(count) };
        let offered = &self.book.offered[place];
        let (posting_id, _) = offered.answer.filter(|_| offered.reverses.is_none())?;
        Some((place, posting_id))
    }

    async fn take_back(&mut self) -> Result<()> {
        let Some((place, posting_id)) = self.known() else { return Ok(()) };
        if !self.reversed.insert(place) {
            return Ok(());
        }
        let original = self.book.offered[place].clone();
        let reversal = Offered {
            request_id: self.id(),
            operation_type: "reversal",
            debit: original.credit,
            credit: original.debit,
            reverses: Some(posting_id),
            answer: None,
            ..original
        };
        let body = json!({
            "request_id": reversal.request_id, "tenant_id": reversal.tenant_id, "user_id": self.person.user_id, "reason": "booked in error",
        });
        let path = format!("/api/v1/ledger/postings/{posting_id}/reverse");
        let call = self.call(path, client::key("reverse", reversal.request_id), body);
        let heard = self.ask(call).await?;
        self.heard(reversal, heard);
        Ok(())
    }

    /// What was answered is offered again, under another key.
    async fn repeat(&mut self) -> Result<()> {
        let Some((place, _)) = self.known() else { return Ok(()) };
        let offered = self.book.offered[place].clone();
        let call = self.call(POST, client::key("again", Uuid::new_v4()), body(&offered));
        match self.ask::<PostedLedgerPosting>(call).await? {
            Heard::Accepted(posted) if offered.answer == Some((posted.posting_id, posted.checksum)) => {
                self.book.repeats += 1;
            }
            other => {
                let (id, first) = (offered.request_id, offered.answer);
                self.contradict_by(format!("{id} was answered with {first:?}, and then with {other:?}"));
            }
        }
        Ok(())
    }

    /// What was answered is offered with another amount.
    async fn contradict(&mut self) -> Result<()> {
        let Some((place, _)) = self.known() else { return Ok(()) };
        let offered = self.book.offered[place].clone();
        let other = Offered { amount: offered.amount + 1, ..offered };
        let call = self.call(POST, client::key("other", Uuid::new_v4()), body(&other));
        match self.ask::<PostedLedgerPosting>(call).await? {
            Heard::Refused(_) => self.book.conflicts += 1,
            Heard::Accepted(posted) => {
                let id = other.request_id;
                self.contradict_by(format!("{id}, with another amount, is answered with {posted:?}"));
            }
        }
        Ok(())
    }

    /// Something is offered once, and never again, whatever comes of it.
    async fn give_up(&mut self) -> Result<()> {
        let offered = self.new_offer();
        let call = self.call(POST, client::key("once", offered.request_id), body(&offered));
        let base = self.bases.first().context("somebody to ask")?;
        match once(&self.http, base, &call).await {
            Ok(Some(heard)) => self.heard(offered, heard),
            Ok(None) => self.book.offered.push(offered),
            Err(error) if error.downcast_ref::<reqwest::Error>().is_some() => self.book.offered.push(offered),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn body(offered: &Offered) -> Value {
    let amount = offered.amount.to_string();
    json!({
        "request_id": offered.request_id, "tenant_id": offered.tenant_id, "operation_type": offered.operation_type,
        "entries": [
            { "account_id": offered.debit, "debit": amount, "currency": CURRENCY },
            { "account_id": offered.credit, "credit": amount, "currency": CURRENCY },
        ],
    })
}
