//! Plimsoll's binary.
fn main() {}
