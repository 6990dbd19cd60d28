//! How the agent is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A static program that can be anywhere carries a list of its own addresses; packed, it is 118 KB smaller.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
