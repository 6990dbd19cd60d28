//! Which paths of a tree the `keep` and `seed` rules name. They are looked for name by name, never by a walk through the tree.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reclone_format::policy::{Line, Part};
use reclone_format::{Policy, Rule};

/// A path that is kept or seeded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// Relative to the top of the tree.
    pub path: PathBuf,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// The paths below `top` that a rule of this kind names and governs, sorted. No symbolic link is followed on the way.
pub fn matches(policy: &Policy, rule: Rule, top: &Path) -> Vec<Match> {
    let lines = policy.lines().iter().filter(|line| line.rule == rule);
    let mut found: Vec<Match> = lines.flat_map(|line| named(line, top)).collect();
    found.sort();
    found.dedup();
    found.retain(|it| {
        governing(policy, &it.path, it.is_folder).is_some_and(|line| line.rule == rule)
    });
    found
}

/// The line that keeps or seeds just this path: not a folder above it.
pub fn governing<'a>(policy: &'a Policy, path: &Path, is_folder: bool) -> Option<&'a Line> {
    let bytes = path.as_os_str().as_bytes();
    let verdict = policy.verdict(bytes, is_folder)?;
    let is_own = verdict.at == bytes.len() && matches!(verdict.line.rule, Rule::Keep | Rule::Seed);
    is_own.then_some(verdict.line)
}

fn named(line: &Line, top: &Path) -> Vec<Match> {
    let mut at = vec![PathBuf::new()];
    for part in line.pattern.parts() {
        at = at
            .iter()
            .flat_map(|folder| children(top, folder, part))
            .collect();
    }
    let found = at.into_iter().filter_map(|path| {
        let metadata = fs::symlink_metadata(top.join(&path)).ok()?;
        let is_folder = metadata.is_dir();
        let fits = line.pattern.matches(path.as_os_str().as_bytes(), is_folder);
        fits.then_some(Match { path, is_folder })
    });
    found.collect()
}

/// What is in a folder under a name that fits.
fn children(top: &Path, folder: &Path, part: &Part) -> Vec<PathBuf> {
    let at = top.join(folder);
    if !fs::symlink_metadata(&at).is_ok_and(|it| it.is_dir()) {
        return Vec::new();
    }
    match part {
        Part::Name(name) => vec![folder.join(OsStr::from_bytes(name))],
        Part::Glob(_) => {
            let names = fs::read_dir(&at).into_iter().flatten().flatten();
            let names = names.map(|entry| entry.file_name());
            let fitting = names.filter(|name| part.matches(name.as_bytes()));
            fitting.map(|name| folder.join(name)).collect()
        }
    }
}
