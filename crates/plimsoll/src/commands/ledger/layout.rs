//! Tables of accounts: a part for each books and currency, so that neither is said on every row.

use crate::commands::print;
use crate::failure::Failure;

/// A column: its name, and whether it has numbers, which stand at its right.
pub(super) type Column = (&'static str, bool);

/// A row of the part that its heading names.
pub(super) struct Row {
    pub(super) heading: String,
    pub(super) cells: Vec<String>,
}

impl Row {
    pub(super) fn new(domain: &str, currency: &str, cells: Vec<String>) -> Self {
        Self { heading: format!("{domain}, in {currency}"), cells }
    }
}

/// Prints rows under their headings, in the order of these; a column that nobody has anything in is left out.
pub(super) fn parts(columns: &[Column], mut rows: Vec<Row>, nothing: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        return print(&format!("{nothing}\n"));
    }
    rows.sort_by(|a, b| a.heading.cmp(&b.heading));
    let parts = rows.chunk_by(|a, b| a.heading == b.heading);
    let parts = parts.map(|part| {
        let cells: Vec<_> = part.iter().map(|row| row.cells.as_slice()).collect();
        format!("{}\n{}", part[0].heading, table(columns, &cells))
    });
    print(&parts.collect::<Vec<_>>().join("\n"))
}

/// Rows under a header, each column as wide as its widest cell.
pub(super) fn table(columns: &[Column], rows: &[&[String]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let used: Vec<_> = (0..columns.len()).filter(|at| width(*at) > 0).collect();
    let line = |cell: &dyn Fn(usize) -> String| {
        let cells = used.iter().map(|&at| {
            let (name, is_number) = columns[at];
            let (text, width) = (cell(at), width(at).max(name.chars().count()));
            if is_number { format!("{text:>width$}") } else { format!("{text:<width$}") }
        });
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut out = line(&|at| columns[at].0.to_owned());
    for row in rows {
        out.push_str(&line(&|at| {
            row[at].chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
        }));
    }
    out
}

/// A text in which an address or a hash is shown by its beginning and its end.
pub(super) fn brief(text: &str) -> String {
    /// Digits of what is shown in full.
    const SHORT: usize = 16;
    let Some((before, hex)) = text.split_once("0x") else { return text.to_owned() };
    let digits = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
    if digits <= SHORT {
        return text.to_owned();
    }
    format!("{before}0x{}…{}{}", &hex[..4], &hex[digits - 4..digits], &hex[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_by_its_ends_and_a_short_number_whole() {
        let token = "eip155:42161/erc20:0x82af49447d8a07e3bd95bd0d56f35241523fbab1";
        assert_eq!(brief(token), "eip155:42161/erc20:0x82af…bab1");
        assert_eq!(brief(&format!("{token}/1")), "eip155:42161/erc20:0x82af…bab1/1");
        for text in ["USDC", "0x", "0x12", "eip155:1/slip44:60"] {
            assert_eq!(brief(text), text);
        }
    }

    #[test]
    fn numbers_stand_at_the_right_and_an_empty_column_is_left_out() {
        let rows = [["fees", "", "5"], ["treasury", "", "1000"]].map(|row| row.map(str::to_owned));
        let rows: Vec<&[String]> = rows.iter().map(<[String; 3]>::as_slice).collect();
        assert_eq!(
            table(&[("account", false), ("closed", false), ("debit", true)], &rows),
            "  account   debit\n  fees          5\n  treasury   1000\n"
        );
    }
}
