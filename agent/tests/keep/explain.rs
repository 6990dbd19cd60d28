//! `reclone explain`: which rule, where the content is, what the next boot does.

use crate::clone_of;
use crate::mounts::is_root;
use crate::programs::{complaint, fail, reclone, succeed};

#[test]
fn explain_says_by_which_rule_a_path_stays_and_where_it_is() {
    if !is_root() {
        return;
    }
    let clone = clone_of(
        "# rules\nkeep /home\nseed /etc/seeded\n",
        &["etc/seeded", "etc/other", "home/x"],
    );
    clone.disk_script("mkdir -p home/anna; echo plain >etc-none");
    clone.update();
    clone.run("rm etc/seeded; echo own >etc/hostname");
    clone.run("true");
    clone.disk_script("echo 'follow /opt' >reclone/policy");
    let explain = |path: &str| {
        clone.on_disk(|_| {
            let json = succeed(clone.site.verb("explain").args(["--json", path])).0;
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            let text = |key: &str| value[key].as_str().unwrap_or("-").to_owned();
            let content = text("content").replace(&clone.site.pool.display().to_string(), "POOL");
            let content = if content.starts_with("POOL/objects") {
                "an object".to_owned()
            } else {
                content
            };
            format!(
                "{} {}:{} `{}` {} {content}: {}",
                text("rule"),
                text("file"),
                value["line"],
                text("pattern"),
                text("model"),
                text("next_boot")
            )
        })
    };
    for (path, expected) in [
        (
            "/home/anna/file",
            "keep /etc/reclone/policy:2 `/home` - POOL/folders/home/anna/file: as this clone left it",
        ),
        (
            "/home",
            "keep /etc/reclone/policy:2 `/home` folder POOL/folders/home: as this clone left it",
        ),
        (
            "/etc/seeded",
            "seed /etc/reclone/policy:3 `/etc/seeded` file -: stays removed",
        ),
        (
            "/etc/hostname",
            "keep built-in list:3 `/etc/hostname` - POOL/keep/etc/hostname: as this clone left it",
        ),
        (
            "/etc/other",
            "reset -:null `-` file an object: as in generation 1",
        ),
        (
            "/etc/absent",
            "reset -:null `-` - -: not there: generation 1 has no such path",
        ),
        (
            "/opt/x",
            "follow the pool's policy:1 `/opt` - -: as this clone left it, unless the model changes it",
        ),
    ] {
        assert_eq!(explain(path), expected, "{path}");
    }
    std::os::unix::fs::symlink("etc", clone.site.tree.join("conf")).unwrap();
    clone.update();
    clone.on_disk(|_| {
        assert_eq!(
            complaint(clone.site.verb("explain").arg("/conf/other/x"), 2),
            "/conf/other/x goes through the symbolic link /conf: name the path that it leads to"
        );
        let text = succeed(clone.site.verb("explain").arg("/etc/other")).0;
        assert!(
            text.starts_with(
                "path:       /etc/other\nrule:       reset\nfrom:       no rule names it\n"
            ),
            "{text}"
        );
        fail(clone.site.verb("explain").arg("etc/other"), 2);
        fail(&mut clone.site.verb("explain"), 2);
    });
    let printed = succeed(reclone().args(["explain", "--builtin"])).0;
    assert_eq!(printed, reclone_format::policy::BUILT_IN);
}

#[test]
fn explain_knows_what_runs_what_is_mounted_and_that_the_clone_is_thawed() {
    if !is_root() {
        return;
    }
    let clone = clone_of(
        "follow /opt\nkeep /etc/kept\n",
        &["opt/tool", "etc/other", "proc/x", "run/x", "mnt/x"],
    );
    clone.disk_script("echo plain >etc-none");
    clone.update();
    // As in the system that was booted: with the kernel's mounts and the pool where they are there.
    let enter = "echo own >opt/tool; echo own >etc/kept; cp ../reclone reclone; mount -t proc proc proc; mount --rbind ../run run; mount -t tmpfs none mnt
        explain() { chroot . /reclone explain --pool /run/reclone/disk/reclone $1 | grep -e ^content -e ^next | sed 's,sessions/[^/]*,SESSION,'; }
        explain /opt/tool; explain /etc/kept; explain /mnt/x; explain /etc/other; chroot .. /reclone thaw >/dev/null; explain /etc/other";
    let printed = clone.run(enter);
    let lines: Vec<&str> = printed.lines().collect();
    let pool = "/run/reclone/disk/reclone";
    let session = format!("{pool}/SESSION/upper");
    let [tool, follows, kept, left, _, mounted, _, reset, _, thawed] = lines[..] else {
        panic!("{printed}");
    };
    assert_eq!(tool, format!("content:    {session}/opt/tool"));
    assert_eq!(
        follows,
        "next boot:  as this clone left it, unless the model changes it"
    );
    assert_eq!(kept, format!("content:    {session}/etc/kept"));
    assert_eq!(left, "next boot:  as this clone left it");
    assert_eq!(
        mounted,
        "next boot:  untouched: something is mounted at /mnt"
    );
    assert_eq!(reset, "next boot:  as in generation 1");
    assert_eq!(
        thawed,
        "next boot:  as this session leaves it, for this clone is thawed"
    );
}
