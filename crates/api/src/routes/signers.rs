//! `/api/v1/signers`: who signs for a tenant (spec 2 §5.2).

use axum::Json;
use axum::extract::State;
use plimsoll_identity::Permission::RelayerRead;
use plimsoll_relayer::read;
use plimsoll_types::{address_text, api, parse_address};

use super::paging::Segment;
use super::transactions::no_signers;
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Routes};
use crate::openapi::SignerProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::{NoParameters, Query};
use crate::repo::RepoError;
use crate::state::ApiState;

pub(super) fn routes() -> Routes<ApiState> {
    Routes::default()
        .read(Declaration::read("/api/v1/signers", Needs(RelayerRead)), list)
        .read(Declaration::read("/api/v1/signers/{signer}", Needs(RelayerRead)), show)
}

/// The signers that the tenant may use
///
/// Those that grant it anything, with who works them and how far they are.
#[utoipa::path(get, operation_id = "list_signers", path = "/api/v1/signers", tag = "relayer",
    responses((status = 200, description = "The signers", body = api::Signers), SignerProblems))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    _: Query<NoParameters>,
) -> Result<Json<api::Signers>, Problem> {
    Ok(Json(api::Signers { items: signers(&state, &caller, |_| true).await? }))
}

/// A signer
///
/// An address signs on each chain by itself: those of its chains on which the tenant may use it.
#[utoipa::path(get, operation_id = "show_signer", path = "/api/v1/signers/{signer}", tag = "relayer",
    params(("signer" = String, Path, description = "The signer's address, in any letter case", pattern = "^0x[0-9a-fA-F]{40}$")),
    responses((status = 200, description = "The signer, on each chain", body = api::Signers), SignerProblems))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    signer: Segment,
    _: Query<NoParameters>,
) -> Result<Json<api::Signers>, Problem> {
    let unknown = || {
        Problem::new(ProblemKind::NotFound, "the tenant may use no such signer")
            .with_remedy("`/api/v1/signers` lists those that it may use")
    };
    let address = address_text(&parse_address(&signer.0).map_err(|_| unknown())?);
    let items = signers(&state, &caller, |known| *known == address).await?;
    if items.is_empty() { Err(unknown()) } else { Ok(Json(api::Signers { items })) }
}

async fn signers(
    state: &ApiState,
    caller: &Caller,
    is_wanted: impl Fn(&String) -> bool,
) -> Result<Vec<api::Signer>, Problem> {
    let intake = state.relayer().ok_or_else(no_signers)?;
    let mut granted = intake.granted_to(caller.tenant_id);
    granted.retain(|policy| is_wanted(&address_text(&policy.address)));
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let told = read::signers(&mut tx, state.operations(), caller.tenant_id, &granted).await;
    Ok(told.map_err(RepoError::from)?)
}
