//! Clients that stop reading, over real sockets: they are cut off, and what they held is free.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::super::people::Person;
use super::client::{SOCKET, STREAM, Socket, Source, sleeper};
use super::{Served, say};
use crate::ApiOptions;
use crate::routes::StreamOptions;

const EVENTS: usize = 3_000;
/// Together far more than the buffers of both ends hold.
const EVENT_BYTES: usize = 8 * 1_024;
/// Nothing here waits for long but what is broken.
pub(super) const BROKEN: Duration = Duration::from_secs(120);

/// One connection and one stream: whoever comes next needs the place of the one before.
async fn served() -> Served {
    let streams = StreamOptions { max: 1, max_per_tenant: 1, pulse_ms: 20 };
    let options = ApiOptions { write_timeout_ms: 200, max_connections: 1, streams, ..ApiOptions::default() };
    Served::start_with(options).await
}

async fn publish(served: &Served, who: &Person) {
    let mut numbering = served.numbering().await;
    for round in 0..EVENTS / 100 {
        say(&served.api.db, who, round * 100..(round + 1) * 100, EVENT_BYTES).await;
    }
    numbering.number_all().await;
}

/// All that a connection which was cut off still has to say.
async fn rest(mut socket: TcpStream) -> usize {
    let (mut total, mut buffer) = (0, vec![0; 65_536]);
    loop {
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return total,
            Ok(read) => total += read,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_source_that_stops_reading_is_cut_off_and_its_place_is_free() {
    let served = served().await;
    let ada = served.viewer("acme").await;
    publish(&served, &ada).await;
    let authorization = format!("host: test\r\nauthorization: Bearer {}\r\n", ada.token);
    let request = format!("GET {STREAM}?after=0 HTTP/1.1\r\n{authorization}\r\n");
    let asleep = sleeper(served.addr, &request, "HTTP/1.1 200 OK").await;
    timeout(BROKEN, served.api.state.streams().ended()).await.expect("its task ends");
    let mut again = Source::open(served.addr, &ada.token, "?after=0", None).await;
    assert_eq!(again.status, 200, "{}", again.head);
    let wanted: Vec<u64> = (0..EVENTS as u64).collect();
    assert_eq!(again.numbers(EVENTS).await, wanted, "whoever reads again misses nothing");
    let taken = timeout(BROKEN, rest(asleep)).await.expect("the connection has ended");
    assert!(taken < EVENTS * EVENT_BYTES, "{taken} bytes were sent to nobody");
    assert!(served.api.get("/metrics").await.body.contains("connections_stalled_total"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_stops_reading_is_cut_off_and_its_place_is_free() {
    let served = served().await;
    let ada = served.viewer("acme").await;
    publish(&served, &ada).await;
    let authorization = format!("host: test\r\nauthorization: Bearer {}\r\n", ada.token);
    let upgrade = format!(
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {}\r\n",
        generate_key()
    );
    let request = format!("GET {SOCKET}?after=0 HTTP/1.1\r\n{authorization}{upgrade}\r\n");
    let asleep = sleeper(served.addr, &request, "HTTP/1.1 101 Switching Protocols").await;
    timeout(BROKEN, served.api.state.streams().ended()).await.expect("its task ends");
    let mut again = Socket::signed_in(served.addr, &ada.token, "?after=0").await;
    for number in 0..EVENTS {
        assert_eq!(
            again.event().await.unwrap()["data"]["number"],
            number,
            "whoever reads again misses nothing"
        );
    }
    let taken = timeout(BROKEN, rest(asleep)).await.expect("the connection has ended");
    assert!(taken < EVENTS * EVENT_BYTES, "{taken} bytes were sent to nobody");
    served.stop().await;
}
