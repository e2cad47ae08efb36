//! Where what an answer tells leads: links (OpenAPI 3.1 §4.8.20) from an answer that has an id in it to what takes that id in its path, and from a
//! page to the next.
//!
//! They follow from paths and schemas, so a new route is linked without being listed: a parameter is what an answer tells under the same name, by
//! itself or in its `items`; and below a collection's own path it is the `name` of one of its members, where they have no other id. What can be
//! shown is linked from wherever its id is told, what is done to it from its own collection alone.

use utoipa::openapi::link::Link;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{ArrayItems, Schema};
use utoipa::openapi::{OpenApi, RefOr, Response};

use super::{COMPONENTS, declared};
use crate::gateway::Declaration;
use crate::routes::DECLARATIONS;

const JSON: &str = "application/json";
/// No schema of ours nests so deep.
const DEPTH_MAX: usize = 8;

/// An operation that takes an id in its path.
struct Target {
    path: &'static str,
    /// It is shown at this path.
    is_shown: bool,
    operation_id: String,
    parameter: String,
}

/// Links every answer to what takes an id that it tells.
pub(super) fn add(document: &mut OpenApi) {
    let targets: Vec<Target> = DECLARATIONS.iter().filter_map(|known| target(document, known)).collect();
    for declaration in DECLARATIONS.iter() {
        let Some(operation) = declared::operation(document, declaration).cloned() else { continue };
        for (status, response) in &operation.responses.responses {
            let RefOr::T(response) = response else { continue };
            let told = if status.starts_with('2') { told(document, response) } else { Vec::new() };
            let links = links(declaration, &operation, &told, &targets);
            if let Some(RefOr::T(response)) = declared::operation(document, declaration)
                .and_then(|operation| operation.responses.responses.get_mut(status))
            {
                response.links.extend(links.into_iter().map(|(name, link)| (name, RefOr::T(link))));
            }
        }
    }
}

fn target(document: &mut OpenApi, declaration: &Declaration) -> Option<Target> {
    let operation_id = declared::operation(document, declaration)?.operation_id.clone()?;
    let (_, rest) = declaration.path.split_once('{')?;
    let (parameter, rest) = rest.split_once('}')?;
    let parameter = parameter.to_owned();
    let path = declaration.path;
    let is_shown = DECLARATIONS.iter().any(|known| known.path == path && known.write.is_none());
    (!rest.contains('{')).then_some(Target { path, is_shown, operation_id, parameter })
}

fn links(
    source: &Declaration,
    operation: &Operation,
    told: &[(String, String)],
    targets: &[Target],
) -> Vec<(String, Link)> {
    let pointer = |name: &str| told.iter().find(|(known, _)| known == name).map(|(_, pointer)| pointer);
    let mut links = Vec::new();
    for Target { path, is_shown, operation_id, parameter } in targets {
        let place = format!("{{{parameter}}}");
        // Whoever asked had it already.
        if source.path.contains(&place) {
            continue;
        }
        let is_own =
            path.strip_prefix(source.path).is_some_and(|rest| rest.starts_with(&format!("/{place}")));
        let found = pointer(parameter).or_else(|| pointer("name").filter(|_| is_own));
        if let Some(pointer) = found.filter(|_| *is_shown || is_own) {
            links.push((operation_id.clone(), link(operation_id, parameter, pointer)));
        }
    }
    links.extend(next(operation, pointer("next_cursor")).map(|link| ("next".to_owned(), link)));
    links
}

/// The next page: what was asked for this one, and where it ended. A cursor is good for the filters that it was made under.
fn next(operation: &Operation, pointer: Option<&String>) -> Option<Link> {
    let asked = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(Parameter { name, parameter_in: ParameterIn::Query, .. }) => Some(name.as_str()),
        _ => None,
    });
    let (cursors, filters): (Vec<&str>, Vec<&str>) = asked.partition(|name| *name == "cursor");
    let (cursor, pointer) = (cursors.first()?, pointer?);
    let mut link = link(operation.operation_id.as_ref()?, cursor, pointer);
    for filter in filters {
        link.parameters.insert(filter.to_owned(), format!("$request.query.{filter}").into());
    }
    Some(link)
}

fn link(operation_id: &str, parameter: &str, pointer: &str) -> Link {
    Link::builder()
        .operation_id(operation_id)
        .parameter(parameter, format!("$response.body#{pointer}"))
        .build()
}

