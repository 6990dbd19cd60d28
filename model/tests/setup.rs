//! `setup`, on a machine that is a folder: the program runs with it as its root.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use reclone_format::{Head, PublicKey};

use support::{PROGRAM, Ran};

/// Gives a machine what its kernel does, and a partition for `/boot` if a file there asks for it, and runs the program there; the
/// mounts end with the shell that made them.
const RUN: &str = r#"
root=$1
shift
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
[ ! -e "$root/boot/own" ] || mount -t tmpfs tmpfs "$root/boot"
exec chroot "$root" /usr/sbin/reclone-model "$@"
"#;

/// A machine with this program and nothing else.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let machine = Self { root };
        for folder in ["usr/sbin", "root", "srv", "etc", "proc", "dev"] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        fs::copy(PROGRAM, machine.path("usr/sbin/reclone-model")).unwrap();
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Runs the program on the machine.
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", RUN, "run"]);
        command.arg(self.root.path());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.args(arguments).output().unwrap().into()
    }

    fn setup(&self, more: &[&str]) -> Ran {
        let fixed = ["setup", "--model", "lab", "--url", "http://model.example/"];
        self.run(&[&fixed, more].concat())
    }

    /// Every path, with what tells whether somebody touched it.
    fn everything(&self) -> BTreeMap<PathBuf, (u64, u32, i64, i64)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let it = fs::symlink_metadata(&path).unwrap();
                if it.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path, (it.ino(), it.mode(), it.ctime(), it.ctime_nsec()));
            }
        }
        found
    }
}

/// The key in the command for clones.
fn key_of(ran: &Ran) -> String {
    let last = ran.output.lines().last().unwrap();
    let (_, key) = last.rsplit_once(" --key ").unwrap();
    key.to_owned()
}

