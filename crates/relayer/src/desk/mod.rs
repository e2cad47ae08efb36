//! A signer being worked.

mod nonces;
