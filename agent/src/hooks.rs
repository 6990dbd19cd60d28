//! Programs of the administrator that are told what was restored, so that who uses the files reads them again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use log::{info, warn};

/// Where they are.
pub const FOLDER: &str = "/etc/reclone/restored.d";

/// Runs every program in `folder`, in the order of their names, with the restored paths as arguments, one after the other. One that
/// fails is reported, and the next one runs.
pub fn run(folder: &Path, paths: &[PathBuf]) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    programs.sort();
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    for program in programs.iter().filter(|path| is_program(path)) {
        info!("telling {}", program.display());
        match Command::new(program).args(paths).status() {
            Ok(status) if status.success() => {}
            Ok(status) => warn!("{}: {status}", program.display()),
            Err(error) => warn!("{}: {error}", program.display()),
        }
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
}
