//! Random changes, put right again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::mounts::{ext4, is_root};
use crate::tree_compare::look;
use crate::{Clone, assert_same, restore};

const RUNS: u64 = 12;
const CHANGES: usize = 40;

/// Where links are, no folder can be taken for untouched once one of them is.
fn fill(top: &Path) {
    fill_without_links(top);
    for folder in 0..8 {
        let path = top.join(format!("d{}/e{folder}", folder % 3));
        fs::hard_link(path.join("f0"), path.join("g0")).unwrap();
        fs::hard_link(path.join("f1"), top.join(format!("d0/link-{folder}"))).unwrap();
    }
}

fn fill_without_links(top: &Path) {
    for folder in 0..8 {
        let path = top.join(format!("d{}/e{folder}", folder % 3));
        fs::create_dir_all(&path).unwrap();
        for file in 0..6 {
            fs::write(path.join(format!("f{file}")), format!("{folder} {file}")).unwrap();
        }
        symlink("f0", path.join("s")).unwrap();
    }
}

fn all(top: &Path) -> Vec<PathBuf> {
    look(top)
        .into_keys()
        .filter(|path| path != Path::new(""))
        .collect()
}

/// One change, of this many kinds; what can not be done is left.
fn change(top: &Path, kinds: u8, random: &mut fastrand::Rng) {
    let paths = all(top);
    let Some(at) = random.choice(&paths).map(|path| top.join(path)) else {
        return;
    };
    let to = random.choice(&paths).map(|path| top.join(path)).unwrap();
    let is_folder = fs::symlink_metadata(&at).unwrap().is_dir();
    let fresh = to.with_file_name(format!("n{}", random.u8(..)));
    let _ = match random.u8(..kinds) {
        0 if is_folder => fs::remove_dir_all(&at),
        0 => fs::remove_file(&at),
        1 if !is_folder => fs::write(&at, format!("changed {}", random.u8(..))),
        2 => fs::rename(&at, &to),
        3 => symlink("nowhere", &fresh),
        4 => fs::create_dir(&fresh),
        5 => fs::write(&fresh, "new"),
        6 => fs::set_permissions(
            &at,
            fs::Permissions::from_mode(0o600 + u32::from(random.u8(..64))),
        ),
        7 => fs::rename(&at, &fresh),
        _ => fs::hard_link(&at, &fresh),
    };
}

#[test]
fn random_changes_are_put_right_in_a_session_and_on_a_plain_disk() {
    if is_root() {
        put_right(fill, 9);
        put_right(fill_without_links, 8);
    }
}

fn put_right(fill: fn(&Path), kinds: u8) {
    let clone = Clone::new(ext4, fill);
    let model = look(&clone.site.tree);
    let assembled = clone.assemble();
    let plain = clone.disk.path().join("plain");
    fs::create_dir(&plain).unwrap();
    for seed in 0..RUNS {
        let mut random = fastrand::Rng::with_seed(seed);
        let words: &[&str] = match seed % 3 {
            0 => &["/", "--in-place"],
            1 => &["/d0", "/d1", "/d2", "/"],
            _ => &["/"],
        };
        for top in [&clone.root(), &plain] {
            restore(&clone.site, top, &["/"]);
            (0..CHANGES).for_each(|_| change(top, kinds, &mut random));
            restore(
                &clone.site,
                top,
                &[words, &["--checksum"][..usize::from(top == &plain)]].concat(),
            );
            eprintln!("seed {seed}, {}", top.display());
            assert_same(&model, top);
        }
    }
    drop(assembled);
}
