//! What a store of many generations comes to.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use support::{Model, noise, run};

fn stored(model: &Model) -> u64 {
    let packs = fs::read_dir(model.store().join("packs")).unwrap();
    packs
        .map(|pack| pack.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn a_store_that_is_pruned_stays_within_a_few_times_its_tree() {
    let model = Model::new();
    let mut seed = 0;
    let mut write = |number: usize| {
        seed += 1;
        model.write(&format!("file-{number}"), noise(seed, 20_000));
    };
    (0..50).for_each(&mut write);
    model.publish(&[]).expect(0);
    let tree = stored(&model);
    let mut most = 0;
    for round in 0..40 {
        (0..5).for_each(|file| write((round * 7 + file * 11) % 50));
        model.publish(&["--effort", "low"]).expect(0);
        run(&["prune", "--keep", "3", &model.store_text()]).expect(0);
        most = most.max(stored(&model));
    }
    model.verify().expect(0);
    // Up to half of the newest packs is dead, the kept heads may still need those before the last full pack, and
    // each kept head has its delta pack.
    assert!((tree..5 * tree).contains(&most), "{most} bytes of {tree}");
}
