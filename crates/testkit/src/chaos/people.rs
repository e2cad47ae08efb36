//! Who hands in: an administrator of each tenant, signed in with two factors.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use plimsoll_identity::keys::{KeyTexts, Keys, SIGNING_FILE, generate_pem};
use plimsoll_identity::session::{self, Method};
use plimsoll_identity::token::Tokens;
use plimsoll_identity::{UserKind, UserStatus, directory, tenant};
use plimsoll_store::{DatabaseUrls, Db};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

/// Their tenants.
pub(super) const TENANTS: [&str; 2] = ["acme", "globex"];
/// What the processes call themselves.
pub(super) const PUBLIC_URL: &str = "http://plimsoll.example";

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) tenant_id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) token: String,
}

/// The id of the tenant at this place.
pub(super) fn tenant_id(place: usize) -> Uuid {
    Uuid::from_u128(0x0198_c5a1_7d2e_7c3a_9a55_3f1f_0c6d_3000 + place as u128)
}

/// Makes the tenants, an administrator of each, and the key that signs their tokens, in this directory.
pub(super) async fn settle(urls: &DatabaseUrls, keys_dir: &Path) -> Result<Vec<Person>> {
    let pem = generate_pem();
    std::fs::create_dir_all(keys_dir)?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(keys_dir.join(SIGNING_FILE))?;
    file.write_all(pem.expose_secret().as_bytes())?;
    let keys = Keys::load(&KeyTexts { signing: pem, verifying: vec![] }).context("the tokens' key")?;
    let tokens = Tokens::new(keys, PUBLIC_URL, PUBLIC_URL);
    let db = Db::connect(urls).await?;
    let mut tx = db.begin_worker().await?;
    let mut people = Vec::new();
    for (place, name) in TENANTS.into_iter().enumerate() {
        let tenant_id = tenant_id(place);
        tenant::create(&mut tx, tenant_id, name).await?;
        let user =
            directory::create_user(&mut tx, tenant_id, UserKind::Person, UserStatus::Active, name).await?;
        directory::assign_role(&mut tx, tenant_id, user.user_id, directory::builtin::ADMIN).await?;
        let pair = session::open(&mut tx, &tokens, &user, Method::Wallet).await?;
        session::note_second_factor(&mut tx, tenant_id, pair.session_id).await?;
        let token = pair.access_token.expose_secret().to_owned();
        people.push(Person { tenant_id, user_id: user.user_id, token });
    }
    tx.commit().await?;
    db.close().await;
    Ok(people)
}
