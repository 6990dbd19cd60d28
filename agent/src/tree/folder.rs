//! A tree that a folder shows.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::Path;

use reclone_format::{Entry, Kind, ObjectId, TreePath};
use rustix::fs::{FileType, Statx};

use super::{Contents, Node, Tree};
use crate::error::{Error, Result};
use crate::place::{self, look, names, open_folder, xattrs};

impl Tree {
    /// What is at `top` below the folder `root`, and below; nothing where there is no such path. The ids of contents are not
    /// known.
    pub fn of_folder(root: &Path, top: &TreePath) -> Result<Option<Self>> {
        let failed = || Error::system("can not read", root);
        let root_fd = rustix::fs::open(
            root,
            rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        let mut scan = Scan {
            root: root_fd.map_err(|error| failed()(std::io::Error::from(error)))?,
            nodes: Vec::new(),
            inodes: HashMap::new(),
        };
        match scan.run(top) {
            Ok(()) => {}
            // Neither has a file anything below it.
            Err(error) if error.raw_os_error() == Some(libc::ENOTDIR) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed()(error)),
        }
        let contents = Contents::Folder(root.into());
        Ok((!scan.nodes.is_empty()).then(|| Self::new(scan.nodes, contents)))
    }
}

struct Scan {
    root: OwnedFd,
    nodes: Vec<Node>,
    /// The first node of each file with several names.
    inodes: HashMap<(u32, u32, u64), usize>,
}

impl Scan {
    fn run(&mut self, top: &TreePath) -> std::io::Result<()> {
        let name = if top.is_root() { b"." } else { top.name() };
        let parent = open_folder(&self.root, top.parent())?;
        if let Some(found) = look(&parent, name)? {
            self.add(&parent, name, top.clone(), &found)?;
        }
        let mut folders = VecDeque::from([0]);
        while let Some(at) = folders.pop_front() {
            if self.nodes.get(at).map(|node| &node.entry.kind) != Some(&Kind::Directory) {
                continue;
            }
            let path = self.nodes[at].entry.path.clone();
            let folder = open_folder(&self.root, path.as_bytes())?;
            let mut names = names(&folder)?;
            names.sort();
            let start = self.nodes.len();
            for name in names {
                let below = path.join(&name).map_err(std::io::Error::other)?;
                // What is gone meanwhile was not wanted.
                if let Some(found) = look(&folder, &name)? {
                    self.add(&folder, &name, below, &found)?;
                }
            }
            self.nodes[at].children = start..self.nodes.len();
            folders.extend(start..self.nodes.len());
        }
        Ok(())
    }

    fn add(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        path: TreePath,
        found: &Statx,
    ) -> std::io::Result<()> {
        let at = self.nodes.len();
        let kind = kind(folder, name, found)?;
        let mut group = None;
        if found.stx_nlink > 1 && kind != Kind::Directory {
            let inode = (found.stx_dev_major, found.stx_dev_minor, found.stx_ino);
            let first = *self.inodes.entry(inode).or_insert(at);
            if first != at {
                self.nodes[first].group = Some(first);
                group = Some(first);
            }
        }
        self.nodes.push(Node {
            entry: Entry {
                path,
                perm: found.stx_mode & 0o7777,
                uid: found.stx_uid,
                gid: found.stx_gid,
                mtime: place::mtime(found),
                xattrs: xattrs(folder, name)?,
                kind,
            },
            children: 0..0,
            group,
        });
        Ok(())
    }
}

fn kind(folder: &OwnedFd, name: &[u8], found: &Statx) -> std::io::Result<Kind> {
    let (major, minor) = (found.stx_rdev_major, found.stx_rdev_minor);
    Ok(match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink {
            target: rustix::fs::readlinkat(folder, name, Vec::new())?.into_bytes(),
        },
        FileType::CharacterDevice => Kind::CharDevice { major, minor },
        FileType::BlockDevice => Kind::BlockDevice { major, minor },
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        _ => Kind::Regular {
            size: found.stx_size,
            id: ObjectId::EMPTY,
        },
    })
}
