//! The relayer: requests in, one effect each on the chain out, whatever dies.

pub mod answer;
pub mod fees;
pub mod grant;
pub mod keys;
pub mod route;
