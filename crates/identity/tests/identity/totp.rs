//! The second factor: a code is good once, and guessing ends.

use plimsoll_identity::seal::Sealer;
use plimsoll_identity::second_factor::{self, FactorId, RemovalError};
use plimsoll_identity::totp::{self, LOCK_TERM, MAX_FAILURES, Refusal, TotpError, Verdict};
use plimsoll_identity::{Principal, UserKind};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use crate::House;

const NOW: OffsetDateTime = datetime!(2026-05-01 12:00 UTC);
const STEP: time::Duration = time::Duration::seconds(30);

struct Phone {
    house: House,
    sealer: Sealer,
    principal: Principal,
    user_id: Uuid,
    seed: Vec<u8>,
}

impl Phone {
    /// A user with a seed that is not confirmed yet.
    async fn enrolled() -> Self {
        let house = House::new().await;
        let principal = house.principal(UserKind::Person, &[]).await;
        let user_id = principal.user_id;
        let sealer =
            Sealer::new(&SecretString::from("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="), &[]).unwrap();
        let mut phone = Self { house, sealer, principal, user_id, seed: vec![] };
        phone.enrol().await.unwrap();
        phone
    }

    async fn enrol(&mut self) -> Result<(), TotpError> {
        let mut tx = self.house.worker().await;
        let enrolment = totp::enrol(&mut tx, &self.sealer, &self.principal, "Plimsoll", "ada").await?;
        tx.commit().await.unwrap();
        let seed = enrolment.seed.expose_secret();
        assert_eq!(
            enrolment.uri.expose_secret(),
            format!("otpauth://totp/Plimsoll:ada?secret={seed}&issuer=Plimsoll&digits=6&period=30")
        );
        assert!(!format!("{enrolment:?}").contains(&seed[..8]));
        self.seed = base32(seed);
        Ok(())
    }

    /// The code that an app shows: RFC 6238, by other code than the one under test.
    fn code(&self, at: OffsetDateTime) -> String {
        let step = at.unix_timestamp() / 30;
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.seed);
        let tag = aws_lc_rs::hmac::sign(&key, &step.to_be_bytes());
        let bytes = tag.as_ref();
        let at = usize::from(bytes[19] % 16);
        let number = bytes[at..at + 4].iter().fold(0_u64, |number, byte| number * 256 + u64::from(*byte));
        format!("{:06}", number % (1 << 31) % 1_000_000)
    }

    fn wrong(&self) -> String {
        let near = [-1, 0, 1].map(|steps| self.code(NOW + STEP * steps));
        ["000000", "111111", "222222", "333333"]
            .into_iter()
            .find(|code| !near.iter().any(|n| n == code))
            .unwrap()
            .into()
    }

    async fn confirm(&self, code: &str, now: OffsetDateTime) -> Result<Verdict, TotpError> {
        let mut tx = self.house.worker().await;
        let verdict = totp::confirm(&mut tx, &self.sealer, &self.principal, code, now).await;
        tx.commit().await.unwrap();
        verdict
    }

    async fn verify(&self, code: &str, now: OffsetDateTime) -> Verdict {
        let mut tx = self.house.worker().await;
        let verdict =
            totp::verify(&mut tx, &self.sealer, self.house.tenant_id, self.user_id, code, now).await.unwrap();
        tx.commit().await.unwrap();
        verdict
    }
}

fn base32(text: &str) -> Vec<u8> {
    let bits: String = text
        .bytes()
        .map(|c| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == c).unwrap())
        .map(|value| format!("{value:05b}"))
        .collect();
    bits.as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}

