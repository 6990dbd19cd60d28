//! Writes nodes of a tree where nobody sees them: in a new folder that only root may enter. Others move them to their places.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use reclone_format::{Entry, Kind, Xattr};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags, chownat, fchmod, fchown, fremovexattr,
    fsetxattr, futimens, lsetxattr, makedev, mkdirat, mknodat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::place::{is_double, open_folder, own_xattrs, path_of, times};
use crate::stage::SparseFile;
use crate::tree::Tree;

/// Writes nodes of one tree into one folder.
pub struct Builder<'a> {
    tree: &'a Tree,
    folder: &'a OwnedFd,
    /// The path in the folder of the first name of each file with several.
    first_names: HashMap<usize, Vec<u8>>,
}

impl<'a> Builder<'a> {
    /// A builder in `folder`, which has no default ACL.
    pub fn new(tree: &'a Tree, folder: &'a OwnedFd) -> Self {
        Self {
            tree,
            folder,
            first_names: HashMap::new(),
        }
    }

    /// Makes the node and all below it under this name. Files with several names are one file, over all that this
    /// builder makes. Syncs nothing.
    pub fn build(&mut self, top: usize, name: &[u8]) -> Result<()> {
        let mut folders = Vec::new();
        let mut nodes = vec![top];
        let mut parent: Option<(Vec<u8>, OwnedFd)> = None;
        while let Some(at) = nodes.pop() {
            let path = match self.tree.relative(at, top) {
                b"" => name.to_owned(),
                below => [name, b"/", below].concat(),
            };
            let (above, last) = match path.iter().rposition(|byte| *byte == b'/') {
                Some(slash) => (&path[..slash], &path[slash + 1..]),
                None => (&b""[..], &path[..]),
            };
            let failed = || self.failed(at);
            if parent.as_ref().is_none_or(|(known, _)| known != above) {
                let opened = open_folder(self.folder, above).map_err(failed())?;
                parent = Some((above.to_owned(), opened));
            }
            let (_, folder) = parent.as_ref().expect("it was opened above");
            self.make(at, folder, last, &path)?;
            if self.tree.nodes()[at].entry.kind == Kind::Directory {
                nodes.extend(self.tree.nodes()[at].children.clone());
                folders.push((at, path));
            }
        }
        // What is made in a folder changes its time.
        for (at, path) in folders.into_iter().rev() {
            let set = || {
                let folder = open_folder(self.folder, &path)?;
                set_attributes(&folder, &self.tree.nodes()[at].entry)
            };
            set().map_err(self.failed(at))?;
        }
        Ok(())
    }

    fn failed<E: Into<io::Error>>(&self, at: usize) -> impl FnOnce(E) -> Error + use<E> {
        let path = PathBuf::from(self.tree.nodes()[at].entry.path.to_string());
        move |error| Error::system("can not restore", &path)(error)
    }

    fn make(&mut self, at: usize, folder: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        let node = &self.tree.nodes()[at];
        if let Some(first) = node.group.and_then(|group| self.first_names.get(&group)) {
            let flags = AtFlags::empty();
            return rustix::fs::linkat(self.folder, &**first, folder, name, flags)
                .map_err(self.failed(at));
        }
        match &node.entry.kind {
            Kind::Regular { .. } | Kind::HardLink { .. } => self.make_file(at, folder, name)?,
            Kind::Directory => {
                mkdirat(folder, name, Mode::RWXU).map_err(self.failed(at))?;
            }
            _ => make_other(&node.entry, folder, name).map_err(self.failed(at))?,
        }
        if let Some(group) = node.group {
            self.first_names.insert(group, path.to_owned());
        }
        Ok(())
    }

