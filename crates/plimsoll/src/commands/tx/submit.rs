//! `plimsoll tx submit`: an operator hands in a transaction for a tenant, within the tenant's grants.

use std::collections::HashMap;

use alloy_primitives::{Bytes, U256, hex};
use plimsoll_bus::Context;
use plimsoll_relayer::alone::submit_in;
use plimsoll_relayer::grant::SignerPolicy;
use plimsoll_relayer::request::{Call, Request, SignerId, Validity};
use plimsoll_relayer::{SubmitError, read};
use plimsoll_store::Db;
use plimsoll_types::{Amount, parse_address};
use uuid::Uuid;

use crate::cli::{Change, How, NewTransaction};
use crate::commands::admin::Admin;
use crate::commands::admin::change::{As, Done};
use crate::commands::admin::operator;
use crate::commands::admin::sheet::Sheet;
use crate::config::{Config, did_you_mean};
use crate::failure::Failure;

pub(super) async fn submit(config: &Config, db: &Db, asked: &NewTransaction) -> Result<(), Failure> {
    let policy = configured(config, asked)?;
    let actor = operator::actor();
    let id = SignerId { chain_id: policy.chain_id, address: policy.address };
    let policies = HashMap::from([(id, policy.clone())]);
    let node = actor.clone();
    let tenant = Admin { db, config }.tenant(&asked.whose).await?;
    // The request's own id, too: asked again under it, it is the same transaction.
    let request_id = asked.change.how.request_id.unwrap_or_else(Uuid::now_v7);
    let change = Change {
        reason: asked.change.reason.clone(),
        how: How { request_id: Some(request_id), ..asked.change.how.clone() },
    };
    let context = Context::new(request_id, actor).on_behalf_of(tenant.tenant_id, None);
    let request = request_of(context, policy, asked)?;
    Admin { db, config }
        .change(&change.order(), As::Tenant(tenant.tenant_id), async |conn| {
            let accepted =
                submit_in(conn, &node, &policies, &request).await.map_err(|error| explained(&error))?;
            let made = read::by_id(conn, tenant.tenant_id, accepted.id)
                .await?
                .ok_or_else(|| Failure::new(format!("transaction {} is gone", accepted.id)))?;
            // Without its id, which a rehearsal draws anew.
            let sheet = Sheet::new()
                .with("operation_type", &*made.operation_type)
                .with("chain", made.chain_id)
                .with("signer", &*made.signer)
                .with("to", made.to.clone())
                .with("value_wei", made.value_wei.to_string())
                .with("data_bytes", request.call.data.len())
                .with("gas_limit", made.gas_limit)
                .with("state", made.state.as_str());
            let known = accepted.is_replay.then(|| format!(", which is transaction {}", accepted.id));
            Ok(Done {
                action: "relayer.transaction.submit",
                target_type: "transaction",
                target_id: accepted.id.to_string(),
                order: format!(
                    "have the signer {} send {} for {}{}",
                    policy.name,
                    asked.operation_type,
                    tenant.name,
                    known.unwrap_or_default()
                ),
                confirmation: String::new(),
                before: accepted.is_replay.then(|| sheet.clone()),
                after: Some(sheet),
                secret: None,
                note: Some(format!("it is transaction {}: `plimsoll tx show {}`", accepted.id, accepted.id)),
            })
        })
        .await
}

/// The configured signer that is meant: its grants are in the configuration.
fn configured<'a>(config: &'a Config, asked: &NewTransaction) -> Result<&'a SignerPolicy, Failure> {
    let address = parse_address(&asked.signer).ok();
    let policies = || config.signers.iter().map(|signer| &signer.policy);
    let meant: Vec<_> = policies()
        .filter(|policy| policy.name == asked.signer || Some(policy.address) == address)
        .filter(|policy| asked.chain.is_none_or(|chain| chain == policy.chain_id))
        .collect();
    match meant[..] {
        [one] => Ok(one),
        [] => {
            let failure = Failure::usage(format!("no signer {:?} is configured", asked.signer));
            let known: Vec<_> = policies().map(|policy| policy.name.as_str()).collect();
            Err(match did_you_mean(&asked.signer, known.iter().copied()) {
                Some(name) => failure.remedy(format!("did you mean {name:?}?")),
                None => failure.remedy(format!("the configured ones are {}", known.join(", "))),
            })
        }
        _ => {
            Err(Failure::usage(format!("{:?} signs on several chains", asked.signer)).remedy("say `--chain`"))
        }
    }
}

fn request_of(context: Context, policy: &SignerPolicy, asked: &NewTransaction) -> Result<Request, Failure> {
    let wrong = |option: &str, why: String| Failure::usage(format!("`{option}`: {why}"));
    let to = asked.to.as_deref().map(parse_address).transpose();
    let to = to.map_err(|error| wrong("--to", error.to_string()))?;
    let value: Amount = asked
        .value
        .parse()
        .map_err(|error: plimsoll_types::AmountError| wrong("--value", error.to_string()))?;
    let digits = asked.data.strip_prefix("0x").unwrap_or(&asked.data);
    let data = hex::decode(digits).map_err(|error| wrong("--data", error.to_string()))?;
    let request = Request {
        context,
        operation_type: asked.operation_type.clone(),
        signer: SignerId { chain_id: policy.chain_id, address: policy.address },
        call: Call { to, value: U256::from(value.0), data: Bytes::from(data) },
        gas_limit: asked.gas_limit,
        max_fee_limit: asked.max_fee,
        priority: asked.priority,
        validity: Validity::default(),
        simulate: None,
    };
    request.check().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(request)
}

fn explained(error: &SubmitError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        SubmitError::Refused(_) | SubmitError::Unbounded { .. } => {
            failure.remedy("what a tenant may have a signer do is in `[[signers.grants]]`")
        }
        _ => failure,
    }
}
