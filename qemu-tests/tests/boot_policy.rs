//! What a clone keeps, with the programs that change it: hostnamectl, useradd, chpasswd, ssh-keygen; over a reset, an update and a rollback.
#![allow(clippy::unwrap_used)]

use qemu_tests::facts::Facts;
use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::site::{Site, store_word};

const POLICY: &str = "\
keep /home
seed /etc/passwd
seed /etc/group
seed /etc/shadow
seed /etc/gshadow
seed /etc/subuid
seed /etc/subgid
keep /var/lib/state
";

/// What an administrator and a user do to their own machine.
const CHANGE: &str = "hostname renamed && echo renamed >/etc/hostname; hostnamectl hostname renamed 2>/dev/null
useradd --create-home anna && echo anna:secret | chpasswd && su anna -c 'echo own >~/file'
ssh-keygen -q -t ed25519 -N '' -f /tmp/key && mv /tmp/key /etc/ssh/ssh_host_ed25519_key && mv /tmp/key.pub /etc/ssh/ssh_host_ed25519_key.pub
mkdir -p /var/lib/state/lower /var/lib/state/upper /var/lib/state/work /var/lib/state/merged
mount -t overlay -o lowerdir=/var/lib/state/lower,upperdir=/var/lib/state/upper,workdir=/var/lib/state/work x /var/lib/state/merged && echo container >/var/lib/state/merged/file
echo drift >/etc/issue; sha256sum </etc/ssh/ssh_host_ed25519_key; getent shadow anna | cut -d: -f2";

/// What must be the same ever after.
const LOOK: &str = "cat /etc/hostname; cat /home/anna/file; stat -c %U:%a /home/anna; cat /var/lib/state/upper/file; grep -c drift /etc/issue
findmnt -n -o FSTYPE /home; sha256sum </etc/ssh/ssh_host_ed25519_key; getent shadow anna | cut -d: -f2; cat /etc/machine-id";

/// Writes, and asks the kernel what reached the disk meanwhile. What did before, fsck wrote: the agent's part is in `agent/tests/keep`.
const WRITE: &str = "disk=$(basename $(readlink -f $(findmnt -n -o SOURCE /run/reclone/disk)))
written() { set -- $(cat /sys/class/block/$disk/stat); echo writes: $5, sectors: $7; }
before=$(written)
dd if=/dev/zero of=/root/big bs=1M count=8 2>/dev/null; sync; touch /home/x 2>/dev/null && echo writable
findmnt -n -o OPTIONS /run/reclone/disk | cut -d, -f1
[ \"$(written)\" = \"$before\" ] && echo nothing written || echo $before, then $(written)";

#[test]
#[ignore = "takes minutes: make test-all"]
fn users_names_and_keys_of_a_clone_outlive_reset_update_and_rollback() {
    if !Machine::available() {
        return;
    }
    let site = Site::prepare(
        System::DEFAULT,
        "policy",
        &["passwd", "openssh-client"],
        |tree| tree.write("home/plain/file", "plain\n"),
    );
    let site = site.unwrap();
    site.model.write("etc/reclone/policy", POLICY).unwrap();
    site.model
        .write("var/lib/state/models", "not for clones\n")
        .unwrap();
    assert_eq!(site.publish().unwrap(), 1);
    site.copy("plain.img", "clone.img").unwrap();
    let server = site.serve(&site.store()).unwrap();
    let store = store_word(server.url());
    let boot = |words: &str, generation: u64, script: &str| {
        println!("### {words}");
        let machine = site.machine("clone.img").words(&format!("{store} {words}"));
        let mut machine = machine.start().unwrap();
        machine.log_in().unwrap();
        let facts = Facts::of(&mut machine).unwrap();
        println!("{facts}");
        facts.assert_runs(generation);
        let said = machine.report(script).unwrap();
        println!("{said}");
        facts.power_off(machine, &site.path("clone.img")).unwrap();
        said
    };
    let made = boot("", 1, CHANGE);
    let [password, key] = made.lines().rev().take(2).collect::<Vec<_>>()[..] else {
        panic!("{made}");
    };
    let id = "c10ec10ec10ec10ec10ec10ec10ec10e";
    let expected = format!("renamed\nown\nanna:700\ncontainer\n0\next4\n{key}\n{password}\n{id}\n");
    assert_eq!(boot("", 1, LOOK), expected, "after a reset");
    site.model.write("etc/added", "by the model\n").unwrap();
    assert_eq!(site.publish().unwrap(), 2);
    assert_eq!(boot("", 2, LOOK), expected, "after an update");
    assert_eq!(
        boot("reclone=rollback", 1, LOOK),
        expected,
        "after a rollback"
    );
    // As Debian has it: with `rw`, the initramfs mounts the partition writable before the agent is there.
    let in_memory = boot("ro reclone=skip reclone.session=ram", 2, WRITE);
    assert_eq!(in_memory, "ro\nnothing written\n");
    let plain = "readlink /home; cat /home/anna/file /home/plain/file";
    assert_eq!(
        boot_plain(&site, plain),
        "reclone/folders/home\nown\nplain\n"
    );
}

/// Boots the system as it was installed.
fn boot_plain(site: &Site, script: &str) -> String {
    let mut machine = site
        .machine("clone.img")
        .words("reclone=off")
        .start()
        .unwrap();
    machine.log_in().unwrap();
    let said = machine.report(script).unwrap();
    machine.power_off().unwrap();
    said
}
