//! Text into HTML, safely.

use std::fmt::{self, Write as _};

/// A text with what HTML would read as markup escaped, for content and for quoted attributes.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(['&', '<', '>', '"', '\'']) {
            let (plain, last) = match part.char_indices().last() {
                Some((at, '&')) => (&part[..at], "&amp;"),
                Some((at, '<')) => (&part[..at], "&lt;"),
                Some((at, '>')) => (&part[..at], "&gt;"),
                Some((at, '"')) => (&part[..at], "&quot;"),
                Some((at, '\'')) => (&part[..at], "&#39;"),
                _ => (part, ""),
            };
            f.write_str(plain)?;
            f.write_str(last)?;
        }
        Ok(())
    }
}

/// Paragraphs at blank lines, code between backticks; links of Rust's documentation lose their brackets.
pub(super) fn prose(out: &mut String, text: &str) -> fmt::Result {
    for paragraph in text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        out.push_str("<p>");
        let paragraph = paragraph.replace("[`", "`").replace("`]", "`");
        for (i, part) in paragraph.split('`').enumerate() {
            if i % 2 == 1 {
                write!(out, "<code>{}</code>", Escaped(part))?;
            } else {
                write!(out, "{}", Escaped(part))?;
            }
        }
        out.push_str("</p>\n");
    }
    Ok(())
}
