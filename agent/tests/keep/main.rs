//! What a clone keeps, from boot to boot, on real file systems: the agent boots in a namespace, and a script does what users do.
#![allow(clippy::unwrap_used)]

mod explain;
mod machine;

#[path = "../support/initramfs.rs"]
mod initramfs;
#[path = "../support/mounts.rs"]
mod mounts;
#[path = "../support/programs.rs"]
mod programs;

use std::fs;
use std::process::Command;

use machine::Machine;
use mounts::is_root;
use programs::{fail, succeed};

/// A clone of a model with these rules, whose files all say "model".
fn clone_of(policy: &str, files: &[&str]) -> Machine {
    let machine = Machine::new("ext4");
    fs::write(machine.model("etc/reclone/policy"), policy).unwrap();
    for file in files {
        fs::write(machine.model(file), "model\n").unwrap();
    }
    machine
}

#[test]
fn a_kept_file_may_be_changed_replaced_removed_and_made_anew() {
    if !is_root() {
        return;
    }
    let policy = "keep /etc/kept\nkeep /etc/conn/*\nkeep /etc/localtime\nseed /etc/seeded\n";
    let clone = clone_of(
        policy,
        &["etc/other", "etc/seeded", "etc/conn/model", "etc/kept"],
    );
    clone.disk_script("mkdir -p etc/conn; echo plain >etc/kept; echo plain >etc/hostname; echo plain >etc/conn/a; echo plain >etc/seeded");
    clone.update();
    let look =
        "cat etc/kept etc/hostname etc/seeded; ls etc/conn; cat etc/other; cat etc/machine-id";
    let first = clone.run(&format!(
        "{look}; echo new >etc/.x; mv etc/.x etc/hostname; setfattr -n user.a -v b etc/kept; chown 7:8 etc/kept; chmod 640 etc/kept; \
         echo new >etc/conn/b; ln -s ../usr/share/zone etc/localtime; echo new >etc/seeded; echo new >etc/other"
    ));
    let id = first.lines().last().unwrap().to_owned();
    assert_eq!(id.len(), 32, "{first}");
    assert_eq!(first, format!("plain\nplain\nmodel\na\nmodel\n{id}\n"));
    fs::write(clone.model("etc/seeded"), "newer\n").unwrap();
    assert_eq!(clone.update(), 2);
    let second = clone.run(&format!(
        "{look}; stat -c %u:%g:%a etc/kept; getfattr --only-values -n user.a etc/kept; echo; readlink etc/localtime; \
         rm etc/conn/a etc/seeded etc/localtime"
    ));
    assert_eq!(
        second,
        format!("plain\nnew\nnew\na\nb\nmodel\n{id}\n7:8:640\nb\n../usr/share/zone\n")
    );
    let third = clone.run("ls etc/conn etc; echo again >etc/conn/a");
    assert_eq!(
        third,
        "etc:\nconn\nhostname\nkept\nmachine-id\nother\nreclone\n\netc/conn:\nb\n"
    );
    // A rollback does not bring back what was removed, nor an older content.
    let back = clone.boot(
        "reclone=rollback",
        "cat etc/conn/a etc/conn/b etc/hostname; test ! -e etc/seeded",
    );
    assert_eq!(back.printed, "again\nnew\nnew\n", "{}", back.log);
}

#[test]
fn a_file_that_is_kept_is_not_published_and_the_models_is_hidden() {
    if !is_root() {
        return;
    }
    let clone = clone_of(
        "",
        &[
            "etc/passwd",
            "etc/hostname",
            "etc/ssh/ssh_host_x_key",
            "etc/fstab",
        ],
    );
    clone.update();
    // The rule is the clone's own: what was published before it is hidden.
    clone.disk_script("echo 'keep /etc/passwd' >reclone/policy");
    let printed = clone.run("ls etc etc/ssh; echo own >etc/passwd");
    assert_eq!(printed, "etc:\nmachine-id\nreclone\nssh\n\netc/ssh:\n");
    assert_eq!(clone.run("cat etc/passwd"), "own\n");
}

#[test]
fn a_broken_policy_boots_with_the_last_good_one() {
    if !is_root() {
        return;
    }
    let clone = clone_of("keep /etc/kept\n", &["etc/a"]);
    clone.update();
    clone.run("echo own >etc/kept");
    fs::write(
        clone.model("etc/reclone/policy"),
        "keep /etc/kept\nretain /b\n",
    )
    .unwrap();
    // Only a model of another version would publish it.
    let refused = fail(&mut clone.site.publish_command(&[]), 1);
    assert!(
        refused.contains(
            "etc/reclone/policy:2:1: `retain` is no rule: reset, keep, seed, follow and exclude are"
        ),
        "{refused}"
    );
    clone.disk_script("echo 'keep /opt/**' >reclone/policy");
    let booted = clone.boot("", "cat etc/kept");
    assert_eq!(booted.printed, "own\n");
    let expected = "the pool's policy:1:6: keep and seed want a path from the top, such as /home/*, without `**`: a boot can not search the whole tree: no rule of it counts";
    assert_eq!(booted.warnings(), [expected]);
}

