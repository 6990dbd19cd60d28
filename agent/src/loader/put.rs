//! The order of writes: files, their folder, what is to name them; then its name; and only then what nobody names goes. Between the steps
//! everything is where a boot loader sees it, which replays no journal.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use log::{info, warn};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Asked, Edit, Entries, FILES, Kernel, Loader, Put, bls, read};
use crate::barrier::Barrier;
use crate::error::{Error, Result};
use crate::pool::{create_new, list, remove_any, remove_dir};
use crate::sys::{freeze, mount};

/// For names, entries and what a file system needs for itself.
pub(super) const SPARE: u64 = 2 << 20;

impl Loader {
    /// Whether it boots this kernel, and all of that is there.
    pub fn has(&self, kernel: &Kernel, asked: Asked) -> Result<bool> {
        let old = self.entries()?;
        let entries = self.with(kernel, &old);
        Ok(self.is_whole(kernel)? && self.edits(&entries, asked)?.is_empty())
    }

    /// Has it boot this kernel, and keeps the one before. Writes nothing where all stands as it should.
    pub fn put(&self, kernel: &Kernel, asked: Asked, dry_run: bool) -> Result<Put> {
        let new = &kernel.entry;
        let old = self.entries()?;
        let entries = self.with(kernel, &old);
        let there = self.named()?.contains(&new.id) && self.is_whole(kernel)?;
        if there && self.edits(&entries, asked)?.is_empty() {
            if old.current.is_some_and(|it| it.tries == Some(0)) {
                warn!(
                    "{} started {} as often as it may, without a good end, and takes another entry now: `reclone loader` has it try again",
                    self.title(),
                    new.release()
                );
            }
            // Of a run that did not come to its end.
            if !dry_run {
                self.prune(true)?;
            }
            return Ok(Put::Stands);
        }
        self.check_writable()?;
        if !there && !dry_run {
            self.prune(true)?;
        }
        if !there {
            self.check_room(kernel)?;
        }
        if dry_run {
            return Ok(Put::Would);
        }
        if !there {
            self.copy(kernel).inspect_err(|_| {
                let _ = fs::remove_dir_all(self.folder(&new.id));
            })?;
        }
        self.write_entries(&entries, asked)?;
        self.prune(false)?;
        Ok(Put::Done)
    }

    /// The entries that are to be. One that came to no good end yet does not become the one before.
    fn with(&self, kernel: &Kernel, old: &Entries) -> Entries {
        let new = &kernel.entry;
        let mut before = old.current.iter().chain(&old.previous);
        let previous =
            before.find(|it| it.id != new.id && it.tries.is_none() && self.folder(&it.id).is_dir());
        Entries {
            previous: previous.cloned(),
            current: Some(new.clone()),
        }
    }

    fn check_writable(&self) -> Result<()> {
        match mount::is_writable(&self.home) {
            true => Ok(()),
            false => Err(Error::Loader(format!(
                "{} is read-only: the boot loader stays as it is; boot without `session=ram`",
                self.known_as.display()
            ))),
        }
    }

    /// Takes the count from the name of the entry that a boot with this command line came from.
    pub(super) fn confirm_counted(&self, command_line: &str) -> Result<()> {
        let Some(path) = bls::started(&self.home, command_line)? else {
            return Ok(());
        };
        self.check_writable()?;
        fs::rename(&path, bls::path(&self.home, bls::CURRENT))
            .map_err(Error::system("can not rename", &path))?;
        info!(
            "{}: this entry is a good one, and its starts are counted no more",
            self.title()
        );
        self.settle(Barrier::EntriesNamed)
    }

    /// Takes away all that is reclone's. Whether there was anything.
    pub fn remove(&self, dry_run: bool) -> Result<bool> {
        let all = self.home.join("reclone");
        let was = all.exists() || !self.named()?.is_empty();
        if was && !dry_run {
            self.write_entries(&Entries::default(), Asked::ByHand)?;
            remove_dir(&all)?;
        }
        if !dry_run {
            self.forget_once()?;
        }
        Ok(was)
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.home.join("reclone").join(id)
    }

    fn is_whole(&self, kernel: &Kernel) -> Result<bool> {
        let folder = self.folder(&kernel.entry.id);
        let mut files = FILES.iter().zip(kernel.lengths()?);
        Ok(files.all(|(name, length)| {
            fs::metadata(folder.join(name)).is_ok_and(|it| it.len() == length)
        }))
    }

    fn check_room(&self, kernel: &Kernel) -> Result<()> {
        let bytes = kernel.lengths()?.iter().sum();
        self.check_room_for(kernel.entry.release(), bytes)
    }

    /// Nothing names the folder yet.
    fn copy(&self, kernel: &Kernel) -> Result<()> {
        self.copy_to(&self.folder(&kernel.entry.id), kernel)
    }

