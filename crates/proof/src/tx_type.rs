//! Types of transactions (EIP-2718).

/// Names of the types whose encoding this version knows.
const NAMES: [(u8, &str); 12] = [
    (0x00, "legacy"),
    (0x01, "access list (EIP-2930)"),
    (0x02, "dynamic fee (EIP-1559)"),
    (0x03, "blob (EIP-4844)"),
    (0x04, "set code (EIP-7702)"),
    (0x64, "Arbitrum deposit"),
    (0x65, "Arbitrum unsigned"),
    (0x66, "Arbitrum contract"),
    (0x68, "Arbitrum retry"),
    (0x69, "Arbitrum submit retryable"),
    (0x6a, "Arbitrum internal"),
    (0x78, "classic Arbitrum"),
];

/// Whether this version knows how transactions and receipts of the type are encoded.
#[must_use]
pub fn is_known(tx_type: u8) -> bool {
    NAMES.iter().any(|(of, _)| *of == tx_type)
}

/// The type's name and number, for people.
#[must_use]
pub fn name(tx_type: u8) -> String {
    match NAMES.iter().find(|(of, _)| *of == tx_type) {
        Some((_, name)) => format!("{name} transactions (type {tx_type:#04x})"),
        None => format!("transactions of type {tx_type:#04x}"),
    }
}
