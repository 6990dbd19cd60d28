//! A few short random histories of what the long run does (`agent/tests/soak/main.rs`): whatever came before, the clone is the
//! model.
#![allow(clippy::unwrap_used)]

#[path = "support/mounts.rs"]
mod mounts;
#[path = "support/programs.rs"]
mod programs;
#[path = "support/tree_compare.rs"]
mod tree_compare;
#[path = "soak/world.rs"]
mod world;

const HISTORIES: u64 = 12;
const STEPS: usize = 8;

#[test]
fn the_clone_is_the_model_after_any_history() {
    if !mounts::is_root() {
        return;
    }
    let first = fastrand::u64(..1 << 32);
    for seed in first..first + HISTORIES {
        println!("SEED={seed}");
        let mut world = world::World::new(seed, "ext4");
        for _ in 0..STEPS {
            println!("{}", world.step());
        }
        world.mend();
    }
}
