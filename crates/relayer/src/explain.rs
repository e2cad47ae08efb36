//! What a transaction or a nonce waits for, who holds it, what happens next and when. Pure: what is known goes in, words and fields come out.

mod gather;
mod nonce;
#[cfg(test)]
mod tests;

use plimsoll_types::api::{Explanation, Halt, SignerLease, Transaction, TransactionKind, WaitsFor};
use plimsoll_types::{AttemptPurpose, TransactionState};
use time::OffsetDateTime;

pub use gather::{Known, of_nonce, of_transaction};
pub use nonce::{NonceHas, explain_nonce};

/// What is known beside the transaction.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// How deep a block must lie before what is in it is called confirmed.
    pub confirmations: u64,
    /// The newest block that the journal has.
    pub head: Option<u64>,
    /// The newest one that is final.
    pub final_number: Option<u64>,
    /// The sender's first nonce that no block has used, as far as that was seen.
    pub front: Option<u64>,
    /// Who works the signer; of what a user signed: who sends for the chain.
    pub lease: Option<SignerLease>,
    /// Which operators' words hold it back.
    pub halts: Vec<Halt>,
    /// Whether a writer of the journal has acknowledged that it follows the sender.
    pub is_watched: bool,
    /// How many wait that enter the window before it.
    pub ahead: u64,
    /// How many of the signer's are under way.
    pub under_way: u64,
    /// How many may be.
    pub window: Option<u32>,
    /// When it is given to the endpoints again, where that is on record.
    pub sent_again_at: Option<OffsetDateTime>,
}

/// What it waits for, in words; and what comes after.
struct Said {
    waits_for: WaitsFor,
    waiting: String,
    next: String,
    next_at: Option<OffsetDateTime>,
    next_block: Option<u64>,
}

fn said(waits_for: WaitsFor, waiting: impl Into<String>, next: impl Into<String>) -> Said {
    Said { waits_for, waiting: waiting.into(), next: next.into(), next_at: None, next_block: None }
}

/// Explains a transaction.
#[must_use]
pub fn explain(transaction: &Transaction, around: &Surroundings) -> Explanation {
    let is_users = transaction.kind == TransactionKind::UserSigned;
    let Said { waits_for, waiting, next, next_at, next_block } = match transaction.state {
        TransactionState::Pending if is_users => kept(around),
        TransactionState::Pending => queued(transaction, around),
        TransactionState::Tracking => under_way(transaction, around),
        TransactionState::Mined => in_a_block(transaction, around),
        TransactionState::Confirmed => confirmed(transaction),
        TransactionState::Failed
        | TransactionState::Replaced
        | TransactionState::Cancelled
        | TransactionState::Expired => said(
            WaitsFor::Nothing,
            format!(
                "it is {}: {}",
                transaction.state,
                transaction.end_why.as_deref().unwrap_or("no reason is on record")
            ),
            "nothing: this is its end",
        ),
    };
    Explanation {
        transaction_id: Some(transaction.transaction_id),
        chain_id: transaction.chain_id,
        signer: transaction.signer.clone(),
        nonce: transaction.nonce,
        state: Some(transaction.state),
        waits_for,
        waiting,
        held_by: around.lease.clone(),
        next,
        next_at,
        next_block,
        troubles: troubles(transaction, around),
    }
}

fn stopped(around: &Surroundings) -> Option<Said> {
    let halt = around.halts.first()?;
    let whom = match (halt.is_for_tenant, halt.is_for_signer) {
        (true, true) => "this tenant's transactions of this signer",
        (true, false) => "this tenant's transactions",
        (false, true) => "this signer",
        (false, false) => "everything",
    };
    Some(said(
        WaitsFor::Operator,
        format!("an operator has stopped {whom}: {}", halt.reason),
        "nothing is sent until the switch is taken back; an end that is asked for comes all the same",
    ))
}

fn nobody(who: &str) -> Said {
    said(
        WaitsFor::Holder,
        format!("no process {who}"),
        "the next one that may takes over, within the term of a lease after the last holder was heard of; if none comes, none with the role `relayer` runs",
    )
}

fn acknowledgement() -> Said {
    said(
        WaitsFor::Acknowledgement,
        "its sender is not followed yet: nothing is sent before whoever writes the chain's journal has said so",
        "the ingest of the chain acknowledges it, within a second or so while it runs",
    )
}

