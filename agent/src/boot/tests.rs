//! A boot without a kernel: what is decided before anything is mounted. The rest is shown in QEMU.
#![allow(clippy::unwrap_used)]

use super::*;
use std::os::unix::fs::MetadataExt;

use reclone_format::object_id_of;

fn places(folder: &Path, config: &str, command_line: &str) -> Places {
    let places = Places {
        root: folder.join("root"),
        run: folder.join("run"),
        config: folder.join("reclone.conf"),
        command_line: folder.join("cmdline"),
        network: network::Places::default(),
    };
    fs::create_dir_all(&places.root).unwrap();
    fs::write(&places.config, config).unwrap();
    fs::write(&places.command_line, command_line).unwrap();
    places
}

#[test]
fn a_disk_stays_as_it_is_when_reclone_is_off_or_not_set_up() {
    for (config, command_line) in [
        ("store = http://model/", "quiet reclone=off"),
        ("", ""),
        ("stoer = http://model/", ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path(), config, command_line);
        boot_with(&places, BootLog::install()).unwrap();
        assert!(!places.run.exists(), "{config} {command_line}");
        assert_eq!(fs::read_dir(&places.root).unwrap().count(), 0);
    }
}

#[test]
fn a_configuration_that_is_missing_is_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path(), "", "reclone=skip");
    fs::remove_file(&places.config).unwrap();
    let expected = Config {
        mode: Mode::Skip,
        ..Config::default()
    };
    assert_eq!(configuration(&places), expected);
}

#[test]
fn the_mode_decides_what_boots_first() {
    let generation = |number: u64| Generation {
        number,
        manifest: object_id_of(&number.to_le_bytes()),
        entries: 1,
    };
    let numbers = |state: &State, mode| -> Vec<u64> {
        candidates(state, mode).iter().map(|it| it.number).collect()
    };
    let mut state = State {
        current: Some(generation(5)),
        previous: Some(generation(4)),
        ..State::default()
    };
    assert_eq!(numbers(&state, Mode::On), [5, 4]);
    assert_eq!(numbers(&state, Mode::Skip), [5, 4]);
    assert_eq!(numbers(&state, Mode::Rollback), [4, 5]);
    state.previous = None;
    assert_eq!(
        numbers(&state, Mode::Rollback),
        [5],
        "the current one is better than none"
    );
    assert_eq!(numbers(&State::default(), Mode::On), [0; 0]);
}

#[test]
fn the_shutdown_program_is_placed_once_with_what_was_in_its_folder() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("SKIPPED: what mounts has to be root");
    }
    let run = tempfile::tempdir().unwrap();
    let folder = run.path().join("initramfs");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("fsck-root"), "stamp").unwrap();
    let inode = || fs::metadata(folder.join("shutdown")).unwrap().ino();
    handover::place_shutdown_program(run.path()).unwrap();
    let placed = inode();
    handover::place_shutdown_program(run.path()).unwrap();
    assert_eq!(inode(), placed, "an earlier try did it");
    assert_eq!(
        fs::read_to_string(folder.join("fsck-root")).unwrap(),
        "stamp"
    );
    mount::unmount(&folder).unwrap();
    assert!(!mount::is_mount_point(&folder), "there is one file system");
}
