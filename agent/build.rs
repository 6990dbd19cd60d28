//! How the agent is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A static program that can be anywhere carries a list of its own addresses; packed, it is 118 KB smaller.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // A release ends where it panics, so nobody looks for what its functions leave on the stack: 368 KB with the index of it.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/no-frames.ld");
        println!("cargo::rerun-if-changed={script}");
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr,-T,{script}");
    }
}
