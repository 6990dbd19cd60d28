//! The rules of following, told path by path on whole trees in memory.

use std::collections::{BTreeMap, BTreeSet};

/// Folders are none, files have a content.
pub type Tree = BTreeMap<String, Option<String>>;

/// What a clone shows that made `local` of the model `old`, over the model `new`; and the files whose local version lost.
pub fn carried(old: &Tree, local: &Tree, new: &Tree) -> (Tree, BTreeMap<String, String>) {
    let mut result = new.clone();
    let mut saved = BTreeMap::new();
    let paths: BTreeSet<&String> = [old, local, new]
        .iter()
        .flat_map(|tree| tree.keys())
        .collect();
    // Folders before what is in them.
    for path in &paths {
        let (was, is, will) = (old.get(*path), local.get(*path), new.get(*path));
        if is == was || is == will {
            continue;
        }
        let in_folder = path
            .rsplit_once('/')
            .is_none_or(|(folder, _)| result.contains_key(folder));
        match is {
            Some(content) if was == will && in_folder => {
                result.insert((*path).clone(), content.clone());
            }
            Some(Some(text)) => {
                saved.insert((*path).clone(), text.clone());
            }
            _ => {}
        }
    }
    // What is in folders before them: one goes only when it is empty.
    for path in paths.iter().rev() {
        let (was, is, will) = (old.get(*path), local.get(*path), new.get(*path));
        let below = format!("{path}/");
        let is_empty = !result.keys().any(|other| other.starts_with(&below));
        if is.is_none() && was.is_some() && was == will && is_empty {
            result.remove(*path);
        }
    }
    (result, saved)
}
