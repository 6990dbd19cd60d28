//! A clone's root partition, with generation 1 in its pool, and the boot from it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::faulty_disk::FaultyDisk;
use crate::initramfs::Initramfs;
use crate::mounts::Mount;
use crate::programs::{Site, error_line, succeed};
use crate::server::{Fault, FaultyServer};
use crate::versions::Versions;

/// What the agent says of a disk that is full, after the path.
pub const FULL: &str = "No space left on device (os error 28): make room for bytes (`df -h`) or files (`df -i`), or put the pool on a larger disk with pool-device";
/// And of one that is too full to begin.
pub const WAY_OUT: &str =
    "make room on this disk, or put the pool on a larger one with pool-device";
/// And of one that takes no writes.
pub const READ_ONLY: &str = "Read-only file system (os error 30): nobody can write to this disk; if that was not asked for, `dmesg` tells why";
/// And of one that fails.
pub const FAILS: &str = "Input/output error (os error 5): the disk fails; `dmesg` tells where";

/// A clone whose disk is mounted.
pub struct Clone {
    pub versions: Versions,
    // Ended in this order.
    mounted: Option<Mount>,
    pub disk: FaultyDisk,
    folder: tempfile::TempDir,
}

impl Clone {
    /// With generation 1, on a disk of this many MiB.
    pub fn new(mib: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(folder.path(), mib);
        let mounted = disk.mount(&folder.path().join("disk"));
        let pool = mounted.path().join("reclone");
        Self {
            versions: Versions::new(folder.path(), &pool),
            mounted: Some(mounted),
            disk,
            folder,
        }
    }

    /// The same, with generation 2 after it.
    pub fn updated(mib: usize) -> Self {
        let clone = Self::new(mib);
        clone.versions.publish(2);
        succeed(&mut clone.site().sync());
        clone
    }

    pub fn site(&self) -> &Site {
        &self.versions.site
    }

    /// A path on the disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("disk").join(name)
    }

    /// A path in the pool.
    pub fn pool(&self, name: &str) -> PathBuf {
        self.site().pool.join(name)
    }

    /// Mounts the disk anew: what is in memory alone is gone.
    pub fn remount(&mut self) {
        self.mounted = None;
        self.mounted = Some(self.disk.mount(&self.path("")));
    }

    /// Boots the clone, which follows the store in the initramfs; gives what was said.
    pub fn boot(&mut self, words: &str, expected: Option<u64>) -> String {
        self.boot_with("store = /store\n", words, expected)
    }

    /// Boots the whole of this generation, and nothing is complained of.
    #[track_caller]
    pub fn boot_quietly(&mut self, words: &str, expected: u64) {
        let said = self.boot(words, Some(expected));
        assert_eq!(complaints(&said), Vec::<&str>::new());
    }

    /// Boots it with this configuration: the whole of this generation, or an error.
    pub fn boot_with(&mut self, config: &str, words: &str, expected: Option<u64>) -> String {
        let config = format!("{config}key = /etc/reclone/model.pub\n");
        let initramfs = Initramfs::new(&config, &self.site().public_key());
        let mut copy = Command::new("cp");
        succeed(
            copy.arg("-a")
                .arg(&self.site().store)
                .arg(initramfs.path("store")),
        );
        // The partition is mounted by the initramfs alone, and nothing of it is in memory before.
        self.mounted = None;
        self.disk.wait_until_unused();
        let tree = expected.map(|version| self.versions.tree(version));
        let disk = (self.disk.device(), "errors=remount-ro");
        let unshare = Command::new("unshare");
        let output = initramfs.boot(unshare, disk, words, tree.as_deref());
        self.remount();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), expected.is_some(), "{said}");
        if let Some(version) = expected {
            assert!(
                said.contains(&format!("reclone: booting generation {version} after ")),
                "{said}"
            );
        }
        said
    }
}

/// The warnings and the error in what a boot said, without their beginnings.
pub fn complaints(said: &str) -> Vec<&str> {
    let starts = ["reclone: warning: ", "reclone: error: "];
    said.lines()
        .filter_map(|line| starts.iter().find_map(|start| line.strip_prefix(start)))
        .collect()
}

/// What a boot complains of where the image of generation 2 does not mount, for this reason.
pub fn complaints_of_image(reason: &str) -> [String; 2] {
    let image = format!("can not mount /run/reclone/disk/reclone/images/2: {reason}");
    [
        format!("{image}: trying with what is written in memory"),
        format!("generation 2 can not boot: {image}: reclone=reset checks and mends it"),
    ]
}

/// A sync that pauses in the middle of its frames, from a server with what the store holds now.
pub struct PausedSync {
    server: FaultyServer,
    child: Child,
}

impl PausedSync {
    /// One that pauses before its first frame is whole.
    pub fn start(site: &Site) -> Self {
        Self::start_after(site, 1)
    }

    /// One that pauses after this many bytes of its frames.
    pub fn start_after(site: &Site, bytes: usize) -> Self {
        let server = FaultyServer::start();
        server.put("head", &fs::read(site.store.join("head")).unwrap());
        for pack in fs::read_dir(site.store.join("packs")).unwrap() {
            let pack = pack.unwrap();
            let name = format!("packs/{}", pack.file_name().to_str().unwrap());
            server.put(&name, &fs::read(pack.path()).unwrap());
        }
        // Head, index and manifest come.
        server.fail([Fault::None, Fault::None, Fault::Pause(bytes)]);
        let mut sync = site.sync_from(server.url());
        let child = sync.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        server.wait_for_stall();
        Self {
            server,
            child: child.unwrap(),
        }
    }

    /// Lets it come to its end, which must be an error with this status; gives the line that says why.
    pub fn fail(self, expected: i32) -> String {
        let (status, said) = self.end();
        assert_eq!(status, Some(expected), "{said}");
        error_line(&said)
    }

    /// Lets it come to its end; gives its status and what it said.
    pub fn end(self) -> (Option<i32>, String) {
        self.server.go_on();
        let output = self.child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    }
}