/// Kept for a user, and not sent.
fn kept(around: &Surroundings) -> Said {
    if let Some(stopped) = stopped(around) {
        return stopped;
    }
    if around.lease.is_none() {
        return nobody("sends users' transactions on this chain");
    }
    if !around.is_watched {
        return acknowledgement();
    }
    said(
        WaitsFor::Turn,
        "it is kept, and sent at the next look",
        "it is given to every endpoint of the chain",
    )
}

/// It has no nonce.
fn queued(transaction: &Transaction, around: &Surroundings) -> Said {
    let mut told = if let Some(end) = transaction.end_wanted {
        said(
            WaitsFor::Holder,
            format!("its end is asked for ({end}): {}", transaction.end_why.as_deref().unwrap_or_default()),
            format!("it becomes {end} when its signer is worked next: it never had a nonce"),
        )
    } else if let Some(stopped) = stopped(around) {
        stopped
    } else if around.lease.is_none() {
        nobody("works its signer")
    } else if !around.is_watched {
        acknowledgement()
    } else if let Some(held) = &transaction.held {
        said(
            WaitsFor::Held,
            held.why.clone(),
            "it is looked at again every few seconds, and enters as soon as nothing holds it; what is behind it does not wait for it",
        )
    } else if let Some(window) = around.window.filter(|window| around.under_way >= u64::from(*window)) {
        said(
            WaitsFor::Window,
            format!("its signer has {} transactions under way, and {window} may be", around.under_way),
            "it enters when blocks have taken some of them, and those before it",
        )
    } else if around.ahead > 0 {
        said(
            WaitsFor::Queue,
            format!("{} of its signer enter before it", around.ahead),
            "it enters when these have, or could not",
        )
    } else {
        said(
            WaitsFor::Turn,
            "it is the next of its signer",
            "its gas is estimated, it is priced and signed, and sent; unless gas costs more than may be offered, or its signer cannot pay for it: then it is looked at again every few seconds",
        )
    };
    told.next_at = transaction.valid_until;
    told.next_block = transaction.valid_until_block;
    if told.next_at.is_some() || told.next_block.is_some() {
        told.next.push_str("; after its time it expires");
    }
    told
}

/// The endpoints that say that they have its latest attempt.
fn who_has_it(transaction: &Transaction) -> Vec<&str> {
    let answers = transaction.attempts.last().map(|latest| latest.answers.as_slice()).unwrap_or_default();
    let has = answers.iter().filter(|one| matches!(one.answer.as_str(), "accepted" | "already_known"));
    has.map(|one| one.endpoint.as_str()).collect()
}

/// It may be with any node.
fn under_way(transaction: &Transaction, around: &Surroundings) -> Said {
    let is_users = transaction.kind == TransactionKind::UserSigned;
    if let Some(stranger) = &transaction.inclusion {
        let what_then = if is_users {
            "it is replaced"
        } else {
            "it is sent at another nonce, or is replaced, as its signer is configured"
        };
        return Said {
            next_block: Some(stranger.block_number),
            ..said(
                WaitsFor::Finality,
                format!(
                    "transaction {} has its nonce, in block {}, and is none of its attempts",
                    stranger.tx_hash, stranger.block_number
                ),
                format!(
                    "once that block is final, {what_then}; should the block leave the chain, it goes on"
                ),
            )
        };
    }
    let nonce = transaction.nonce.unwrap_or_default();
    let holder = if is_users { "sends users' transactions on this chain" } else { "works its signer" };
    let taken = who_has_it(transaction);
    if let (Some(front), None) = (around.front.filter(|front| *front < nonce), transaction.end_wanted) {
        return said(
            WaitsFor::LowerNonce,
            format!(
                "nonce {front} of its sender is not used yet, and it has nonce {nonce}: no block takes it before"
            ),
            "when that one is in a block, this one can be in the same or the next",
        );
    }
    if taken.is_empty() && around.lease.is_none() {
        return nobody(holder);
    }
    if let Some(end) = transaction.end_wanted {
        let competing = transaction.attempts.iter().any(|attempt| attempt.purpose == AttemptPurpose::Cancel);
        let waiting = if competing {
            "a transaction that does nothing competes for its nonce"
        } else {
            "a transaction that does nothing is to compete for its nonce"
        };
        return said(
            WaitsFor::Block,
            format!("its end is asked for ({end}): {waiting}"),
            "a block takes one of the two, and finality makes that its end",
        );
    }
    if taken.is_empty() {
        let last = transaction.attempts.last().and_then(|latest| latest.answers.last());
        let waiting = match last {
            Some(last) => format!(
                "no endpoint says that it has it; {} answered {}{}",
                last.endpoint,
                last.answer,
                last.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default()
            ),
            None => "it is on record, and no endpoint has answered".to_owned(),
        };
        let next = if is_users {
            "the same bytes are sent again"
        } else {
            "the same bytes are sent again, or better ones where that helps"
        };
        return Said { next_at: around.sent_again_at, ..said(WaitsFor::Endpoint, waiting, next) };
    }
    if transaction.speed_up_wanted.is_some() {
        return said(
            WaitsFor::Offer,
            "more is to be offered for it, as far as its limits allow",
            "another attempt, with a tenth more at least, is signed at the next look",
        );
    }
    let next = if is_users {
        "a block takes it; nobody but its sender can offer more. Until then it is sent again now and then"
    } else {
        "a block takes it; after some blocks without it, it is sent again, and more is offered where that helps"
    };
    Said {
        next_at: around.sent_again_at,
        next_block: around.head.map(|head| head + 1),
        ..said(WaitsFor::Block, format!("{} has it, and no block yet", taken.join(", ")), next)
    }
}

