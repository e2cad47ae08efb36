//! Which node works which signer.
