//! The order of writes: files, their folder, what names them, and only then what nobody names goes. Between the steps everything is where
//! a boot loader sees it, which replays no journal.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{Entries, FILES, Kernel, Loader, Put, read};
use crate::barrier::Barrier;
use crate::error::{Error, Result};
use crate::pool::{create_new, list, remove_dir};
use crate::sys::{freeze, mount};

/// For names, entries and what a file system needs for itself.
const SPARE: u64 = 2 << 20;

impl Loader {
    /// Has it boot this kernel, and keeps the one before. Writes nothing where all stands as it should.
    pub fn put(&self, kernel: &Kernel, dry_run: bool) -> Result<Put> {
        let new = &kernel.entry;
        let old = self.entries()?;
        let there = old.name(&new.id) && self.is_whole(kernel)?;
        if there && old.current.as_ref() == Some(new) {
            // Of a run that did not come to its end.
            if !dry_run {
                self.prune(&old, true)?;
            }
            return Ok(Put::Stands);
        }
        if !mount::is_writable(&self.home) {
            return Err(Error::Loader(format!(
                "{} is read-only: the boot loader stays as it is; boot without `session=ram`",
                self.home.display()
            )));
        }
        if !there && !dry_run {
            self.prune(&old, true)?;
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
        let Entries { current, previous } = old;
        let mut before = current.into_iter().chain(previous);
        let entries = Entries {
            previous: before.find(|it| it.id != new.id && self.folder(&it.id).is_dir()),
            current: Some(new.clone()),
        };
        self.write_entries(&entries)?;
        self.prune(&entries, false)?;
        Ok(Put::Done)
    }

    /// Takes away all that is reclone's. Whether there was anything.
    pub fn remove(&self, dry_run: bool) -> Result<bool> {
        let all = self.home.join("reclone");
        let was = all.exists() || self.entries()? != Entries::default();
        if was && !dry_run {
            self.write_entries(&Entries::default())?;
            remove_dir(&all)?;
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
        let stat = nix::sys::statvfs::statvfs(&self.home).map_err(Error::system(
            "can not ask for the free space of",
            &self.home,
        ))?;
        let free = stat.blocks_available() * stat.fragment_size();
        let needed = kernel.lengths()?.iter().sum::<u64>() + SPARE;
        match needed <= free {
            true => Ok(()),
            false => Err(Error::Loader(format!(
                "{}: {} MiB are needed for the kernel {}, {} MiB are free: remove old kernels in the plain system (reclone=off); until then the boot loader stays as it is",
                self.home.display(),
                needed.div_ceil(1 << 20),
                kernel.entry.release(),
                free >> 20
            ))),
        }
    }

    /// Nothing names the folder yet.
    fn copy(&self, kernel: &Kernel) -> Result<()> {
        let folder = self.folder(&kernel.entry.id);
        remove_dir(&folder)?;
        let copy = || -> io::Result<()> {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)?;
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
        copy().map_err(Error::system("can not write", &folder))?;
        self.settle(Barrier::KernelCopied)
    }

    /// Replaces the files that name what there is.
    fn write_entries(&self, entries: &Entries) -> Result<()> {
        for (path, text) in self.files(entries)? {
            if text.as_deref().unwrap_or_default() == read(&path)? {
                continue;
            }
            replace(&path, text.as_deref()).map_err(Error::system("can not write", &path))?;
        }
        self.settle(Barrier::EntriesNamed)
    }

    /// Removes what no entry starts. What runs before a change was not settled by it.
    fn prune(&self, entries: &Entries, settle: bool) -> Result<()> {
        let all = self.home.join("reclone");
        let mut old = if all.is_dir() {
            list(&all)?
        } else {
            Vec::new()
        };
        old.retain(|path| {
            !path
                .file_name()
                .and_then(|it| it.to_str())
                .is_some_and(|id| entries.name(id))
        });
        if settle && !old.is_empty() {
            self.settle(Barrier::EntriesNamed)?;
        }
        old.iter().try_for_each(|path| remove_dir(path))
    }

    fn settle(&self, barrier: Barrier) -> Result<()> {
        let settle = || freeze::settle(&File::open(&self.home)?);
        barrier
            .pass(settle)
            .map_err(Error::system("can not sync", &self.home))
    }
}

/// Replaces a file by one rename, or removes it.
fn replace(path: &Path, text: Option<&str>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    match text {
        None => fs::remove_file(path)?,
        Some(text) => {
            fs::create_dir_all(folder)?;
            let mut name = path.as_os_str().to_owned();
            name.push(".new");
            let new = PathBuf::from(name);
            let mut file = create_new(&new)?;
            if let Ok(old) = fs::metadata(path) {
                file.set_permissions(old.permissions())?;
            }
            file.write_all(text.as_bytes())?;
            Barrier::EntriesWritten.pass(|| file.sync_all())?;
            fs::rename(&new, path)?;
        }
    }
    File::open(folder)?.sync_all()
}