/// What an answer tells, and where: its own properties, and those of the first of its `items`.
fn told(document: &OpenApi, response: &Response) -> Vec<(String, String)> {
    let content = response.content.get(JSON);
    let Some(schema) = content.and_then(|content| match content {
        RefOr::T(content) => content.schema.as_ref(),
        RefOr::Ref(_) => None,
    }) else {
        return Vec::new();
    };
    let mut told = Vec::new();
    for (name, property) in properties(document, schema, DEPTH_MAX) {
        if name == "items"
            && let RefOr::T(Schema::Array(array)) = &property
            && let ArrayItems::RefOrSchema(item) = &array.items
        {
            let inner = properties(document, item, DEPTH_MAX);
            told.extend(inner.into_iter().map(|(name, _)| (name.clone(), format!("/items/0/{name}"))));
        }
        told.push((name.clone(), format!("/{name}")));
    }
    told
}

fn properties(document: &OpenApi, schema: &RefOr<Schema>, depth: usize) -> Vec<(String, RefOr<Schema>)> {
    let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
    match schema {
        RefOr::Ref(reference) => {
            let schemas = document.components.as_ref().map(|components| &components.schemas);
            let named = reference.ref_location.strip_prefix(COMPONENTS);
            match named.and_then(|name| schemas?.get(name)) {
                Some(schema) => properties(document, schema, depth),
                None => Vec::new(),
            }
        }
        RefOr::T(Schema::Object(object)) => {
            object.properties.iter().map(|(name, schema)| (name.clone(), schema.clone())).collect()
        }
        RefOr::T(Schema::AllOf(all)) => {
            all.items.iter().flat_map(|schema| properties(document, schema, depth)).collect()
        }
        RefOr::T(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    fn document() -> Value {
        serde_json::to_value(super::super::openapi()).unwrap()
    }

    #[test]
    fn an_id_leads_to_what_takes_it_and_a_page_to_the_next() {
        let document = document();
        let links = |path: &str, method: &str, status: &str| {
            document["paths"][path][method]["responses"][status]["links"].clone()
        };
        let created = links("/api/v1/users", "post", "201");
        assert_eq!(created["suspend_user"]["parameters"], json!({ "user_id": "$response.body#/user_id" }));
        let listed = links("/api/v1/users", "get", "200");
        assert_eq!(
            listed["show_user"]["parameters"],
            json!({ "user_id": "$response.body#/items/0/user_id" })
        );
        assert_eq!(listed["next"]["operationId"], "list_users");
        let next = listed["next"]["parameters"].as_object().unwrap();
        assert_eq!(next["cursor"], "$response.body#/next_cursor");
        let filters = || next.iter().filter(|(name, _)| *name != "cursor");
        assert!(filters().count() > 0);
        for (name, value) in filters() {
            assert_eq!(*value, format!("$request.query.{name}"), "a cursor is good for its filters");
        }
        let roles = links("/api/v1/roles", "post", "201");
        assert_eq!(roles["grant_permission"]["parameters"], json!({ "role": "$response.body#/name" }));
        let keys = links("/api/v1/api-keys", "get", "200");
        assert!(keys["show_user"].is_object() && keys["suspend_user"].is_null(), "{keys:#}");
        assert_eq!(links("/api/v1/users/{user_id}", "get", "200"), Value::Null);
    }

    /// Where an id is taken, some answer tells it; the exceptions are named elsewhere than in an answer.
    #[test]
    fn whatever_takes_an_id_is_linked_from_somewhere() {
        const FROM_ELSEWHERE: [&str; 4] = [
            "/auth/oidc/{provider}/start",
            "/auth/oidc/{provider}/link",
            // Of two ids at once no answer tells which go together.
            "/api/v1/signers/{signer}/nonces/{nonce}/explain",
            // Postings are listed as entries, at another path than their own.
            "/api/v1/ledger/postings/{posting_id}/reverse",
        ];
        let document = document();
        let operations: Vec<(&String, &Value)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().unwrap().values().map(move |operation| (path, operation))
            })
            .collect();
        let linked: BTreeSet<&str> = operations
            .iter()
            .flat_map(|(_, operation)| operation["responses"].as_object().unwrap().values())
            .filter_map(|response| response["links"].as_object())
            .flat_map(|links| links.values().map(|link| link["operationId"].as_str().unwrap()))
            .collect();
        for (path, operation) in operations {
            let id = operation["operationId"].as_str().unwrap();
            if path.contains('{') {
                assert_eq!(linked.contains(id), !FROM_ELSEWHERE.contains(&path.as_str()), "{path}");
            }
        }
    }
}
