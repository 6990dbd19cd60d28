//! {truncate, delete, flip a bit} × every file of a store and of a pool: what is damaged is named, nothing is made worse,
//! and what can be mended is.
#![allow(clippy::unwrap_used)]

mod pool;
mod store;

#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/tree_compare.rs"]
mod tree_compare;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use programs::{Site, succeed};

/// What happens to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// It ends in the middle of the part.
    Truncate,
    /// It is gone.
    Delete,
    /// One bit in the middle of the part is another.
    Flip,
}

const DAMAGES: [Damage; 3] = [Damage::Truncate, Damage::Delete, Damage::Flip];

/// A part of a file, by its first byte and the byte after its last.
struct Part {
    file: PathBuf,
    range: (u64, u64),
}

impl Part {
    fn whole(file: PathBuf) -> Self {
        let end = fs::metadata(&file).unwrap().len();
        Self {
            file,
            range: (0, end),
        }
    }

    /// Damages the file; gives its bytes as they were.
    fn damage(&self, damage: Damage) -> Vec<u8> {
        let before = fs::read(&self.file).unwrap();
        let at = (self.range.0 + self.range.1) / 2;
        let open = || File::options().write(true).open(&self.file).unwrap();
        match damage {
            Damage::Truncate => open().set_len(at).unwrap(),
            Damage::Delete => fs::remove_file(&self.file).unwrap(),
            Damage::Flip => {
                let byte = before[usize::try_from(at).unwrap()] ^ 1;
                open().write_all_at(&[byte], at).unwrap();
            }
        }
        before
    }
}

/// A site with 21 files, and generation 1 in the pool.
fn site(folder: &Path) -> Site {
    let site = Site::new(folder);
    fs::create_dir(site.tree.join("folder")).unwrap();
    for number in 0..20 {
        let text = format!("content {number} ").repeat(500);
        fs::write(site.tree.join(format!("folder/file-{number}")), text).unwrap();
    }
    change(&site, 1);
    succeed(&mut site.sync());
    site
}

/// Publishes this generation, in which one file changed.
fn change(site: &Site, generation: u64) {
    let text = format!("generation {generation} ").repeat(700);
    fs::write(site.tree.join("changed"), text).unwrap();
    assert_eq!(site.publish_with(&["--no-delta"]).0, generation);
}
