//! What signing in works with, beside the database.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use alloy_primitives::{Address, Bytes};
use plimsoll_identity::oidc::Provider;
use plimsoll_identity::password::PasswordFile;
use plimsoll_identity::seal::Sealer;
use plimsoll_identity::sign_in::Registration;
use plimsoll_identity::siwe::{CallOutcome, Expectations, WalletCalls, WalletUnavailable};
use plimsoll_identity::webauthn::RelyingParty;

/// How people sign in here.
#[derive(Debug)]
pub struct SignInOptions {
    /// What a wallet's message must say.
    pub expectations: Expectations,
    /// Where users reach us, as such a message names it: `https://app.example.com`.
    pub uri: String,
    /// What becomes of an address that nobody has.
    pub registration: Registration,
    /// Who asks contract wallets.
    pub wallets: Wallets,
    /// Operators with a password, in development.
    pub passwords: Option<PasswordFile>,
    /// Who we are to browsers that give security keys.
    pub party: RelyingParty,
    /// Providers of operators, by the name that their paths have.
    pub providers: HashMap<String, Provider>,
    /// Seals the seeds of second factors; without it there is no TOTP.
    pub sealer: Option<Sealer>,
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<CallOutcome, WalletUnavailable>> + Send + 'a>>;

trait Ask: Send + Sync {
    fn ask(&self, chain_id: u64, to: Address, data: Bytes) -> Asked<'_>;
}

impl<W: WalletCalls> Ask for W {
    fn ask(&self, chain_id: u64, to: Address, data: Bytes) -> Asked<'_> {
        Box::pin(self.call(chain_id, to, data))
    }
}

/// Any [`WalletCalls`], so that what serves requests need not know which.
pub struct Wallets(Box<dyn Ask>);

impl Wallets {
    /// Those.
    pub fn new(calls: impl WalletCalls + 'static) -> Self {
        Self(Box::new(calls))
    }
}

impl std::fmt::Debug for Wallets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wallets")
    }
}

impl WalletCalls for &Wallets {
    async fn call(&self, chain_id: u64, to: Address, data: Bytes) -> Result<CallOutcome, WalletUnavailable> {
        self.0.ask(chain_id, to, data).await
    }
}