fn in_a_block(transaction: &Transaction, around: &Surroundings) -> Said {
    let Some(inclusion) = &transaction.inclusion else {
        return said(WaitsFor::Finality, "it is in a block", "its block becomes final");
    };
    let number = inclusion.block_number;
    let is_what_was_asked = inclusion.succeeded && inclusion.purpose != Some(AttemptPurpose::Cancel);
    if is_what_was_asked {
        let at = number + around.confirmations;
        let left = around.head.map_or(around.confirmations, |head| at.saturating_sub(head));
        return Said {
            next_block: Some(at),
            ..said(
                WaitsFor::Confirmations,
                format!("it succeeded in block {number}, and {left} more blocks are to come above it"),
                format!(
                    "at block {at} it is confirmed; should its block leave the chain before, it is under way again"
                ),
            )
        };
    }
    let (what, end) = match inclusion.purpose {
        Some(AttemptPurpose::Cancel) => ("what competed with it is", "its end"),
        _ => ("it reverted", "failed"),
    };
    let far =
        around.final_number.map(|known| format!("; blocks are final up to {known}")).unwrap_or_default();
    Said {
        next_block: Some(number),
        ..said(
            WaitsFor::Finality,
            format!("{what} in block {number}, which is not final{far}"),
            format!(
                "once block {number} is final, that is {end}; should it leave the chain before, the transaction is under way again"
            ),
        )
    }
}

fn confirmed(transaction: &Transaction) -> Said {
    match &transaction.inclusion {
        Some(inclusion) if !inclusion.is_final => Said {
            next_block: Some(inclusion.block_number),
            ..said(
                WaitsFor::Nothing,
                format!("it succeeded in block {}, which has its confirmations", inclusion.block_number),
                "its block becomes final; only a reorganisation deeper than the confirmations could still take it back, and would be told loudly",
            )
        },
        _ => said(WaitsFor::Nothing, "it succeeded, in a final block", "nothing: this is its end"),
    }
}

/// What is wrong beside what it waits for.
fn troubles(transaction: &Transaction, around: &Surroundings) -> Vec<String> {
    let mut troubles = Vec::new();
    if transaction.state.is_end() {
        return troubles;
    }
    troubles
        .extend(around.halts.iter().map(|halt| format!("an operator's switch is thrown: {}", halt.reason)));
    if around.lease.is_none() {
        troubles.push("no process holds the lease under which it would be worked".to_owned());
    }
    let answers = transaction.attempts.last().map(|latest| latest.answers.as_slice()).unwrap_or_default();
    for answer in answers.iter().filter(|one| !matches!(one.answer.as_str(), "accepted" | "already_known")) {
        let detail = answer.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        troubles.push(format!("{} answered {}{detail}", answer.endpoint, answer.answer));
    }
    if around.head.is_none() {
        troubles.push("the journal of this chain has no block yet".to_owned());
    }
    troubles
}