/// Users, their files and rights; the link count shows whether names of one file stayed so.
const HOME: &str = "mkdir -p home/anna; cd home/anna; echo plain >file; ln file second; chown -R 1000:1000 .; chmod 700 .; \
    setfattr -n user.a -v b file; truncate -s 8M hole; mkfifo pipe; touch -d @1000000000.123456789 file; cd ../..;";
const LOOK_HOME: &str = "cd home/anna; cat file; stat -c '%u %a %h %.9Y' file; stat -c '%u %a' .; getfattr --only-values -n user.a file; echo; \
    stat -c '%s %b' hole; stat -c %F pipe; cd ../..;";
const HOME_IS: &str = "plain\n1000 644 2 1000000000.123456789\n1000 700\nb\n8388608 0\nfifo\n";

#[test]
fn a_kept_folder_of_the_plain_root_becomes_the_pools_by_one_exchange() {
    if !is_root() {
        return;
    }
    let clone = clone_of(
        "keep /home\nkeep /var/lib/db\n",
        &["home/models/file", "var/lib/db/x", "var/lib/y"],
    );
    clone.disk_script(&format!(
        "mkdir -p var/lib/db; echo plain >var/lib/db/z; {HOME} ls -i home | cut -d' ' -f1 >inode"
    ));
    clone.update();
    assert_eq!(
        clone.run(&format!(
            "{LOOK_HOME} ls home var/lib/db var/lib; echo more >home/anna/more"
        )),
        format!("{HOME_IS}home:\nanna\n\nvar/lib:\ndb\ny\n\nvar/lib/db:\nz\n")
    );
    fs::write(clone.model("etc/new"), "").unwrap();
    assert_eq!(clone.update(), 2);
    assert_eq!(
        clone.run(&format!("{LOOK_HOME} cat home/anna/more")),
        format!("{HOME_IS}more\n")
    );
    // Without reclone a link leads to it; nobody else gets anywhere else in the pool.
    let plain = clone.disk_script(
        "readlink home var/lib/db; cat home/anna/more var/lib/db/z; test $(cat inode) = $(ls -i home/ | cut -d' ' -f1); stat -c '%a %n' reclone reclone/*",
    );
    let modes = "711 reclone\n711 reclone/folders\n700 reclone/images\n700 reclone/keep\n600 reclone/lock\n700 reclone/log\n700 reclone/manifests\n\
        700 reclone/objects\n700 reclone/policies\n700 reclone/sessions\n600 reclone/state\n";
    assert_eq!(
        plain,
        format!("reclone/folders/home\n../../reclone/folders/var%2flib%2fdb\nmore\nplain\n{modes}")
    );
}

#[test]
fn a_folder_is_seeded_once_and_then_the_clones() {
    if !is_root() {
        return;
    }
    let clone = clone_of(
        "seed /srv/db\nseed /srv/absent\nkeep /home/*\n",
        &["srv/db/base/a", "home/x/file"],
    );
    clone.disk_script("mkdir -p srv/db; echo plain >srv/db/plain");
    clone.update();
    assert_eq!(
        clone.run("find srv home | sort; echo own >srv/db/base/a; echo own >home/x/own"),
        "home\nhome/x\nsrv\nsrv/db\nsrv/db/base\nsrv/db/base/a\n"
    );
    fs::write(clone.model("srv/db/base/a"), "newer\n").unwrap();
    fs::write(clone.model("srv/db/base/b"), "newer\n").unwrap();
    clone.update();
    assert_eq!(
        clone.run("find srv home -type f | sort; cat srv/db/base/a home/x/own"),
        "home/x/own\nsrv/db/base/a\nown\nown\n"
    );
}

/// `mark LABEL FILE…` gives files an owner, an SELinux label, an ACL and a capability; `marks FILE…` prints them. A label is an xattr like
/// others to a kernel that runs without SELinux (`qemu-tests/tests/boot_selinux.rs` has one that runs with it).
const MARKS: &str = "mark() { l=$1; shift; for f; do chown 7:8 $f; chmod 640 $f; setfattr -n security.selinux -v system_u:object_r:$l:s0 $f; \
    setfacl -m u:9:rw $f; setcap cap_net_raw=ep $f; done; }; \
    marks() { for f; do echo $f $(stat -c %u:%g:%a $f) $(getfattr --only-values -n security.selinux $f) $(getfacl -nc $f | grep ^user:9) \
    $(getcap $f | cut -d' ' -f2); done; };";

