//! Kernels as a clone's pool has them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use reclone::loader::Kernel;
use reclone::pool::Pool;

use super::programs::{Site, succeed};

const RELEASE: &str = "6.12.1-amd64";

/// The kernel of the generation that was published; it is shown where the tree still is.
fn kernel(site: &Site, release: &str) -> reclone::Result<Kernel> {
    let pool = Pool::open(&site.pool).unwrap();
    Kernel::of_generation(&pool, 1, &site.tree, release, "ro".into())
}

fn content(mut file: &File) -> String {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Changes a byte of what the pool has under this content.
fn rot(pool: &Path, content: &str) {
    let id = reclone_format::object_id_of(content.as_bytes());
    let path = Pool::open(pool).unwrap().object(&id);
    assert_eq!(fs::read_to_string(&path).unwrap(), content);
    fs::write(path, content.replace('l', "L")).unwrap();
}

#[test]
fn a_kernel_that_rotted_in_the_pool_does_not_get_to_the_boot_loader() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(folder.path());
    let boot = site.tree.join("boot");
    fs::create_dir_all(site.tree.join("usr/lib/modules/7.0")).unwrap();
    fs::create_dir(&boot).unwrap();
    let initramfs = boot.join(format!("initrd.img-{RELEASE}"));
    fs::write(boot.join(format!("vmlinuz-{RELEASE}")), "a kernel").unwrap();
    fs::write(&initramfs, "a small initramfs").unwrap();
    // As others have it: a link to the kernel among its modules, and another name of an initramfs.
    fs::write(
        site.tree.join("usr/lib/modules/7.0/vmlinuz"),
        "a later kernel",
    )
    .unwrap();
    symlink("../usr/lib/modules/7.0/vmlinuz", boot.join("vmlinuz-7.0")).unwrap();
    fs::hard_link(&initramfs, boot.join("initrd.img-7.0")).unwrap();
    symlink("/etc/hostname", boot.join("vmlinuz-8.0")).unwrap();
    site.publish();
    succeed(&mut site.sync());

    for (release, expected) in [(RELEASE, "a kernel"), ("7.0", "a later kernel")] {
        let Kernel { entry, files } = kernel(&site, release).unwrap();
        assert_eq!(entry.release(), release);
        assert_eq!(content(&files[0]), expected);
        assert!(content(&files[1]).starts_with("a small initramfs"));
    }
    let said = |release| kernel(&site, release).map(|_| ()).unwrap_err().to_string();
    assert!(said("8.0").contains("can not find "), "{}", said("8.0"));

    let rotten = |name: &str| {
        format!(
            "/boot/{name}: it rotted in the pool and is not started; \
             boot with reclone=reset, or right here: run `reclone verify --repair`"
        )
    };
    rot(&site.pool, "a later kernel");
    assert_eq!(said("7.0"), rotten("vmlinuz-7.0"));
    kernel(&site, RELEASE).unwrap();
    rot(&site.pool, "a small initramfs");
    assert_eq!(said(RELEASE), rotten(&format!("initrd.img-{RELEASE}")));
}
