//! Each reason for a refusal, and each kind of wallet.

use alloy_primitives::hex;
use k256::ecdsa::SigningKey;
use proptest::prelude::*;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-05-01 12:00 UTC);

fn expected() -> Expectations {
    Expectations { domain: "app.example.com".into(), scheme: "https".into(), chain_ids: vec![1, 42161] }
}

fn key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

fn address_of(key: &SigningKey) -> Address {
    Address::from_raw_public_key(&key.verifying_key().to_encoded_point(false).as_bytes()[1..])
}

fn sign(text: &str, key: &SigningKey) -> Vec<u8> {
    let (signature, parity) = key.sign_prehash_recoverable(personal_digest(text).as_slice()).unwrap();
    let mut bytes = signature.to_vec();
    bytes.push(27 + parity.to_byte());
    bytes
}

/// A good message, with these lines after `Issued At`.
fn message(address: Address, issued_at: OffsetDateTime, more: &str) -> String {
    format!(
        "app.example.com wants you to sign in with your Ethereum account:\n{}\n\n\nURI: https://app.example.com/login\n\
         Version: 1\nChain ID: 1\nNonce: a1b2c3d4e5f6\nIssued At: {}{more}",
        address.to_checksum(None),
        issued_at.format(&Rfc3339).unwrap()
    )
}

fn good() -> String {
    message(address_of(&key()), NOW, "")
}

async fn check_signed(text: &str) -> Result<Proven, CheckError> {
    check(text, &sign(text, &key()), &expected(), NOW, &KeysOnly).await
}

#[tokio::test]
async fn a_message_that_its_address_signed_is_proven() {
    let proven = check_signed(&good()).await.unwrap();
    assert_eq!(
        (proven.address(), proven.chain_id(), &*proven.nonce),
        (address_of(&key()), 1, "a1b2c3d4e5f6")
    );
    let with_scheme = format!("https://{}", good());
    check_signed(&with_scheme).await.unwrap();
}

#[tokio::test]
async fn what_is_meant_for_another_site_or_chain_is_refused() {
    for (from, to, error) in [
        (
            "app.example.com wants",
            "app.example.com.evil.org wants",
            CheckError::WrongDomain("app.example.com.evil.org".into()),
        ),
        ("app.example.com wants", "APP.example.com wants", CheckError::WrongDomain("APP.example.com".into())),
        (
            "app.example.com wants",
            "http://app.example.com wants",
            CheckError::WrongDomain("app.example.com".into()),
        ),
        (
            "app.example.com wants",
            "me@app.example.com wants",
            CheckError::WrongDomain("me@app.example.com".into()),
        ),
        (
            "URI: https://app.example.com/login",
            "URI: https://app.example.com.evil.org/",
            CheckError::WrongUri("https://app.example.com.evil.org/".into()),
        ),
        (
            "URI: https://app.example.com/login",
            "URI: http://app.example.com/",
            CheckError::WrongUri("http://app.example.com/".into()),
        ),
        (
            "URI: https://app.example.com/login",
            "URI: https://app.example.com@evil.org",
            CheckError::WrongUri("https://app.example.com@evil.org".into()),
        ),
        ("Chain ID: 1\n", "Chain ID: 5\n", CheckError::OtherChain(5)),
    ] {
        let text = good().replacen(from, to, 1);
        assert_eq!(check_signed(&text).await, Err(error), "{to}");
    }
}

#[tokio::test]
async fn a_message_is_good_in_its_own_time_only_give_or_take_the_skew() {
    let minute = Duration::from_secs(60);
    let second = Duration::from_secs(1);
    let line = |tag: &str, time: OffsetDateTime| format!("\n{tag}: {}", time.format(&Rfc3339).unwrap());
    let cases = [
        (NOW + minute, String::new(), Ok(())),
        (NOW + minute + second, String::new(), Err(CheckError::IssuedInFuture)),
        (NOW - MAX_AGE - minute, String::new(), Ok(())),
        (NOW - MAX_AGE - minute - second, String::new(), Err(CheckError::TooOld)),
        (NOW, line("Expiration Time", NOW - minute + second), Ok(())),
        (NOW, line("Expiration Time", NOW - minute), Err(CheckError::Expired)),
        (NOW, line("Not Before", NOW + minute), Ok(())),
        (NOW, line("Not Before", NOW + minute + second), Err(CheckError::NotYetValid)),
        (NOW, line("Expiration Time", datetime!(9999-12-31 23:59:59 UTC)), Ok(())),
        (datetime!(9999-12-31 23:59:59 UTC), String::new(), Err(CheckError::IssuedInFuture)),
        (datetime!(0000-01-01 0:00 UTC), String::new(), Err(CheckError::TooOld)),
    ];
    for (issued_at, more, outcome) in cases {
        let text = message(address_of(&key()), issued_at, &more);
        assert_eq!(check_signed(&text).await.map(drop), outcome, "{text}");
    }
}

