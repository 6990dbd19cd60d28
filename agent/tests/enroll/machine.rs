//! A folder that stands for a machine: the agent, a kernel with its initramfs, and one of the two generators, as small as they can be.
//! Programs run with it as their root, in a namespace of their own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::programs::{Site, reclone_model};

/// Mounts what the machine has as its root, from the kernel and, of programs, from the machine under test; the mounts end with the shell.
const RUN: &str = r#"
root=$1
shift
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
for folder in dev usr/bin usr/lib/x86_64-linux-gnu usr/lib64; do
    [ ! -e "/$folder" ] || mount --bind "/$folder" "$root/$folder"
done
exec chroot "$root" "$@"
"#;

/// A generator that takes the agent and its configuration along. Files at the top of the machine have it fail.
const GENERATOR: &str = r#"#!/bin/sh
set -e
echo "$0 $*" >>/calls
if [ -e /broken ]; then
    echo "no space left" >&2
    exit 1
fi
[ ! -e /idle ] || exit 0
cd /
for kernel in boot/vmlinuz-*; do
    image=boot/initrd.img-${kernel#boot/vmlinuz-}
    set -- usr/sbin/reclone
    [ ! -e etc/reclone ] || [ -e /blind ] || set -- "$@" etc/reclone
    tar -cf "$image.new" "$@"
    mv "$image.new" "$image"
done
"#;

/// Which generator a machine has.
#[derive(Clone, Copy)]
pub enum Generator {
    Tools,
    Dracut,
}

pub struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    pub fn new(generator: Generator) -> Self {
        let machine = Self {
            root: tempfile::tempdir().unwrap(),
        };
        for name in ["proc", "dev", "run", "tmp", "boot", "etc", "usr/sbin"] {
            fs::create_dir_all(machine.path(name)).unwrap();
        }
        for name in ["usr/bin", "usr/lib/x86_64-linux-gnu", "usr/lib64"] {
            fs::create_dir_all(machine.path(name)).unwrap();
        }
        for (name, target) in [
            ("bin", "usr/bin"),
            ("lib", "usr/lib"),
            ("lib64", "usr/lib64"),
        ] {
            symlink(target, machine.path(name)).unwrap();
        }
        fs::copy(
            env!("CARGO_BIN_EXE_reclone"),
            machine.path("usr/sbin/reclone"),
        )
        .unwrap();
        for release in ["6.1", "6.12"] {
            machine.write(&format!("boot/vmlinuz-{release}"), "");
            machine.write(&format!("boot/initrd.img-{release}"), "as installed");
        }
        let list = |option: &str| format!("#!/bin/sh\nexec tar {option} \"$1\"\n");
        match generator {
            Generator::Tools => {
                machine.write("usr/share/initramfs-tools/hooks/reclone", "");
                machine.program("mkinitramfs", "#!/bin/sh\n");
                machine.program("update-initramfs", GENERATOR);
                machine.program("lsinitramfs", &list("-tf"));
            }
            Generator::Dracut => {
                machine.write("usr/lib/dracut/modules.d/50reclone/module-setup.sh", "");
                machine.program("dracut", GENERATOR);
                machine.program("lsinitrd", &list("-tvf"));
            }
        }
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    fn program(&self, name: &str, script: &str) {
        let name = format!("usr/sbin/{name}");
        self.write(&name, script);
        fs::set_permissions(self.path(&name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A program of the machine.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", RUN, "run"]);
        command.arg(self.root.path()).args(words);
        command
    }

    /// `reclone enroll` by this store.
    pub fn enroll(&self, server: &Server, more: &[&str]) -> Command {
        let fixed = [
            "/usr/sbin/reclone",
            "enroll",
            &server.url,
            "--key",
            &server.key,
        ];
        self.command(&[&fixed, more].concat())
    }

    pub fn unenroll(&self, more: &[&str]) -> Command {
        self.command(&[&["/usr/sbin/reclone", "unenroll"], more].concat())
    }

    /// How the generator was called since the last time.
    pub fn calls(&self) -> String {
        let calls = self.read("calls").unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        calls
    }

    /// The configuration that an image has.
    pub fn configuration_in(&self, image: &str) -> Option<String> {
        let mut tar = Command::new("tar");
        tar.arg("-xOf")
            .arg(self.path(image))
            .arg("etc/reclone/reclone.conf");
        let output = tar.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then_some(text)
    }

    /// Every path, with its size and what tells whether somebody touched it.
    pub fn everything(&self) -> BTreeMap<PathBuf, [i64; 5]> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                // For what is not to stay.
                if path == self.path("tmp") {
                    continue;
                }
                let it = fs::symlink_metadata(&path).unwrap();
                if it.is_dir() {
                    folders.push(path.clone());
                }
                let (mode, ino, size) = (it.mode().into(), it.ino(), it.size());
                let stamp = [mode, ino as i64, size as i64, it.ctime(), it.ctime_nsec()];
                found.insert(path, stamp);
            }
        }
        found
    }
}

/// A store that is served, until it is dropped.
pub struct Server {
    pub url: String,
    /// The line of the public key.
    pub key: String,
    process: Child,
}

impl Server {
    pub fn start(site: &Site) -> Self {
        use std::io::{BufRead, BufReader};
        let mut serve = reclone_model();
        serve.arg("--quiet").arg("serve").arg(&site.store);
        serve.args(["--listen", "127.0.0.1:0"]);
        let mut process = serve.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.as_mut().unwrap());
        output.read_line(&mut line).unwrap();
        let key = fs::read_to_string(site.public_key()).unwrap();
        Self {
            url: line
                .trim()
                .strip_prefix("listening on ")
                .unwrap()
                .to_owned(),
            key: key.lines().nth(1).unwrap().to_owned(),
            process,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
