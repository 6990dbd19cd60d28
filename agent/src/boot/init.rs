//! What a root will run as its first process, and whether that tells of a good boot.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};
use std::{fs, io};

use log::warn;

use crate::command_line::{TO_A_SHELL, words};

/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

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

/// Whether the root at `root` has what this kernel command line wants to run first.
pub fn is_there(root: &Path, command_line: &str) -> bool {
    let words = words(command_line);
    let mut named = words.iter().filter_map(|word| word.strip_prefix("init="));
    let init = named.next_back().unwrap_or(INIT);
    match inside(root, init) {
        Ok(found) => found.is_file() && found.permissions().mode() & 0o111 != 0,
        Err(error) => {
            warn!("{init}: {error}");
            false
        }
    }
}

/// Whether a good boot of the root at `root` comes to `multi-user.target`: systemd starts it, and goes there.
pub fn reports(root: &Path, command_line: &str) -> bool {
    let words = words(command_line);
    let goes_elsewhere = words
        .iter()
        .any(|word| TO_A_SHELL.contains(&word.as_str()) || word.starts_with("systemd.unit="));
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

/// What the file at `path` in the system at `root` is, with links as they will lead once that is the root. Step by step: the kernel's own
/// way to do that (openat2) gives up, in more ways than are written down, where anything is mounted or unmounted meanwhile.
fn inside(root: &Path, path: &str) -> io::Result<Metadata> {
    let mut at = root.to_owned();
    let mut steps = steps(Path::new(path));
    let mut links = 0;
    while let Some(step) = steps.pop() {
        if step == ".." {
            if at != root {
                at.pop();
            }
            continue;
        }
        at.push(step);
        if !fs::symlink_metadata(&at)?.is_symlink() {
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::other("too many links"));
        }
        let target = fs::read_link(&at)?;
        match target.is_absolute() {
            true => root.clone_into(&mut at),
            false => drop(at.pop()),
        }
        steps.extend(self::steps(&target));
    }
    fs::symlink_metadata(&at)
}

/// The names of a path, the last one first.
fn steps(path: &Path) -> Vec<OsString> {
    let steps = path.components().rev().filter_map(|step| match step {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    steps.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

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
    fn links_that_lead_up_or_round_stay_inside_the_root() {
        let root = debian();
        let init = root.path().join("usr/sbin/init");
        fs::remove_file(&init).unwrap();
        symlink("../../../../usr/lib/systemd/../systemd/systemd", &init).unwrap();
        assert!(is_there(root.path(), ""));
        fs::remove_file(&init).unwrap();
        symlink("/sbin/init", &init).unwrap();
        let error = inside(root.path(), INIT).unwrap_err();
        assert_eq!(error.to_string(), "too many links");
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
