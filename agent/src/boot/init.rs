//! What a root will run as its first process, and whether that tells of a good boot.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{fs, io};

use crate::config::words;
use crate::sys::beneath;

/// What the kernel's command line names with `init=`, or what there is without it.
const INIT: &str = "/sbin/init";
/// The targets that `multi-user.target` is a part of, by their names of today and of old.
const TARGETS: [&str; 6] = [
    "graphical.target",
    "multi-user.target",
    "runlevel5.target",
    "runlevel4.target",
    "runlevel3.target",
    "runlevel2.target",
];
/// Words on the kernel's command line with which systemd goes elsewhere.
const ELSEWHERE: [&str; 8] = [
    "single",
    "s",
    "S",
    "1",
    "rescue",
    "emergency",
    "-b",
    "systemd.unit",
];

/// Whether the root at `root` has what this kernel command line wants to run first.
pub fn is_there(root: &Path, command_line: &str) -> bool {
    let words = words(command_line);
    let mut named = words.iter().filter_map(|word| word.strip_prefix("init="));
    let init = named.next_back().unwrap_or(INIT);
    inside(root, init).is_ok_and(|mode| mode & 0o111 != 0)
}

/// Whether a good boot of the root at `root` comes to `multi-user.target`: systemd starts it, and goes there.
pub fn reports(root: &Path, command_line: &str) -> bool {
    let words = words(command_line);
    let goes_elsewhere = words.iter().any(|word| {
        let key = word.split('=').next().unwrap_or(word);
        ELSEWHERE.contains(&key)
    });
    let systemd = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
    let has_systemd = systemd.iter().any(|path| inside(root, path).is_ok());
    has_systemd && !goes_elsewhere && default_target_is_usual(root)
}

/// Whether the target that systemd goes to by itself is one of [`TARGETS`].
fn default_target_is_usual(root: &Path) -> bool {
    let folders = ["etc", "usr/lib", "lib"];
    let link = folders.iter().find_map(|folder| {
        fs::read_link(root.join(folder).join("systemd/system/default.target")).ok()
    });
    let name = link.as_deref().and_then(Path::file_name);
    name.and_then(|name| name.to_str())
        .is_some_and(|name| TARGETS.contains(&name))
}

/// The mode of the file at `path` in the system at `root`, whose links lead as they will once it runs.
fn inside(root: &Path, path: &str) -> io::Result<u32> {
    let metadata = beneath::find(root, path)?.metadata()?;
    match metadata.is_file() {
        true => Ok(metadata.permissions().mode()),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread;

    /// As Debian has it: `/sbin` leads to `usr/sbin`, and init from there to systemd, by an absolute link.
    fn debian() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in ["usr/sbin", "usr/lib/systemd/system", "etc/systemd/system"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        symlink("usr/sbin", at("sbin")).unwrap();
        symlink("/usr/lib/systemd/systemd", at("usr/sbin/init")).unwrap();
        fs::write(at("usr/lib/systemd/systemd"), "").unwrap();
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(at("usr/lib/systemd/systemd"), executable).unwrap();
        symlink(
            "graphical.target",
            at("usr/lib/systemd/system/default.target"),
        )
        .unwrap();
        root
    }

    #[test]
    fn an_init_is_found_where_links_lead_inside_the_root() {
        let root = debian();
        assert!(is_there(root.path(), "quiet"));
        assert!(is_there(root.path(), "init=/usr/lib/systemd/systemd"));
        assert!(!is_there(root.path(), "init=/bin/sh"), "it is not there");
        assert!(!is_there(root.path(), "init=/usr/lib/systemd"), "a folder");
        let systemd = root.path().join("usr/lib/systemd/systemd");
        fs::set_permissions(&systemd, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!is_there(root.path(), ""), "it can not be run");
        fs::remove_file(systemd).unwrap();
        assert!(!is_there(root.path(), ""), "the link leads nowhere");
    }

    #[test]
    fn an_init_is_found_while_others_mount_and_unmount() {
        let root = debian();
        let init = root.path().join("usr/sbin/init");
        fs::remove_file(&init).unwrap();
        symlink("../lib/systemd/systemd", init).unwrap();
        let renamed = [root.path().join("one"), root.path().join("two")];
        fs::write(&renamed[0], "").unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            // What is renamed is as much in the way as what is mounted, and needs no rights.
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    fs::rename(&renamed[0], &renamed[1]).unwrap();
                    fs::rename(&renamed[1], &renamed[0]).unwrap();
                }
            });
            let found = (0..20_000).all(|_| is_there(root.path(), ""));
            stop.store(true, Relaxed);
            assert!(found);
        });
    }

    #[test]
    fn a_system_reports_if_systemd_goes_where_it_usually_goes() {
        let root = debian();
        assert!(reports(root.path(), "root=/dev/sda1 quiet"));
        assert!(reports(root.path(), "rd.systemd.unit=initrd.target"));
        for elsewhere in ["single", "rescue", "1", "systemd.unit=emergency.target"] {
            assert!(!reports(root.path(), elsewhere), "{elsewhere}");
        }
        let own = root.path().join("etc/systemd/system/default.target");
        symlink("/usr/lib/systemd/system/multi-user.target", &own).unwrap();
        assert!(reports(root.path(), ""));
        fs::remove_file(&own).unwrap();
        symlink("kiosk.target", &own).unwrap();
        assert!(!reports(root.path(), ""));
        fs::remove_file(&own).unwrap();
        fs::remove_file(root.path().join("usr/lib/systemd/systemd")).unwrap();
        assert!(!reports(root.path(), ""), "it has another init");
    }
}
