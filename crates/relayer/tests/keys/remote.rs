//! A key that a remote signer holds.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use k256::ecdsa::SigningKey;
use plimsoll_relayer::keys::{Key as _, KeyError, Misconfigured, Web3Signer, Web3SignerConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::{Mood, Server, another, identifier};
use crate::suite::{EIP_155, SECRET, address_of, conforms, eip_1559, refused, tells_no_secret};

fn secret() -> SigningKey {
    SigningKey::from_slice(&SECRET).unwrap()
}

fn config(url: String) -> Web3SignerConfig {
    Web3SignerConfig {
        url,
        address: address_of(&secret()),
        identifier: None,
        token: None,
        authorities: None,
        identity: None,
        request_timeout: Duration::from_secs(30),
        max_concurrent: 8,
    }
}

fn open(config: Web3SignerConfig) -> Web3Signer {
    Web3Signer::new(config).unwrap()
}

#[tokio::test]
async fn a_remote_key_conforms_over_few_connections_and_bounded_in_number() {
    let server = Server::start(secret(), None).await;
    conforms(&open(config(server.url())), address_of(&secret())).await;
    let lists = server.asked().iter().filter(|asked| asked.line.contains("publicKeys")).count();
    assert_eq!(lists, 1, "the key's name is asked for once");
    assert!(server.connections() <= 8, "{} connections", server.connections());
    assert!((2..=8).contains(&server.most_under_way()), "{} under way", server.most_under_way());
}

#[tokio::test]
async fn a_remote_key_by_its_name_behind_a_path_conforms_with_either_s() {
    let server = Server::start(secret(), None).await;
    server.set(Mood::SignsHigh);
    let named = Web3SignerConfig { identifier: Some(identifier(&secret())), ..config(server.url() + "/") };
    conforms(&open(named), address_of(&secret())).await;
    assert!(server.asked().iter().all(|asked| asked.line.starts_with("POST /api/v1/eth1/sign/0x")));
}

#[tokio::test]
async fn a_signer_that_nobody_reaches_is_unavailable_and_may_be_asked_again() {
    let server = Server::start(secret(), None).await;
    let patient = open(config(server.url()));
    patient.sign(&EIP_155).await.unwrap();
    for mood in [
        Mood::HangsUp,
        Mood::Says(500, b"hunter2".to_vec()),
        Mood::Says(503, vec![]),
        Mood::Says(429, vec![]),
        Mood::Says(408, vec![]),
    ] {
        server.set(mood.clone());
        let error = refused(&patient).await;
        assert!(matches!(error, KeyError::Unavailable { .. }) && error.may_pass(), "{mood:?}: {error}");
    }
    server.set(Mood::Signs);
    patient.sign(&EIP_155).await.expect("it is asked again, and signs");

    let hasty =
        open(Web3SignerConfig { request_timeout: Duration::from_millis(100), ..config(server.url()) });
    server.set(Mood::Silent);
    assert!(matches!(refused(&hasty).await, KeyError::Unavailable { .. }), "no answer is no refusal");

    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gone = refused(&open(config(format!("http://{port}/hunter2")))).await;
    assert!(matches!(gone, KeyError::Unavailable { .. }), "{gone}");
    assert!(gone.to_string().contains(&format!("http://{port} did not sign")), "{gone}");
}

#[tokio::test]
async fn a_signer_that_refuses_says_what_is_to_be_changed() {
    let server = Server::start(secret(), None).await;
    let key = open(Web3SignerConfig { identifier: Some("0xnobody/../x".into()), ..config(server.url()) });
    let unknown = refused(&key).await;
    assert!(unknown.to_string().contains("knows no such key"), "{unknown}");
    assert!(server.asked()[0].line.contains("/sign/0xnobody%2F..%2Fx "), "{:?}", server.asked()[0]);
    let stranger = open(Web3SignerConfig { address: Address::repeat_byte(9), ..config(server.url()) });
    let unlisted = refused(&stranger).await;
    assert!(unlisted.to_string().contains("none of its 2 keys is that of 0x0909"), "{unlisted}");
    let key = open(config(server.url()));
    for status in [400, 401, 403, 404, 302] {
        server.set(Mood::Says(status, b"hunter2".to_vec()));
        let error = refused(&key).await;
        assert!(matches!(error, KeyError::Refused { .. }) && !error.may_pass(), "{status}: {error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    assert!(server.asked().iter().all(|asked| !asked.line.contains("upcheck")), "no redirect is followed");
}

#[tokio::test]
async fn a_signature_of_another_key_is_told_with_both_addresses() {
    let server = Server::start(secret(), None).await;
    server.set(Mood::SignsWithAnother);
    let error = refused(&open(config(server.url()))).await;
    let (expected, found) = (address_of(&secret()), address_of(&another()));
    assert_eq!(error, KeyError::OtherKey { expected, found });
    assert!(
        error.to_string().contains(&expected.to_string()) && error.to_string().contains(&found.to_string())
    );
}

#[tokio::test]
async fn what_is_no_signature_is_told_as_that() {
    let server = Server::start(secret(), None).await;
    let key = open(config(server.url()));
    let hexadecimal = |text: &str| text.repeat(32).into_bytes();
    let garbage: [Vec<u8>; 9] = [
        vec![],
        b"0x".to_vec(),
        b"<html>hunter2</html>".to_vec(),
        vec![0xff; 132],
        hexadecimal("0011"),
        [hexadecimal("1111"), b"1d".to_vec()].concat(),
        [hexadecimal("0000"), b"1b".to_vec()].concat(),
        [hexadecimal("ffff"), b"1b".to_vec()].concat(),
        vec![b'0'; 1_000_000],
    ];
    for body in garbage {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        server.set(Mood::Says(200, body));
        let error = refused(&key).await;
        assert!(matches!(error, KeyError::Garbled { .. }) && !error.may_pass(), "{shown}: {error}");
    }
}

#[tokio::test]
async fn a_token_goes_with_every_request_and_into_no_text() {
    let server = Server::start(secret(), None).await;
    let with =
        |url: String| Web3Signer::new(Web3SignerConfig { token: Some("hunter2".into()), ..config(url) });
    let key = with(server.url()).unwrap();
    key.sign(&EIP_155).await.unwrap();
    assert_eq!(server.asked().len(), 2);
    for asked in server.asked() {
        assert_eq!(asked.authorization.as_deref(), Some("Bearer hunter2"));
    }
    server.set(Mood::Says(401, vec![]));
    tells_no_secret(&format!("{key:?} {}", refused(&key).await));
    tells_no_secret(&format!(
        "{:?}",
        Web3SignerConfig { token: Some("hunter2".into()), ..config(server.url()) }
    ));

    let said = with("http://signer.example:9000".into()).unwrap_err();
    assert!(matches!(said, Misconfigured::Token(_)), "{said}");
    with("https://signer.example:9000".into()).unwrap();
    for url in [
        "signer:9000",
        "ftp://localhost",
        "http://user:hunter2@localhost",
        "http://localhost/?hunter2",
        "unix:hunter2",
    ] {
        let error = Web3Signer::new(config(url.into())).unwrap_err();
        assert!(matches!(error, Misconfigured::Url(_)), "{url}: {error}");
        tells_no_secret(&error.to_string());
    }
}

#[tokio::test]
async fn certificates_of_both_sides_are_demanded_and_shown() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |usage| {
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &authority).unwrap(), key)
    };
    let (certificate, key) = issue(ExtendedKeyUsagePurpose::ServerAuth);
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let server = Server::start(secret(), Some(TlsAcceptor::from(Arc::new(tls)))).await;
    let url = format!("https://localhost:{}", server.address.port());
    let (shown, shown_key) = issue(ExtendedKeyUsagePurpose::ClientAuth);
    let shown = format!("{}{}", shown.pem(), shown_key.serialize_pem());
    let with = |authorities: bool, identity: bool| Web3SignerConfig {
        authorities: authorities.then(|| authority.pem().into_bytes()),
        identity: identity.then(|| shown.clone().into_bytes().into()),
        ..config(url.clone())
    };
    let good = open(with(true, true));
    good.sign(&eip_1559(0)).await.unwrap();
    for (what, config) in
        [("no certificate of ours", with(true, false)), ("an authority that nobody knows", with(false, true))]
    {
        let error = refused(&open(config)).await;
        assert!(matches!(error, KeyError::Unavailable { .. }), "{what}: {error}");
    }
    assert!(!format!("{:?}", with(true, true)).contains("PRIVATE"));
    let garbage = || b"hunter2".to_vec();
    let no_key = authority.pem().into_bytes();
    for (config, expected) in [
        (Web3SignerConfig { authorities: Some(garbage()), ..with(true, true) }, Misconfigured::Authorities),
        (Web3SignerConfig { identity: Some(garbage().into()), ..with(true, true) }, Misconfigured::Identity),
        (Web3SignerConfig { identity: Some(no_key.into()), ..with(true, true) }, Misconfigured::Identity),
    ] {
        assert_eq!(Web3Signer::new(config).unwrap_err(), expected);
    }
}
