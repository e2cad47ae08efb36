//! Who is let in, what they hear, and how a stream ends.

use plimsoll_identity::UserKind;
use plimsoll_identity::session::{RevokeReason, revoke};
use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::super::people::Person;
use super::Served;
use super::client::{STREAM, Socket, Source};
use crate::ApiOptions;
use crate::routes::StreamOptions;

/// As an administrator of another process would, whose word is heard here within the memory of the authenticator.
async fn sign_out(served: &Served, who: &Person) {
    let mut tx = served.api.db.begin_worker().await.unwrap();
    assert!(revoke(&mut tx, who.tenant_id, who.session_id, RevokeReason::Administrator).await.unwrap());
    tx.commit().await.unwrap();
    served.api.state.authenticator().forget_session(who.session_id);
}

#[tokio::test]
async fn each_tenant_hears_its_own_events_with_their_envelopes() {
    let served = Served::start().await;
    let (ada, bob) = (served.viewer("acme").await, served.viewer("globex").await);
    let mut numbering = served.numbering().await;
    let mut source = Source::open(served.addr, &ada.token, "?after=0", None).await;
    let mut socket = Socket::signed_in(served.addr, &bob.token, "?after=0").await;
    assert!(source.head.contains("content-type: text/event-stream"), "{}", source.head);
    served.say(&ada, 0..2).await;
    served.say(&bob, 2..4).await;
    served.say(&ada, 4..5).await;
    numbering.number_all().await;
    assert_eq!(source.numbers(3).await, [0, 1, 4]);
    for number in [2, 3] {
        let event = socket.event().await.unwrap();
        assert_eq!((&event["specversion"], &event["tenantid"]), (&json!("1.0"), &json!(bob.tenant_id)));
        assert_eq!(
            (&event["data"]["number"], &event["sequence"]),
            (&json!(number), &json!(format!("{:019}", number + 1)))
        );
    }
    served.stop().await;
}

#[tokio::test]
async fn a_filter_passes_over_events_and_the_number_moves_along() {
    let served = Served::quick().await;
    let ada = served.viewer("acme").await;
    let mut numbering = served.numbering().await;
    served.say(&ada, 0..6).await;
    numbering.number_all().await;
    for (filter, numbers) in [
        ("type=test.odd", vec![1, 3, 5]),
        ("type=test.", vec![0, 1, 2, 3, 4, 5]),
        ("subject=thing/2", vec![2]),
        ("target_type=thing&target_id=4", vec![4]),
        ("type=test.even&target_id=2", vec![2]),
    ] {
        let mut source = Source::open(served.addr, &ada.token, &format!("?after=0&{filter}"), None).await;
        assert_eq!(source.numbers(numbers.len()).await, numbers, "{filter}");
    }
    let mut source = Source::open(served.addr, &ada.token, "?after=0&type=test", None).await;
    let quiet = loop {
        let block = source.block().await.unwrap();
        if block.comment.is_some() {
            break block;
        }
    };
    assert_eq!((quiet.id, quiet.data), (Some(6), None), "nothing that is wanted, and the place is kept");
    served.stop().await;
}

