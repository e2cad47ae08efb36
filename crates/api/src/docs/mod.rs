//! The OpenAPI document as one page of HTML. Pure: a document in, a text out.
//!
//! No script, no inline style, nothing from elsewhere: the page reads the same offline, and the strictest policy fits it.
//! Every text of the document is escaped on its way into the page ([`html::Escaped`]); descriptions know two marks, a blank line
//! (paragraph) and backticks (code).

mod html;
mod schema;

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::problem::ProblemKind;
use html::{Escaped, prose};

/// The page's stylesheet, a file of its own as the policy asks.
pub(crate) const STYLE: &str = include_str!("style.css");

/// Where the examples send their requests: the default of `api.listen`.
const EXAMPLE_SERVER: &str = "http://127.0.0.1:8080";

/// The order in which tags are told.
const TAGS: &[&str] =
    &["positions", "events", "chains", "bus", "audit", "identity", "relayer", "ledger", "operations"];

/// Renders the page.
pub(crate) fn render(document: &Value) -> String {
    let mut out = String::with_capacity(96 * 1024);
    page(&mut out, document).expect("a String takes every write");
    out
}

fn page(out: &mut String, document: &Value) -> std::fmt::Result {
    let title = text(&document["info"]["title"]);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title} API</title>\n\
         <link rel=\"stylesheet\" href=\"/docs/style.css\">\n</head>\n<body>\n<a class=\"skip\" href=\"#top\">Skip to the text</a>\n",
        title = Escaped(title)
    )?;
    navigation(out, document)?;
    write!(
        out,
        "<main id=\"top\">\n<h1>{} API</h1>\n<p class=\"quiet\">Version {} · <a href=\"/openapi.json\">OpenAPI document</a></p>\n",
        Escaped(title),
        Escaped(text(&document["info"]["version"]))
    )?;
    prose(out, text(&document["info"]["description"]))?;
    for tag in TAGS {
        writeln!(out, "<h2 id=\"tag-{tag}\">{}</h2>", Escaped(&capital(tag)))?;
        prose(out, tag_description(document, tag))?;
        for operation in operations(document, tag) {
            self::operation(out, &operation)?;
        }
    }
    problems(out)?;
    out.push_str("<h2 id=\"schemas\">Schemas</h2>\n");
    for (name, schema) in object(&document["components"]["schemas"]) {
        schema::section(out, name, schema)?;
    }
    out.push_str("</main>\n</body>\n</html>\n");
    Ok(())
}

/// A method of a path.
struct Operation<'a> {
    method: String,
    path: &'a str,
    body: &'a Value,
}

impl Operation<'_> {
    fn anchor(&self) -> String {
        text(&self.body["operationId"]).to_owned()
    }
}

fn operations<'a>(document: &'a Value, tag: &str) -> Vec<Operation<'a>> {
    let mut found = Vec::new();
    for (path, methods) in object(&document["paths"]) {
        for (method, body) in object(methods) {
            if array(&body["tags"]).iter().any(|given| given == tag) {
                found.push(Operation { method: method.to_uppercase(), path, body });
            }
        }
    }
    found
}

fn navigation(out: &mut String, document: &Value) -> std::fmt::Result {
    write!(out, "<nav aria-label=\"Contents\">\n<p>{} API</p>\n", Escaped(text(&document["info"]["title"])))?;
    for tag in TAGS {
        write!(out, "<p>{}</p>\n<ul>\n", Escaped(&capital(tag)))?;
        for operation in operations(document, tag) {
            writeln!(
                out,
                "<li><a href=\"#{}\">{}</a></li>",
                Escaped(&operation.anchor()),
                Escaped(operation.path)
            )?;
        }
        out.push_str("</ul>\n");
    }
    out.push_str("<p>Reference</p>\n<ul>\n<li><a href=\"#problems\">Problems</a></li>\n<li><a href=\"#schemas\">Schemas</a></li>\n</ul>\n</nav>\n");
    Ok(())
}

fn operation(out: &mut String, operation: &Operation<'_>) -> std::fmt::Result {
    write!(
        out,
        "<section>\n<h3 id=\"{}\"><span class=\"method\">{}</span> <code>{}</code></h3>\n<p><strong>{}</strong></p>\n",
        Escaped(&operation.anchor()),
        Escaped(&operation.method),
        Escaped(operation.path),
        Escaped(text(&operation.body["summary"]))
    )?;
    prose(out, text(&operation.body["description"]))?;
    let parameters = array(&operation.body["parameters"]);
    if !parameters.is_empty() {
        out.push_str("<h4>Parameters</h4>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Name</th><th scope=\"col\">Type</th><th scope=\"col\">Meaning</th></tr></thead>\n<tbody>\n");
        for parameter in parameters {
            let required =
                if parameter["required"] == true { " <span class=\"required\">required</span>" } else { "" };
            write!(out, "<tr><td><code>{}</code>{required}</td><td>", Escaped(text(&parameter["name"])))?;
            schema::kind(out, &parameter["schema"])?;
            out.push_str("</td><td>");
            prose(out, text(&parameter["description"]))?;
            schema::limits(out, &parameter["schema"])?;
            out.push_str("</td></tr>\n");
        }
        out.push_str("</tbody>\n</table></div>\n");
    }
    let body = &operation.body["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        out.push_str("<h4>Body</h4>\n<p>");
        schema::kind(out, body)?;
        out.push_str(" <span class=\"quiet\">application/json</span></p>\n");
    }
    write!(out, "<h4>Example</h4>\n<pre tabindex=\"0\"><code>{}</code></pre>\n", Escaped(&curl(operation)))?;
    out.push_str("<h4>Answers</h4>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Status</th><th scope=\"col\">Body</th><th scope=\"col\">Meaning</th></tr></thead>\n<tbody>\n");
    for (status, response) in object(&operation.body["responses"]) {
        write!(out, "<tr><td><code>{}</code></td><td>", Escaped(status))?;
        if object(&response["content"]).next().is_none() {
            out.push_str("none");
        }
        for (media_type, content) in object(&response["content"]) {
            schema::kind(out, &content["schema"])?;
            write!(out, " <span class=\"quiet\">{}</span>", Escaped(media_type))?;
        }
        out.push_str("</td><td>");
        response_meaning(out, text(&response["description"]))?;
        out.push_str("</td></tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n</section>\n");
    Ok(())
}

/// The description of an answer; names of problems become links.
fn response_meaning(out: &mut String, description: &str) -> std::fmt::Result {
    let Some(slugs) = description.strip_prefix("Problem: ") else { return prose(out, description) };
    for (i, slug) in slugs.split(", ").enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(out, "{comma}<a href=\"#problem-{slug}\">{slug}</a>", slug = Escaped(slug))?;
    }
    Ok(())
}