    fn make_file(&mut self, at: usize, folder: &OwnedFd, name: &[u8]) -> Result<()> {
        let entry = &self.tree.nodes()[at].entry;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let new = openat(folder, name, flags, Mode::RUSR | Mode::WUSR).map_err(self.failed(at))?;
        let new = File::from(new);
        if !matches!(entry.kind, Kind::Regular { size: 0, .. }) {
            let (source, id) = self.tree.open(at)?;
            let writer = new.try_clone().map_err(self.failed(at))?;
            let filled = SparseFile::new(writer).fill_from(source);
            let found = filled.map_err(self.failed(at))?;
            if let Some(id) = id.filter(|id| *id != found) {
                return Err(Error::Damaged {
                    path: self.tree.source(at),
                    reason: format!("it is not object {id}"),
                });
            }
        }
        set_attributes(&new, entry).map_err(self.failed(at))
    }
}

/// Makes what can not be opened: links, devices, pipes, sockets.
fn make_other(entry: &Entry, folder: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let node = |kind, device| mknodat(folder, name, kind, Mode::RUSR | Mode::WUSR, device);
    match &entry.kind {
        Kind::Symlink { target } => symlinkat(&**target, folder, name)?,
        Kind::CharDevice { major, minor } => {
            let made = node(FileType::CharacterDevice, makedev(*major, *minor));
            // An overlay takes 0:0 for a whiteout, and shows a model's as an empty file.
            match made {
                Err(Errno::PERM) if (*major, *minor) == (0, 0) => node(FileType::RegularFile, 0)?,
                made => made?,
            }
        }
        Kind::BlockDevice { major, minor } => {
            node(FileType::BlockDevice, makedev(*major, *minor))?;
        }
        Kind::Fifo => node(FileType::Fifo, 0)?,
        _ => node(FileType::Socket, 0)?,
    }
    let (owner, group) = owner(entry);
    chownat(folder, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)?;
    if !matches!(entry.kind, Kind::Symlink { .. }) {
        rustix::fs::chmodat(folder, name, mode(entry), AtFlags::empty())?;
    }
    let path = path_of(folder.as_fd(), name);
    for xattr in entry.xattrs.iter().filter(|it| !is_double(&it.name)) {
        lsetxattr(&path, &*xattr.name, &xattr.value, XattrFlags::empty())
            .or_else(|error| excuse(xattr, error))?;
    }
    Ok(utimensat(
        folder,
        name,
        &times(entry.mtime),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(entry.uid)),
        Some(Gid::from_raw(entry.gid)),
    )
}

fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.perm.into())
}

/// Gives an open file or folder everything that its entry says, and nothing else. A change of the owner takes rights away, so it comes
/// first; what is written changes the time, so that comes last.
pub fn set_attributes(file: impl AsFd, entry: &Entry) -> io::Result<()> {
    let (owner, group) = owner(entry);
    fchown(&file, owner, group)?;
    fchmod(&file, mode(entry))?;
    let found = own_xattrs(&file)?;
    let is_wanted =
        |name: &[u8]| is_double(name) || entry.xattrs.iter().any(|xattr| xattr.name == name);
    for xattr in found.iter().filter(|xattr| !is_wanted(&xattr.name)) {
        fremovexattr(&file, &*xattr.name).or_else(|error| excuse(xattr, error))?;
    }
    let is_new = |xattr: &&Xattr| !is_double(&xattr.name) && !found.contains(xattr);
    for xattr in entry.xattrs.iter().filter(is_new) {
        fsetxattr(&file, &*xattr.name, &xattr.value, XattrFlags::empty())
            .or_else(|error| excuse(xattr, error))?;
    }
    Ok(futimens(&file, &times(entry.mtime))?)
}

/// An overlay keeps its own marks to itself, and a security module those that it gives.
fn excuse(xattr: &Xattr, error: Errno) -> Result<(), Errno> {
    let is_own = xattr.name.starts_with(b"trusted.overlay.")
        || xattr.name.starts_with(b"security.") && xattr.name != b"security.capability";
    let is_refused = matches!(
        error,
        Errno::PERM | Errno::ACCESS | Errno::NOTSUP | Errno::NODATA
    );
    match is_own && is_refused {
        true => Ok(()),
        false => Err(error),
    }
}
