//! The walk through what a session changed, path by path.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use reclone_format::{Policy, Rule};

use super::Following;
use crate::copy;
use crate::error::{Error, Result};
use crate::sys::beneath::is_real;
use crate::sys::xattr;

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// Paths whose local change went on.
    pub carried: u64,
    /// Paths whose local version was saved.
    pub saved: Vec<PathBuf>,
}

/// The trees and the rules.
pub struct Carrier<'a> {
    policy: &'a Policy,
    following: Following,
    saved: &'a Path,
    upper: PathBuf,
    model: PathBuf,
    clone: PathBuf,
    root: PathBuf,
    /// Where in the root the first name of a file with several is.
    links: HashMap<(u64, u64), PathBuf>,
    pub done: Done,
}

/// A path as the three trees have it: the model before, the clone, the model now.
struct Three {
    old: Option<Metadata>,
    local: Option<Metadata>,
    new: Option<Metadata>,
}

impl<'a> Carrier<'a> {
    /// With these rules; what loses goes below `saved`.
    pub fn new(policy: &'a Policy, following: Following, saved: &'a Path) -> Self {
        Self {
            policy,
            following,
            saved,
            upper: PathBuf::new(),
            model: PathBuf::new(),
            clone: PathBuf::new(),
            root: PathBuf::new(),
            links: HashMap::new(),
            done: Done::default(),
        }
    }

    /// The session's layer, the model it was over, what both show together, and the root to write to.
    pub fn trees(&mut self, upper: &Path, model: &Path, clone: &Path, root: &Path) {
        self.upper = upper.into();
        self.model = model.into();
        self.clone = clone.into();
        self.root = root.into();
    }

    /// Does all of it.
    pub fn run(&mut self) -> Result<()> {
        self.folder(Path::new(""), false)
    }

    /// What is in a folder: what the layer has of it, or, where the layer's folder took the place of another, all that there is or was.
    fn folder(&mut self, folder: &Path, whole: bool) -> Result<()> {
        let tops = match whole {
            true => vec![&self.model, &self.clone],
            false => vec![&self.upper],
        };
        let mut names = BTreeSet::new();
        for top in tops {
            names.extend(names_in(&top.join(folder))?);
        }
        for name in names {
            self.path(&folder.join(name), whole)?;
        }
        Ok(())
    }

    fn path(&mut self, path: &Path, whole: bool) -> Result<()> {
        let at = |top: &Path| fs::symlink_metadata(top.join(path)).ok();
        let three = Three {
            old: at(&self.model),
            local: at(&self.clone),
            new: at(&self.root).filter(|_| is_real(&self.root, parent(path))),
        };
        let was_folder = is_folder(&three.old);
        let rule = self.rule(
            path,
            is_folder(&three.local) || three.local.is_none() && was_folder,
        );
        if matches!(rule, Rule::Keep | Rule::Seed) {
            return Ok(());
        }
        let follows = rule == Rule::Follow;
        if is_folder(&three.local) {
            if follows {
                self.take_folder(path, &three)?;
            }
            let whole = whole || replaces(&self.upper.join(path));
            self.folder(path, whole)?;
            self.mend_times(path, &three)
        } else if was_folder {
            self.folder(path, true)?;
            if follows {
                self.drop_folder(path, &three)
            } else {
                Ok(())
            }
        } else if follows {
            self.take(path, &three)
        } else {
            Ok(())
        }
    }

    fn rule(&self, path: &Path, is_folder: bool) -> Rule {
        let verdict = self.policy.verdict(path.as_os_str().as_bytes(), is_folder);
        match verdict.map(|verdict| verdict.line.rule) {
            None if self.following.all => Rule::Follow,
            rule => rule.unwrap_or(Rule::Reset),
        }
    }

    /// A path that is no folder before or for the clone.
    fn take(&mut self, path: &Path, three: &Three) -> Result<()> {
        let (old, local, new) = (&three.old, &three.local, &three.new);
        if self.is_same(path, (&self.clone, local), (&self.model, old))?
            || self.is_same(path, (&self.clone, local), (&self.root, new))?
        {
            return Ok(());
        }
        let model_changed = !self.is_same(path, (&self.model, old), (&self.root, new))?;
        let has_place = is_real(&self.root, parent(path));
        match local {
            None if model_changed => Ok(()),
            None => self.remove(path, new),
            Some(_) if !model_changed && has_place => self.put(path, new),
            Some(local) if self.wins(local, new) && has_place => self.put(path, new),
            Some(_) => self.save(path),
        }
    }

    /// Whether the clone's version is taken although the model has another.
    fn wins(&self, local: &Metadata, new: &Option<Metadata>) -> bool {
        let time = |it: &Metadata| (it.mtime(), it.mtime_nsec());
        let is_newer = |new: &Metadata| !new.is_dir() && time(local) > time(new);
        self.following.newer_wins && new.as_ref().is_some_and(is_newer)
    }

