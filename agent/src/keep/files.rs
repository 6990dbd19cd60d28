//! The single files that a clone keeps: adopted once, put into each new session, saved when it ends. Programs may change, replace and remove
//! them as they like.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use log::{info, warn};
use reclone_format::policy::BUILT_IN_NAME;
use reclone_format::{Policy, Rule};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat};

use super::folders;
use super::identity::{MACHINE_ID, has_machine_id, write_machine_id};
use super::matches::{governing, matches};
use super::torn::is_torn;
use crate::barrier::Barrier;
use crate::copy;
use crate::error::{Error, Result};
use crate::pool::{Pool, list, make_dir, make_own_dir, remove_any, remove_dir};
use crate::session::Session;
use crate::sys::beneath::{is_real, open_folder, open_top, path_of};
use crate::sys::xattr;

/// What stands at a path, as far as keeping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    File,
    Link,
    /// The clone removed it.
    Gone,
}

impl Own {
    /// None for what is not there, and for what is never kept as a file.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        let kind = metadata.file_type();
        match () {
            () if kind.is_file() => Some(Own::File),
            () if kind.is_symlink() => Some(Own::Link),
            () if kind.is_char_device() && metadata.rdev() == 0 => Some(Own::Gone),
            () => None,
        }
    }
}

/// What is at `path` below `top`, if the rules keep it. What makes a clone itself is never a link: whoever was root in a session
/// could have that lead anywhere.
fn own(policy: &Policy, top: &Path, path: &Path) -> Option<Own> {
    let line = governing(policy, path, false)?;
    let found = Own::of(&top.join(path))?;
    let is_allowed = found != Own::Link || line.file != BUILT_IN_NAME;
    (is_allowed && is_real(top, parent(path))).then_some(found)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Everything in `keep/` that the rules keep now, sorted.
fn all(policy: &Policy, keep: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for path in list(&keep.join(&folder)).unwrap_or_default() {
            let inside = folder.join(path.file_name().unwrap_or_default());
            if fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir()) {
                folders.push(inside);
            } else if own(policy, keep, &inside).is_some() {
                found.insert(inside);
            }
        }
    }
    found
}

/// The files below `top` that the rules of this kind name.
fn named(policy: &Policy, rule: Rule, top: &Path) -> impl Iterator<Item = PathBuf> {
    let found = matches(policy, rule, top).into_iter();
    found.filter(|it| !it.is_folder).map(|it| it.path)
}

/// Gives the clone what it has not yet: of kept files those of the system that was installed on it, of seeded ones those of the generation
/// at `root`, and a machine id of its own. When this returns they are on disk.
pub fn adopt(pool: &Pool, policy: &Policy, plain: &Path, root: &Path) -> Result<()> {
    let keep = pool.keep();
    let is_first = !is_real(&keep, Path::new(""));
    if is_first && fs::symlink_metadata(&keep).is_ok() {
        remove_any(&keep)?;
    }
    let new = pool.root().join("keep.new");
    remove_any_if_there(&new)?;
    make_dir(&new)?;
    let mut gathered = Vec::new();
    for (rule, top) in [(Rule::Keep, plain), (Rule::Seed, root)] {
        for file in named(policy, rule, top) {
            // A link is left where a kept folder was.
            let is_folder = folders::home(pool, &file).is_some_and(|home| home.is_dir());
            let is_there = matches!(own(policy, top, &file), Some(Own::File | Own::Link));
            if is_there && !is_folder && own(policy, &keep, &file).is_none() {
                copy_below(&top.join(&file), &new, &file)?;
                gathered.push(file);
            }
        }
    }
    give_machine_id(policy, &keep, &new, &mut gathered)?;
    if gathered.is_empty() && !is_first {
        return remove_dir(&new);
    }
    pool.sync(Barrier::Gathered)?;
    if is_first {
        fs::rename(&new, &keep).map_err(Error::system("can not move", &new))?;
    } else {
        for file in &gathered {
            let (from, to) = (new.join(file), keep.join(file));
            make_folders(&keep, parent(file))?;
            remove_folder(&to)?;
            fs::rename(&from, &to).map_err(Error::system("can not move", &from))?;
        }
        remove_dir(&new)?;
    }
    info!("keeping {} files of this machine", gathered.len());
    pool.sync(Barrier::Adopted)
}

