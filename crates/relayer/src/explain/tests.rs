use alloy_primitives::{Address, B256};
use plimsoll_types::api::{EndpointAnswer, Held, Inclusion, TransactionAttempt};
use plimsoll_types::{Amount, address_text};
use uuid::Uuid;

use super::*;
use crate::request::SignerId;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// A transaction that waits, the next of its signer.
fn waiting(kind: TransactionKind) -> Transaction {
    let is_users = kind == TransactionKind::UserSigned;
    Transaction {
        revert: None,
        held: None,
        simulate: None,
        transaction_id: Uuid::nil(),
        kind,
        request_id: Uuid::nil(),
        operation_type: "push".into(),
        state: TransactionState::Pending,
        version: 1,
        chain_id: 1,
        signer: address_text(&Address::repeat_byte(1)),
        to: None,
        value_wei: Amount::from(0_u128),
        data: "0x".into(),
        gas_limit: None,
        max_fee_per_gas_limit: None,
        priority: 0,
        valid_until: None,
        valid_until_block: None,
        as_of_block_hash: None,
        nonce: is_users.then_some(7),
        end_wanted: None,
        end_why: None,
        speed_up_wanted: None,
        halts: Vec::new(),
        inclusion: None,
        attempts: Vec::new(),
        user_id: None,
        created_by: "user:1".into(),
        correlation_id: "a story".into(),
        created_at: NOW,
        updated_at: NOW,
    }
}

/// The same, under way at nonce 7, and to its last attempt was answered so.
fn sent(kind: TransactionKind, answer: Option<&str>) -> Transaction {
    let answers = answer.map(|answer| EndpointAnswer {
        endpoint: "node-1".into(),
        answer: answer.into(),
        detail: Some("its words".into()),
        sent_at: NOW,
    });
    let attempt = TransactionAttempt {
        nonce: 7,
        number: 1,
        purpose: AttemptPurpose::Send,
        tx_hash: B256::ZERO,
        gas_limit: 1,
        max_fee_per_gas: Amount::from(1_u128),
        max_priority_fee_per_gas: None,
        why: String::new(),
        committed_at: NOW,
        answers: answers.into_iter().collect(),
    };
    let (state, nonce) = (TransactionState::Tracking, Some(7));
    Transaction { state, nonce, attempts: vec![attempt], ..waiting(kind) }
}

fn mined(purpose: Option<AttemptPurpose>, succeeded: bool, is_final: bool) -> Transaction {
    let inclusion = Inclusion {
        block_number: 100,
        block_hash: B256::repeat_byte(1),
        tx_hash: B256::repeat_byte(2),
        attempt: purpose.map(|_| 1),
        purpose,
        succeeded,
        gas_used: None,
        gas_paid_wei: None,
        is_final,
    };
    let state = TransactionState::Mined;
    Transaction { state, inclusion: Some(inclusion), ..sent(TransactionKind::Managed, Some("accepted")) }
}

/// Everything is as it should be.
fn well() -> Surroundings {
    Surroundings {
        confirmations: 5,
        head: Some(102),
        final_number: Some(90),
        front: Some(7),
        lease: Some(SignerLease { holder: "node-a".into(), token: 3, expires_at: NOW }),
        halts: Vec::new(),
        is_watched: true,
        ahead: 0,
        under_way: 0,
        window: Some(4),
        sent_again_at: None,
    }
}

fn halt() -> Halt {
    Halt { is_for_tenant: false, is_for_signer: true, reason: "keys are turned".into(), thrown_at: NOW }
}

fn with(change: impl FnOnce(&mut Surroundings)) -> Surroundings {
    let mut around = well();
    change(&mut around);
    around
}

fn changed(mut transaction: Transaction, change: impl FnOnce(&mut Transaction)) -> Transaction {
    change(&mut transaction);
    transaction
}