    /// Writes kernel and initramfs into a folder that is made anew, where the boot loader sees them.
    pub(super) fn copy_to(&self, folder: &Path, kernel: &Kernel) -> Result<()> {
        remove_dir(folder)?;
        let copy = || -> io::Result<()> {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
            for (name, mut from) in FILES.iter().zip(&kernel.files) {
                let mut to = create_new(&folder.join(name))?;
                io::copy(&mut from, &mut to)?;
                to.sync_all()?;
            }
            for folder in folder.ancestors().take(3) {
                File::open(folder)?.sync_all()?;
            }
            Ok(())
        };
        copy().map_err(Error::system("can not write", folder))
    }

    /// Replaces the files that name what there is.
    fn write_entries(&self, entries: &Entries, asked: Asked) -> Result<()> {
        let aside = self.home.join("reclone");
        let edits = self.edits(entries, asked)?;
        edits.iter().try_for_each(|edit| replace(edit, &aside))?;
        self.settle(Barrier::EntriesNamed)
    }

    /// Removes what no entry starts, and the entries of before. What runs before a change was not settled by it.
    fn prune(&self, settle: bool) -> Result<()> {
        let all = self.home.join("reclone");
        let mut old = if all.is_dir() {
            list(&all)?
        } else {
            Vec::new()
        };
        let named = self.named()?;
        old.retain(|path| !named.iter().any(|id| path.ends_with(id)));
        if settle && !old.is_empty() {
            self.settle(Barrier::EntriesNamed)?;
        }
        old.iter().try_for_each(|path| remove_any(path))
    }

    pub(super) fn settle(&self, barrier: Barrier) -> Result<()> {
        let settle = || freeze::settle(&File::open(&self.home)?);
        barrier
            .pass(settle)
            .map_err(Error::system("can not sync", &self.home))
    }
}

/// Replaces a file by one rename, or removes it; not if somebody else wrote to it since it was read. The new one is where a boot loader sees
/// it before it gets its name, and the one that had the name stays in the folder `aside`, for [`Loader::prune`].
pub(super) fn replace(edit: &Edit, aside: &Path) -> Result<()> {
    let Edit { path, old, new } = edit;
    let failed = |error| Error::system("can not write", path)(error);
    let beside = aside.join(path.file_name().unwrap_or_default());
    let folder = path.parent().unwrap_or(path);
    if let Some(text) = new {
        write(&beside, text, path).map_err(failed)?;
    }
    let is_as_read = read(path)? == *old;
    let named = match new {
        Some(_) => is_as_read && take_place(&beside, path, old).map_err(failed)?,
        None => is_as_read && fs::remove_file(path).map(|()| true).map_err(failed)?,
    };
    if !named {
        let _ = fs::remove_file(&beside);
        return Err(Error::Loader(format!(
            "{} was changed by somebody else at this moment and stays as it is: run `reclone loader` again",
            path.display()
        )));
    }
    File::open(folder)
        .and_then(|it| it.sync_all())
        .map_err(failed)
}

/// Has the file `beside` take the place of the one at `path`, which takes its; not if that has another content than `old`, whatever was written
/// until this moment. Whether it did.
fn take_place(beside: &Path, path: &Path, old: &str) -> io::Result<bool> {
    let exchange = || renameat_with(CWD, beside, CWD, path, RenameFlags::EXCHANGE);
    if exchange().is_err() {
        // What has no such step, or nothing to take the name from.
        return fs::rename(beside, path).map(|()| true);
    }
    let is_as_read = fs::read(beside)? == old.as_bytes();
    if !is_as_read {
        exchange()?;
    }
    Ok(is_as_read)
}

/// Writes a file that is to take the place of another, with that one's mode.
fn write(path: &Path, text: &str, other: &Path) -> io::Result<()> {
    for file in [path, other] {
        fs::create_dir_all(file.parent().unwrap_or(file))?;
    }
    let mut file = create_new(path)?;
    if let Ok(old) = fs::metadata(other) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    Barrier::EntriesWritten.pass(|| freeze::settle(&file))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_an_administrator_writes_at_the_same_moment_is_not_lost() {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("SKIPPED: what settles a file system has to be root");
        }
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let (path, aside) = (
            folder.path().join("custom.cfg"),
            folder.path().join("aside"),
        );
        for new in [Some("ours\n".to_owned()), None] {
            fs::write(&path, "set timeout=5\n").unwrap();
            let mut edit = Edit {
                path: path.clone(),
                old: "set timeout=3\n".into(),
                new,
            };
            let error = replace(&edit, &aside).unwrap_err().to_string();
            assert!(
                error.contains("custom.cfg was changed by somebody else"),
                "{error}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), "set timeout=5\n");
            assert!(!aside.join("custom.cfg").exists());
            let late = folder.path().join("late");
            fs::write(&late, "ours\n").unwrap();
            assert!(!take_place(&late, &path, "set timeout=3\n").unwrap());
            assert_eq!(fs::read_to_string(&path).unwrap(), "set timeout=5\n");
            assert_eq!(fs::read_to_string(&late).unwrap(), "ours\n");
            edit.old = "set timeout=5\n".into();
            replace(&edit, &aside).unwrap();
            assert_eq!(read(&path).unwrap(), edit.new.unwrap_or_default());
        }
    }
}