#[tokio::test]
async fn a_second_factor_counts_once_it_was_confirmed() {
    let mut phone = Phone::enrolled().await;
    assert_eq!(phone.verify(&phone.code(NOW), NOW).await, Verdict::Refused(Refusal::NotEnrolled));
    let mut tx = phone.house.worker().await;
    assert_eq!(second_factor::list(&mut tx, phone.house.tenant_id, phone.user_id).await.unwrap(), []);
    let removed = second_factor::remove(&mut tx, phone.house.tenant_id, phone.user_id, &FactorId::Totp).await;
    assert!(
        matches!(removed, Err(RemovalError::Unknown(_))),
        "none in force, and its lock stays: {removed:?}"
    );
    drop(tx);
    let former = phone.code(NOW);
    phone.enrol().await.unwrap();
    if former != phone.code(NOW) {
        assert_eq!(phone.confirm(&former, NOW).await.unwrap(), Verdict::Refused(Refusal::Wrong));
    }
    assert_eq!(phone.confirm(&phone.code(NOW), NOW).await.unwrap(), Verdict::Accepted);
    assert!(matches!(phone.enrol().await, Err(TotpError::AlreadyEnrolled)));
    let again = phone.confirm(&phone.code(NOW + STEP), NOW + STEP).await;
    assert!(matches!(again, Err(TotpError::AlreadyEnrolled)));
    assert_eq!(phone.verify(&phone.code(NOW + STEP), NOW + STEP).await, Verdict::Accepted);
    let mut tx = phone.house.worker().await;
    let listed = second_factor::list(&mut tx, phone.house.tenant_id, phone.user_id).await.unwrap();
    assert!(listed.len() == 1 && listed[0].last_used_at.unwrap() > listed[0].created_at, "{listed:?}");
    let other = phone.house.user(UserKind::Person, &[]).await.user_id;
    let removed = second_factor::remove(&mut tx, phone.house.tenant_id, other, &FactorId::Totp).await;
    assert!(matches!(removed, Err(RemovalError::Unknown(_))), "it is another user's: {removed:?}");
    second_factor::remove(&mut tx, phone.house.tenant_id, phone.user_id, &FactorId::Totp).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        phone.verify(&phone.code(NOW + STEP * 2), NOW + STEP * 2).await,
        Verdict::Refused(Refusal::NotEnrolled)
    );
}

#[tokio::test]
async fn a_code_is_good_once_and_none_before_it_is_good_after() {
    let phone = Phone::enrolled().await;
    let _ = phone.confirm(&phone.code(NOW), NOW).await.unwrap();
    let used = Verdict::Refused(Refusal::Used);
    assert_eq!(phone.verify(&phone.code(NOW), NOW).await, used);
    assert_eq!(phone.verify(&phone.code(NOW - STEP), NOW).await, used);
    let next = phone.code(NOW + STEP);
    let (a, b) = tokio::join!(phone.verify(&next, NOW + STEP), phone.verify(&next, NOW + STEP));
    assert!([a, b].contains(&Verdict::Accepted) && [a, b].contains(&used), "{a:?} {b:?}");
}

#[tokio::test]
async fn guessing_locks_it_for_a_while_and_a_new_seed_is_no_way_around() {
    let mut phone = Phone::enrolled().await;
    let wrong = phone.wrong();
    for _ in 1..MAX_FAILURES {
        assert_eq!(phone.confirm(&wrong, NOW).await.unwrap(), Verdict::Refused(Refusal::Wrong));
    }
    let locked = Verdict::Refused(Refusal::Locked { until: NOW + LOCK_TERM });
    assert_eq!(phone.confirm(&wrong, NOW).await.unwrap(), locked);
    assert_eq!(phone.confirm(&phone.code(NOW), NOW).await.unwrap(), locked);
    phone.enrol().await.unwrap();
    assert_eq!(phone.confirm(&phone.code(NOW), NOW).await.unwrap(), locked);
    let later = NOW + LOCK_TERM;
    assert_eq!(phone.confirm(&phone.code(later), later).await.unwrap(), Verdict::Accepted);
}

#[tokio::test]
async fn a_seed_that_was_copied_to_another_user_opens_nothing() {
    let phone = Phone::enrolled().await;
    let _ = phone.confirm(&phone.code(NOW), NOW).await.unwrap();
    let thief = phone.house.user(UserKind::Person, &[]).await;
    phone
        .house
        .owner(&format!(
            "INSERT INTO totp_secrets (tenant_id, user_id, sealed, confirmed_at) SELECT tenant_id, '{}', sealed, now() FROM totp_secrets",
            thief.user_id
        ))
        .await
        .unwrap();
    let mut tx = phone.house.worker().await;
    let code = phone.code(NOW + STEP);
    let opened =
        totp::verify(&mut tx, &phone.sealer, phone.house.tenant_id, thief.user_id, &code, NOW + STEP).await;
    assert!(matches!(opened, Err(TotpError::Seal(_))), "{opened:?}");
}
