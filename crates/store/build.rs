//! The migrations are compiled in: a change of one must rebuild this crate.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
