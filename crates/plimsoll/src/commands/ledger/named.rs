//! Accounts as operators name them.

use plimsoll_ledger::register;
use plimsoll_types::api::LedgerAccount;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::cli::AccountName;
use crate::failure::Failure;

/// Accounts of one name that are looked at.
const SAME_NAME_MAX: i64 = 10;

/// The tenant's account of this id, or of this name.
pub(super) async fn account(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    named: &str,
    of: &AccountName,
) -> Result<LedgerAccount, Failure> {
    if let Ok(id) = named.parse() {
        let found = register::by_id(conn, tenant_id, id).await?;
        return found.ok_or_else(|| Failure::usage(format!("the tenant has no account {id}")).remedy(LIST));
    }
    let filter = register::Filter {
        name: Some(named.to_owned()),
        domain: Some(of.domain.clone()),
        currency: of.currency.clone(),
        ..register::Filter::default()
    };
    let mut found = register::accounts(conn, tenant_id, &filter, None, SAME_NAME_MAX).await?;
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => Err(Failure::usage(format!("the books of {} have no account {named:?}", of.domain))
            .remedy(format!("say `--domain` where it is in others; {LIST}"))),
        _ => {
            let currencies: Vec<_> = found.iter().map(|account| account.currency.as_str()).collect();
            Err(Failure::usage(format!("the books of {} have {named:?} in several currencies", of.domain))
                .remedy(format!("say `--currency` with one of {}", currencies.join(", "))))
        }
    }
}

const LIST: &str = "`plimsoll ledger accounts` lists those that there are";
