//! Whether what a browser gave is what we asked for: pure, and without a word of how it is stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::data::{AuthenticatorData, ClientData};
use super::{Assertion, Ceremony, PublicKey, Refusal, Registration, RelyingParty, UserVerification};
use crate::principal::Principal;
use crate::secret;

/// A key to be registered.
pub(super) struct NewCredential<'a> {
    pub(super) credential_id: &'a [u8],
    pub(super) key: PublicKey,
    pub(super) sign_count: u32,
}

/// The new key, if all is as it must be (§7.1).
pub(super) fn registration<'a>(
    party: &RelyingParty,
    expected: Option<[u8; 32]>,
    registration: &Registration,
    attested: Option<&'a [u8]>,
) -> Result<NewCredential<'a>, Refusal> {
    client(party, expected, Ceremony::Registration, &registration.response.client_data_json.0)?;
    let data = authenticator(party, attested.ok_or(Refusal::Malformed)?)?;
    let new = data.attested.ok_or(Refusal::Malformed)?;
    if new.credential_id != registration.raw_id.0 {
        return Err(Refusal::Malformed);
    }
    let key = new.key.ok_or(Refusal::Algorithm)?;
    Ok(NewCredential { credential_id: new.credential_id, key, sign_count: data.sign_count })
}

/// The counter, if all is as it must be (§7.2).
pub(super) fn assertion(
    party: &RelyingParty,
    expected: Option<[u8; 32]>,
    principal: &Principal,
    assertion: &Assertion,
    key: &PublicKey,
) -> Result<u32, Refusal> {
    let response = &assertion.response;
    client(party, expected, Ceremony::Assertion, &response.client_data_json.0)?;
    if response.user_handle.as_ref().is_some_and(|handle| handle.0 != principal.user_id.as_bytes()) {
        return Err(Refusal::UnknownCredential);
    }
    let data = authenticator(party, &response.authenticator_data.0)?;
    let signed = [&response.authenticator_data.0[..], &secret::sha256(&response.client_data_json.0)].concat();
    if !key.verify(&signed, &response.signature.0) {
        return Err(Refusal::BadSignature);
    }
    Ok(data.sign_count)
}

fn client(
    party: &RelyingParty,
    expected: Option<[u8; 32]>,
    ceremony: Ceremony,
    client_data: &[u8],
) -> Result<(), Refusal> {
    let expected = expected.ok_or(Refusal::NoChallenge)?;
    let client: ClientData = serde_json::from_slice(client_data).map_err(|_| Refusal::Malformed)?;
    let answered = URL_SAFE_NO_PAD.decode(&client.challenge).map_err(|_| Refusal::Malformed)?;
    if client.kind != ceremony.client_type() || !secret::equal(&secret::sha256(&answered), &expected) {
        return Err(Refusal::OtherChallenge);
    }
    if client.cross_origin || !party.origins.contains(&client.origin) {
        return Err(Refusal::OtherOrigin);
    }
    Ok(())
}

fn authenticator<'a>(party: &RelyingParty, bytes: &'a [u8]) -> Result<AuthenticatorData<'a>, Refusal> {
    let data = AuthenticatorData::parse(bytes).ok_or(Refusal::Malformed)?;
    if data.rp_id_hash != secret::sha256(party.id.as_bytes()) {
        return Err(Refusal::OtherDomain);
    }
    if !data.is_user_present {
        return Err(Refusal::NotPresent);
    }
    if party.user_verification == UserVerification::Required && !data.is_user_verified {
        return Err(Refusal::NotVerified);
    }
    Ok(data)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
