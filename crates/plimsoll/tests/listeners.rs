//! Where the running process listens, and with what.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use common::{CHAIN_ID, Place, configuration, node_of_chain};
use plimsoll_store::testing;
use sqlx::ConnectOptions as _;

/// A configuration with these lines in `[api]`; its database lives as long as this process.
async fn configured(listen: u16, lines: &str) -> String {
    let urls = testing::database().await;
    configuration(node_of_chain(CHAIN_ID), &format!("url = \"{}\"", urls.owner.to_url_lossy()))
        .replace("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:{listen}\"\n{lines}"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What is answered to a plain GET; empty where nothing is.
fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // A server that speaks something else may reset the connection: nothing was answered then either.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_move_to_the_internal_listener_and_both_end_together() {
    let place = Place::new();
    let (public, internal) = (free_port(), free_port());
    let lines = format!("internal_listen = \"127.0.0.1:{internal}\"");
    place.write("plimsoll.toml", &configured(public, &lines).await);
    let running = place.start("the API listens");
    assert!(get(internal, "/metrics").starts_with("HTTP/1.1 200"));
    assert!(get(public, "/metrics").starts_with("HTTP/1.1 404"));
    assert!(get(public, "/healthz").starts_with("HTTP/1.1 200"));
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("the API is closed").count(), 2, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_makes_it_speak_tls_alone_and_a_bad_one_is_named() {
    let place = Place::new();
    let public = free_port();
    let lines = "tls_cert_file = \"cert.pem\"\ntls_key_file = \"key.pem\"";
    place.write("plimsoll.toml", &configured(public, lines).await);
    place
        .run(&["run"])
        .fails(2, &["cannot read", "cert.pem", "where: ./plimsoll.toml:6:17", "`api.tls_cert_file`"]);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    place.write("cert.pem", &made.cert.pem());
    place.write("key.pem", "no key");
    place.run(&["run"]).fails(2, &["has no private key in it", "`api.tls_key_file`"]);
    place.write("key.pem", &made.signing_key.serialize_pem());
    let running = place.start("the API listens");
    assert!(!get(public, "/healthz").contains("200"), "plain HTTP is not answered");
    running.signal("TERM");
    let (code, log) = running.end();
    assert!(code == Some(0) && log.contains("tls=true"), "{code:?}: {log}");
}
