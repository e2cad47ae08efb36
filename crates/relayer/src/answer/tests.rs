mod texts;

use std::{collections::HashSet, time::Duration};

use alloy_primitives::Bytes;
use plimsoll_chain::{
    EndpointConfig, Rpc,
    transport::{self, TransportFailure},
};
use proptest::prelude::*;

use self::texts::texts;
use super::{
    SendAnswer::{Accepted, AlreadyKnown, RateLimited, Reverted, Unknown},
    *,
};

const OURS: B256 = B256::repeat_byte(0xaa);

fn low(next: impl Into<Option<u64>>) -> SendAnswer {
    SendAnswer::NonceTooLow { next: next.into() }
}

fn high(next: impl Into<Option<u64>>) -> SendAnswer {
    SendAnswer::NonceTooHigh { next: next.into() }
}

fn refused(code: i64, message: &str) -> Refused {
    Refused { class: ErrorClass::Rejected, code, message: message.to_owned(), data: None }
}

#[test]
fn the_words_of_each_client_are_understood() {
    for (client, code, message, expected) in texts() {
        assert_eq!(of_refusal(&refused(code, message)), expected, "{client}: {code} {message}");
        let wrapped = format!("call failed: {message}");
        let is_whole = ["mined", "Invalid"].contains(&message);
        if !is_whole {
            assert_eq!(of_refusal(&refused(code, &wrapped)), expected, "{client}: {code} {wrapped}");
        }
    }
}

#[test]
fn no_spelling_is_hidden_by_one_before_it() {
    for (place, (words, answer)) in spellings::SPELLINGS.iter().enumerate() {
        let before = spellings::SPELLINGS[..place].iter().find(|(before, _)| spellings::says(words, before));
        assert_eq!(before, None, "{words:?} for {answer:?} is never reached");
        assert_eq!(*words, words.to_lowercase());
    }
}

#[test]
fn limits_of_providers_are_told_by_their_class_and_reasons_may_be_in_the_data() {
    let limited = Refused {
        class: ErrorClass::RateLimited { retry_after: None },
        ..refused(-32_005, "daily request count exceeded, request rate limited")
    };
    assert_eq!(of_refusal(&limited), RateLimited);
    let known = Refused { message: "already known".to_owned(), ..limited };
    assert_eq!(of_refusal(&known), AlreadyKnown, "its words say more than its class");
    let inside = Refused {
        data: Some(r#"{"message":"nonce too low: next nonce 4, tx nonce 1"}"#.to_owned()),
        ..refused(-32_603, "Internal error")
    };
    assert_eq!(of_refusal(&inside), low(4));
}

#[test]
fn only_our_own_hash_is_acceptance() {
    assert_eq!(read(OURS, &Ok(OURS)), Reading { answer: Accepted, detail: None });
    for theirs in [B256::ZERO, B256::repeat_byte(0xab), B256::repeat_byte(0xff)] {
        let reading = read(OURS, &Ok(theirs));
        assert_eq!(reading.answer, Unknown);
        assert!(reading.detail.unwrap().contains(&theirs.to_string()));
    }
}

/// What the chain's client makes of a send that this failure ended.
async fn failed(failure: TransportFailure) -> Result<B256, SendError> {
    let transport = transport::answering(move |_| std::future::ready(Err(failure.clone().into())));
    let rpc = Rpc::over(transport, &EndpointConfig::new("http://node"));
    rpc.send_raw(&[Bytes::from_static(&[2])]).await.pop().expect("one answer for one transaction")
}

#[tokio::test]
async fn no_answer_is_neither_success_nor_failure() {
    let http =
        |status, body: &str| TransportFailure::Http { status, body: body.to_owned(), retry_after: None };
    for (failure, expected) in [
        (TransportFailure::Timeout(Duration::from_secs(10)), Unknown),
        (TransportFailure::Connection("reset by peer: already known".to_owned()), Unknown),
        (TransportFailure::Local("the URL is unusable".to_owned()), Unknown),
        (http(502, "nonce too low"), Unknown),
        (http(401, ""), Unknown),
        (http(429, ""), RateLimited),
        (http(413, "oversized data"), Unknown),
    ] {
        let reading = read(OURS, &failed(failure.clone()).await);
        assert_eq!(reading.answer, expected, "{failure:?}");
        assert!(reading.detail.unwrap().contains("at node:"), "{failure:?}");
    }
}

#[test]
fn what_was_said_is_kept_short_and_without_control_characters() {
    let said = format!("nonce too low\0\u{1b}[31m{}", "长".repeat(1_000));
    let reading = read(OURS, &Err(SendError::Refused(refused(-32_000, &said))));
    let detail = reading.detail.unwrap();
    assert_eq!((reading.answer, detail.chars().count()), (low(None), MAX_DETAIL_CHARS + 1));
    assert!(detail.starts_with("error -32000: nonce too low\u{fffd}\u{fffd}[31m长"), "{detail}");
}

#[test]
fn what_is_concluded_agrees_with_itself() {
    let mut names = HashSet::new();
    let answers: Vec<_> = texts().into_iter().map(|(_, _, _, answer)| answer).collect();
    for answer in answers.into_iter().chain([Accepted, RateLimited]) {
        names.insert(answer.as_str());
        assert!(!answer.is_taken() || answer.may_be_in_a_pool(), "{answer:?}");
        assert!(!answer.needs_other_bytes() || !answer.may_be_in_a_pool(), "{answer:?}");
        assert!(!answer.needs_other_bytes() || !answer.may_be_taken_later(), "{answer:?}");
        assert!(!answer.needs_other_bytes() || !answer.is_about_fees(), "{answer:?}");
        assert!(!answer.asks_the_chain() || !answer.is_taken(), "{answer:?}");
    }
    assert_eq!(names.len(), 22, "each class has its own name, and a text: {names:?}");
    assert!(Unknown.may_be_in_a_pool() && Unknown.asks_the_chain() && !Unknown.is_taken());
}

proptest! {
    #[test]
    fn any_text_has_a_class_and_none_is_acceptance(code in any::<i64>(), message in ".{0,120}", data in prop::option::of(".{0,60}")) {
        let answer = of_refusal(&Refused { class: ErrorClass::Rejected, code, message, data });
        prop_assert!(answer != Accepted);
        prop_assert!(answer.as_str() != "accepted");
    }

    #[test]
    fn a_reverts_reason_says_nothing_of_the_sending(reason in 0..spellings::SPELLINGS.len(), around in "[ -~]{0,20}") {
        let words = spellings::SPELLINGS[reason].0;
        let message = format!("execution reverted: {around}{words}{around}");
        prop_assert_eq!(of_refusal(&refused(3, &message)), Reverted);
    }

    #[test]
    fn a_known_word_is_found_in_any_case_and_among_others(place in 0..spellings::SPELLINGS.len(), upper in any::<bool>()) {
        let (words, expected) = spellings::SPELLINGS[place];
        let words = if upper { words.to_uppercase() } else { words.to_owned() };
        let answer = of_refusal(&refused(-32_000, &format!("err: {words}, at block 7")));
        prop_assert_eq!(answer.as_str(), expected.as_str());
    }
}
