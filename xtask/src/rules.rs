//! The Prometheus rules and the dashboards ask only for series that somebody makes: an alert over a metric that was renamed is silent, and so is a panel.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Series that Prometheus or its exporters make.
const NOT_OURS: &[&str] = &["up"];

/// What a histogram's or summary's name is given at the end.
const SERIES_SUFFIXES: &[&str] = &["_bucket", "_sum", "_count"];

/// One line for each name in the expressions of `deploy/prometheus/*.yml` and `deploy/grafana/*.json` that neither the sources' string literals nor a
/// recording rule have.
pub(crate) fn unknown_metrics(root: &Path, sources: &[(String, String)]) -> Result<Vec<String>> {
    let folder = root.join("deploy/prometheus");
    let mut text = String::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("could not read {}", folder.display()))? {
        let file = entry?.path();
        text.push_str(
            &std::fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?,
        );
        text.push('\n');
    }
    let mut asked = asked(&text);
    asked.extend(of_dashboards(&root.join("deploy/grafana"))?);
    if asked.is_empty() {
        bail!("{} holds no expressions", folder.display());
    }
    let recorded: BTreeSet<&str> = fields(&text, "record:").collect();
    let made = |name: &str| {
        let literal = format!("\"{name}\"");
        sources.iter().any(|(_, source)| source.contains(&literal))
    };
    let known = |name: &str| {
        NOT_OURS.contains(&name)
            || recorded.contains(name)
            || made(name)
            || SERIES_SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix)).any(made)
    };
    let unknown = asked.iter().filter(|name| !known(name));
    Ok(unknown.map(|name| format!("deploy/ asks for {name}, which nothing makes")).collect())
}

/// The values of a one-line YAML field.
fn fields<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |line| line.trim_start().trim_start_matches("- ").strip_prefix(key))
        .map(str::trim)
}

/// The names of series in all expressions, which stand on one line each.
fn asked(text: &str) -> BTreeSet<String> {
    fields(text, "expr:").flat_map(series).collect()
}

/// The names of series in the panels of all dashboards of a folder.
fn of_dashboards(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))? {
        let file = entry?.path();
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
        let dashboard: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
        let before = names.len();
        collect(&dashboard, &mut names);
        if names.len() == before {
            bail!("{} asks for nothing", file.display());
        }
    }
    Ok(names)
}

/// The names of series in each field `expr` of a document.
fn collect(document: &Value, names: &mut BTreeSet<String>) {
    match document {
        Value::Object(fields) => {
            if let Some(Value::String(expression)) = fields.get("expr") {
                names.extend(series(expression));
            }
            fields.values().for_each(|value| collect(value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The names of series in a PromQL expression: every identifier with an underscore or colon, or that is known not to be
/// ours, outside braces, strings, and the parentheses of `by`, `without`, `on`, `ignoring` and `group_left`.
fn series(expression: &str) -> Vec<String> {
    const LABEL_LISTS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
    let mut names = Vec::new();
    let mut word = String::new();
    let mut previous = String::new();
    // Depth in braces or in a label list: nothing in there is a series.
    let mut hidden = 0u32;
    let mut quoted = false;
    for c in expression.chars().chain([' ']) {
        if quoted {
            quoted = c != '"';
            continue;
        }
        if c.is_ascii_alphanumeric() || c == '_' || c == ':' {
            word.push(c);
            continue;
        }
        let opens_call = c == '(';
        if !word.is_empty() {
            let named = word.contains(['_', ':']) || NOT_OURS.contains(&word.as_str());
            let starts_well = word.starts_with(|first: char| first.is_ascii_alphabetic());
            if hidden == 0 && !opens_call && named && starts_well && !LABEL_LISTS.contains(&word.as_str()) {
                names.push(std::mem::take(&mut word));
            }
            previous = std::mem::take(&mut word);
        }
        match c {
            '"' => quoted = true,
            '{' | '[' => hidden += 1,
            '}' | ']' => hidden = hidden.saturating_sub(1),
            '(' if hidden > 0 || LABEL_LISTS.contains(&previous.as_str()) => hidden += 1,
            ')' if hidden > 0 => hidden -= 1,
            _ => {}
        }
        if !c.is_whitespace() {
            previous.clear();
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_series_of_an_expression_are_found() {
        for (expression, names) in [
            ("fold_lag_blocks > 2", vec!["fold_lag_blocks"]),
            (
                r#"sum by (chain_id, role_name) (rate(rpc_errors_total{error_class!="not_found"}[5m]))"#,
                vec!["rpc_errors_total"],
            ),
            (
                "histogram_quantile(0.95, sum by (le) (rate(rpc_seconds_bucket[5m])))",
                vec!["rpc_seconds_bucket"],
            ),
            (
                "cache:rate5m / on (chain_id) group_left (fold_name) chain_head_number",
                vec!["cache:rate5m", "chain_head_number"],
            ),
            ("up == 0", vec!["up"]),
        ] {
            assert_eq!(series(expression), names, "{expression}");
        }
    }

    #[test]
    fn every_panel_of_a_dashboard_is_read() {
        let text = r#"{"panels": [{"targets": [{"expr": "max(relayer_queue_requests)"}], "panels": [{"targets": [{"expr": "fold_lag_blocks / 2"}]}]}]}"#;
        let mut names = BTreeSet::new();
        collect(&serde_json::from_str(text).unwrap(), &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["fold_lag_blocks", "relayer_queue_requests"]);
    }

    #[test]
    fn recorded_names_are_read_from_rules() {
        let rules =
            "groups:\n  - name: x\n    rules:\n      - record: lag:max\n        expr: max(fold_lag_blocks)\n";
        assert_eq!(fields(rules, "record:").collect::<Vec<_>>(), ["lag:max"]);
        assert_eq!(asked(rules).into_iter().collect::<Vec<_>>(), ["fold_lag_blocks"]);
    }
}
