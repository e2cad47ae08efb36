//! `docs/schema.md` names every table and column that the migrations make.

use std::path::Path;

use anyhow::{Context, Result};

use crate::postgres::migrations;

/// Words that open a table constraint where a column's name would stand.
const CONSTRAINTS: &[&str] = &["PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "CONSTRAINT", "EXCLUDE", "LIKE"];

/// A column as a migration makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    table: String,
    name: String,
}

/// One line for each column that the page does not have under its table's heading.
pub(crate) fn undocumented(root: &Path) -> Result<Vec<String>> {
    let page = root.join("docs/schema.md");
    let page =
        std::fs::read_to_string(&page).with_context(|| format!("could not read {}", page.display()))?;
    let mut sql = String::new();
    for file in migrations(&root.join("migrations"))? {
        sql.push_str(
            &std::fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?,
        );
        sql.push('\n');
    }
    Ok(missing(&columns(&sql), &page))
}

/// The columns of every `CREATE TABLE` and `ALTER TABLE … ADD COLUMN` but for those of `… DROP COLUMN`, written as the migrations write them: one column
/// a line.
fn columns(sql: &str) -> Vec<Column> {
    let mut found = Vec::new();
    let mut table: Option<String> = None;
    for line in sql.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (table.as_ref(), words.as_slice()) {
            (None, ["CREATE", "TABLE", name, ..]) if line.ends_with('(') => table = Some(bare(name)),
            (None, ["ALTER", "TABLE", name, "ADD", "COLUMN", column, ..]) => {
                found.push(Column { table: bare(name), name: bare(column) });
            }
            (None, ["ALTER", "TABLE", name, "DROP", "COLUMN", column, ..]) => {
                let (table, name) = (bare(name), bare(column));
                found.retain(|column| column.table != table || column.name != name);
            }
            (Some(_), [first, ..]) if first.starts_with(')') => table = None,
            (Some(open), [first, ..]) if !first.starts_with("--") && !CONSTRAINTS.contains(first) => {
                found.push(Column { table: open.clone(), name: bare(first) });
            }
            _ => {}
        }
    }
    found
}

fn bare(name: &str) -> String {
    name.trim_matches(['"', '(', ',', ';']).to_owned()
}

/// Columns whose name does not stand in backticks under the heading that is their table's name.
fn missing(columns: &[Column], page: &str) -> Vec<String> {
    let section = |table: &str| {
        let heading = format!("### `{table}`\n");
        let start = page.find(&heading)? + heading.len();
        let rest = &page[start..];
        Some(&rest[..rest.find("\n##").unwrap_or(rest.len())])
    };
    let absent = |column: &&Column| {
        section(&column.table).is_none_or(|text| !text.contains(&format!("`{}`", column.name)))
    };
    columns
        .iter()
        .filter(absent)
        .map(|column| format!("docs/schema.md does not have {}.{}", column.table, column.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = r#"
        CREATE TABLE leases (
            -- who
            name text PRIMARY KEY,
            "user" text COLLATE "C",
            UNIQUE (name, "user")
        ) PARTITION BY RANGE (name);
        CREATE INDEX i ON leases (name);
        ALTER TABLE leases ADD COLUMN term_ms bigint;
        ALTER TABLE leases ADD COLUMN former text;
        ALTER TABLE leases DROP COLUMN former;
    "#;

    #[test]
    fn a_column_that_the_page_lacks_is_named() {
        let columns = columns(SQL);
        assert_eq!(
            columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
            ["name", "user", "term_ms"]
        );
        let page = "### `leases`\n\n| `name`, `user` |\n\n## Later\n\n`term_ms`\n";
        assert_eq!(missing(&columns, page), ["docs/schema.md does not have leases.term_ms"]);
        assert_eq!(missing(&columns, "").len(), 3);
    }
}
