//! Each reason for which what a browser gave is not what was asked for, one at a time.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ciborium::Value as Cbor;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::Algorithm;
use super::super::json::{AssertionResponse, AttestationResponse, Base64Url};
use super::*;
use crate::permission::PermissionSet;
use crate::principal::{Credential, UserKind, UserStatus};

const CHALLENGE: [u8; 32] = [5; 32];
const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const ATTESTED: u8 = 1 << 6;

fn principal() -> Principal {
    Principal {
        tenant_id: Uuid::from_u128(1),
        user_id: Uuid::from_u128(2),
        kind: UserKind::Person,
        status: UserStatus::Active,
        permissions: PermissionSet::default(),
        credential: Credential::Session(Uuid::from_u128(3)),
        second_factor: false,
    }
}

/// What a browser and an authenticator give, and what it is judged by.
struct Given {
    party: RelyingParty,
    expected: Option<[u8; 32]>,
    client: Value,
    domain: &'static str,
    flags: u8,
    raw_id: Vec<u8>,
    user_handle: Option<Vec<u8>>,
    key: Ed25519KeyPair,
}

/// As it must be.
fn good(ceremony: Ceremony) -> Given {
    Given {
        party: RelyingParty {
            id: "example.com".to_owned(),
            name: "Plimsoll".to_owned(),
            origins: vec!["https://app.example.com".to_owned()],
            user_verification: UserVerification::Required,
        },
        expected: Some(secret::sha256(&CHALLENGE)),
        client: json!({
            "type": ceremony.client_type(),
            "challenge": URL_SAFE_NO_PAD.encode(CHALLENGE),
            "origin": "https://app.example.com",
            "crossOrigin": false,
        }),
        domain: "example.com",
        flags: USER_PRESENT | USER_VERIFIED,
        raw_id: vec![9; 16],
        user_handle: Some(principal().user_id.as_bytes().to_vec()),
        key: Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap(),
    }
}

impl Given {
    fn client_data(&self) -> Base64Url {
        Base64Url(self.client.to_string().into_bytes())
    }

    fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        [&secret::sha256(self.domain.as_bytes())[..], &[flags, 0, 0, 0, 7]].concat()
    }

    fn registered(&self) -> Result<u32, Refusal> {
        let mut data = self.authenticator_data(self.flags | ATTESTED);
        data.extend([0; 16]);
        data.extend([0, 16]);
        data.extend([9; 16]);
        let public = Cbor::Bytes(self.key.public_key().as_ref().to_vec());
        let fields = [(1, Cbor::from(1)), (3, Cbor::from(-8)), (-1, Cbor::from(6)), (-2, public)];
        let fields = fields.into_iter().map(|(label, value)| (Cbor::from(label), value)).collect();
        ciborium::into_writer(&Cbor::Map(fields), &mut data).unwrap();
        self.judged(Some(&data))
    }

    fn judged(&self, attested: Option<&[u8]>) -> Result<u32, Refusal> {
        let response = AttestationResponse {
            client_data_json: self.client_data(),
            attestation_object: Base64Url(Vec::new()),
        };
        let given = Registration { raw_id: Base64Url(self.raw_id.clone()), response };
        registration(&self.party, self.expected, &given, attested).map(|new| new.sign_count)
    }

    fn given(&self) -> Result<u32, Refusal> {
        let client_data = self.client_data();
        let data = self.authenticator_data(self.flags);
        let signed = [&data[..], &secret::sha256(&client_data.0)].concat();
        self.given_with(data, self.key.sign(&signed).as_ref().to_vec())
    }

    fn given_with(&self, data: Vec<u8>, signature: Vec<u8>) -> Result<u32, Refusal> {
        let response = AssertionResponse {
            client_data_json: self.client_data(),
            authenticator_data: Base64Url(data),
            signature: Base64Url(signature),
            user_handle: self.user_handle.clone().map(Base64Url),
        };
        let given = Assertion { raw_id: Base64Url(self.raw_id.clone()), response };
        let key =
            PublicKey::stored(Algorithm::EdDsa, good(Ceremony::Assertion).key.public_key().as_ref().to_vec());
        assertion(&self.party, self.expected, &principal(), &given, &key)
    }

    fn outcome(&self, ceremony: Ceremony) -> Result<u32, Refusal> {
        match ceremony {
            Ceremony::Registration => self.registered(),
            Ceremony::Assertion => self.given(),
        }
    }
}

