//! What follows from a route's declaration: who may use it, how a write is sent again, and the problems that come of both.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr, Required};

use super::BEARER;
use super::problems::{PROBLEM_PREFIX, responses};
use crate::gateway::{Access, Declaration, KeyPolicy, WriteMethod};
use crate::problem::ProblemKind;

/// The operation of a declared route, where the document has it.
pub(super) fn operation<'a>(
    document: &'a mut OpenApi,
    declaration: &Declaration,
) -> Option<&'a mut Operation> {
    let item = document.paths.paths.get_mut(declaration.path)?;
    match declaration.write.map(|(method, _)| method) {
        None => item.get.as_mut(),
        Some(WriteMethod::Post) => item.post.as_mut(),
        Some(WriteMethod::Put) => item.put.as_mut(),
        Some(WriteMethod::Patch) => item.patch.as_mut(),
        Some(WriteMethod::Delete) => item.delete.as_mut(),
    }
}

/// Says what the declaration says.
pub(super) fn guarded(operation: &mut Operation, declaration: &Declaration) {
    let bearer = || SecurityRequirement::new(BEARER, Vec::<String>::new());
    let mut kinds = Vec::new();
    let mut may = None;
    match declaration.access {
        Access::Anybody => {}
        Access::Open(permission) => {
            operation.security = Some(vec![SecurityRequirement::default(), bearer()]);
            may = Some(format!("Open, or with the permission `{permission}` where the operator closed it."));
            kinds.extend([ProblemKind::Unauthenticated, ProblemKind::Forbidden]);
        }
        Access::SignedIn => {
            operation.security = Some(vec![bearer()]);
            kinds.extend([ProblemKind::Unauthenticated]);
        }
        Access::Needs(permission) => {
            operation.security = Some(vec![bearer()]);
            may = Some(format!("Needs the permission `{permission}`."));
            kinds.extend([ProblemKind::Unauthenticated, ProblemKind::Forbidden, ProblemKind::NotFound]);
            if permission.is_sensitive() {
                kinds.push(ProblemKind::SecondFactorRequired);
            }
        }
    }
    if let Some(may) = may {
        let description = operation.description.take().unwrap_or_default();
        operation.description = Some(format!("{description}\n\n{may}").trim().to_owned());
    }
    if declaration.is_stream {
        kinds.push(ProblemKind::TooManyStreams);
    }
    if let Some((_, policy)) = declaration.write {
        kinds.extend([ProblemKind::BodyTooLarge, ProblemKind::BodyTooSlow]);
        if !matches!(policy, KeyPolicy::Exempt(_)) {
            kinds.extend([
                ProblemKind::InvalidIdempotencyKey,
                ProblemKind::RequestInFlight,
                ProblemKind::IdempotencyKeyReused,
            ]);
            operation
                .parameters
                .get_or_insert_default()
                .push(idempotency_key(policy == KeyPolicy::Required).into());
        }
        if policy == KeyPolicy::Required {
            kinds.push(ProblemKind::MissingIdempotencyKey);
        }
        if declaration.is_secret {
            kinds.push(ProblemKind::ResponseWithheld);
        }
    }
    for (status, response) in responses(&kinds) {
        merge(&mut operation.responses.responses, status, response);
    }
}

/// A key as `idempotency::header` reads it: printable ASCII without white space, commas and quotes, or a string of RFC 8941 (§3.3.3).
const KEY_PATTERN: &str = r#"^([!#-+\--~]+|"([ !#-\[\]-~]|\\["\\])+")$"#;

fn idempotency_key(is_required: bool) -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(if is_required { Required::True } else { Required::False })
        .description(Some("New for each new request, the same when one is sent again: it is then answered again and not done again"))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(255))
                .pattern(Some(KEY_PATTERN)),
        ))
        .example(Some("5f0c7f0e-6a54-4d0b-9f2c-6f7a1d2b3c4d".into()))
        .build()
}

/// Adds a response; of two problems of one status, the description names both.
fn merge(all: &mut BTreeMap<String, RefOr<Response>>, status: String, response: RefOr<Response>) {
    let RefOr::T(new) = response else { return };
    match all.get_mut(&status) {
        Some(RefOr::T(present)) => {
            if let Some(names) = new.description.strip_prefix(PROBLEM_PREFIX) {
                let missing: Vec<&str> =
                    names.split(", ").filter(|name| !present.description.contains(name)).collect();
                if !missing.is_empty() {
                    present.description = format!("{}, {}", present.description, missing.join(", "));
                }
            }
        }
        _ => {
            all.insert(status, RefOr::T(new));
        }
    }
}