/// Makes up an id where the clone has none.
fn give_machine_id(
    policy: &Policy,
    keep: &Path,
    new: &Path,
    gathered: &mut Vec<PathBuf>,
) -> Result<()> {
    let file = Path::new(MACHINE_ID);
    let is_kept = governing(policy, file, false).is_some();
    if !is_kept
        || [keep, new]
            .iter()
            .any(|top| has_machine_id(&top.join(file)))
    {
        return Ok(());
    }
    make_folders(new, parent(file))?;
    let id = new.join(file);
    write_machine_id(&id).map_err(Error::system("can not write", &id))?;
    gathered.retain(|gathered| gathered != file);
    gathered.push(file.into());
    Ok(())
}

/// Brings what a session changed in kept files back into `keep/`: a new host name, new host keys. Each file is synced
/// before it takes the old one's place; one that a power cut left unwritten does not. A `keep/` that is not there is left to [`adopt`].
pub fn save(pool: &Pool, policy: &Policy, session: &Session) -> Result<()> {
    let (upper, keep) = (session.upper(), pool.keep());
    if !is_real(&keep, Path::new("")) {
        return Ok(());
    }
    for file in candidates(policy, &keep, &upper) {
        if !is_real(&upper, parent(&file)) {
            // Nobody touched it, or all that it was in is gone.
            continue;
        }
        let kept = own(policy, &keep, &file);
        match own(policy, &upper, &file) {
            Some(Own::File | Own::Link) => save_one(policy, &upper, &keep, &file)?,
            Some(Own::Gone) if kept.is_some_and(|kept| kept != Own::Gone) => bury(&keep, &file)?,
            None if session.has_kept_files()
                && is_missing(&upper.join(&file))
                && matches!(kept, Some(Own::File | Own::Link)) =>
            {
                bury(&keep, &file)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn candidates(policy: &Policy, keep: &Path, upper: &Path) -> BTreeSet<PathBuf> {
    let mut files = all(policy, keep);
    for rule in [Rule::Keep, Rule::Seed] {
        files.extend(named(policy, rule, upper));
    }
    files
}

fn save_one(policy: &Policy, upper: &Path, keep: &Path, file: &Path) -> Result<()> {
    let (from, to) = (upper.join(file), keep.join(file));
    let failed = |error: io::Error| Error::system("can not read", &from)(error);
    let is_kept = matches!(own(policy, keep, file), Some(Own::File | Own::Link));
    let is_identity = governing(policy, file, false).is_some_and(|it| it.file == BUILT_IN_NAME);
    if is_kept && copy::is_same(&from, &to).map_err(failed)? {
        return Ok(());
    }
    if xattr::has(&from, b"trusted.overlay.metacopy").map_err(failed)? {
        warn!(
            "{}: only its attributes were changed: it is not kept",
            from.display()
        );
        return Ok(());
    }
    let is_link = Own::of(&from) == Some(Own::Link);
    if !is_link && is_torn(&from, is_kept.then_some(&to), is_identity).map_err(failed)? {
        warn!(
            "{}: a power cut left it unwritten, the old one stays",
            from.display()
        );
        return Ok(());
    }
    let new = new_file(keep)?;
    copy::node(&from, &new).map_err(Error::system("can not copy", &from))?;
    info!("kept the new {}", file.display());
    take_place(&new, keep, file)
}

/// Notes that the clone removed a file.
fn bury(keep: &Path, file: &Path) -> Result<()> {
    let new = new_file(keep)?;
    mknodat(CWD, &new, FileType::CharacterDevice, Mode::empty(), 0)
        .map_err(Error::system("can not make", &new))?;
    info!("{} was removed and stays so", file.display());
    take_place(&new, keep, file)
}

/// The place for one new file, beside `keep/`, where no rule can name it.
fn new_file(keep: &Path) -> Result<PathBuf> {
    let file = keep.with_extension("file");
    remove_any_if_there(&file)?;
    Ok(file)
}

/// Puts a file that is whole in the place of the one that is kept. When this returns it is on disk.
fn take_place(new: &Path, keep: &Path, file: &Path) -> Result<()> {
    make_folders(keep, parent(file))?;
    let to = keep.join(file);
    remove_folder(&to)?;
    let sync = |path: &Path| File::open(path)?.sync_all();
    let take = || {
        if Own::of(new) == Some(Own::File) {
            Barrier::Kept.pass(|| sync(new))?;
        }
        fs::rename(new, &to)?;
        sync(parent(&to))
    };
    take().map_err(Error::system("can not write", &to))
}

/// A folder, which no file can replace, stands where a rule now means a file.
fn remove_folder(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path).is_ok_and(|it| it.is_dir()) {
        true => remove_any(path),
        false => Ok(()),
    }
}

fn is_missing(path: &Path) -> bool {
    let found = fs::symlink_metadata(path);
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Removes all that a session wrote but what is kept and the folders that is in. Takes time with its size.
pub fn shed_others(pool: &Pool, policy: &Policy, session: &Session) -> Result<()> {
    let upper = session.upper();
    if !is_real(&upper, Path::new("")) {
        return Ok(());
    }
    let stays = candidates(policy, &pool.keep(), &upper);
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for path in list(&upper.join(&folder))? {
            let inside = folder.join(path.file_name().unwrap_or_default());
            if stays.contains(&inside) {
                continue;
            }
            let is_on_the_way = stays.iter().any(|kept| kept.starts_with(&inside));
            match is_on_the_way && fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir()) {
                true => folders.push(inside),
                false => remove_any(&path)?,
            }
        }
    }
    Ok(())
}

/// Puts the kept files into the assembled tree at `root`, in place of the model's, and takes away what of the model's no clone may have: files
/// that are kept and that this clone has not. The folders they are in keep the model's times. Nothing is followed out of `root`, whatever links the
/// model has there. What fails is a warning, but for a full disk.
pub fn place(pool: &Pool, policy: &Policy, root: &Path) -> Result<()> {
    let keep = pool.keep();
    if !is_real(&keep, Path::new("")) {
        return Ok(());
    }
    let top = open_top(root).map_err(Error::system("can not open", root))?;
    let files = all(policy, &keep);
    let mut foreign = named(policy, Rule::Keep, root).filter(|file| !files.contains(file));
    foreign.try_for_each(|file| changed(&top, &file, None))?;
    files.iter().try_for_each(|file| {
        let from = keep.join(file);
        let is_gone = Own::of(&from) == Some(Own::Gone);
        changed(&top, file, (!is_gone).then_some(&from))
    })
}

/// Replaces `file` below `top` by `from`, or removes it. Where the model lacks the folder, there is nothing to keep the file for.
fn changed(top: &OwnedFd, file: &Path, from: Option<&PathBuf>) -> Result<()> {
    let change = || -> io::Result<()> {
        let folder = match open_folder(top, parent(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let before = rustix::fs::fstat(&folder)?;
        let name = file.file_name().unwrap_or_default();
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => {}
            removed => removed?,
        }
        if let Some(from) = from {
            copy::node(from, &path_of(&folder).join(name))?;
        }
        let time = |sec: i64, nsec| Timespec {
            tv_sec: sec,
            tv_nsec: nsec,
        };
        Ok(rustix::fs::futimens(
            &folder,
            &Timestamps {
                last_access: time(before.st_atime, before.st_atime_nsec as _),
                last_modification: time(before.st_mtime, before.st_mtime_nsec as _),
            },
        )?)
    };
    match change().map_err(Error::system("can not keep", file)) {
        Err(error) if !error.is_full_disk() => {
            warn!("{error}");
            Ok(())
        }
        changed => changed,
    }
}

/// Copies `from` to `file` below `to`. What stands in the way of a folder or of the file goes.
fn copy_below(from: &Path, to: &Path, file: &Path) -> Result<()> {
    make_folders(to, parent(file))?;
    let target = to.join(file);
    remove_any_if_there(&target)?;
    copy::node(from, &target).map_err(Error::system("can not copy", from))
}

fn make_folders(top: &Path, folder: &Path) -> Result<()> {
    let mut at = top.to_owned();
    for part in folder.components() {
        at.push(part);
        make_own_dir(&at)?;
    }
    Ok(())
}

fn remove_any_if_there(path: &Path) -> Result<()> {
    match is_missing(path) {
        true => Ok(()),
        false => remove_any(path),
    }
}
