//! The model's tree, changed at random. Names come from a small set, so that changes meet.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fastrand::Rng;

/// What every tree has: what a clone keeps files in, and a folder for its users.
pub fn begin(top: &Path) {
    fs::create_dir(top.join("etc")).unwrap();
    fs::create_dir(top.join("home")).unwrap();
    fs::write(top.join("etc/hostname"), "model\n").unwrap();
    fs::write(top.join("home/notes"), "of the model\n").unwrap();
}

/// Changes it in a few places. A change that does not fit the tree is left out.
pub fn change(top: &Path, rng: &mut Rng) {
    for _ in 0..rng.usize(1..6) {
        let _ = change_once(top, rng);
    }
}

/// Names 0 to 7 are at the top, the others in a folder that may be there or not.
fn name(top: &Path, rng: &mut Rng) -> PathBuf {
    match rng.u8(0..12) {
        name @ 0..8 => top.join(format!("n{name}")),
        name => top.join("n0").join(format!("n{name}")),
    }
}

fn change_once(top: &Path, rng: &mut Rng) -> io::Result<()> {
    let path = name(top, rng);
    match rng.u8(0..10) {
        0..4 => fs::write(path, content(rng)),
        4 => fs::hard_link(path, name(top, rng)),
        5 => {
            let _ = clear(&path);
            symlink(format!("n{}", rng.u8(0..12)), path)
        }
        6 => {
            let _ = clear(&path);
            fs::create_dir(path)
        }
        7 => match fs::symlink_metadata(&path)?.is_symlink() {
            true => Ok(()),
            false => fs::set_permissions(path, Permissions::from_mode(rng.u32(0..0o10000))),
        },
        _ => clear(&path),
    }
}

/// Some contents come again, most are new; small ones, of about a block, and large ones.
fn content(rng: &mut Rng) -> Vec<u8> {
    let seed = if rng.bool() { rng.u8(..) } else { 0 };
    let size = match rng.u8(0..4) {
        0 => 0,
        1 => rng.usize(1..100),
        2 => rng.usize(4000..9000),
        _ => 300_000,
    };
    (0..size).map(|at| (at / 7) as u8 ^ seed).collect()
}

fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}
