//! Links that someone planted in a pool: nothing is written or removed through them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use reclone::keep::files;
use reclone::pool::Pool;
use reclone::session::Session;
use reclone_format::Policy;

use crate::forger;
use crate::programs::succeed;
use crate::raw::named;

/// A folder with one file, `file`, that must stay as it is.
struct Victim(tempfile::TempDir);

impl Victim {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "precious").unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join("etc/hostname"), "victim").unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let read = |path: &str| fs::read_to_string(self.path().join(path)).unwrap();
        assert_eq!(
            (read("file"), read("etc/hostname")),
            ("precious".into(), "victim".into())
        );
        let count = |path: &Path| fs::read_dir(path).unwrap().count();
        assert_eq!(
            (count(self.path()), count(&self.path().join("etc"))),
            (2, 1)
        );
    }
}

#[test]
fn links_planted_in_staging_are_not_followed() {
    let id = named(b"next").0.to_string();
    let object = format!("objects/{}/{}", &id[..2], &id[2..]);
    let folder_of_it = format!("objects/{}", &id[..2]);
    let places = [
        "",
        "objects",
        "objects/zz",
        &folder_of_it,
        &object,
        "manifest",
        "image",
    ];
    for place in places {
        for to_file in [false, true] {
            let victim = Victim::new();
            let folder = tempfile::tempdir().unwrap();
            let forger = forger(&folder);
            let link = forger.site.pool.join("staging").join(place);
            let link = link.components().collect::<std::path::PathBuf>();
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            let target = victim.path().join(if to_file { "file" } else { "" });
            symlink(&target, &link).unwrap();
            forger.publish_honestly(2, b"next");
            succeed(&mut forger.sync());
            victim.assert_untouched();
            assert_eq!(forger.site.status()["current"].as_u64(), Some(2), "{place}");
            assert!(!forger.site.pool.join("staging").exists(), "{place}");
            succeed(&mut forger.site.verb("verify"));
        }
    }
}

#[test]
fn a_staged_link_to_the_right_content_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let forger = forger(&folder);
    let id = named(b"next").0;
    let staged = forger
        .site
        .pool
        .join("staging/objects")
        .join(id.pool_path());
    fs::create_dir_all(staged.parent().unwrap()).unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "next").unwrap();
    symlink(&elsewhere, &staged).unwrap();
    forger.publish_honestly(2, b"next");
    let (said, _) = succeed(&mut forger.sync());
    assert!(
        said.starts_with("generation 2 is current: 1 objects"),
        "{said}"
    );
    let object = forger.site.pool.join("objects").join(id.pool_path());
    assert!(fs::symlink_metadata(object).unwrap().is_file());
}

#[test]
fn links_planted_in_place_of_sessions_are_not_followed() {
    for place in ["sessions", "sessions/ended", "sessions/1"] {
        for old in [false, true] {
            let victim = Victim::new();
            let folder = tempfile::tempdir().unwrap();
            let forger = forger(&folder);
            let link = forger.site.pool.join(place);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(victim.path(), &link).unwrap();
            if old && place == "sessions/ended" {
                fs::create_dir_all(forger.site.pool.join("sessions/2/upper")).unwrap();
            }
            succeed(&mut forger.site.verb("prune"));
            succeed(&mut forger.site.verb("prune"));
            victim.assert_untouched();
        }
    }
}

#[test]
fn links_planted_where_kept_files_belong_are_not_followed() {
    // Where the link is, below the pool; where it leads, below the victim.
    for (link, target) in [
        ("keep", ""),
        ("keep/etc", "etc"),
        ("keep/etc/hostname", "etc/hostname"),
        ("keep/etc/.new", "etc/hostname"),
        ("keep.new", "etc"),
        ("sessions/1/upper/etc", "etc"),
        ("sessions/1/upper/etc/hostname", "etc/hostname"),
    ] {
        let victim = Victim::new();
        let folder = tempfile::tempdir().unwrap();
        let (plain, root) = (folder.path().join("plain"), folder.path().join("root"));
        for top in [&plain, &root] {
            fs::create_dir_all(top.join("etc")).unwrap();
            fs::write(top.join("etc/hostname"), "plain").unwrap();
        }
        let pool = Pool::create(&folder.path().join("pool")).unwrap();
        let link_at = pool.root().join(link);
        fs::create_dir_all(link_at.parent().unwrap()).unwrap();
        let upper = pool.root().join("sessions/1/upper/etc");
        if !link.starts_with("sessions") {
            fs::create_dir_all(&upper).unwrap();
            fs::write(upper.join("hostname"), "session").unwrap();
        }
        symlink(victim.path().join(target), &link_at).unwrap();
        let session = Session::open(&pool.root().join("sessions/1")).unwrap();
        let policy = Policy::built_in();
        files::save(&pool, &policy, &session).unwrap();
        files::adopt(&pool, &policy, &plain, &root).unwrap();
        files::place(&pool, &policy, &root).unwrap();
        victim.assert_untouched();
        let hostname = fs::read_to_string(root.join("etc/hostname")).unwrap();
        assert_ne!(hostname, "victim", "{link}");
    }
}
