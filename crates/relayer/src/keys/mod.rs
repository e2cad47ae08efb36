//! Keys: whatever signs for an address.