#[tokio::test]
async fn a_cursor_that_no_stream_gave_is_refused_and_so_is_a_stranger() {
    let served = Served::start().await;
    let ada = served.viewer("acme").await;
    let stranger = served.api.person(ada.tenant_id, UserKind::Person, &[]).await;
    for (query, last) in [("?after=7", None), ("", Some(7)), ("?after=0", Some(7))] {
        assert_eq!(Source::open(served.addr, &ada.token, query, last).await.status, 400, "{query} {last:?}");
    }
    let status = async |token: &str, query: &str| Source::open(served.addr, token, query, None).await.status;
    assert_eq!(status(&ada.token, "?kind=x").await, 400);
    assert_eq!((status("none", "").await, status(&stranger.token, "").await), (401, 403));
    served.api.problem(STREAM, 401, "unauthenticated").await;
    served.api.problem("/api/v1/events/ws", 426, "upgrade-required").await;
    let refused = async |headers: &[(&'static str, String)], query: &str| match Socket::open(
        served.addr,
        query,
        headers,
    )
    .await
    .err()
    .unwrap()
    {
        Error::Http(response) => response.status().as_u16(),
        other => panic!("{other}"),
    };
    let bearer = |token: &str| [("authorization", format!("Bearer {token}"))];
    assert_eq!(refused(&bearer("none"), "").await, 401);
    assert_eq!(refused(&bearer(&stranger.token), "").await, 403);
    assert_eq!(refused(&bearer(&ada.token), "?after=7").await, 400);
    served.stop().await;
}

#[tokio::test]
async fn a_browser_says_who_it_is_by_a_subprotocol_or_by_its_first_message() {
    let served = Served::start().await;
    let ada = served.viewer("acme").await;
    served.say(&ada, 0..1).await;
    served.numbering().await.number_all().await;
    let offers = |token: &str| [("sec-websocket-protocol", format!("plimsoll.events.v1, bearer.{token}"))];
    let mut socket = Socket::open(served.addr, "?after=0", &offers(&ada.token)).await.unwrap();
    assert_eq!(socket.event().await.unwrap()["data"]["number"], 0);
    assert!(Socket::open(served.addr, "", &offers("none")).await.is_err());

    let mut socket = Socket::open(served.addr, "?after=0", &[]).await.unwrap();
    socket.say(&json!({ "authorization": format!("Bearer {}", ada.token) }).to_string()).await;
    assert_eq!(socket.event().await.unwrap()["data"]["number"], 0);
    socket.say("one word too many").await;
    assert_eq!(socket.closed().await.0, 1003);
    for wrong in ["hello", "{\"authorization\": \"Bearer none\"}", "{\"authorization\": \"Basic YTpi\"}"] {
        let mut socket = Socket::open(served.addr, "?after=0", &[]).await.unwrap();
        socket.say(wrong).await;
        let (code, reason) = socket.closed().await;
        assert!(code == 4401 && reason.starts_with("unauthenticated: "), "{wrong}: {code} {reason}");
    }
    served.stop().await;
}

#[tokio::test]
async fn who_may_not_listen_any_longer_does_not() {
    let served = Served::quick().await;
    let (ada, bob) = (served.viewer("acme").await, served.viewer("globex").await);
    let mut source = Source::open(served.addr, &ada.token, "", None).await;
    let socket = Socket::signed_in(served.addr, &bob.token, "").await;
    sign_out(&served, &ada).await;
    let end = source.event().await.unwrap();
    assert_eq!(
        (end.event.as_deref(), end.data.unwrap()["code"].as_str()),
        (Some("end"), Some("unauthenticated"))
    );
    assert_eq!(source.block().await, None, "that was the end");
    sign_out(&served, &bob).await;
    assert_eq!(socket.closed().await.0, 4401);
    served.stop().await;
}

#[tokio::test]
async fn a_stream_is_told_when_the_server_ends_and_goes_on_where_it_was() {
    let served = Served::start().await;
    let ada = served.viewer("acme").await;
    served.say(&ada, 0..3).await;
    served.numbering().await.number_all().await;
    let mut source = Source::open(served.addr, &ada.token, "?after=1", None).await;
    let socket = Socket::signed_in(served.addr, &ada.token, "?after=0").await;
    let silent = Socket::open(served.addr, "", &[]).await.unwrap();
    assert_eq!(source.numbers(2).await, [1, 2]);
    let stopped = tokio::spawn(served.stop());
    let end = source.event().await.unwrap().data.unwrap();
    assert_eq!(
        (end["code"].as_str(), end["after"].as_str()),
        (Some("shutting-down"), Some("0000000000000000003"))
    );
    assert_eq!((source.block().await, socket.closed().await.0), (None, 1001));
    assert_eq!(silent.closed().await.0, 1001, "whoever has yet to say who it is is told too");
    stopped.await.unwrap();
}

#[tokio::test]
async fn streams_are_bounded_for_a_tenant_and_in_all_and_a_place_comes_back() {
    let streams = StreamOptions { max: 2, max_per_tenant: 1, pulse_ms: 20 };
    let served = Served::start_with(ApiOptions { streams, ..ApiOptions::default() }).await;
    let (ada, bob, eve) =
        (served.viewer("acme").await, served.viewer("globex").await, served.viewer("initech").await);
    let status = async |who: &Person| Source::open(served.addr, &who.token, "", None).await.status;
    let source = Source::open(served.addr, &ada.token, "", None).await;
    let refused = Source::open(served.addr, &ada.token, "", None).await;
    assert!(refused.status == 429 && refused.head.contains("retry-after: "), "{}", refused.head);
    let unknown = Socket::open(served.addr, "", &[]).await.unwrap();
    assert_eq!(status(&bob).await, 429, "whoever has not said who it is has a place too");
    drop((source, unknown));
    while status(&eve).await != 200 {
        tokio::task::yield_now().await;
    }
    served.stop().await;
}

#[tokio::test]
async fn a_stream_outlasts_a_requests_time_and_takes_no_requests_place() {
    let options = ApiOptions {
        request_timeout_ms: 100,
        max_concurrent_requests: 1,
        streams: StreamOptions { pulse_ms: 20, ..StreamOptions::default() },
        ..ApiOptions::default()
    };
    let served = Served::start_with(options).await;
    let ada = served.viewer("acme").await;
    let mut source = Source::open(served.addr, &ada.token, "", None).await;
    let mut socket = Socket::signed_in(served.addr, &ada.token, "").await;
    let mut heartbeats = 0;
    // Each comes after 200 ms.
    while heartbeats < 2 {
        heartbeats += usize::from(source.block().await.unwrap().comment.is_some());
        served.api.ok("/api/v1/chains").await;
    }
    assert!(matches!(futures::StreamExt::next(&mut socket.0).await, Some(Ok(Message::Ping(_)))));
    served.stop().await;
}
