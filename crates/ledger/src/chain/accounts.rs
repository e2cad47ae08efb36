//! The accounts that the chain's postings are on: each opened when it is first needed, with an id that follows from what it is.

use std::collections::{HashMap, HashSet};
use std::fmt;

use alloy_primitives::Address;
use plimsoll_chain::Pool;
use plimsoll_types::address_text;
use sqlx::PgConnection;
use uuid::Uuid;

use super::tokens::{self, Token};
use crate::account::{Currency, NewAccount};
use crate::repo::{accounts as repo, chain};
use crate::rules::Account;

/// The books that they are in.
pub(super) const DOMAIN: &str = "cash";
/// What ids of accounts are derived under.
const ACCOUNTS: Uuid = Uuid::from_u128(0x6f1d_6b0e_8a57_4c0c_9a3e_0f6a_1f0b_2601);
/// Of the chain's native coin.
const NATIVE_DECIMALS: u8 = 18;

/// What is known to be open. Forgotten when a transaction is rolled back.
#[derive(Default)]
pub(super) struct Opened {
    /// Who is asked what a new token is; none: nobody.
    pool: Option<Pool>,
    currencies: HashMap<(Uuid, Option<Address>), String>,
    accounts: HashSet<Uuid>,
}

/// The id of an account of a tenant on a chain.
pub(super) fn account_id(tenant_id: Uuid, chain_id: u64, account: &Account) -> Uuid {
    let token = account.token.as_ref().map_or_else(String::new, address_text);
    let (account_type, class) = (account.account_type, account.class);
    let what = format!("{tenant_id}\n{chain_id}\n{token}\n{account_type:?}\n{class:?}\n{}", account.name);
    Uuid::new_v5(&ACCOUNTS, what.as_bytes())
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("accounts", &self.accounts.len()).finish_non_exhaustive()
    }
}

impl Opened {
    /// New tokens are asked about by these nodes.
    pub(super) fn asking(pool: Pool) -> Self {
        Self { pool: Some(pool), ..Self::default() }
    }

    pub(super) fn forget(&mut self) {
        self.currencies.clear();
        self.accounts.clear();
    }

    /// The currency of a token in a tenant's books, which are opened where there are none; of a token that they do not have, a new one.
    pub(super) async fn currency(
        &mut self,
        conn: &mut PgConnection,
        tenant_id: Uuid,
        chain_id: u64,
        token: Option<Address>,
    ) -> Result<String, sqlx::Error> {
        if let Some(known) = self.currencies.get(&(tenant_id, token)) {
            return Ok(known.clone());
        }
        let address = token.as_ref().map(address_text);
        let currency = match chain::currency(conn, tenant_id, chain_id, address.as_deref()).await? {
            Some(currency) => currency,
            None => {
                let said = match (&self.pool, token) {
                    (Some(pool), Some(token)) => tokens::ask(pool, token).await,
                    _ => Token::default(),
                };
                let new = new_currency(chain_id, address, said);
                repo::open_books(conn, tenant_id).await?;
                repo::put_currency(conn, tenant_id, &new).await?;
                new.currency
            }
        };
        self.currencies.insert((tenant_id, token), currency.clone());
        Ok(currency)
    }

    /// Opens those of a tenant's accounts that are not open yet. Their currencies are.
    pub(super) async fn open(
        &mut self,
        conn: &mut PgConnection,
        tenant_id: Uuid,
        chain_id: u64,
        accounts: &[(&Account, String)],
    ) -> Result<(), sqlx::Error> {
        let mut unknown: HashMap<Uuid, &(&Account, String)> = HashMap::new();
        for one in accounts {
            let id = account_id(tenant_id, chain_id, one.0);
            if !self.accounts.contains(&id) {
                unknown.insert(id, one);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = unknown.keys().copied().collect();
        let open: HashSet<_> = chain::open_accounts(conn, &ids).await?.into_iter().collect();
        let missing = unknown.iter().filter(|(id, _)| !open.contains(id));
        let new: Vec<_> = missing
            .clone()
            .map(|(id, (account, currency))| new_account(*id, chain_id, account, currency))
            .collect();
        repo::open_accounts(conn, tenant_id, &new).await?;
        for (id, (account, _)) in missing {
            if let Some(probe) = &account.probe {
                chain::put_probe(conn, *id, tenant_id, chain_id, probe).await?;
            }
        }
        self.accounts.extend(ids);
        Ok(())
    }
}

fn new_currency(chain_id: u64, address: Option<String>, said: Token) -> Currency {
    match address {
        Some(address) => Currency {
            currency: format!("eip155:{chain_id}/erc20:{address}"),
            chain_id: Some(chain_id),
            decimals: said.decimals.unwrap_or(0),
            name: said.symbol.unwrap_or_else(|| format!("token {address}")),
            token_address: Some(address),
        },
        None => Currency {
            currency: format!("eip155:{chain_id}/slip44:60"),
            chain_id: Some(chain_id),
            decimals: NATIVE_DECIMALS,
            name: format!("native coin of chain {chain_id}"),
            token_address: None,
        },
    }
}

fn new_account(account_id: Uuid, chain_id: u64, account: &Account, currency: &str) -> NewAccount {
    NewAccount {
        account_id,
        name: account.name.clone(),
        account_type: account.account_type,
        class: account.class,
        domain: DOMAIN.into(),
        currency: currency.into(),
        user_id: None,
        chain_id: Some(chain_id),
        address: account.address.as_ref().map(address_text),
        min_balance: None,
        max_balance: None,
    }
}
