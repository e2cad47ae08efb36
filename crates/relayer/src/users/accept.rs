//! Taking what a user signed.

use plimsoll_bus::PublishError;
use plimsoll_chain::RpcError;
use plimsoll_types::{Context, RequestId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::SignedTransaction;
use crate::chains::Chain;
use crate::fees;
use crate::history;
use crate::repo::users as repo;
use crate::request::{FILL, Invalid, OPERATION_MAX_CHARS, SignerId};
use crate::signers;

/// The most transactions of one tenant that wait for a block.
const OPEN_MAX: i64 = 1_000;
/// How far above the sender's next nonce one may be: nodes keep about as many that wait for others.
const AHEAD_MAX: u64 = 64;

/// What a user signed, and for which request.
#[derive(Clone, Debug)]
pub struct SignedRequest {
    /// The tenant, the user, the request's id, who hands it in, and of which story it is part.
    pub context: Context,
    /// What it is, as the tenant names it; together with tenant and request id its natural key.
    pub operation_type: String,
    /// What was signed.
    pub transaction: SignedTransaction,
}

/// Why it is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UserSubmitError {
    /// It is not what it should be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Its key is another's.
    #[error(
        "request_id {request_id} was used for another {operation_type} (transaction {id}): send what is new under a new request_id"
    )]
    Conflict {
        /// The key.
        request_id: Uuid,
        /// The key.
        operation_type: String,
        /// What has the key.
        id: Uuid,
    },
    /// The same bytes are there under another key.
    #[error("these bytes were handed in before, as transaction {id} under another operation_type")]
    Known {
        /// What they are there as.
        id: Uuid,
    },
    /// It can never be included.
    #[error("nonce {nonce} of its sender is used already: the next one is {next}")]
    Used {
        /// The transaction's.
        nonce: u64,
        /// The sender's next.
        next: u64,
    },
    /// It would wait for too many others.
    #[error("nonce {nonce} is too far ahead: its sender's next one is {next}, and {AHEAD_MAX} more may wait")]
    Ahead {
        /// The transaction's.
        nonce: u64,
        /// The sender's next.
        next: u64,
    },
    /// Whoever works that signer gives its nonces, and tells what became of them.
    #[error("{sender} is a signer of the platform's: what it sends is asked of it, and nobody's to sign")]
    ManagedSender {
        /// Who signed.
        sender: SignerId,
    },
    /// Too many wait.
    #[error(
        "{OPEN_MAX} signed transactions of this tenant wait for a block: hand in more when some are in one"
    )]
    TooMany,
    /// Whether its nonce is used cannot be told.
    #[error("the chain cannot be asked: {0}")]
    Chain(RpcError),
    /// The chain is not followed.
    #[error("chain {chain_id} is not followed yet")]
    NotFollowed {
        /// Which.
        chain_id: u64,
    },
    /// The database.
    #[error("keeping it: {0}")]
    Database(#[from] PublishError),
}

impl From<sqlx::Error> for UserSubmitError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A request whose nonce the chain did not call used, as of a block.
#[derive(Debug)]
pub struct Checked<'a> {
    request: &'a SignedRequest,
    block: u64,
}

