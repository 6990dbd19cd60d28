//! Sessions after their end: listed, looked into, brought back, capped; and a clone that is thawed.
#![allow(clippy::unwrap_used)]

mod thaw;

#[path = "../support/initramfs.rs"]
mod initramfs;
#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/programs.rs"]
mod programs;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use mounts::{Mount, ext4, is_root, xfs};
use programs::{Site, complaint, succeed};

/// A model with a home and a few files elsewhere, and its clone on a disk.
struct Clone {
    folder: tempfile::TempDir,
    disk: Mount,
    site: Site,
}

impl Clone {
    fn new(disk: fn(&Path, u64) -> Mount) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(folder.path(), 200);
        let site = Site {
            pool: disk.path().join("reclone"),
            ..Site::new(disk.path())
        };
        for (name, content) in [
            ("home/kiosk/.profile", "profile"),
            ("home/kiosk/album/one", "1"),
            ("home/kiosk/album/two", "2"),
            ("srv/data", "data"),
            ("etc/motd", "welcome"),
        ] {
            let path = site.tree.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        site.publish();
        succeed(&mut site.sync());
        Self { folder, disk, site }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// A session in which `work` is done; it ends.
    fn session(&self, work: impl Fn(&Path)) {
        // No other test has a session of this name mounted.
        let name = self.folder.path().file_name().unwrap();
        let session = self.site.pool.join("sessions").join(name);
        fs::create_dir_all(session.parent().unwrap()).unwrap();
        let assembled = self.site.assemble(&self.root(), Some(&session));
        work(&self.root());
        drop(assembled);
        succeed(&mut self.site.verb("prune"));
        assert!(!session.exists());
    }

    /// `reclone session WORDS` of this pool.
    fn verb(&self, words: &[&str]) -> std::process::Command {
        let mut command = programs::reclone();
        command
            .arg("session")
            .arg(words[0])
            .arg("--pool")
            .arg(&self.site.pool);
        command.args(&words[1..]);
        command
    }

    fn ended(&self) -> Vec<Value> {
        let (said, _) = succeed(&mut self.verb(&["list", "--json"]));
        let list: Value = serde_json::from_str(&said).unwrap();
        list["ended"].as_array().unwrap().clone()
    }
}

/// What a user does in an afternoon.
fn afternoon(root: &Path) {
    let home = root.join("home/kiosk");
    fs::write(home.join("thesis"), "much work").unwrap();
    fs::hard_link(home.join("thesis"), home.join("thesis too")).unwrap();
    fs::set_permissions(home.join("thesis"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("thesis", home.join("link")).unwrap();
    fs::remove_file(root.join("etc/motd")).unwrap();
    // Of these the session has the attributes and the name alone.
    fs::set_permissions(root.join("srv/data"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::rename(home.join("album"), home.join("pictures")).unwrap();
}

#[test]
fn lost_work_is_listed_and_brought_back() {
    if !is_root() {
        return;
    }
    for disk in [ext4, xfs] {
        let clone = Clone::new(disk);
        clone.session(afternoon);
        let ended = clone.ended();
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0]["session"], "1");
        assert_eq!(ended[0]["generation"], 1);
        // thesis and its second name, the link, the whiteouts of motd and album, data.
        assert_eq!(ended[0]["files"], 6);
        assert!(ended[0]["ended"].as_u64() >= ended[0]["began"].as_u64());
        let (said, _) = succeed(&mut clone.verb(&["list"]));
        assert!(
            said.starts_with("1: over generation 1, ended ") && said.contains("6 files"),
            "{said}"
        );

        let output = clone.verb(&["diff"]).output().unwrap();
        assert_eq!(output.status.code(), Some(9), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<&str> = said.lines().collect();
        lines.retain(|line| !matches!(*line, "attributes  /home/kiosk" | "attributes  /etc"));
        assert_eq!(
            lines,
            [
                "removed     /etc/motd",
                "removed     /home/kiosk/album",
                "added       /home/kiosk/link",
                "added       /home/kiosk/pictures",
                "added       /home/kiosk/thesis",
                "added       /home/kiosk/thesis too",
                "attributes  /srv/data",
            ]
        );

        let rescued = clone.folder.path().join("rescued");
        fs::create_dir(&rescued).unwrap();
        let paths = ["/home/kiosk", "/srv/data"];
        let to = rescued.to_str().unwrap();
        let words = [&["recover", "--session", "1", "--to", to][..], &paths].concat();
        let (said, _) = succeed(&mut clone.verb(&words));
        assert_eq!(
            said,
            format!(
                "/home/kiosk of session 1 is at {to}/kiosk\n/srv/data of session 1 is at {to}/data\n"
            )
        );
        let (said, _) = succeed(clone.verb(&words).arg("--json"));
        assert_eq!(
            serde_json::from_str::<Value>(&said).unwrap(),
            json!({ "session": "1", "recovered": [
                { "path": "/home/kiosk", "at": format!("{to}/kiosk") },
                { "path": "/srv/data", "at": format!("{to}/data") },
            ] })
        );
        let read = |name: &str| fs::read_to_string(rescued.join(name)).unwrap();
        assert_eq!(read("kiosk/thesis"), "much work");
        assert_eq!(read("kiosk/pictures/two"), "2");
        assert_eq!(read("kiosk/.profile"), "profile");
        assert!(!rescued.join("kiosk/album").exists());
        assert_eq!(read("data"), "data");
        let mode = |name: &str| fs::metadata(rescued.join(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("kiosk/thesis"), mode("data")), (0o600, 0o640));
        assert_eq!(
            fs::metadata(rescued.join("kiosk/thesis too"))
                .unwrap()
                .nlink(),
            2
        );
        assert_eq!(
            fs::read_link(rescued.join("kiosk/link")).unwrap(),
            Path::new("thesis")
        );

        let unknown = format!(
            "The pool {} has no /nothing in session 1",
            clone.site.pool.display()
        );
        assert_eq!(
            complaint(&mut clone.verb(&["recover", "/nothing"]), 3),
            unknown
        );
        let unknown = format!(
            "The pool {} has no ended session 7: `reclone session list` tells which",
            clone.site.pool.display()
        );
        assert_eq!(complaint(&mut clone.verb(&["diff", "7"]), 3), unknown);
        // What was done before something fails is told, and what failed.
        let partly = |words: &[&str]| -> Value {
            let output = clone.verb(words).arg("--json").output().unwrap();
            assert_eq!(output.status.code(), Some(3), "{output:?}");
            serde_json::from_slice(&output.stdout).unwrap()
        };
        let unknown = format!(
            "The pool {} has no /nothing in session 1",
            clone.site.pool.display()
        );
        assert_eq!(
            partly(&["recover", "--to", to, "/srv/data", "/nothing", "/home"]),
            json!({ "session": "1", "error": unknown,
                "recovered": [{ "path": "/srv/data", "at": format!("{to}/data") }] })
        );
        let dropped = partly(&["drop", "1", "7", "2"]);
        assert_eq!(dropped["dropped"], 1);
        let error = dropped["error"].as_str().unwrap();
        assert!(error.contains("has no ended session 7"), "{error}");
        assert_eq!(clone.ended().len(), 0);
        clone.session(|_| {
            let thaw = |verb: &str| succeed(clone.site.verb(verb).arg("--json")).0;
            assert_eq!(thaw("thaw"), "{\"boots\":1,\"generation\":1}\n");
            assert_eq!(thaw("freeze"), "{\"thawed\":true}\n");
        });
        let left = fs::read_dir("/run/reclone").into_iter().flatten().flatten();
        let mine = format!("view-{}", std::process::id());
        assert!(left.into_iter().all(|entry| entry.file_name() != *mine));
    }
}

#[test]
fn what_was_written_comes_back_though_its_generation_is_gone() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4);
    clone.session(afternoon);
    for number in 0..2 {
        fs::write(clone.site.tree.join("etc/motd"), number.to_string()).unwrap();
        clone.site.publish();
        succeed(&mut clone.site.sync());
    }
    succeed(&mut clone.site.verb("prune"));
    let rescued = clone.folder.path().join("rescued");
    fs::create_dir(&rescued).unwrap();
    let to = rescued.to_str().unwrap();
    let (_, said) = succeed(&mut clone.verb(&["recover", "--to", to, "/home/kiosk/thesis"]));
    assert!(
        said.contains("the pool has the generation of session 1 no more"),
        "{said}"
    );
    assert_eq!(fs::read(rescued.join("thesis")).unwrap(), b"much work");
    let said = complaint(&mut clone.verb(&["diff"]), 3);
    assert!(
        said.ends_with("has no generation of session 1 any more"),
        "{said}"
    );
}

#[test]
fn three_sessions_stay_and_the_oldest_go_first() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4);
    for number in 0..5 {
        clone.session(|root| fs::write(root.join("number"), number.to_string()).unwrap());
    }
    let names = || -> Vec<String> {
        let ended = clone.ended();
        let names = ended
            .iter()
            .map(|it| it["session"].as_str().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(names(), ["3", "4", "5"]);
    // More than a tenth of the disk: it is too large to stay, and the older ones with it; what comes later stays.
    clone.session(|root| fs::write(root.join("large"), vec![1; 30 << 20]).unwrap());
    assert_eq!(names(), Vec::<String>::new());
    clone.session(|root| fs::write(root.join("small"), "1").unwrap());
    assert_eq!(names(), ["1"]);
    succeed(&mut clone.verb(&["drop", "--all"]));
    assert_eq!(names(), Vec::<String>::new());
}

#[test]
fn a_disk_that_is_short_of_space_gets_it_from_the_ended_sessions() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4);
    clone.session(|root| fs::write(root.join("work"), vec![1; 10 << 20]).unwrap());
    assert_eq!(clone.ended().len(), 1);
    let free = nix::sys::statvfs::statvfs(clone.disk.path()).unwrap();
    let free = free.blocks_available() * free.fragment_size();
    // Leaves less than a sync wants to have.
    let filler = fs::File::create(clone.disk.path().join("filler")).unwrap();
    nix::fcntl::posix_fallocate(&filler, 0, (free - (15 << 20)) as i64).unwrap();
    fs::write(clone.site.tree.join("etc/motd"), "other").unwrap();
    clone.site.publish();
    succeed(&mut clone.site.sync());
    assert_eq!(clone.ended().len(), 0);
}

