//! A provider, and a house that knows it.

use std::collections::HashMap;

use plimsoll_identity::directory::builtin;
use plimsoll_identity::external;
use plimsoll_identity::oidc::{self, Authorization, Identity, OidcError, Provider, ProviderConfig};
use plimsoll_identity::session::TokenPair;
use plimsoll_identity::token::Tokens;
use plimsoll_identity::{Permission, UserKind, directory as people};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;

use crate::provider::{TestProvider, callback, sign_in_there};
use crate::{House, tokens};

/// A provider, a house that knows it, and the house's tokens.
pub(crate) struct Site {
    pub(crate) house: House,
    pub(crate) there: TestProvider,
    pub(crate) provider: Provider,
    pub(crate) tokens: Tokens,
}

impl Site {
    pub(crate) async fn new(change: impl FnOnce(&mut ProviderConfig)) -> Self {
        let (house, there) = (House::new().await, TestProvider::start().await);
        let mut config = there.config(house.tenant_id);
        change(&mut config);
        Self { house, there, provider: Provider::new(config).unwrap(), tokens: tokens() }
    }

    /// A user to whom the provider's subject is linked.
    pub(crate) async fn linked(&self, subject: &str) -> people::User {
        let user = self.house.user(UserKind::Person, &[builtin::ACCOUNTANT]).await;
        let mut tx = self.house.app().await;
        external::link(&mut tx, self.house.tenant_id, user.user_id, self.there.issuer(), subject)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        user
    }

    pub(crate) async fn begin(&self) -> Authorization {
        let authorization = self.provider.authorize().await.unwrap();
        let mut tx = self.house.worker().await;
        oidc::begin(&mut tx, &authorization).await.unwrap();
        tx.commit().await.unwrap();
        authorization
    }

    /// What a browser with this secret is told when it brings this query.
    pub(crate) async fn come_back(
        &self,
        query: &HashMap<String, String>,
        browser_secret: &SecretString,
    ) -> Result<Identity, OidcError> {
        let mut tx = self.house.worker().await;
        let pending = oidc::resume(&mut tx, &self.provider, callback(query), browser_secret).await;
        tx.commit().await.unwrap();
        self.provider.exchange(pending?, OffsetDateTime::now_utc()).await
    }

    pub(crate) async fn identity(&self) -> Result<Identity, OidcError> {
        let begun = self.begin().await;
        let query = sign_in_there(&begun.url, "ada").await;
        self.come_back(&query, &begun.browser_secret).await
    }

    pub(crate) async fn enter(&self, identity: &Identity) -> Result<(people::User, TokenPair), OidcError> {
        let mut tx = self.house.worker().await;
        let entered = oidc::sign_in(&mut tx, &self.provider, &self.tokens, identity).await?;
        tx.commit().await.unwrap();
        Ok(entered)
    }

    pub(crate) async fn may(&self, pair: &TokenPair, permission: Permission) -> bool {
        let auth = self.house.authenticator(&self.tokens);
        auth.authenticate(pair.access_token.expose_secret(), None).await.unwrap().require(permission).is_ok()
    }
}
