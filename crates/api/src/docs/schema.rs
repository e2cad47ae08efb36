//! Schemas: their kind in a few words, and their fields as a table.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::html::{Escaped, prose};
use super::{array, object, plain, text};

const COMPONENTS: &str = "#/components/schemas/";

/// A schema of the components, under its own anchor.
pub(super) fn section(out: &mut String, name: &str, schema: &Value) -> fmt::Result {
    write!(out, "<section>\n<h3 id=\"schema-{name}\"><code>{name}</code></h3>\n", name = Escaped(name))?;
    prose(out, text(&schema["description"]))?;
    let shapes: Vec<&Value> =
        array(&schema["oneOf"]).iter().filter(|shape| shape["properties"].is_object()).collect();
    if schema["properties"].is_object() {
        fields(out, schema)?;
    } else if !shapes.is_empty() {
        for shape in shapes {
            prose(out, text(&shape["description"]))?;
            fields(out, shape)?;
        }
    } else {
        out.push_str("<p>");
        kind(out, schema)?;
        out.push_str("</p>\n");
    }
    out.push_str("</section>\n");
    Ok(())
}

/// The fields of an object, as a table.
fn fields(out: &mut String, schema: &Value) -> fmt::Result {
    let required = array(&schema["required"]);
    out.push_str("<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Field</th><th scope=\"col\">Type</th><th scope=\"col\">Meaning</th></tr></thead>\n<tbody>\n");
    for (field, field_schema) in object(&schema["properties"]) {
        write!(out, "<tr><td><code>{}</code></td><td>", Escaped(field))?;
        kind(out, field_schema)?;
        if !required.iter().any(|name| name == field) {
            out.push_str(" <span class=\"quiet\">may be absent</span>");
        }
        out.push_str("</td><td>");
        let is_tag = array(&field_schema["enum"]).len() == 1;
        prose(out, if is_tag { "Which of these it is" } else { meaning(field_schema) })?;
        out.push_str("</td></tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

/// What a field is for. One that may be null and refers to another schema has its description beside the reference.
fn meaning(schema: &Value) -> &str {
    let choices = array(&schema["oneOf"]).iter().filter(|choice| choice["$ref"].is_string());
    let mut told = std::iter::once(schema).chain(choices).map(|schema| text(&schema["description"]));
    told.find(|description| !description.is_empty()).unwrap_or_default()
}

/// What a value is, in a few words, with links to the schemas it is made of.
pub(super) fn kind(out: &mut String, schema: &Value) -> fmt::Result {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix(COMPONENTS)) {
        return write!(out, "<a href=\"#schema-{name}\">{name}</a>", name = Escaped(name));
    }
    let choices = [&schema["oneOf"], &schema["anyOf"], &schema["allOf"]]
        .into_iter()
        .map(array)
        .find(|choices| !choices.is_empty());
    if let Some(choices) = choices {
        return alternatives(out, choices);
    }
    if schema["enum"].is_array() {
        for (i, value) in array(&schema["enum"]).iter().filter_map(plain).enumerate() {
            write!(out, "{}<code>{}</code>", if i == 0 { "" } else { " or " }, Escaped(&value))?;
        }
        return Ok(());
    }
    match &schema["type"] {
        Value::String(name) => one_kind(out, name, schema),
        Value::Array(names) => {
            for (i, name) in names.iter().map(text).enumerate() {
                out.push_str(if i == 0 { "" } else { " or " });
                one_kind(out, name, schema)?;
            }
            Ok(())
        }
        _ => {
            out.push_str("any");
            Ok(())
        }
    }
}

/// Those of an enumeration with documented values come as constants, each with its meaning.
fn alternatives(out: &mut String, choices: &[Value]) -> fmt::Result {
    for (i, choice) in choices.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { " or " });
        kind(out, choice)?;
        let meaning = text(&choice["description"]);
        if choice["enum"].is_array() && !meaning.is_empty() {
            write!(out, " <span class=\"quiet\">({})</span>", Escaped(meaning.trim_end_matches('.')))?;
        }
    }
    Ok(())
}

fn one_kind(out: &mut String, name: &str, schema: &Value) -> fmt::Result {
    if name == "array" {
        out.push_str("list of ");
        return kind(out, &schema["items"]);
    }
    write!(out, "{}", Escaped(name))?;
    match schema["format"].as_str() {
        Some("date-time") if name == "string" => out.push_str(" (RFC 3339)"),
        _ => {}
    }
    Ok(())
}

/// Bounds and default of a parameter, where the schema has them.
pub(super) fn limits(out: &mut String, schema: &Value) -> fmt::Result {
    let mut parts = Vec::new();
    if let (Some(from), Some(to)) = (plain(&schema["minimum"]), plain(&schema["maximum"])) {
        parts.push(format!("from {from} to {to}"));
    }
    if let Some(default) = plain(&schema["default"]) {
        parts.push(format!("default {default}"));
    }
    if parts.is_empty() {
        return Ok(());
    }
    writeln!(out, "<p class=\"quiet\">{}</p>", Escaped(&parts.join("; ")))
}
