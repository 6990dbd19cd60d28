//! systemd-boot, and whoever else reads `loader/entries` as the Boot Loader Specification has it.

use std::path::{Path, PathBuf};

use super::{Entries, Entry, FILES, read as read_file};
use crate::error::Result;

const ROLES: [&str; 2] = ["current", "previous"];

fn path(home: &Path, role: &str) -> PathBuf {
    home.join(format!("loader/entries/reclone-{role}.conf"))
}

pub fn read(home: &Path) -> Result<Entries> {
    let entry = |role: &str| -> Result<Option<Entry>> {
        let text = read_file(&path(home, role))?;
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let id = value("linux /reclone/").and_then(|it| it.split('/').next());
        Ok(id.map(|id| Entry {
            id: id.to_owned(),
            words: value("options ").unwrap_or_default().to_owned(),
        }))
    };
    Ok(Entries {
        current: entry(ROLES[0])?,
        previous: entry(ROLES[1])?,
    })
}

/// The one before comes first: else there would be a moment in which nothing names its files.
pub fn write(home: &Path, entries: &Entries) -> Vec<(PathBuf, Option<String>)> {
    let file = |role: &str, entry: &Option<Entry>| {
        let text = entry.as_ref().map(|it| text(role, it));
        (path(home, role), text)
    };
    vec![
        file(ROLES[1], &entries.previous),
        file(ROLES[0], &entries.current),
    ]
}

/// Entries are sorted by their keys, and the first one boots. Those of distributions have their own names as keys, or none.
fn text(role: &str, entry: &Entry) -> String {
    let Entry { id, words } = entry;
    let (release, [kernel, initramfs]) = (entry.release(), FILES);
    let (key, note) = match role == ROLES[0] {
        true => (0, ""),
        false => (1, ": the one before"),
    };
    format!(
        "title Linux {release}, by reclone{note}\n\
         sort-key 00reclone{key}\n\
         version {release}\n\
         linux /reclone/{id}/{kernel}\n\
         initrd /reclone/{id}/{initramfs}\n\
         options {words}\n"
    )
}