fn problems(out: &mut String) -> std::fmt::Result {
    out.push_str("<h2 id=\"problems\">Problems</h2>\n<p>Errors have the media type <code>application/problem+json</code> (RFC 9457) and the body <a href=\"#schema-Problem\">Problem</a>. Their <code>type</code> does not change.</p>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Type</th><th scope=\"col\">Status</th><th scope=\"col\">Meaning, and what to do</th></tr></thead>\n<tbody>\n");
    for kind in ProblemKind::ALL {
        write!(
            out,
            "<tr id=\"problem-{slug}\"><td><code>urn:plimsoll:problem:{slug}</code></td><td><code>{status}</code></td><td>{title}.",
            slug = kind.slug(),
            status = kind.status().as_u16(),
            title = Escaped(kind.title())
        )?;
        prose(out, kind.remedy())?;
        out.push_str("</td></tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

/// A command that can be pasted: path parameters filled in, query parameters that have an example given.
fn curl(operation: &Operation<'_>) -> String {
    let mut path = operation.path.to_owned();
    let mut query = Vec::new();
    for parameter in array(&operation.body["parameters"]) {
        let (name, example) = (text(&parameter["name"]), plain(&parameter["example"]));
        match (text(&parameter["in"]), example) {
            ("path", Some(example)) => path = path.replace(&format!("{{{name}}}"), &example),
            ("query", Some(example)) => query.push(format!("{name}={example}")),
            _ => {}
        }
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let method = if operation.method == "GET" { String::new() } else { format!(" -X {}", operation.method) };
    let ways = array(&operation.body["security"]);
    let is_open = ways.is_empty() || ways.iter().any(|way| object(way).next().is_none());
    let bearer = if is_open { "" } else { " -H \"Authorization: Bearer $TOKEN\"" };
    let body = if operation.body["requestBody"].is_null() { "" } else { " --json @body.json" };
    format!("curl -sS{method} '{EXAMPLE_SERVER}{path}{query}'{bearer}{body}")
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn tag_description<'a>(document: &'a Value, tag: &str) -> &'a str {
    array(&document["tags"])
        .iter()
        .find(|given| given["name"] == tag)
        .map_or("", |given| text(&given["description"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::openapi::DOCUMENT;

    #[test]
    fn every_operation_parameter_schema_and_problem_is_on_the_page() {
        let page = render(&DOCUMENT);
        for (path, methods) in object(&DOCUMENT["paths"]) {
            assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
            for (_, operation) in object(methods) {
                assert!(
                    TAGS.contains(&text(&operation["tags"][0])),
                    "{path} has a tag that the page does not tell"
                );
                for parameter in array(&operation["parameters"]) {
                    assert!(
                        page.contains(&format!("<code>{}</code>", text(&parameter["name"]))),
                        "{path}: {parameter}"
                    );
                }
            }
        }
        for (name, _) in object(&DOCUMENT["components"]["schemas"]) {
            assert!(page.contains(&format!("id=\"schema-{name}\"")), "{name}");
        }
        for kind in ProblemKind::ALL {
            assert!(page.contains(&format!("id=\"problem-{}\"", kind.slug())), "{kind:?}");
        }
    }

    #[test]
    fn no_parameter_field_or_answer_is_left_without_a_meaning() {
        let page = render(&DOCUMENT);
        let empty = page.split("<tr>").filter(|row| row.contains("<td></td>")).collect::<Vec<_>>();
        assert!(empty.is_empty(), "{empty:#?}");
    }

    #[test]
    fn every_link_within_the_page_leads_somewhere_and_no_id_is_given_twice() {
        let page = render(&DOCUMENT);
        let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        for (i, id) in ids.iter().enumerate() {
            assert!(!ids[..i].contains(id), "{id} twice");
        }
        for target in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(ids.contains(&target), "#{target} leads nowhere");
        }
    }

    #[test]
    fn the_page_needs_no_script_no_inline_style_and_nothing_from_elsewhere() {
        let page = render(&DOCUMENT);
        for forbidden in ["<script", "style=", "<style", "onclick", "src=", "href=\"http", "@import", "url("]
        {
            assert!(!page.contains(forbidden) && !STYLE.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn markup_in_a_document_is_text_on_the_page() {
        let document = serde_json::json!({ "info": { "title": "<script>alert(1)</script>", "description": "`<b>` & \"q\"" } });
        let page = render(&document);
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
        assert!(page.contains("<code>&lt;b&gt;</code> &amp; &quot;q&quot;"), "{page}");
    }
}
