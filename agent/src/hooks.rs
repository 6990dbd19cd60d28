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
