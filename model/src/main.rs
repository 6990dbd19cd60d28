//! The `reclone-model` program.
fn main() {}
