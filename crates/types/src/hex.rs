use alloy_primitives::{Address, B256, hex};

/// A text that is not an address or a hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {wanted}: give `0x` and {digits} hexadecimal digits")]
pub struct HexError {
    given: String,
    wanted: &'static str,
    digits: usize,
}

/// The address as Plimsoll writes it everywhere: `0x` and 40 lower-case hexadecimal digits.
#[must_use]
pub fn address_text(address: &Address) -> String {
    hex::encode_prefixed(address)
}

/// The hash as `0x` and 64 lower-case hexadecimal digits.
#[must_use]
pub fn hash_text(hash: &B256) -> String {
    hex::encode_prefixed(hash)
}

/// Reads an address in any letter case.
pub fn parse_address(text: &str) -> Result<Address, HexError> {
    parse(text, "an address").map(Address::new)
}

/// Reads a 32-byte hash in any letter case.
pub fn parse_hash(text: &str) -> Result<B256, HexError> {
    parse(text, "a 32-byte hash").map(B256::new)
}

fn parse<const N: usize>(text: &str, wanted: &'static str) -> Result<[u8; N], HexError> {
    let error = || HexError { given: text.chars().take(100).collect(), wanted, digits: N * 2 };
    let digits = text.strip_prefix("0x").ok_or_else(error)?;
    hex::decode_to_array(digits).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_any_case_and_written_in_lower() {
        let address = parse_address("0xD8DA6BF26964AF9D7EED9E03E53415D37AA96045").unwrap();
        assert_eq!(address_text(&address), "0xd8da6bf26964af9d7eed9e03e53415d37aa96045");
    }

    #[test]
    fn what_is_no_address_says_what_to_give() {
        for text in [
            "",
            "0x",
            "d8da6bf26964af9d7eed9e03e53415d37aa96045",
            "0xd8da6bf26964af9d7eed9e03e53415d37aa9604",
            "0xzz",
        ] {
            let error = parse_address(text).unwrap_err().to_string();
            assert!(error.contains("40 hexadecimal digits"), "{error}");
        }
    }
}
