//! systemd-boot, and whoever else reads `loader/entries` as the Boot Loader Specification has it.
//!
//! The starts of a new entry are counted, by its name: `reclone-current+3.conf` may be started three times, and becomes
//! `reclone-current+2-1.conf` at the first. Without any left it comes last in the menu. A good boot takes the numbers away.

use std::path::{Path, PathBuf};

use super::{Asked, Edit, Entries, Entry, FILES, came_from, read as read_file};
use crate::error::Result;
use crate::pool::list;

/// The role of the entry that boots.
pub const CURRENT: &str = "current";
const ROLES: [&str; 2] = [CURRENT, "previous"];
/// How many starts a new entry has.
const TRIES: u32 = 3;

fn folder(home: &Path) -> PathBuf {
    home.join("loader/entries")
}

/// The file of an entry whose starts are not counted.
pub fn path(home: &Path, role: &str) -> PathBuf {
    folder(home).join(format!("reclone-{role}.conf"))
}

/// The starts that the entry in a file of this name has left, if they are counted; nothing where it is no entry of this role.
fn tries(name: &str, role: &str) -> Option<Option<u32>> {
    let rest = name.strip_prefix("reclone-")?.strip_prefix(role)?;
    match rest.strip_suffix(".conf")?.strip_prefix('+') {
        Some(counts) => counts.split('-').next()?.parse().ok().map(Some),
        None => (rest == ".conf").then_some(None),
    }
}

/// The files of a role with what is left, the newest first: of a run that did not come to its end there may be two.
fn files(home: &Path, role: &str) -> Result<Vec<(PathBuf, Option<u32>)>> {
    // Without starts left it is the last to be taken; one whose starts are counted is newer than one that proved itself.
    let rank = |tries: Option<u32>| tries.map_or(1, |left| left.saturating_mul(2));
    let mut found: Vec<(PathBuf, Option<u32>)> = Vec::new();
    for path in entries(home)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(tries) = tries(&name, role) {
            let before = found.iter().take_while(|it| rank(it.1) >= rank(tries));
            found.insert(before.count(), (path, tries));
        }
    }
    Ok(found)
}

fn entries(home: &Path) -> Result<Vec<PathBuf>> {
    let folder = folder(home);
    match folder.is_dir() {
        true => list(&folder),
        false => Ok(Vec::new()),
    }
}

fn parse(text: &str, tries: Option<u32>) -> Option<Entry> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let id = value("linux /reclone/").and_then(|it| it.split('/').next())?;
    Some(Entry {
        id: id.to_owned(),
        words: value("options ").unwrap_or_default().to_owned(),
        tries,
    })
}

pub fn read(home: &Path) -> Result<Entries> {
    let entry = |role: &str| -> Result<Option<Entry>> {
        match files(home, role)?.first() {
            Some((path, tries)) => Ok(parse(&read_file(path)?, *tries)),
            None => Ok(None),
        }
    };
    Ok(Entries {
        current: entry(ROLES[0])?,
        previous: entry(ROLES[1])?,
    })
}

/// The folders that any of our files names.
pub fn named(home: &Path) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for role in ROLES {
        for (path, tries) in files(home, role)? {
            ids.extend(parse(&read_file(&path)?, tries).map(|it| it.id));
        }
    }
    Ok(ids)
}

/// What the entries of others say.
pub fn configured(home: &Path) -> Result<String> {
    let mut all = String::new();
    for path in entries(home)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = ROLES.iter().any(|role| tries(&name, role).is_some());
        if !is_ours && name.ends_with(".conf") {
            all += &read_file(&path)?;
            all.push('\n');
        }
    }
    Ok(all)
}

/// The one before comes first: else there would be a moment in which nothing names its files. An entry that stands keeps its name, and so
/// its count, unless somebody gives one without starts new ones; else the new one stands before the old one goes.
pub fn write(home: &Path, entries: &Entries, asked: Asked) -> Result<Vec<Edit>> {
    let edit = |path: PathBuf, new: Option<String>| -> Result<Edit> {
        let old = read_file(&path)?;
        Ok(Edit { path, old, new })
    };
    let text = |role: usize, entry: &Option<Entry>| entry.as_ref().map(|it| text(role, it));
    let (previous, current) = (text(1, &entries.previous), text(0, &entries.current));
    let mut edits = vec![edit(path(home, ROLES[1]), previous)?];
    let found = files(home, CURRENT)?;
    let mut at = folder(home).join(format!("reclone-{CURRENT}+{TRIES}.conf"));
    for (path, tries) in &found {
        let may_stay = asked == Asked::ByBoot || *tries != Some(0);
        if may_stay && current.as_ref() == Some(&read_file(path)?) {
            at.clone_from(path);
            break;
        }
    }
    edits.push(edit(at.clone(), current)?);
    for (path, _) in found.into_iter().filter(|(path, _)| *path != at) {
        edits.push(edit(path, None)?);
    }
    Ok(edits)
}

/// The file of the current entry, if its starts are counted and a boot with this command line came from it.
pub fn started(home: &Path, command_line: &str) -> Result<Option<PathBuf>> {
    for (path, tries) in files(home, CURRENT)? {
        let entry = parse(&read_file(&path)?, tries);
        if entry.is_some_and(|it| it.tries.is_some() && came_from(command_line, &it.id)) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Entries are sorted by their keys, and the first one boots. Those of distributions have their own names as keys, or none.
fn text(role: usize, entry: &Entry) -> String {
    let Entry { id, words, .. } = entry;
    let (release, [kernel, initramfs]) = (entry.release(), FILES);
    let note = ["", ": the one before"][role];
    format!(
        "title Linux {release}, by reclone{note}\n\
         sort-key 00reclone{role}\n\
         version {release}\n\
         linux /reclone/{id}/{kernel}\n\
         initrd /reclone/{id}/{initramfs}\n\
         options {words}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_tells_what_is_left() {
        let cases = [
            ("reclone-current.conf", Some(None)),
            ("reclone-current+3.conf", Some(Some(3))),
            ("reclone-current+2-1.conf", Some(Some(2))),
            ("reclone-current+0-3.conf", Some(Some(0))),
            ("reclone-current+.conf", None),
            ("reclone-current+3.conf.new", None),
            ("reclone-currently.conf", None),
            ("reclone-previous.conf", None),
            ("debian+3.conf", None),
        ];
        for (name, expected) in cases {
            assert_eq!(tries(name, "current"), expected, "{name}");
        }
    }
}
