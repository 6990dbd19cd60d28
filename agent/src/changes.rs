//! What one generation has and another has not, path by path.

use std::cmp::Ordering;
use std::io::Read;

use reclone_format::{Entry, Error as FormatError, Kind, ManifestReader, TreePath};

/// What happened to a path that is not a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// Its content, its metadata or what it is changed.
    Changed,
    /// It is gone.
    Removed,
}

/// Tells every change from `old`, which may be missing, to `new`, in the order of the paths. Directories do not count: theirs
/// change with what is in them.
pub fn compare<R: Read>(
    old: Option<ManifestReader<R>>,
    new: ManifestReader<R>,
    mut tell: impl FnMut(Change, &TreePath),
) -> Result<(), FormatError> {
    let mut old = Files(old);
    let mut new = Files(Some(new));
    let (mut before, mut after) = (old.next()?, new.next()?);
    loop {
        let order = match (&before, &after) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => before.path.cmp(&after.path),
        };
        match (order, &before, &after) {
            (Ordering::Less, Some(before), _) => tell(Change::Removed, &before.path),
            (Ordering::Greater, _, Some(after)) => tell(Change::Added, &after.path),
            (_, Some(before), Some(after)) if !is_same(before, after) => {
                tell(Change::Changed, &after.path);
            }
            _ => {}
        }
        if order != Ordering::Greater {
            before = old.next()?;
        }
        if order != Ordering::Less {
            after = new.next()?;
        }
    }
}

/// Two hard links are the same here: the numbers by which they name a file move with every path before it.
fn is_same(before: &Entry, after: &Entry) -> bool {
    let is_link = |entry: &Entry| matches!(entry.kind, Kind::HardLink { .. });
    before == after || is_link(before) && is_link(after)
}

/// The entries of a manifest that are not directories.
struct Files<R>(Option<ManifestReader<R>>);

impl<R: Read> Files<R> {
    fn next(&mut self) -> Result<Option<Entry>, FormatError> {
        let Some(manifest) = &mut self.0 else {
            return Ok(None);
        };
        while let Some(item) = manifest.next_entry()? {
            if item.entry.kind != Kind::Directory {
                return Ok(Some(item.entry));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use reclone_format::manifest::header_of;
    use reclone_format::{ManifestWriter, ObjectId};

    fn manifest(files: &[(&str, u16)]) -> Vec<u8> {
        let path = |path: &str| TreePath::from_bytes(path.as_bytes().to_vec()).unwrap();
        let mut entries = vec![Entry::new(path(""), Kind::Directory)];
        entries.extend(files.iter().map(|(name, perm)| {
            let kind = match name.ends_with('/') {
                true => Kind::Directory,
                false => Kind::Regular {
                    size: 0,
                    id: ObjectId::EMPTY,
                },
            };
            let mut entry = Entry::new(path(name.trim_end_matches('/')), kind);
            entry.perm = *perm;
            entry
        }));
        let mut writer = ManifestWriter::create(Vec::new(), header_of(entries.iter())).unwrap();
        for entry in &entries {
            writer.push(entry).unwrap();
        }
        writer.finish().unwrap()
    }

    fn told(old: Option<&[(&str, u16)]>, new: &[(&str, u16)]) -> Vec<String> {
        let mut told = Vec::new();
        let (old, new) = (old.map(manifest), manifest(new));
        let open = |bytes| ManifestReader::open(bytes).unwrap();
        let old = old.as_deref().map(open);
        compare(old, open(&new[..]), |change, path| {
            told.push(format!("{change:?} {path}"));
        })
        .unwrap();
        told
    }

    #[test]
    fn every_path_is_told_once_and_in_order() {
        let old = [("a", 1), ("b", 1), ("d", 1), ("e/", 1), ("e/x", 1)];
        let new = [
            ("a", 1),
            ("b", 2),
            ("c", 1),
            ("e/", 2),
            ("e/x", 1),
            ("e/y", 1),
        ];
        let changes = ["Changed /b", "Added /c", "Removed /d", "Added /e/y"];
        assert_eq!(told(Some(&old), &new), changes);
        assert_eq!(told(Some(&new), &new), Vec::<String>::new());
        assert_eq!(
            told(None, &old),
            ["Added /a", "Added /b", "Added /d", "Added /e/x"]
        );
    }
}
