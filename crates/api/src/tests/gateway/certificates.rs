//! TLS and client certificates, over real sockets.

use std::path::Path;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use sha2::{Digest, Sha256};

use super::Api;
use super::listeners::Served;
use super::pki::{Identity, Pki, authority, issue};
use crate::limits::TLS_RELOAD_INTERVAL_MS;
use crate::{Clients, Tls, TlsError, TlsFiles};

#[tokio::test]
async fn a_key_that_is_bound_to_a_certificate_is_good_with_it_alone() {
    let (api, pki) = (Api::followed().await, Pki::new());
    let tenant_id = api.tenant_named("acme").await;
    let (ours, other) = (pki.client(), pki.client());
    let bound = api.key(tenant_id, Some(Sha256::digest(&ours.certificate).into())).await;
    let free = api.key(tenant_id, None).await;
    let tls = Tls::load(pki.files(Clients::Asked)).unwrap();
    let served = Served::start(&api, Some(tls), None).await;
    let ask = async |client: Option<&Identity>, key: Option<&str>| {
        pki.status(served.public, client, "/api/v1/chains", key).await
    };
    assert_eq!(ask(Some(&ours), Some(&bound)).await, Some(200));
    assert_eq!(ask(Some(&other), Some(&bound)).await, Some(401), "another certificate of the same authority");
    assert_eq!(ask(None, Some(&bound)).await, Some(401));
    assert_eq!(ask(None, Some(&free)).await, Some(200), "whoever has none is served without");
    assert_eq!(ask(None, None).await, Some(200));
    let stranger = issue(&authority(), "machine", ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(
        ask(Some(&stranger), None).await,
        None,
        "a certificate of a stranger's authority is no certificate"
    );
    let server = pki.renew();
    assert_eq!(ask(Some(&server), None).await, None, "nor is one that was issued for something else");
    served.stop().await;
}

#[tokio::test]
async fn where_certificates_are_required_nobody_comes_without() {
    let (api, pki) = (Api::followed().await, Pki::new());
    let served = Served::start(&api, Some(Tls::load(pki.files(Clients::Required)).unwrap()), None).await;
    assert_eq!(pki.status(served.public, None, "/healthz", None).await, None);
    assert_eq!(pki.status(served.public, Some(&pki.client()), "/healthz", None).await, Some(200));
    let stream = pki.connect(served.public, Some(&pki.client())).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    served.stop().await;
}

#[tokio::test]
async fn new_files_are_taken_over_and_bad_ones_are_not() {
    let (api, pki) = (Api::followed().await, Pki::new());
    let first = pki.renew();
    let tls = Tls::load(pki.files(|_| Clients::NotAsked)).unwrap();
    let served = Served::start(&api, Some(tls.clone()), None).await;
    let shown = async || {
        let stream = pki.connect(served.public, None).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(shown().await, first.certificate);
    assert!(!tls.reload().unwrap(), "nothing has changed");

    std::fs::write(pki.path("server.pem"), "-----BEGIN CERTIFICATE-----\nnonsense").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("server.pem") && error.contains("`api.tls_cert_file`"), "{error}");
    assert!(!tls.reload().unwrap(), "the same fault is told once");
    assert_eq!(shown().await, first.certificate);

    let second = pki.renew();
    assert!(tls.reload().unwrap());
    assert_eq!(shown().await, second.certificate);

    // Half of a renewal: the new certificate is there, its key is not yet.
    let old_key = std::fs::read(pki.path("server.key")).unwrap();
    let third = pki.renew();
    let new_key = std::fs::read(pki.path("server.key")).unwrap();
    std::fs::write(pki.path("server.key"), old_key).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Pair { .. })));
    assert_eq!(shown().await, second.certificate);
    std::fs::write(pki.path("server.key"), new_key).unwrap();
    assert!(tls.reload().unwrap());
    assert_eq!(shown().await, third.certificate);
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn files_that_change_are_noticed_by_themselves() {
    let pki = Pki::new();
    let first = pki.renew();
    let tls = Tls::load(pki.files(|_| Clients::NotAsked)).unwrap();
    let watch = tokio::spawn(tls.clone().watch());
    let shown = async || {
        let (client, server) = tokio::io::duplex(16 * 1_024);
        let (client, server) = tokio::join!(pki.shake(client, None), tls.accept(server));
        server.unwrap();
        client.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(shown().await, first.certificate);
    let second = pki.renew();
    let mut looks = 0;
    while shown().await != second.certificate {
        looks += 1;
        assert!(looks < 10_000, "it is never noticed");
        tokio::time::advance(Duration::from_millis(TLS_RELOAD_INTERVAL_MS)).await;
    }
    watch.abort();
}

#[test]
fn files_that_cannot_be_used_say_which_setting_names_them() {
    let pki = Pki::new();
    let load = |change: fn(&mut TlsFiles, &Path)| {
        let mut files = pki.files(Clients::Asked);
        change(&mut files, pki.dir.path());
        Tls::load(files).unwrap_err().to_string()
    };
    let error = load(|files, dir| files.certificate = dir.join("missing.pem"));
    assert!(error.starts_with("cannot read ") && error.contains("`api.tls_cert_file`"), "{error}");
    let error = load(|files, dir| files.key = dir.join("ca.pem"));
    assert!(error.contains("has no private key in it") && error.contains("`api.tls_key_file`"), "{error}");
    let error = load(|files, dir| files.clients = Clients::Required(dir.join("server.key")));
    assert!(error.contains("has no certificate in it") && error.contains("`api.client_ca_file`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_shake_hands_is_given_up() {
    let pki = Pki::new();
    let tls = Tls::load(pki.files(|_| Clients::NotAsked)).unwrap();
    let (_silent, server) = tokio::io::duplex(1_024);
    let error = tls.accept(server).await.err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}
