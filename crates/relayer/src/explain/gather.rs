//! What an explanation goes by, read.

use plimsoll_types::api::{Explanation, Halt, SignerLease, Transaction, TransactionKind};
use plimsoll_types::{TransactionState, address_text};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{NonceHas, Surroundings, explain, explain_nonce};
use crate::grant::SignerPolicy;
use crate::post::lease_name;
use crate::repo::explain as repo;
use crate::repo::read::{halts, leases};
use crate::repo::{address, hash, to_i64, to_u64};
use crate::request::SignerId;
use crate::users::courier_lease;

/// Beside what is on record: what whoever asks for an explanation knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// How many of the signer's may be under way.
    pub window: Option<u32>,
    /// The first nonce of a user that no block has used, as the chain tells: of a user nobody here counts them.
    pub front: Option<u64>,
}

/// Explains a transaction of a tenant. `conn` is confined to the tenant; `worker`: the worker's pool.
///
/// # Errors
/// The database's.
pub async fn of_transaction(
    conn: &mut PgConnection,
    worker: &PgPool,
    tenant_id: Uuid,
    transaction: &Transaction,
    known: Known,
) -> Result<Explanation, sqlx::Error> {
    let signer = SignerId { chain_id: transaction.chain_id, address: address(&transaction.signer)? };
    let is_users = transaction.kind == TransactionKind::UserSigned;
    let (mut around, _) = surroundings(conn, worker, tenant_id, signer, is_users, known.window).await?;
    let mut asked = worker.acquire().await?;
    if is_users {
        around.front = known.front;
        around.sent_again_at = repo::sent_again_at(&mut asked, transaction.transaction_id).await?;
    } else if transaction.state == TransactionState::Pending {
        let (chain_id, id) = (to_i64(signer.chain_id), transaction.transaction_id);
        let ahead = repo::ahead(&mut asked, chain_id, &transaction.signer, transaction.priority, id).await?;
        around.ahead = to_u64(ahead)?;
    }
    Ok(explain(transaction, &around))
}

/// Explains a nonce of a signer to a tenant that may use it.
///
/// # Errors
/// The database's.
pub async fn of_nonce(
    conn: &mut PgConnection,
    worker: &PgPool,
    tenant_id: Uuid,
    policy: &SignerPolicy,
    nonce: u64,
) -> Result<Explanation, sqlx::Error> {
    let signer = SignerId { chain_id: policy.chain_id, address: policy.address };
    let window = Some(policy.window.get());
    let (around, next) = surroundings(conn, worker, tenant_id, signer, false, window).await?;
    let mut asked = worker.acquire().await?;
    let (chain_id, name) = (to_i64(signer.chain_id), address_text(&signer.address));
    let has = match repo::holding(&mut asked, chain_id, &name, to_i64(nonce)).await? {
        Some(of) if of.tenant_id == Some(tenant_id) => {
            drop(asked);
            if let Some(transaction) = crate::read::by_id(conn, tenant_id, of.id).await? {
                return Ok(explain(&transaction, &around));
            }
            NonceHas::AnotherTenants
        }
        Some(of) if of.tenant_id.is_none() => NonceHas::Fill(of.state),
        Some(_) => NonceHas::AnotherTenants,
        None => match repo::used(&mut asked, chain_id, &name, to_i64(nonce)).await? {
            Some((tx_hash, number)) => {
                NonceHas::Stranger { tx_hash: hash(&tx_hash)?, block_number: to_u64(number)? }
            }
            None => match (next, around.front) {
                (Some(next), _) if nonce >= next => NonceHas::NotGiven { next },
                (_, Some(front)) if nonce < front => NonceHas::Before { front },
                _ => NonceHas::Gap,
            },
        },
    };
    Ok(explain_nonce(signer, nonce, &has, &around))
}

/// What is known beside the transaction, but for its own places; and the signer's next nonce.
async fn surroundings(
    conn: &mut PgConnection,
    worker: &PgPool,
    tenant_id: Uuid,
    signer: SignerId,
    is_users: bool,
    window: Option<u32>,
) -> Result<(Surroundings, Option<u64>), sqlx::Error> {
    let (chain_id, name) = (to_i64(signer.chain_id), address_text(&signer.address));
    let holds =
        halts(conn, &[tenant_id]).await?.into_iter().filter(|halt| match (&halt.signer, halt.chain_id) {
            (None, _) => true,
            (Some(address), of_chain) => !is_users && *address == name && of_chain == Some(chain_id),
        });
    let halts = holds
        .map(|halt| Halt {
            is_for_tenant: halt.tenant_id.is_some(),
            is_for_signer: halt.signer.is_some(),
            reason: halt.reason,
            thrown_at: halt.thrown_at,
        })
        .collect();
    let lease = if is_users { courier_lease(signer.chain_id) } else { lease_name(signer) };
    let lease = leases(worker, &[lease]).await?.pop();
    let lease = lease
        .map(|lease| {
            let token = to_u64(lease.fencing_token)?;
            Ok::<_, sqlx::Error>(SignerLease { holder: lease.holder, token, expires_at: lease.expires_at })
        })
        .transpose()?;
    let mut asked = worker.acquire().await?;
    let Some(standing) = repo::standing(&mut asked, chain_id, &name).await? else {
        return Ok((Surroundings { lease, halts, window, ..Surroundings::default() }, None));
    };
    let around = Surroundings {
        confirmations: to_u64(standing.confirmations)?,
        head: standing.head.map(to_u64).transpose()?,
        final_number: standing.final_number.map(to_u64).transpose()?,
        front: standing.consumed_next.map(to_u64).transpose()?,
        lease,
        halts,
        is_watched: standing.is_watched,
        ahead: 0,
        under_way: to_u64(standing.under_way)?,
        window,
        sent_again_at: None,
    };
    Ok((around, standing.next_nonce.map(to_u64).transpose()?))
}
