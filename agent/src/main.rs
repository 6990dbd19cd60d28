//! The `reclone` program.
fn main() {}
