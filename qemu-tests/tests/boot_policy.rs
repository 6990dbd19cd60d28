//! What a clone keeps, with the programs that change it: hostnamectl, useradd, ssh-keygen, nmcli, PostgreSQL at work, an overlay as containers have
//! it; over a reset, a power cut, an update and a rollback, with every initramfs that Debian 13 has by default.
#![allow(clippy::unwrap_used)]

use std::fs;

use qemu_tests::facts::Facts;
use qemu_tests::initramfs::{Initramfs, System};
use qemu_tests::machine::Machine;
use qemu_tests::site::{Site, store_word};

/// With `RULE` for the files of users: they work with both.
const POLICY: &str = "\
keep /home
RULE /etc/passwd
RULE /etc/group
RULE /etc/shadow
RULE /etc/gshadow
RULE /etc/subuid
RULE /etc/subgid
keep /etc/NetworkManager/system-connections/*
keep /var/lib/postgresql
keep /var/lib/containers
";

const PACKAGES: [&str; 4] = ["passwd", "openssh-client", "network-manager", "postgresql"];

/// What an administrator and users do to their own machine; the last two lines that it prints are for [`LOOK`].
const CHANGE: &str = r#"
hostnamectl hostname renamed
useradd --create-home anna
echo anna:secret | chpasswd
su anna -c 'echo own >~/file'
ssh-keygen -q -t ed25519 -N '' -f /tmp/key
mv /tmp/key /etc/ssh/ssh_host_ed25519_key
mv /tmp/key.pub /etc/ssh/ssh_host_ed25519_key.pub
nmcli connection add type ethernet con-name lab ifname lab0 autoconnect no ipv4.method manual ipv4.addresses 192.0.2.1/24 >/dev/null
nmcli connection modify lab ipv4.addresses 192.0.2.7/24
su postgres -c 'psql -qc "create table visits (n bigint primary key)" -c "insert into visits values (1)"'
cd /var/lib/containers
mkdir lower upper work merged
echo lower >lower/file
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work x merged
echo container >merged/file
echo drift >/etc/issue
sha256sum </etc/ssh/ssh_host_ed25519_key
getent shadow anna | cut -d: -f2
"#;

/// What must be the same ever after; `$1` rows at least were committed.
const LOOK: &str = r#"
hostname
cat /home/anna/file
stat -c %U:%a /home/anna
cd /var/lib/containers
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work x merged
cat merged/file
grep -c drift /etc/issue || true
findmnt -n -o FSTYPE /home
nmcli -g ipv4.addresses connection show lab
stat -c %a /etc/NetworkManager/system-connections/lab.nmconnection
su postgres -c "psql -Atc 'select count(*) >= $1, count(*) = max(n) from visits'"
sha256sum </etc/ssh/ssh_host_ed25519_key
getent shadow anna | cut -d: -f2
cat /etc/machine-id
"#;

/// Has rows committed one after the other for ever; says how many are at one moment, and goes on.
const BUSY: &str = r#"
sql='insert into visits select count(*) + 1 from visits;'
(yes "$sql" | su postgres -c 'psql -q') >/dev/null 2>&1 &
count() { su postgres -c 'psql -Atc "select count(*) from visits"'; }
until [ "$(count)" -gt 30 ]; do :; done
count
"#;

/// Writes, and asks the kernel what reached the disk meanwhile. What did before, fsck wrote: the agent's part is in `agent/tests/keep`.
const WRITE: &str = r#"
disk=$(basename $(readlink -f $(findmnt -n -o SOURCE /run/reclone/disk)))
written() { set -- $(cat /sys/class/block/$disk/stat); echo writes: $5, sectors: $7; }
before=$(written)
dd if=/dev/zero of=/root/big bs=1M count=8 2>/dev/null
sync
touch /home/x 2>/dev/null && echo writable
findmnt -n -o OPTIONS /run/reclone/disk | cut -d, -f1
[ "$(written)" = "$before" ] && echo nothing written || echo $before, then $(written)
"#;

/// A site of this system and its clone's disk, where the scripts are in the model.
fn site(system: System, name: &str, rule: &str) -> Site {
    let site = Site::prepare(system, name, &PACKAGES, |tree| {
        // What the database compiles queries with: a third of the tree, and nobody asks that much here.
        for entry in fs::read_dir(tree.root().join("usr/lib/x86_64-linux-gnu"))? {
            let path = entry?.path();
            if path.to_string_lossy().contains("libLLVM") {
                fs::remove_file(path)?;
            }
        }
        tree.write("etc/postgresql/17/main/conf.d/jit.conf", "jit = off\n")?;
        tree.write("home/plain/file", "plain\n")
    });
    let site = site.unwrap();
    let policy = POLICY.replace("RULE", rule);
    site.model.write("etc/reclone/policy", &policy).unwrap();
    for (name, script) in [
        ("change", CHANGE),
        ("look", LOOK),
        ("busy", BUSY),
        ("write", WRITE),
    ] {
        site.model.write(&format!("opt/{name}"), script).unwrap();
    }
    site.model
        .write("var/lib/containers/models", "not for clones\n")
        .unwrap();
    assert_eq!(site.publish().unwrap(), 1);
    site.copy("plain.img", "clone.img").unwrap();
    site
}

/// How a machine is switched off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    InOrder,
    PlugPulled,
}

/// Boots the clone, runs scripts of `/opt`, and gives what they printed.
fn boot(site: &Site, words: &str, generation: u64, scripts: &[&str], end: End) -> String {
    println!("### {words}");
    let mut machine = site.machine("clone.img").words(words).start().unwrap();
    let facts = Facts::once_up(&mut machine).unwrap();
    facts.assert_runs(generation);
    let run = |script: &&str| machine.report(&format!("sh -e /opt/{script}")).unwrap();
    let said: String = scripts.iter().map(run).collect();
    println!("{said}");
    if end == End::InOrder {
        facts.power_off(machine, &site.path("clone.img")).unwrap();
    }
    said
}

/// Takes a clone through all of it. Gives the words that name the store, and how many rows there are at least.
fn what_is_kept_outlives_all(site: &Site) -> (String, u64) {
    let server = site.serve(&site.store()).unwrap();
    let store = store_word(server.url());
    let made = boot(site, &store, 1, &["change"], End::InOrder);
    let [password, key] = made.lines().rev().take(2).collect::<Vec<_>>()[..] else {
        panic!("{made}");
    };
    let id = "c10ec10ec10ec10ec10ec10ec10ec10e";
    let expected = format!(
        "renamed\nown\nanna:700\ncontainer\n0\next4\n192.0.2.7/24\n600\nt|t\n{key}\n{password}\n{id}\n"
    );
    let last = boot(site, &store, 1, &["look 1", "busy"], End::PlugPulled);
    let rows = last.strip_prefix(&expected).map(|rows| rows.trim().parse());
    let Some(Ok(rows)) = rows else {
        panic!("after a reset: {last} instead of {expected}");
    };
    site.model.write("etc/added", "by the model\n").unwrap();
    assert_eq!(site.publish().unwrap(), 2);
    let look = format!("look {rows}");
    for (words, generation, after) in [
        ("", 2, "a power cut and an update"),
        ("reclone=rollback", 1, "a rollback"),
    ] {
        let words = format!("{store} {words}");
        let said = boot(site, &words, generation, &[&look], End::InOrder);
        assert_eq!(said, expected, "after {after}");
    }
    (store, rows)
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn what_is_kept_outlives_reset_power_cut_update_and_rollback() {
    if !Machine::available() {
        return;
    }
    let site = site(System::DEFAULT, "policy", "seed");
    let (store, rows) = what_is_kept_outlives_all(&site);
    // As Debian has it: with `rw`, the initramfs mounts the partition writable before the agent is there. A database can not run then.
    let words =
        format!("{store} ro reclone=skip reclone.session=ram systemd.mask=postgresql.service");
    let in_memory = boot(&site, &words, 2, &["write"], End::InOrder);
    assert_eq!(in_memory, "ro\nnothing written\n");
    // The system as it was installed finds it all, too.
    let mut machine = site
        .machine("clone.img")
        .words("reclone=off")
        .start()
        .unwrap();
    machine.log_in().unwrap();
    let plain = machine.report(&format!(
        "readlink /home; cat /home/anna/file /home/plain/file; cd /; su postgres -c \"psql -Atc 'select count(*) >= {rows} from visits'\""
    ));
    machine.power_off().unwrap();
    assert_eq!(plain.unwrap(), "reclone/folders/home\nown\nplain\nt\n");
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn what_is_kept_outlives_them_with_dracut_too() {
    if !Machine::available() {
        return;
    }
    let dracut = System {
        initramfs: Initramfs::Dracut,
        ..System::DEFAULT
    };
    what_is_kept_outlives_all(&site(dracut, "policy-dracut", "keep"));
}
