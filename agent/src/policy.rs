//! The rules in force: the built-in list, the model's `/etc/reclone/policy` in the generation that boots, the clone's own `policy` in the
//! pool; the later win. What they exclude is none of a clone's rules. A file that can not be used does not count: its last good copy, in `policies/`, does.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use log::warn;
use reclone_format::policy::{MAX_FILE, MODEL_FILE};
use reclone_format::{Policy, PolicyError, TreePath};

use crate::error::{Error, Result};
use crate::manifest::find;
use crate::pool::{Pool, create_new, make_own_dir};
use crate::state::Generation;
use crate::sys::beneath;

/// A source of rules beside the built-in list.
#[derive(Clone, Copy, Debug)]
enum Source {
    Model,
    Clone,
}

impl Source {
    /// Its name in messages.
    fn name(self) -> &'static str {
        match self {
            Source::Model => "/etc/reclone/policy",
            Source::Clone => "the pool's policy",
        }
    }

    /// Its last good copy.
    fn copy(self, pool: &Pool) -> PathBuf {
        pool.policies().join(match self {
            Source::Model => "model",
            Source::Clone => "clone",
        })
    }
}

/// The rules for the generation that is mounted at `root`. With `remember`, what can be used becomes the last good copy; a failure of that
/// is a warning. So is what can not be used.
pub fn in_force(pool: &Pool, root: &Path, remember: bool) -> Policy {
    let mut policy = Policy::built_in();
    let model = read_beneath(root);
    for (source, text) in [(Source::Model, model), (Source::Clone, read_own(pool))] {
        match text.map_err(|error| format!("{}: {error}", source.name())) {
            Ok(text) => match add(&mut policy, source, &text) {
                Ok(()) if remember => remember_copy(pool, source, &text),
                Ok(()) => {}
                Err(error) => fall_back(pool, &mut policy, source, &error.to_string()),
            },
            Err(error) => fall_back(pool, &mut policy, source, &error),
        }
    }
    policy.of_clone()
}

/// The rules that held when a generation was booted last: what is there before one is mounted. Complains of nothing; [`in_force`] does.
pub fn last(pool: &Pool) -> Policy {
    let mut policy = Policy::built_in();
    add_copy(pool, &mut policy, Source::Model);
    let own = read_own(pool).ok();
    if own.is_none_or(|text| add(&mut policy, Source::Clone, &text).is_err()) {
        add_copy(pool, &mut policy, Source::Clone);
    }
    policy.of_clone()
}

/// The rules that a generation of the pool will boot with, and what can not be used of them.
pub fn of_generation(pool: &Pool, generation: &Generation) -> Result<(Policy, Vec<PolicyError>)> {
    let path = TreePath::from_bytes(MODEL_FILE.into()).expect("it is a path");
    let entry = find(&pool.manifest(generation.number), &path)?;
    let file = entry.map(|entry| match entry.object() {
        Some((id, _)) => pool.object(&id),
        // One more name of another file; the copy is of that.
        None => Source::Model.copy(pool),
    });
    let model = match file {
        Some(file) => File::open(&file)
            .and_then(bounded)
            .map_err(Error::system("can not read", &file))?,
        None => Vec::new(),
    };
    let own = read_own(pool).map_err(Error::system("can not read", &pool.policy()))?;
    let (mut policy, mut errors) = (Policy::built_in(), Vec::new());
    for (source, text) in [(Source::Model, model), (Source::Clone, own)] {
        if let Err(error) = add(&mut policy, source, &text) {
            add_copy(pool, &mut policy, source);
            errors.push(error);
        }
    }
    Ok((policy.of_clone(), errors))
}

fn add(policy: &mut Policy, source: Source, text: &[u8]) -> Result<(), PolicyError> {
    policy.add(source.name(), text)
}

fn fall_back(pool: &Pool, policy: &mut Policy, source: Source, why: &str) {
    match add_copy(pool, policy, source) {
        true => warn!("{why}: the last good policy counts"),
        false => warn!("{why}: no rule of it counts"),
    }
}

fn add_copy(pool: &Pool, policy: &mut Policy, source: Source) -> bool {
    let text = File::open(source.copy(pool)).and_then(bounded);
    text.is_ok_and(|text| add(policy, source, &text).is_ok())
}

fn remember_copy(pool: &Pool, source: Source, text: &[u8]) {
    let path = source.copy(pool);
    if File::open(&path).and_then(bounded).unwrap_or_default() == text {
        return;
    }
    let new = path.with_extension("new");
    let write = || -> io::Result<()> {
        io::Write::write_all(&mut create_new(&new)?, text)?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, &path)
    };
    let written = make_own_dir(&pool.policies())
        .and_then(|()| write().map_err(Error::system("can not write", &path)));
    if let Err(error) = written {
        warn!("{error}");
    }
}

/// The model's file; empty where there is none. No link in the tree leads elsewhere.
fn read_beneath(root: &Path) -> io::Result<Vec<u8>> {
    none_is_empty(beneath::open_file(root, Path::new(MODEL_FILE)).and_then(bounded))
}

fn read_own(pool: &Pool) -> io::Result<Vec<u8>> {
    none_is_empty(File::open(pool.policy()).and_then(bounded))
}

fn none_is_empty(read: io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// All of a file, or one byte more than can be used.
fn bounded(file: File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use reclone_format::Rule;

    use super::*;

    #[test]
    fn what_can_not_be_used_leaves_the_last_good_rules_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::create(&folder.path().join("pool")).unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("etc/reclone")).unwrap();
        let rule = |path: &[u8], policy: &Policy| policy.rule(path, false);
        for (model, own, etc, opt) in [
            ("", "", Rule::Reset, Rule::Reset),
            ("keep /etc/a", "seed /opt/a", Rule::Keep, Rule::Seed),
            ("keep /etc/a\nnonsense", "", Rule::Keep, Rule::Reset),
            ("seed /etc/a", "nonsense", Rule::Seed, Rule::Reset),
            ("", "seed /etc/a", Rule::Seed, Rule::Reset),
            // As if there were no rule: neither kept nor, of what is kept, taken away.
            ("keep /etc/a\nexclude a", "", Rule::Keep, Rule::Reset),
        ] {
            fs::write(root.join(MODEL_FILE), model).unwrap();
            fs::write(pool.policy(), own).unwrap();
            let policy = in_force(&pool, &root, true);
            let found = (rule(b"etc/a", &policy), rule(b"opt/a", &policy));
            assert_eq!(found, (etc, opt), "{model} {own}");
            assert_eq!(last(&pool), policy, "{model} {own}");
        }
        fs::remove_dir_all(&root).unwrap();
        fs::remove_file(pool.policy()).unwrap();
        assert_eq!(in_force(&pool, &root, true), Policy::built_in());
    }
}