impl SignedRequest {
    /// Whether it can be taken at all: that its name is one, and that it carries its request's id.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self, chain: &Chain) -> Result<(), Invalid> {
        let wrong = |field, problem: String| Err(Invalid::Field { field, problem });
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        let chars = self.operation_type.chars().count();
        let is_bounded = (1..=OPERATION_MAX_CHARS).contains(&chars);
        if !is_bounded || !self.operation_type.chars().all(is_name) || self.operation_type == FILL {
            let problem = format!(
                "must have 1 to {OPERATION_MAX_CHARS} letters, digits, '-', '_', '.' or ':', and not be `{FILL}`"
            );
            return wrong("operation_type", problem);
        }
        let Some(to) = &self.transaction.call.to else {
            return wrong("raw", "creates a contract, which has no place for a request's id".into());
        };
        let (gas, least) = (self.transaction.gas_limit, fees::TRANSACTION_GAS);
        if gas < least {
            return wrong(
                "raw",
                format!("has a gas limit of {gas}, and no block takes one with less than {least}"),
            );
        }
        let carried = chain.contracts.request_id_of_call(to, &self.transaction.call.data);
        let expected = RequestId::from_uuid(self.context.request_id);
        if carried != Some(expected) {
            let found = carried.map_or_else(|| "none".to_owned(), |id| id.to_string());
            let problem = format!(
                "carries the request id {found}, not {expected}: have the transaction prepared, and sign it as it is"
            );
            return wrong("raw", problem);
        }
        Ok(())
    }

    /// Asks the chain whether the nonce is still to be used.
    ///
    /// # Errors
    /// It is not, or nobody tells.
    pub async fn checked(&self, chain: &Chain) -> Result<Checked<'_>, UserSubmitError> {
        let nonce = self.transaction.nonce;
        let counts = chain.counts(self.transaction.sender).await.map_err(UserSubmitError::Chain)?;
        let next = counts.value.latest;
        if nonce < next {
            return Err(UserSubmitError::Used { nonce, next });
        }
        if nonce - next > AHEAD_MAX {
            return Err(UserSubmitError::Ahead { nonce, next });
        }
        Ok(Checked { request: self, block: counts.block_number })
    }

    /// What is there under its key; none if nothing is, and it may be put.
    ///
    /// # Errors
    /// Something else is, or its sender is no user.
    pub async fn found(&self, conn: &mut PgConnection) -> Result<Option<Uuid>, UserSubmitError> {
        let (tenant_id, request_id) = (tenant_of(&self.context)?, self.context.request_id);
        let found = repo::find(
            conn,
            tenant_id,
            request_id,
            &self.operation_type,
            self.transaction.chain_id,
            &self.transaction.tx_hash,
        )
        .await?;
        match found {
            None => {
                let (chain_id, address) = (self.transaction.chain_id, self.transaction.sender);
                let sender = SignerId { chain_id, address };
                match signers::is_known(conn, sender).await? {
                    true => Err(UserSubmitError::ManagedSender { sender }),
                    false => Ok(None),
                }
            }
            Some(known) if known.has_key && known.has_bytes => Ok(Some(known.id)),
            Some(known) if known.has_key => Err(UserSubmitError::Conflict {
                request_id,
                operation_type: self.operation_type.clone(),
                id: known.id,
            }),
            Some(known) => Err(UserSubmitError::Known { id: known.id }),
        }
    }
}

fn tenant_of(context: &Context) -> Result<Uuid, Invalid> {
    context.tenant_id.ok_or_else(|| Invalid::Field { field: "tenant_id", problem: "is missing".into() })
}

/// Keeps it, in a transaction that is confined to its tenant; nothing of it is sent before that is committed. The id, and whether it was there before.
///
/// # Errors
/// [`UserSubmitError`]; roll back then.
pub async fn put_in(
    conn: &mut PgConnection,
    node: &str,
    checked: Checked<'_>,
) -> Result<(Uuid, bool), UserSubmitError> {
    let Checked { request, block } = checked;
    let tenant_id = tenant_of(&request.context)?;
    repo::lock(conn, tenant_id, request.context.request_id).await?;
    // Whoever had the lock may have put this very one.
    if let Some(id) = request.found(conn).await? {
        return Ok((id, true));
    }
    if repo::open(conn, tenant_id).await? >= OPEN_MAX {
        return Err(UserSubmitError::TooMany);
    }
    let chain_id = request.transaction.chain_id;
    if !repo::is_followed(conn, chain_id).await? {
        return Err(UserSubmitError::NotFollowed { chain_id });
    }
    let put = repo::insert(conn, node, Uuid::now_v7(), tenant_id, request, block).await?;
    history::publish(conn, None, "what its user signed is kept", vec![(request.context.clone(), &put)])
        .await?;
    Ok((put.id, false))
}