#[test]
fn one_command_makes_a_model_and_its_last_line_is_the_command_for_clones() {
    let machine = Machine::new();
    let ran = machine.setup(&[]).expect(0);
    let public = machine.read("root/model.key.pub");
    let key = public.lines().nth(1).unwrap();
    assert_eq!(
        ran.output,
        format!(
            "Publish this machine, now and whenever it has changed:\n\n    \
             reclone-model publish --key /root/model.key /srv/model\n\n\
             Serve it with any web server; none of nginx, Apache and Caddy is here. Or by this program, until it is stopped,\n\
             or from now on with `reclone-model setup --serve-unit`:\n\n    \
             reclone-model serve /srv/model --listen '[::]:8080'\n\n\
             On each clone, as root, once something is published:\n\n\
             reclone enroll http://model.example --key {key}\n"
        )
    );
    let ran = ran.says("made the key pair /root/model.key and /root/model.key.pub: keep a copy");
    let ran = ran.says("made the store /srv/model for the model lab");
    ran.says("wrote a first /etc/reclone/policy");
    let mode = |path: &str| {
        fs::metadata(machine.path(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(
        ["root/model.key", "root/model.key.pub", "etc/reclone/policy"].map(mode),
        [0o600, 0o644, 0o644]
    );

    let publish = ["publish", "--key", "/root/model.key", "/srv/model"];
    assert_eq!(machine.run(&publish).generation(), 1);
    let head = fs::read(machine.path("srv/model/head")).unwrap();
    let head = Head::verify(&head, &PublicKey::decode(key).unwrap()).unwrap();
    assert_eq!(head.model, "lab");
}

#[test]
fn a_second_run_changes_nothing_and_says_the_same() {
    let machine = Machine::new();
    let first = machine.setup(&["--serve-unit"]).expect(0);
    let before = machine.everything();
    let second = machine.setup(&["--serve-unit"]).expect(0);
    assert_eq!(second.output, first.output);
    assert_eq!(machine.everything(), before);
    for line in [
        "/root/model.key is there\n",
        "the store /srv/model of the model lab is there\n",
        "/etc/reclone/policy is there\n",
        "/etc/systemd/system/reclone-model.service is there\n",
    ] {
        assert!(second.errors.contains(line), "{line}: {second:?}");
    }
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_would_be_made() {
    let machine = Machine::new();
    let before = machine.everything();
    let ran = machine.setup(&["--dry-run", "--serve-unit"]).expect(0);
    assert_eq!(machine.everything(), before);
    assert_eq!(key_of(&ran), "KEY");
    for line in [
        "would make the key pair /root/model.key and /root/model.key.pub\n",
        "would make the store /srv/model for the model lab\n",
        "would write a first /etc/reclone/policy\n",
        "would write /etc/systemd/system/reclone-model.service and start it\n",
    ] {
        assert!(ran.errors.contains(line), "{line}: {ran:?}");
    }
}

#[test]
fn what_is_there_already_is_used_and_never_overwritten() {
    let machine = Machine::new();
    let init = ["init", "/srv/other", "--key", "/root/model.key"];
    machine.run(&init).expect(0);
    machine.write("etc/reclone/policy", "keep /home\n");
    machine.write("etc/systemd/system/reclone-model.service", "[Unit]\n");
    let secret = machine.read("root/model.key");
    let ran = machine.setup(&["--serve-unit"]).expect(0);
    let public = machine.read("root/model.key.pub");
    assert_eq!(key_of(&ran), public.lines().nth(1).unwrap());
    assert_eq!(machine.read("root/model.key"), secret);
    assert_eq!(machine.read("etc/reclone/policy"), "keep /home\n");
    let unit = "etc/systemd/system/reclone-model.service";
    assert_eq!(machine.read(unit), "[Unit]\n");
    ran.says("reclone-model.service is another than `reclone-model setup` would write; it stays");
    // The public key comes back from the secret one.
    fs::remove_file(machine.path("root/model.key.pub")).unwrap();
    machine.setup(&[]).expect(0);
    assert_eq!(machine.read("root/model.key.pub"), public);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let machine = Machine::new();
    machine.setup(&[]).expect(0);
    let before = machine.everything();
    let other = ["setup", "--model", "other"];
    machine
        .run(&other)
        .expect(2)
        .says("/srv/model is of the model `lab`; `reclone-model publish --model other` gives it another name");
    machine
        .setup(&["--store", "/usr"])
        .expect(1)
        .says("/usr is not empty; a new store needs a new or an empty folder");
    machine
        .setup(&["--store", "/srv/my store"])
        .expect(2)
        .says("/srv/my store: a blank, quote or other letter in it");
    assert_eq!(machine.everything(), before);
    fs::remove_file(machine.path("root/model.key")).unwrap();
    machine.setup(&[]).expect(1).says(
        "model.key.pub can not be used: it is there, but its secret key /root/model.key is not",
    );
    fs::remove_file(machine.path("root/model.key.pub")).unwrap();
    machine
        .setup(&[])
        .expect(1)
        .says("but the store /srv/model is signed by");
}

#[test]
fn the_first_policy_tells_what_was_found_and_has_no_rule() {
    let machine = Machine::new();
    machine.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    machine.write("etc/ssh/ssh_host_ed25519_key", "x");
    machine.write("etc/ssh/sshd_config", "x");
    machine.write("var/lib/dhcp/dhclient.leases", "x");
    machine.write("root/.netrc", "machine x password y\n");
    machine.write("boot/initrd.img-6", "x");
    machine.setup(&[]).expect(0);
    let policy = machine.read("etc/reclone/policy");
    assert!(policy.lines().all(|line| line.starts_with('#')), "{policy}");
    let (_, found) = policy.split_once("#keep /home\n").unwrap();
    assert_eq!(
        found,
        "#\n\
         # Each clone has its own of these without a rule (`reclone explain --builtin`); found on this machine:\n\
         #   /etc/machine-id\n\
         #   /etc/ssh/ssh_host_ed25519_key\n\
         #   /var/lib/dhcp/dhclient.leases\n\
         #\n\
         # Would be published, and perhaps should not; found on this machine by `reclone-model lint`:\n\
         #   /etc/machine-id: it is this machine's identity: clones have their own, but what reads it here sees it; empty it before the publish\n\
         #   /root/.netrc: it holds passwords or tokens: exclude it\n"
    );
}

#[test]
fn a_tree_that_can_not_be_looked_at_gets_a_policy_all_the_same() {
    let machine = Machine::new();
    machine.write("etc/reclone/exclude", "[\n");
    machine
        .setup(&[])
        .expect(0)
        .says("nothing is looked for; `reclone-model lint` does that later");
    assert!(machine.path("etc/reclone/policy").exists());
}

#[test]
fn a_tree_elsewhere_gets_the_policy_and_is_named_in_the_command() {
    let machine = Machine::new();
    fs::create_dir_all(machine.path("srv/tree/etc")).unwrap();
    let ran = machine.setup(&["--from", "/srv/tree"]).expect(0);
    assert!(machine.path("srv/tree/etc/reclone/policy").exists());
    assert!(!machine.path("etc/reclone").exists());
    let command = "\n    reclone-model publish --from /srv/tree --key /root/model.key /srv/model\n";
    assert!(ran.output.contains(command), "{}", ran.output);
}

#[test]
fn a_boot_partition_is_published_too() {
    let machine = Machine::new();
    machine.write("boot/own", "");
    let ran = machine.setup(&[]).expect(0);
    let command = "\n    reclone-model publish --cross /boot --key /root/model.key /srv/model\n";
    assert!(ran.output.contains(command), "{}", ran.output);
}

#[test]
fn each_web_server_that_is_here_gets_its_lines() {
    let machine = Machine::new();
    for (program, name, file) in [
        (
            "usr/sbin/nginx",
            "nginx",
            "> /etc/nginx/conf.d/reclone.conf",
        ),
        (
            "usr/sbin/apache2",
            "Apache",
            "> /etc/apache2/sites-available/reclone.conf",
        ),
        ("usr/bin/caddy", "Caddy", ">> /etc/caddy/Caddyfile"),
    ] {
        machine.write(program, "");
        let ran = machine.setup(&["--port", "81"]).expect(0);
        let lines = format!("Have {name} serve it on port 81:\n\n    cat {file} <<'END'\n");
        assert!(ran.output.contains(&lines), "{}", ran.output);
        assert!(!ran.output.contains("Serve it with"), "{}", ran.output);
    }
}

#[test]
fn the_unit_starts_on_the_model_alone() {
    let machine = Machine::new();
    let ran = machine.setup(&["--serve-unit", "--port", "81"]).expect(0);
    let line = "reclone-model.service serves /srv/model on port 81;";
    assert!(ran.output.contains(line), "{}", ran.output);
    ran.says("systemd does not run here: `systemctl enable --now reclone-model.service`");
    let unit = machine.read("etc/systemd/system/reclone-model.service");
    for line in [
        "ConditionPathExists=/srv/model/.reclone-model/store",
        "ExecStart=/usr/sbin/reclone-model serve /srv/model --listen [::]:81",
        "WantedBy=multi-user.target",
    ] {
        assert!(unit.lines().any(|it| it == line), "{line}: {unit}");
    }
    // Where systemd runs, it is told; that it can not be is no silent end.
    fs::create_dir_all(machine.path("run/systemd/system")).unwrap();
    machine
        .setup(&["--serve-unit"])
        .expect(1)
        .says("Can not run systemctl: No such file");
    fs::copy(PROGRAM, machine.path("usr/bin-systemctl")).unwrap();
    fs::create_dir_all(machine.path("usr/bin")).unwrap();
    fs::rename(
        machine.path("usr/bin-systemctl"),
        machine.path("usr/bin/systemctl"),
    )
    .unwrap();
    machine
        .setup(&["--serve-unit"])
        .expect(1)
        .says("`systemctl enable --now reclone-model.service` failed; everything else is done");
}

/// What a shell would write into the file of a configuration.
fn document(output: &str) -> String {
    let (_, rest) = output.split_once("<<'END'\n").unwrap();
    let (document, _) = rest.split_once("    END\n").unwrap();
    document.to_owned()
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn nginx_serves_the_store_by_its_lines_and_none_of_the_publishers_notes() {
    let nginx = Path::new("/usr/sbin/nginx");
    if !nginx.exists() {
        eprintln!("SKIPPED: no nginx");
        return;
    }
    let machine = Machine::new();
    machine.write("usr/sbin/nginx", "");
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let ran = machine.setup(&["--port", &port.to_string()]).expect(0);
    machine
        .run(&["publish", "--key", "/root/model.key", "/srv/model"])
        .expect(0);
    // The machine's store, seen from here.
    let root = machine.root.path().to_str().unwrap();
    fs::set_permissions(machine.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let lines = document(&ran.output).replace("/srv/model", &format!("{root}/srv/model"));
    let config = format!(
        "daemon off; pid {root}/nginx.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n{lines}}}\n"
    );
    machine.write("nginx.conf", &config);
    let mut server = Command::new(nginx)
        .args(["-c", &format!("{root}/nginx.conf")])
        .spawn()
        .unwrap();
    // It listens before it writes the file, but takes connections in children that come later.
    while !machine.path("nginx.pid").exists() {
        assert!(server.try_wait().unwrap().is_none(), "nginx ended");
        std::thread::yield_now();
    }
    let answers = ["/head", "/.reclone-model/store", "/heads/1"].map(|path| get(port, path));
    if Path::new("/proc/net/if_inet6").exists() {
        TcpStream::connect(("::1", port)).unwrap();
    }
    let stop = Command::new("kill").arg(server.id().to_string()).status();
    assert!(stop.unwrap().success());
    server.wait().unwrap();
    let [head, notes, copy] = answers;
    let text = machine.read("srv/model/head");
    assert!(
        head.starts_with("HTTP/1.1 200") && head.ends_with(&text),
        "{head}"
    );
    assert!(head.contains("\r\nCache-Control: no-cache\r\n"), "{head}");
    assert!(notes.starts_with("HTTP/1.1 404"), "{notes}");
    assert!(copy.ends_with(&text), "{copy}");
}