#[test]
fn whatever_is_not_as_it_must_be_is_refused_in_either_ceremony() {
    type Change = fn(&mut Given);
    let cases: [(Change, Result<u32, Refusal>); 16] = [
        (|_| {}, Ok(7)),
        (|given| drop(given.client.as_object_mut().unwrap().remove("crossOrigin")), Ok(7)),
        (|given| given.expected = None, Err(Refusal::NoChallenge)),
        (|given| given.expected = Some([0; 32]), Err(Refusal::OtherChallenge)),
        (|given| given.client["challenge"] = "BQUF".into(), Err(Refusal::OtherChallenge)),
        (|given| given.client["challenge"] = "?".into(), Err(Refusal::Malformed)),
        (|given| given.client["type"] = "payment.get".into(), Err(Refusal::OtherChallenge)),
        (|given| given.client["origin"] = "https://app.example.com/".into(), Err(Refusal::OtherOrigin)),
        (|given| given.client["origin"] = "http://app.example.com".into(), Err(Refusal::OtherOrigin)),
        // On a page of ours that another site shows in a frame.
        (|given| given.client["crossOrigin"] = true.into(), Err(Refusal::OtherOrigin)),
        (|given| given.client = json!([]), Err(Refusal::Malformed)),
        (|given| given.domain = "app.example.com", Err(Refusal::OtherDomain)),
        (|given| given.flags = USER_VERIFIED, Err(Refusal::NotPresent)),
        (|given| given.flags = USER_PRESENT, Err(Refusal::NotVerified)),
        (
            |given| {
                given.flags = USER_PRESENT;
                given.party.user_verification = UserVerification::Preferred;
            },
            Ok(7),
        ),
        (
            |given| {
                given.flags = 0;
                given.party.user_verification = UserVerification::Discouraged;
            },
            Err(Refusal::NotPresent),
        ),
    ];
    for ceremony in [Ceremony::Registration, Ceremony::Assertion] {
        for (number, (change, outcome)) in cases.iter().enumerate() {
            let mut given = good(ceremony);
            change(&mut given);
            assert_eq!(given.outcome(ceremony), *outcome, "{ceremony:?}, case {number}");
        }
    }
    for (ceremony, other) in
        [(Ceremony::Registration, Ceremony::Assertion), (Ceremony::Assertion, Ceremony::Registration)]
    {
        assert_eq!(good(other).outcome(ceremony), Err(Refusal::OtherChallenge), "{other:?} for {ceremony:?}");
    }
}

#[test]
fn a_new_key_is_the_one_that_the_browser_names() {
    let other = Given { raw_id: vec![8; 16], ..good(Ceremony::Registration) };
    assert_eq!(other.registered(), Err(Refusal::Malformed));
    let good = good(Ceremony::Registration);
    assert_eq!(good.judged(None), Err(Refusal::Malformed));
    let keyless = good.authenticator_data(good.flags);
    assert_eq!(good.judged(Some(&keyless)), Err(Refusal::Malformed), "there is no key in it");
}

#[test]
fn a_key_that_is_given_signed_all_of_it_and_is_the_users() {
    let good = || good(Ceremony::Assertion);
    let anonymous = Given { user_handle: None, ..good() };
    assert_eq!(anonymous.given(), Ok(7), "an authenticator need not name the user");
    let anothers = Given { user_handle: Some(vec![0; 16]), ..good() };
    assert_eq!(anothers.given(), Err(Refusal::UnknownCredential));
    let stranger = Given { key: Ed25519KeyPair::from_seed_unchecked(&[4; 32]).unwrap(), ..good() };
    assert_eq!(stranger.given(), Err(Refusal::BadSignature));
    let (given, data) = (good(), good().authenticator_data(good().flags));
    let of_the_data_alone = given.key.sign(&data).as_ref().to_vec();
    assert_eq!(given.given_with(data, of_the_data_alone), Err(Refusal::BadSignature));
}
