//! What the derived schemas do not say of themselves.

use plimsoll_identity::Permission;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{AdditionalProperties, Schema, SchemaType, Type};

/// A parameter that is given has a value ([`crate::query`]); a pattern says so by itself.
pub(super) fn say_no_empty_parameter(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(Parameter {
            parameter_in: ParameterIn::Query,
            schema: Some(RefOr::T(Schema::Object(schema))),
            ..
        }) = parameter
            && schema.enum_values.is_none()
            && schema.min_length.is_none()
            && schema.pattern.is_none()
            && is_text(&schema.schema_type)
        {
            schema.min_length = Some(1);
        }
    }
}

/// Whether a text is among what it takes.
pub(super) fn is_text(kind: &SchemaType) -> bool {
    match kind {
        SchemaType::Type(kind) => *kind == Type::String,
        SchemaType::Array(kinds) => kinds.contains(&Type::String),
        SchemaType::AnyValue => false,
    }
}

/// The permissions that there are, by their names.
pub(super) fn name_permissions(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(object)) = schema {
        object.enum_values =
            Some(Permission::ALL.iter().map(|permission| permission.name().into()).collect());
    }
}

/// The variants of a tagged body refuse what they do not know, and serde's attribute on the whole does not tell them so.
pub(super) fn close_variants(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::OneOf(variants)) = schema else { return };
    for variant in &mut variants.items {
        if let RefOr::T(Schema::Object(object)) = variant
            && object.additional_properties.is_none()
            && !object.properties.is_empty()
        {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}
