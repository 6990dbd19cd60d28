//! Systems with one kernel of two: the one for clouds, and the one for other machines (package `linux-image-amd64`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::image::run;
use crate::initramfs::System;
use crate::site::Site;

/// A site whose clones have the kernel for clouds, with the model's next kernel set aside.
pub struct TwoKernels {
    /// The site. Nothing is published.
    pub site: Site,
    /// The release of the kernel for clouds.
    pub old: String,
    aside: PathBuf,
}

impl TwoKernels {
    /// Builds the site of this name, with this in the tree's fstab if it is not to be the usual one.
    pub fn prepare(name: &str, fstab: Option<&str>) -> TwoKernels {
        let mut aside = PathBuf::new();
        let packages = ["linux-image-amd64"];
        let site = Site::prepare(System::DEFAULT, name, &packages, |tree| {
            aside = tree.root().with_file_name("aside");
            move_kernel(tree.root(), &aside, |name| !is_of_cloud(name));
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
        move_kernel(model, &self.site.path("old"), is_of_cloud);
        move_kernel(&self.aside, model, |_| true);
        let new = release(model);
        let mut make = Command::new("chroot");
        let make = make.arg(model).args(["update-initramfs", "-c", "-k", &new]);
        run(make).expect("an initramfs");
        new
    }
}

/// What belongs to the kernel for clouds, and not to the one for other machines.
fn is_of_cloud(name: &str) -> bool {
    name.contains("-cloud-")
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
    let folders = fs::read_dir(root.join("usr/lib/modules")).expect("modules");
    let names: Vec<_> = folders.flatten().map(|it| it.file_name()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    names[0].to_str().expect("a name of text").to_owned()
}