#[test]
fn what_lost_against_the_model_stays_within_a_cap_the_oldest_goes_first() {
    if !is_root() {
        return;
    }
    let clone = Clone::new(ext4);
    let save = |name: &str, mib: usize| {
        let folder = clone.site.pool.join("saved").join(name);
        fs::create_dir_all(folder.join("etc")).unwrap();
        fs::write(folder.join("etc/file"), vec![1; mib << 20]).unwrap();
        // Names do not tell which is the older one.
        let age = Duration::from_secs(1000 * u64::from(name.as_bytes()[0]));
        let time = SystemTime::now() - age;
        fs::File::open(&folder).unwrap().set_modified(time).unwrap();
    };
    let saved = || -> Vec<Value> {
        let (said, _) = succeed(&mut clone.verb(&["list", "--json"]));
        let list: Value = serde_json::from_str(&said).unwrap();
        list["saved"].as_array().unwrap().clone()
    };
    let names = || -> Vec<String> {
        let names = saved()
            .into_iter()
            .map(|it| it["session"].as_str().unwrap().to_owned());
        names.collect()
    };
    let prune = |space: &str| {
        let mut prune = clone.site.verb("prune");
        succeed(prune.args(["--json", "--sessions-space", space])).0
    };
    for (name, mib) in [("b", 4), ("a", 1), ("c", 2), ("d", 1)] {
        save(name, mib);
    }
    assert_eq!(names(), ["d", "c", "b", "a"]);
    let oldest = &saved()[0];
    assert_eq!(oldest["files"], 1);
    assert!(oldest["bytes"].as_u64().unwrap() >= 1 << 20, "{oldest}");
    let (said, _) = succeed(&mut clone.verb(&["list"]));
    let line = format!("in {}/saved/d\n", clone.site.pool.display());
    assert!(
        said.starts_with("saved: 1 files, ") && said.contains(&line),
        "{said}"
    );
    let said = prune("8M");
    assert!(said.contains("\"sessions\":1"), "{said}");
    assert_eq!(names(), ["c", "b", "a"]);
    // One that is too large goes, and all that are older.
    prune("3M");
    assert_eq!(names(), ["a"]);
    // The newest stays: nobody may have seen it yet.
    prune("1K");
    assert_eq!(names(), ["a"]);
    let (said, _) = succeed(&mut clone.verb(&["drop", "a"]));
    assert_eq!(said, "dropped session a\n");
    save("e", 1);
    let (said, _) = succeed(&mut clone.verb(&["drop", "--all"]));
    assert_eq!(said, "dropped 1 sessions\n");
    assert_eq!(names(), Vec::<String>::new());
}
