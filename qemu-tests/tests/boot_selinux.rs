//! A clone whose kernel runs SELinux with Debian's policy, permissive: the labels, capabilities and ACLs of the model's files, of kept and of restored
//! ones are exact there, too.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use qemu_tests::facts::Facts;
use qemu_tests::image::{Tree, run};
use qemu_tests::initramfs::System;
use qemu_tests::machine::Machine;
use qemu_tests::site::{Site, store_word};

const WORDS: &str = "security=selinux selinux=1 enforcing=0";

/// What an administrator gave to a file of the model and, by `marks`, how it looks; `$1` is the label's type.
const MARKS: &str = r#"
mark() { chcon -u system_u -t $1 $2; chown daemon $2; chmod 750 $2; setfacl -m u:games:r $2; setcap cap_net_raw=ep $2; }
marks() { for f; do stat -c '%n %U %a %C' $f; getfacl -c -p $f | grep user:games; getcap $f | cut -d' ' -f2; done; }
"#;

/// The labels of all programs, in one order.
const LABELS: &str = "find usr/bin usr/sbin usr/lib/systemd -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m ^security | sha256sum";

fn in_tree(tree: &Tree, script: &str) -> String {
    let mut chroot = Command::new("chroot");
    run(chroot.arg(tree.root()).args(["sh", "-ec", script])).unwrap()
}

/// What a machine of this policy gets when it is installed.
fn label(tree: &Tree) {
    in_tree(
        tree,
        "setfiles -F -e /proc -e /sys -e /dev /etc/selinux/default/contexts/files/file_contexts /",
    );
}

#[test]
#[ignore = "takes minutes: make test-all"]
fn labels_capabilities_and_acls_are_exact_where_selinux_runs() {
    if !Machine::available() {
        return;
    }
    let packages = ["selinux-policy-default", "passwd", "acl"];
    let site = Site::prepare(System::DEFAULT, "selinux", &packages, |tree| {
        tree.write(
            "etc/selinux/config",
            "SELINUX=permissive\nSELINUXTYPE=default\n",
        )?;
        tree.write("home/anna/file", "plain\n")?;
        tree.write("etc/kept", "plain\n")?;
        tree.write("opt/marks", MARKS)?;
        tree.write("opt/tool/program", "model\n")?;
        label(tree);
        Ok(())
    });
    let site = site.unwrap();
    let rules = "keep /home\nkeep /etc/kept\n";
    site.model.write("etc/reclone/policy", rules).unwrap();
    label(&site.model);
    let with_attributes = "getfattr -n security.selinux --only-values --absolute-names";
    let script = format!(
        "setfattr -n security.selinux -v system_u:object_r:bin_t:s0 opt/tool/program; chown daemon opt/tool/program; \
        chmod 750 opt/tool/program; setfacl -m u:games:r opt/tool/program; setcap cap_net_raw=ep opt/tool/program; {with_attributes} usr/sbin/sshd"
    );
    let sshd = in_tree(&site.model, &script);
    assert!(
        sshd.starts_with("system_u:object_r:sshd_exec_t:s0"),
        "{sshd}"
    );
    let labels = in_tree(&site.model, LABELS);
    assert_eq!(site.publish().unwrap(), 1);
    site.copy("plain.img", "clone.img").unwrap();
    let server = site.serve(&site.store()).unwrap();
    let words = format!("{WORDS} {}", store_word(server.url()));
    let boot = |generation: u64, script: &str| {
        let mut machine = site.machine("clone.img").words(&words).start().unwrap();
        let facts = Facts::once_up(&mut machine).unwrap();
        facts.assert_runs(generation);
        let said = machine.report(&format!("cd /; . /opt/marks; getenforce; {script}"));
        let said = said.unwrap();
        println!("{said}");
        facts.power_off(machine, &site.path("clone.img")).unwrap();
        said
    };
    let is = |file: &str, label: &str| {
        format!("{file} daemon 750 system_u:object_r:{label}:s0\nuser:games:r--\ncap_net_raw=ep\n")
    };
    let model = is("/opt/tool/program", "bin_t");
    // Written in place, and replaced by rename.
    let work = "marks /opt/tool/program; mark shadow_t /home/anna/file; echo own >/etc/new; mark shadow_t /etc/new; mv /etc/new /etc/kept
        marks /home/anna/file /etc/kept; setcap -r /opt/tool/program; setfacl -b /opt/tool/program; chcon -t tmp_t /opt/tool/program
        chown 0 /opt/tool/program; /run/initramfs/reclone -q restore /opt/tool >/dev/null; marks /opt/tool/program";
    let kept = is("/home/anna/file", "shadow_t") + &is("/etc/kept", "shadow_t");
    assert_eq!(
        boot(1, &format!("{LABELS}; {work}")),
        format!("Permissive\n{labels}{model}{kept}{model}")
    );
    site.model.write("etc/model-version", "2\n").unwrap();
    assert_eq!(site.publish().unwrap(), 2);
    let look = "marks /opt/tool/program /home/anna/file /etc/kept";
    assert_eq!(boot(2, look), format!("Permissive\n{model}{kept}"));
}
