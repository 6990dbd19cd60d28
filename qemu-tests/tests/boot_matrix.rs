//! A slice of the matrix (`qemu_tests::matrix`): what is fast and has been seen to pass. `make test-all` runs all of it.
#![allow(clippy::unwrap_used)]

use qemu_tests::initramfs::{Initramfs, System};
use qemu_tests::machine::Machine;
use qemu_tests::matrix;

fn assert_all_pass(suite: &'static str, initramfs: Initramfs, wanted: &[&str]) {
    if !Machine::available() {
        return;
    }
    let outcomes = matrix::run(System { suite, initramfs }, |case| wanted.contains(&case)).unwrap();
    assert_eq!(outcomes.len(), wanted.len());
    for (case, result) in outcomes {
        assert!(result.is_ok(), "{case}: {}", result.unwrap_err());
    }
}

#[test]
fn debian_12_with_initramfs_tools() {
    assert_all_pass("bookworm", Initramfs::Tools, &["first clone", "update"]);
}

#[test]
fn debian_13_with_dracut() {
    let wanted = [
        "first clone",
        "no change, drift gone",
        "update",
        "server gone",
    ];
    assert_all_pass("trixie", Initramfs::Dracut, &wanted);
}

#[test]
fn debian_testing_with_dracut_without_systemd() {
    assert_all_pass(
        "forky",
        Initramfs::DracutPlain,
        &["first clone", "no change, drift gone"],
    );
}