    /// A folder of the clone: made where it is new, its attributes set where they were changed.
    fn take_folder(&mut self, path: &Path, three: &Three) -> Result<()> {
        let (old, local, new) = (&three.old, &three.local, &three.new);
        if is_folder(new) {
            let changed = !self.is_same(path, (&self.clone, local), (&self.model, old))?;
            let model_changed = !self.is_same(path, (&self.model, old), (&self.root, new))?;
            if is_folder(old) && changed && !model_changed {
                self.done.carried += 1;
                let (from, to) = (self.clone.join(path), self.root.join(path));
                let metadata =
                    fs::symlink_metadata(&from).map_err(Error::system("can not read", &from))?;
                return copy::attributes(&from, &to, &metadata)
                    .map_err(Error::system("can not set the attributes of", &to));
            }
            return Ok(());
        }
        let has_place = is_real(&self.root, parent(path));
        let model_changed = !self.is_same(path, (&self.model, old), (&self.root, new))?;
        match has_place && !model_changed {
            true => self.put(path, new),
            false => Ok(()),
        }
    }

    /// A folder of before that the clone removed, or put something else in the place of. What the model changed in it stays.
    fn drop_folder(&mut self, path: &Path, three: &Three) -> Result<()> {
        let is_empty = names_in(&self.root.join(path)).is_ok_and(|names| names.is_empty());
        let model_changed =
            !self.is_same(path, (&self.model, &three.old), (&self.root, &three.new))?;
        let goes = is_folder(&three.new) && is_empty && !model_changed;
        if goes {
            self.remove(path, &three.new)?;
        }
        match &three.local {
            None => Ok(()),
            Some(_) if goes => self.put(path, &None),
            Some(_) => self.save(path),
        }
    }

    /// A folder's time is changed by what is written into it.
    fn mend_times(&self, path: &Path, three: &Three) -> Result<()> {
        let to = self.root.join(path);
        if !is_real(&self.root, path) {
            return Ok(());
        }
        let time = match (&three.new, &three.local) {
            (Some(new), _) if new.is_dir() => new.modified(),
            (_, Some(local)) => local.modified(),
            _ => return Ok(()),
        };
        let set = || fs::File::open(&to)?.set_modified(time?);
        set().map_err(Error::system("can not set the time of", &to))
    }

    fn put(&mut self, path: &Path, new: &Option<Metadata>) -> Result<()> {
        self.remove(path, new)?;
        let (from, to) = (self.clone.join(path), self.root.join(path));
        let mut put = || -> io::Result<()> {
            let metadata = fs::symlink_metadata(&from)?;
            let key = (metadata.dev(), metadata.ino());
            if !metadata.is_dir() && metadata.nlink() > 1 {
                if let Some(first) = self.links.get(&key) {
                    return fs::hard_link(first, &to);
                }
                self.links.insert(key, to.clone());
            }
            copy::node(&from, &to)
        };
        self.done.carried += u64::from(new.is_none());
        put().map_err(Error::system("can not carry on", &to))
    }

    fn remove(&mut self, path: &Path, new: &Option<Metadata>) -> Result<()> {
        let at = self.root.join(path);
        let removed = match new {
            None => return Ok(()),
            Some(new) if new.is_dir() => fs::remove_dir(&at),
            Some(_) => fs::remove_file(&at),
        };
        self.done.carried += 1;
        removed.map_err(Error::system("can not remove", &at))
    }

    fn save(&mut self, path: &Path) -> Result<()> {
        let to = self.saved.join(path);
        let save = || -> io::Result<()> {
            fs::create_dir_all(parent(&to))?;
            match fs::remove_file(&to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            copy::node(&self.clone.join(path), &to)
        };
        save().map_err(Error::system("can not save", &to))?;
        self.done.saved.push(path.into());
        Ok(())
    }

    fn is_same(
        &self,
        path: &Path,
        (left_top, left): (&Path, &Option<Metadata>),
        (right_top, right): (&Path, &Option<Metadata>),
    ) -> Result<bool> {
        let (Some(a), Some(b)) = (left, right) else {
            return Ok(left.is_none() && right.is_none());
        };
        let (left, right) = (left_top.join(path), right_top.join(path));
        let facts = |it: &Metadata| (it.mode(), it.uid(), it.gid());
        let same = || -> io::Result<bool> {
            match a.is_dir() && b.is_dir() {
                true => Ok(facts(a) == facts(b) && xattr::all(&left)? == xattr::all(&right)?),
                false => copy::is_same(&left, &right),
            }
        };
        same().map_err(Error::system("can not compare", &left))
    }
}

fn is_folder(metadata: &Option<Metadata>) -> bool {
    metadata.as_ref().is_some_and(Metadata::is_dir)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Whether a folder of a layer hides the one below it, or shows another.
fn replaces(folder: &Path) -> bool {
    let has = |name: &[u8]| xattr::has(folder, name).unwrap_or(false);
    has(b"trusted.overlay.opaque") || has(b"trusted.overlay.redirect")
}

/// The names in a folder; none where it is not there or none.
fn names_in(folder: &Path) -> Result<Vec<OsString>> {
    if !fs::symlink_metadata(folder).is_ok_and(|it| it.is_dir()) {
        return Ok(Vec::new());
    }
    let read = || -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    };
    read().map_err(Error::system("can not list", folder))
}