#[test]
fn labels_capabilities_and_acls_of_what_is_kept_are_exact() {
    if !is_root() {
        return;
    }
    for kind in ["ext4", "xfs"] {
        let clone = Machine::new(kind);
        let policy = "keep /etc/kept\nkeep /etc/conn/*\nseed /etc/seeded\nkeep /home\nseed /srv/db\nfollow /opt\n";
        fs::write(clone.model("etc/reclone/policy"), policy).unwrap();
        for file in ["etc/seeded", "etc/conn/models", "srv/db/file", "opt/tool"] {
            fs::write(clone.model(file), "model\n").unwrap();
        }
        // What a folder gives to new files is not meant for those that come from elsewhere.
        let script = format!(
            "{MARKS} setfacl -d -m u:9:rwx etc/conn srv/db opt; mark model etc/seeded srv/db/file opt/tool"
        );
        succeed(
            Command::new("sh")
                .args(["-ec", &script])
                .current_dir(&clone.site.tree),
        );
        clone.disk_script(&format!(
            "{MARKS} mkdir -p etc/conn home; touch etc/kept etc/conn/a home/file; mark plain etc/kept home/file"
        ));
        let look = format!(
            "{MARKS} marks etc/kept etc/seeded home/file srv/db/file opt/tool; getfacl -cn etc/conn/a opt/plain | grep -c user:9 || true; "
        );
        let are = |labels: [&str; 5]| {
            let files = [
                "etc/kept",
                "etc/seeded",
                "home/file",
                "srv/db/file",
                "opt/tool",
            ];
            let lines = files.iter().zip(labels).map(|(file, label)| {
                format!("{file} 7:8:660 system_u:object_r:{label}:s0 user:9:rw- cap_net_raw=ep\n")
            });
            lines.collect::<String>() + "0\n"
        };
        clone.update();
        // Written in place, and made anew and renamed.
        let change =
            "for file in etc/seeded home/file opt/tool; do echo own >$file; mark clone $file; done
            for file in etc/kept srv/db/file; do echo own >new; mark clone new; mv new $file; done";
        assert_eq!(
            clone.run(&format!(
                "touch opt/plain; setfacl -b opt/plain; {look} {change}"
            )),
            are(["plain", "model", "plain", "model", "model"]),
            "{kind}"
        );
        fs::write(clone.model("etc/new"), "").unwrap();
        clone.update();
        assert_eq!(clone.run(&look), are(["clone"; 5]), "{kind}");
        let back = clone.boot("reclone=rollback", &look);
        assert_eq!(back.printed, are(["clone"; 5]), "{kind}: {}", back.log);
    }
}

/// Prints how many writes the clone's disk has had.
const WRITES: &str =
    "set -- $(cat /sys/dev/block/$(mountpoint -d ../run/reclone/disk)/stat); echo $5";

#[test]
fn with_its_session_in_memory_nothing_that_runs_writes_to_the_disk() {
    if !is_root() {
        return;
    }
    let clone = clone_of("keep /home\nkeep /etc/kept\n", &["etc/a", "home/x"]);
    clone.disk_script("mkdir home; echo plain >home/file");
    clone.update();
    clone.run("echo own >etc/kept; echo more >>home/file");
    clone.run("cat etc/kept");
    let clone = clone.with_config("session = ram,16M\n");
    let booted = clone.boot(
        "",
        &format!("{WRITES}; cat etc/kept home/file; echo x >etc/a; echo lost >etc/kept; dd if=/dev/zero of=big bs=1M count=8 2>/dev/null; sync
            touch home/new 2>/dev/null && exit 1; df --output=size ../run/reclone/session | tail -1 | tr -d ' '; {WRITES}"),
    );
    assert_eq!(booted.warnings(), Vec::<&str>::new());
    assert!(
        booted
            .log
            .contains("the session is in memory: the disk is read-only"),
        "{}",
        booted.log
    );
    let lines: Vec<&str> = booted.printed.lines().collect();
    let [before, own, plain, more, size, after] = lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!([own, plain, more, size], ["own", "plain", "more", "16384"]);
    assert_eq!(before, after, "something was written");
    assert_eq!(
        clone.with_config("").run("cat etc/kept etc/a"),
        "own\nmodel\n"
    );
}
