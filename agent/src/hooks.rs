//! Programs of the administrator: those that are told what was restored, so that who uses the files reads them again, and those that
//! tell whether the system is well.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use log::{info, warn};

/// Where those are that are told.
pub const FOLDER: &str = "/etc/reclone/restored.d";
/// Where those are that check.
pub const HEALTH: &str = "/etc/reclone/health.d";

/// Runs every program in `folder`, in the order of their names, with the restored paths as arguments, one after the other. One that
/// fails is reported, and the next one runs.
pub fn run(folder: &Path, paths: &[PathBuf]) {
    for program in programs(folder) {
        info!("telling {}", program.display());
        if let Err(failure) = call(&program, paths) {
            warn!("{}: {failure}", program.display());
        }
    }
}

/// Runs every program in `folder`, in the order of their names, until one fails; gives that one, and how it failed.
pub fn first_failure(folder: &Path) -> Option<(PathBuf, String)> {
    let failure = |program: PathBuf| match call(&program, &[]) {
        Ok(()) => None,
        Err(failure) => Some((program, failure)),
    };
    programs(folder).into_iter().find_map(failure)
}

/// The programs in a folder, by name.
fn programs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    programs.retain(|path| {
        fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    });
    programs.sort();
    programs
}

fn call(program: &Path, arguments: &[PathBuf]) -> Result<(), String> {
    match Command::new(program).args(arguments).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_in_order_and_one_that_fails_does_not_stop_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let said = folder.path().join("said");
        let write = |name: &str, mode, end: &str| {
            let path = folder.path().join(name);
            let script = format!(
                "#!/bin/sh\necho {name} \"$@\" >>{}\n{end}\n",
                said.display()
            );
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write("20-second", 0o755, "");
        write("10-first", 0o700, "exit 3");
        write("15-not-a-program", 0o644, "");
        run(folder.path(), &["/etc/cups".into(), "/etc/a b".into()]);
        let said = fs::read_to_string(said).unwrap();
        assert_eq!(
            said,
            "10-first /etc/cups /etc/a b\n20-second /etc/cups /etc/a b\n"
        );
        run(Path::new("/nowhere"), &[]);
    }

    #[test]
    fn checks_run_in_order_until_one_fails() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, script: &str| {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        write("10-well", "exit 0");
        assert_eq!(first_failure(folder.path()), None);
        let ill = write("20-ill", "exit 3");
        let later = folder.path().join("later");
        write("30-later", &format!("touch {}", later.display()));
        let failure = (ill, "exit status: 3".to_owned());
        assert_eq!(first_failure(folder.path()), Some(failure));
        assert!(!later.exists());
        assert_eq!(first_failure(Path::new("/nowhere")), None);
    }
}