#[test]
fn each_state_and_each_trouble_has_what_it_waits_for_and_what_comes_next() {
    use TransactionKind::{Managed, UserSigned};
    let (queued, kept) = (waiting(Managed), waiting(UserSigned));
    let (taken, theirs) = (sent(Managed, Some("accepted")), sent(UserSigned, Some("already_known")));
    let calling_off = |of: &Transaction| {
        changed(of.clone(), |t| {
            (t.end_wanted, t.end_why) = (Some(TransactionState::Cancelled), Some("withdrawn".into()));
        })
    };
    let held = changed(queued.clone(), |t| {
        t.held = Some(Held { why: "fund the signer".into(), looked_at: NOW });
    });
    let displaced = changed(mined(None, true, false), |t| t.state = TransactionState::Tracking);
    let sped = changed(taken.clone(), |t| t.speed_up_wanted = Some("a deadline".into()));
    let cases: Vec<(&str, Transaction, Surroundings, WaitsFor, &str, &str)> = vec![
        ("next", queued.clone(), well(), WaitsFor::Turn, "the next of its signer", "priced and signed"),
        ("behind", queued.clone(), with(|a| a.ahead = 3), WaitsFor::Queue, "3 of its signer", "enters when"),
        (
            "full",
            queued.clone(),
            with(|a| a.under_way = 4),
            WaitsFor::Window,
            "has 4 transactions under way, and 4 may",
            "blocks have taken",
        ),
        ("held", held.clone(), well(), WaitsFor::Held, "fund the signer", "looked at again"),
        (
            "held, and stopped",
            held,
            with(|a| a.halts = vec![halt()]),
            WaitsFor::Operator,
            "keys are turned",
            "taken back",
        ),
        (
            "stopped",
            queued.clone(),
            with(|a| a.halts = vec![halt()]),
            WaitsFor::Operator,
            "this signer: keys are turned",
            "taken back",
        ),
        (
            "unworked",
            queued.clone(),
            with(|a| a.lease = None),
            WaitsFor::Holder,
            "no process works its signer",
            "term of a lease",
        ),
        (
            "unwatched",
            queued.clone(),
            with(|a| a.is_watched = false),
            WaitsFor::Acknowledgement,
            "not followed yet",
            "ingest",
        ),
        (
            "called off in the queue",
            calling_off(&queued),
            with(|a| a.halts = vec![halt()]),
            WaitsFor::Holder,
            "withdrawn",
            "it becomes cancelled",
        ),
        ("kept", kept.clone(), well(), WaitsFor::Turn, "it is kept", "every endpoint"),
        (
            "kept, nobody sends",
            kept.clone(),
            with(|a| a.lease = None),
            WaitsFor::Holder,
            "users' transactions",
            "takes over",
        ),
        (
            "kept, unwatched",
            kept.clone(),
            with(|a| a.is_watched = false),
            WaitsFor::Acknowledgement,
            "not followed yet",
            "ingest",
        ),
        (
            "kept, stopped",
            kept,
            with(|a| a.halts = vec![halt()]),
            WaitsFor::Operator,
            "keys are turned",
            "taken back",
        ),
        ("under way", taken.clone(), well(), WaitsFor::Block, "node-1 has it", "more is offered"),
        (
            "a user's under way",
            theirs.clone(),
            with(|a| a.front = None),
            WaitsFor::Block,
            "node-1 has it",
            "nobody but its sender",
        ),
        (
            "behind another nonce",
            taken.clone(),
            with(|a| a.front = Some(5)),
            WaitsFor::LowerNonce,
            "nonce 5 of its sender",
            "in the same or the next",
        ),
        (
            "behind another nonce of its user",
            theirs.clone(),
            with(|a| a.front = Some(5)),
            WaitsFor::LowerNonce,
            "nonce 5 of its sender",
            "in the same or the next",
        ),
        (
            "refused",
            sent(Managed, Some("underpriced")),
            well(),
            WaitsFor::Endpoint,
            "node-1 answered underpriced (its words)",
            "sent again",
        ),
        (
            "a user's refused",
            sent(UserSigned, Some("insufficient_funds")),
            with(|a| a.front = None),
            WaitsFor::Endpoint,
            "insufficient_funds",
            "the same bytes are sent again",
        ),
        (
            "unanswered",
            sent(Managed, None),
            well(),
            WaitsFor::Endpoint,
            "no endpoint has answered",
            "sent again",
        ),
        (
            "unanswered and unworked",
            sent(Managed, None),
            with(|a| a.lease = None),
            WaitsFor::Holder,
            "no process works",
            "takes over",
        ),
        (
            "taken and unworked",
            taken.clone(),
            with(|a| a.lease = None),
            WaitsFor::Block,
            "node-1 has it",
            "a block takes it",
        ),
        (
            "called off under way",
            calling_off(&taken),
            well(),
            WaitsFor::Block,
            "is to compete",
            "one of the two",
        ),
        ("to be sped up", sped, well(), WaitsFor::Offer, "more is to be offered", "a tenth more"),
        ("displaced", displaced, well(), WaitsFor::Finality, "none of its attempts", "another nonce"),
        (
            "mined",
            mined(Some(AttemptPurpose::Send), true, false),
            well(),
            WaitsFor::Confirmations,
            "3 more blocks",
            "at block 105",
        ),
        (
            "reverted",
            mined(Some(AttemptPurpose::Bump), false, false),
            well(),
            WaitsFor::Finality,
            "reverted in block 100",
            "failed",
        ),
        (
            "cancelled in a block",
            mined(Some(AttemptPurpose::Cancel), true, false),
            well(),
            WaitsFor::Finality,
            "competed",
            "its end",
        ),
        (
            "confirmed",
            changed(mined(Some(AttemptPurpose::Send), true, false), |t| {
                t.state = TransactionState::Confirmed;
            }),
            well(),
            WaitsFor::Nothing,
            "has its confirmations",
            "becomes final",
        ),
        (
            "final",
            changed(mined(Some(AttemptPurpose::Send), true, true), |t| t.state = TransactionState::Confirmed),
            well(),
            WaitsFor::Nothing,
            "in a final block",
            "this is its end",
        ),
    ];
    for (name, transaction, around, waits_for, waiting, next) in cases {
        let told = explain(&transaction, &around);
        assert_eq!(told.waits_for, waits_for, "{name}: {told:#?}");
        assert!(told.waiting.contains(waiting), "{name}: {}", told.waiting);
        assert!(told.next.contains(next), "{name}: {}", told.next);
        assert_eq!((told.state, told.held_by), (Some(transaction.state), around.lease), "{name}");
    }
    for end in
        TransactionState::ALL.iter().filter(|state| state.is_end() && **state != TransactionState::Confirmed)
    {
        let ended = changed(queued.clone(), |t| (t.state, t.end_why) = (*end, Some("a reason".into())));
        let told = explain(&ended, &with(|a| a.lease = None));
        assert_eq!((told.waits_for, told.troubles.len()), (WaitsFor::Nothing, 0), "{end}");
        assert!(told.waiting.contains("a reason") && told.waiting.contains(end.as_str()), "{}", told.waiting);
    }
}