#[tokio::test]
async fn another_signer_and_a_changed_message_are_refused() {
    let other = address_of(&SigningKey::from_slice(&[8; 32]).unwrap());
    assert_eq!(check_signed(&message(other, NOW, "")).await, Err(CheckError::OtherSigner(other)));
    let changed = good().replace("a1b2c3d4e5f6", "a1b2c3d4e5f7");
    let outcome = check(&changed, &sign(&good(), &key()), &expected(), NOW, &KeysOnly).await;
    assert_eq!(outcome, Err(CheckError::OtherSigner(address_of(&key()))));
}

#[tokio::test]
async fn a_malleable_signature_and_none_at_all_are_told_apart() {
    let text = good();
    let mut mirrored = sign(&text, &key());
    let s = alloy_primitives::U256::from_be_slice(&mirrored[32..64]);
    let order = alloy_primitives::U256::from_be_bytes(hex!(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
    ));
    mirrored[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
    mirrored[64] = 55 - mirrored[64];
    for (signature, error) in [(mirrored, SignatureError::Malleable), (vec![], SignatureError::Malformed)] {
        let outcome = check(&text, &signature, &expected(), NOW, &KeysOnly).await;
        assert_eq!(outcome, Err(CheckError::Signature(error)));
    }
}

/// A chain on which every address answers alike, having asserted that it was asked as EIP-1271 says.
struct Chain(Result<CallOutcome, WalletUnavailable>);

impl WalletCalls for Chain {
    async fn call(&self, chain_id: u64, to: Address, data: Bytes) -> Result<CallOutcome, WalletUnavailable> {
        assert_eq!((chain_id, to), (1, Address::repeat_byte(0xcc)));
        let text = message(to, NOW, "");
        assert_eq!(data[..4], hex!("1626ba7e"));
        assert_eq!(data[4..36], personal_digest(&text)[..]);
        assert_eq!(data[36..68], alloy_primitives::U256::from(64).to_be_bytes::<32>());
        assert_eq!(data[68..100], alloy_primitives::U256::from(5).to_be_bytes::<32>());
        assert_eq!(data[100..105], *b"hello");
        assert_eq!(data[105..], [0; 27]);
        self.0.clone()
    }
}

#[tokio::test]
async fn a_contract_wallet_is_believed_only_for_the_whole_magic_word() {
    let wallet = Address::repeat_byte(0xcc);
    let text = message(wallet, NOW, "");
    let mut yes = [0; 32];
    yes[..4].copy_from_slice(&hex!("1626ba7e"));
    let mut dirty = yes;
    dirty[31] = 1;
    let refused = Err(CheckError::ContractRefused(wallet));
    for (answer, outcome) in [
        (Ok(CallOutcome::Returned(yes.into())), Ok(())),
        (Ok(CallOutcome::Returned(dirty.into())), refused.clone()),
        (Ok(CallOutcome::Returned(hex!("1626ba7e").into())), refused.clone()),
        (Ok(CallOutcome::Returned(Bytes::new())), refused.clone()),
        (Ok(CallOutcome::Returned([0xff; 32].into())), refused.clone()),
        (Ok(CallOutcome::Returned([0; 32].into())), refused.clone()),
        (Ok(CallOutcome::Reverted), refused),
        (Ok(CallOutcome::NoCode), Err(CheckError::Signature(SignatureError::Malformed))),
        (
            Err(WalletUnavailable("no node answers".into())),
            Err(CheckError::Unavailable(WalletUnavailable("no node answers".into()))),
        ),
    ] {
        let result = check(&text, b"hello", &expected(), NOW, &Chain(answer.clone())).await;
        assert_eq!(result.map(drop), outcome, "{answer:?}");
    }
}

/// A chain that nobody may ask.
struct Unasked;

impl WalletCalls for Unasked {
    async fn call(&self, _: u64, _: Address, _: Bytes) -> Result<CallOutcome, WalletUnavailable> {
        panic!("it was asked")
    }
}

#[tokio::test]
async fn about_a_signature_without_end_no_contract_is_asked() {
    let long = vec![0; MAX_SIGNATURE_BYTES + 1];
    let outcome = check(&good(), &long, &expected(), NOW, &Unasked).await;
    assert_eq!(outcome, Err(CheckError::Signature(SignatureError::Malformed)));
}

proptest! {
    #[test]
    fn no_bytes_prove_anything_or_make_it_panic(text in any::<String>(), signature in proptest::collection::vec(any::<u8>(), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert!(runtime.block_on(check(&text, &signature, &expected(), NOW, &KeysOnly)).is_err());
        prop_assert!(runtime.block_on(check(&good(), &signature, &expected(), NOW, &KeysOnly)).is_err());
    }
}
