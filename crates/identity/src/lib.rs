//! Who acts, and what they may do.
pub mod api_key;
pub mod approval;
pub mod authenticator;
pub mod bootstrap;
mod cache;
pub mod directory;
pub mod keys;
pub mod password;
mod permission;
mod principal;
mod repo;
pub mod seal;
mod secret;
pub mod session;
pub mod sign_in;
pub mod siwe;
pub mod token;
pub mod totp;

pub use authenticator::{AuthError, Authenticator};
pub use permission::{Permission, PermissionSet, ReadPermission};
pub use principal::{Credential, Denied, Principal, UserKind, UserStatus};