#[test]
fn what_has_a_time_says_when_and_what_is_wrong_besides_is_told_too() {
    let late = changed(waiting(TransactionKind::Managed), |t| {
        (t.valid_until, t.valid_until_block) = (Some(NOW), Some(200));
    });
    let told = explain(&late, &well());
    assert_eq!((told.next_at, told.next_block), (Some(NOW), Some(200)));
    assert!(told.next.ends_with("it expires"), "{}", told.next);

    let around = with(|a| (a.lease, a.head, a.halts) = (None, None, vec![halt()]));
    let told = explain(&sent(TransactionKind::Managed, Some("rate_limited")), &around);
    for wanted in ["keys are turned", "no process holds", "node-1 answered rate_limited", "no block yet"] {
        assert!(
            told.troubles.iter().any(|trouble| trouble.contains(wanted)),
            "{wanted}: {:#?}",
            told.troubles
        );
    }
    let again = with(|a| a.sent_again_at = Some(NOW));
    assert_eq!(explain(&sent(TransactionKind::UserSigned, Some("accepted")), &again).next_at, Some(NOW));
}

#[test]
fn a_nonce_that_nobody_here_may_look_into_says_as_much_as_it_may() {
    let signer = SignerId { chain_id: 1, address: Address::repeat_byte(1) };
    let stranger = NonceHas::Stranger { tx_hash: B256::repeat_byte(9), block_number: 44 };
    for (has, waits_for, says) in [
        (NonceHas::AnotherTenants, WaitsFor::Nothing, "another tenant"),
        (NonceHas::Fill(TransactionState::Tracking), WaitsFor::Block, "is tracking"),
        (NonceHas::Fill(TransactionState::Confirmed), WaitsFor::Nothing, "was filled"),
        (stranger, WaitsFor::Nothing, "in block 44"),
        (NonceHas::NotGiven { next: 3 }, WaitsFor::Turn, "the next one is 3"),
        (NonceHas::Before { front: 6 }, WaitsFor::Nothing, "6 is the first"),
        (NonceHas::Gap, WaitsFor::Holder, "nothing has it"),
    ] {
        let told = explain_nonce(signer, 5, &has, &well());
        assert_eq!((told.waits_for, told.nonce, told.transaction_id), (waits_for, Some(5), None), "{has:?}");
        assert!(told.waiting.contains(says), "{has:?}: {}", told.waiting);
    }
}
