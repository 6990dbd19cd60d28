//! Systems with one kernel of two: that of the release, and the newest, with what was mended since.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reclone::kernels::by_version;

use crate::image::run;
use crate::initramfs::System;
use crate::site::Site;

/// apt's pattern for the kernels of a release: without those of its security archive, one of which every tree has.
const OF_THE_RELEASE: &str = "~n^linux-image-[0-9].*-cloud-amd64$~Astable$";

/// A site whose clones have the old kernel, with the model's next one set aside.
pub struct TwoKernels {
    /// The site. Nothing is published.
    pub site: Site,
    /// The release of the old kernel.
    pub old: String,
    aside: PathBuf,
}

impl TwoKernels {
    /// Builds the site of this name, with this in the tree's fstab if it is not to be the usual one.
    pub fn prepare(name: &str, fstab: Option<&str>) -> TwoKernels {
        let mut aside = PathBuf::new();
        let site = Site::prepare(System::DEFAULT, name, &[OF_THE_RELEASE], |tree| {
            aside = tree.root().with_file_name("aside");
            let unwanted = tree.root().with_file_name("unwanted");
            let all = releases(tree.root());
            let [before @ .., old, new] = &all[..] else {
                panic!("the archive has one kernel: {all:?}");
            };
            println!("the kernel {old} becomes {new}");
            move_kernel(tree.root(), &aside, |name| name.ends_with(new));
            for release in before {
                move_kernel(tree.root(), &unwanted, |name| name.ends_with(release));
            }
            match fstab {
                Some(fstab) => tree.write("etc/fstab", fstab),
                None => Ok(()),
            }
        });
        let site = site.expect("a site");
        let old = release(site.model.root());
        TwoKernels { site, old, aside }
    }

    /// The model gets the other kernel in place of the one it has. Gives its release.
    pub fn upgrade(&self) -> String {
        let model = self.site.model.root();
        move_kernel(model, &self.site.path("old"), |name| {
            name.ends_with(&self.old)
        });
        move_kernel(&self.aside, model, |_| true);
        let new = release(model);
        let mut make = Command::new("chroot");
        let make = make.arg(model).args(["update-initramfs", "-c", "-k", &new]);
        run(make).expect("an initramfs");
        new
    }
}

/// Moves what a system has of one of two kernels to the same places below another folder.
fn move_kernel(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) {
    for folder in ["boot", "usr/lib/modules"] {
        fs::create_dir_all(to.join(folder)).expect("a folder");
        for entry in fs::read_dir(from.join(folder)).expect("a list") {
            let name = entry.expect("an entry").file_name();
            let name = name.to_str().expect("a name of text");
            if name.ends_with("-amd64") && wanted(name) {
                let place = Path::new(folder).join(name);
                fs::rename(from.join(&place), to.join(&place)).expect("a move");
            }
        }
    }
}

/// The release of the one kernel of a system.
fn release(root: &Path) -> String {
    let mut all = releases(root);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// The releases of the kernels of a system, the oldest first.
fn releases(root: &Path) -> Vec<String> {
    let folders = fs::read_dir(root.join("usr/lib/modules")).expect("modules");
    let names = folders.map(|it| it.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|it| it.into_string().expect("a name of text"))
        .collect();
    names.sort_by(|a, b| by_version(a, b));
    names
}
