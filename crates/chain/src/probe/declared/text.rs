//! A call in one line, as on a command line.

use super::{DeclaredFunction, DeclaredProbe, InvalidProbe, closing};

impl DeclaredProbe {
    /// Reads `CONTRACT:NAME(TYPES)(ARGUMENTS)`, or `CONTRACT:NAME(ARGUMENTS)` where the contract's ABI is known; behind it ` -> TYPES` says what is
    /// returned, and `.VALUE` which of several values is meant.
    ///
    /// # Errors
    /// The text is not of that form. Whether it makes sense, [`DeclaredProbe::check`] says.
    pub fn parse_call(text: &str) -> Result<Self, InvalidProbe> {
        let invalid =
            |reason: &str| InvalidProbe::Function { given: text.to_owned(), reason: reason.to_owned() };
        let (contract, rest) =
            text.split_once(':').ok_or_else(|| invalid("no `:` separates it from its contract"))?;
        let start = rest.find('(').ok_or_else(|| invalid("the parentheses of its arguments are missing"))?;
        let (name, rest) = (rest[..start].trim(), &rest[start..]);
        let unclosed = || invalid("a parenthesis is not closed");
        let (first, rest) = group(rest).ok_or_else(unclosed)?;
        let (types, arguments, rest) = match rest.trim_start().strip_prefix('(') {
            Some(_) => {
                let (second, rest) = group(rest.trim_start()).ok_or_else(unclosed)?;
                (Some(first), second, rest)
            }
            // Without anything between the parentheses there is nothing to mistake.
            None if first.trim().is_empty() => (Some(first), first, rest),
            None => (None, first, rest),
        };
        let (returned, rest) = match rest.trim_start().strip_prefix("->").map(str::trim_start) {
            None => (None, rest),
            Some(rest) if rest.starts_with('(') => {
                let (types, rest) = group(rest).ok_or_else(unclosed)?;
                (Some(types), rest)
            }
            Some(rest) => {
                let (kind, rest) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
                (Some(kind), rest)
            }
        };
        let output = match rest.trim() {
            "" => None,
            rest => Some(
                rest.strip_prefix('.').ok_or_else(|| invalid("there is more behind its end"))?.to_owned(),
            ),
        };
        let function = match (types, returned) {
            (Some(types), None) => format!("{name}({types})"),
            (Some(types), Some(returned)) => format!("{name}({types})({returned})"),
            (None, None) => name.to_owned(),
            (None, Some(_)) => {
                return Err(invalid("what it returns is given, and the types that it takes are not"));
            }
        };
        Ok(Self::Call {
            contract: contract.trim().to_owned(),
            function: DeclaredFunction::Text(function),
            arguments: split(arguments),
            output,
            direct: false,
        })
    }
}

/// What is between the parentheses that the text begins with, and what is behind them.
fn group(text: &str) -> Option<(&str, &str)> {
    let end = closing(text)?;
    Some((&text[1..end], &text[end + 1..]))
}

/// The parts between commas, of which those inside brackets and quotes are no separators.
fn split(text: &str) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let mut parts = vec![String::new()];
    let (mut depth, mut quote) = (0_u32, None);
    for c in text.chars() {
        match (c, quote) {
            (_, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            ('(' | '[', None) => depth += 1,
            (')' | ']', None) => depth = depth.saturating_sub(1),
            (',', None) if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, Vec<String>, Option<String>) {
        match DeclaredProbe::parse_call(text).unwrap() {
            DeclaredProbe::Call {
                contract,
                function: DeclaredFunction::Text(function),
                arguments,
                output,
                direct: false,
            } => (contract, function, arguments, output),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_is_read_in_each_of_its_forms() {
        for (text, contract, function, arguments, output) in [
            ("0xab:totalSupply()", "0xab", "totalSupply()", &[][..], None),
            ("0xab:totalSupply() -> int256", "0xab", "totalSupply()(int256)", &[], None),
            ("0xab:balanceOf(address)(0xcd)", "0xab", "balanceOf(address)", &["0xcd"], None),
            (
                "0xab:get(address,uint8[]) ( 0xcd , [1,2] )->(uint256, bool).0",
                "0xab",
                "get(address,uint8[])(uint256, bool)",
                &["0xcd", "[1,2]"],
                Some("0"),
            ),
            (
                "0xab:at((uint8,uint8),string)((1,2),\"a,b\").x",
                "0xab",
                "at((uint8,uint8),string)",
                &["(1,2)", "\"a,b\""],
                Some("x"),
            ),
            ("Pool:position(0xcd).debt", "Pool", "position", &["0xcd"], Some("debt")),
            ("Pool:stats().total", "Pool", "stats()", &[], Some("total")),
            ("0xab:f()()->uint8.0", "0xab", "f()(uint8)", &[], Some("0")),
        ] {
            let arguments = arguments.iter().map(ToString::to_string).collect();
            let expected =
                (contract.to_owned(), function.to_owned(), arguments, output.map(ToOwned::to_owned));
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_call_says_what_is_missing() {
        for (text, part) in [
            ("totalSupply()", "no `:`"),
            ("0xab:totalSupply", "parentheses of its arguments are missing"),
            ("0xab:balanceOf(address", "not closed"),
            ("0xab:balanceOf(address)(0xcd", "not closed"),
            ("0xab:balanceOf(address)(0xcd) uint256", "more behind its end"),
            ("0xab:balanceOf(0xcd) -> uint256", "the types that it takes are not"),
        ] {
            let error = DeclaredProbe::parse_call(text).unwrap_err().to_string();
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }
}
