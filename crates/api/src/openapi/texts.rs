//! The texts of requests: none has a NUL in it, since Postgres keeps none ([`crate::gateway`] refuses it wherever it is).

use std::collections::BTreeSet;

use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, ArrayItems, Object, ObjectBuilder, Schema, SchemaType,
    Type,
};
use utoipa::openapi::{OpenApi, Ref, RefOr};

use super::schemas::is_text;
use super::{COMPONENTS, declared};
use crate::routes::DECLARATIONS;

const NO_NUL: &str = "^[^\\u0000]*$";
/// The schema of a value of any form.
const ANYTHING: &str = "Anything";

/// Says so of every text that a request's body may have, and of whatever is in an object of any form.
pub(super) fn say_no_nul(document: &mut OpenApi) {
    let mut named = Vec::new();
    for declaration in DECLARATIONS.iter() {
        let body = declared::operation(document, declaration).and_then(|found| found.request_body.as_mut());
        let Some(RefOr::T(body)) = body else { continue };
        for content in body.content.values_mut() {
            if let RefOr::T(content) = content
                && let Some(schema) = &mut content.schema
            {
                say(schema, &mut named);
            }
        }
    }
    let components = document.components.get_or_insert_default();
    components.schemas.insert(ANYTHING.to_owned(), anything());
    let mut said = BTreeSet::new();
    // Ends: of each name it is said once.
    while let Some(name) = named.pop() {
        if let Some(schema) = components.schemas.get_mut(&name)
            && said.insert(name)
        {
            say(schema, &mut named);
        }
    }
}

/// `named`: gets the schemas that this one names.
fn say(schema: &mut RefOr<Schema>, named: &mut Vec<String>) {
    let parts = match schema {
        RefOr::Ref(reference) => {
            named.extend(reference.ref_location.strip_prefix(COMPONENTS).map(str::to_owned));
            return;
        }
        RefOr::T(Schema::Object(object)) => return say_of_object(object, named),
        RefOr::T(Schema::Array(array)) => match &mut array.items {
            ArrayItems::RefOrSchema(item) => return say(item, named),
            ArrayItems::False => return,
        },
        RefOr::T(Schema::OneOf(variants)) => &mut variants.items,
        RefOr::T(Schema::AllOf(all)) => &mut all.items,
        RefOr::T(Schema::AnyOf(any)) => &mut any.items,
        RefOr::T(_) => return,
    };
    for part in parts {
        say(part, named);
    }
}

fn say_of_object(object: &mut Object, named: &mut Vec<String>) {
    let is_told = object.pattern.is_some() || object.enum_values.is_some() || object.format.is_some();
    if is_text(&object.schema_type) && !is_told {
        object.pattern = Some(NO_NUL.to_owned());
    }
    let is_object = object.schema_type == SchemaType::Type(Type::Object);
    if is_object && object.properties.is_empty() && object.additional_properties.is_none() {
        object.property_names = Some(Box::new(Schema::Object(text())));
        object.additional_properties =
            Some(Box::new(AdditionalProperties::RefOr(Ref::from_schema_name(ANYTHING).into())));
    }
    for property in object.properties.values_mut() {
        say(property, named);
    }
}

fn text() -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(NO_NUL)).build()
}

fn anything() -> RefOr<Schema> {
    let itself = || Ref::from_schema_name(ANYTHING);
    let plain = SchemaType::from_iter([Type::Null, Type::Boolean, Type::Number]);
    AnyOfBuilder::new()
        .description(Some("Any JSON, in which no text has a NUL character."))
        .item(ObjectBuilder::new().schema_type(plain))
        .item(text())
        .item(ArrayBuilder::new().items(itself()))
        .item(ObjectBuilder::new().property_names(Some(text())).additional_properties(Some(itself())))
        .into()
}
