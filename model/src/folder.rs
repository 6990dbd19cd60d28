//! Lists one folder of the live tree: what is in it, what is left out, and which of its folders are to be listed in turn.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use reclone_format::{Entry, Kind, ObjectId, TreePath};
use rustix::fs::RawDir;
use rustix::io::Errno;

use crate::exclude::{Exclude, Verdict};
use crate::live_tree::{LiveTree, Meta, XattrReader, meta_at, meta_of};
use crate::node::Node;
use crate::stat_cache::{Known, StatCache};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHAR_DEVICE: u32 = 0o020_000;
const BLOCK_DEVICE: u32 = 0o060_000;
const FIFO: u32 = 0o010_000;
const SOCKET: u32 = 0o140_000;
const LISTING: usize = 64 * 1024;

/// Which of the file systems below the top belong to the tree.
#[derive(Clone, Debug, Default)]
pub struct Crossing {
    /// All but those that are no disk's.
    pub all: bool,
    /// These mount points.
    pub at: Vec<TreePath>,
}

/// What to leave out and where to stop.
pub struct ScanOptions<'a> {
    /// Rules by path.
    pub exclude: &'a Exclude,
    /// File systems.
    pub crossing: &'a Crossing,
    /// Device and inode of what is never published, wherever it is.
    pub never: &'a [(u64, u64)],
    /// What the last publish knew.
    pub cache: Option<&'a StatCache>,
}

/// A folder to be listed.
pub struct Folder {
    /// Where the scan keeps its listing.
    pub slot: usize,
    /// Its path.
    pub path: TreePath,
    /// Its file system.
    pub dev: u64,
}

/// What a worker found in one folder. A child to be descended into comes with its file system.
#[derive(Default)]
pub struct Listing {
    /// Sorted by name.
    pub children: Vec<(Node, Option<u64>)>,
    /// What was left out.
    pub notes: Vec<String>,
    /// What could not be read.
    pub problems: Vec<String>,
    /// Whether the folder itself is there no more.
    pub vanished: bool,
}

/// Lists folders; keeps its buffers from one to the next.
pub struct FolderReader<'a> {
    tree: &'a LiveTree,
    options: &'a ScanOptions<'a>,
    xattrs: XattrReader,
    buffer: Vec<MaybeUninit<u8>>,
}

impl<'a> FolderReader<'a> {
    /// A reader of folders of `tree`.
    pub fn new(tree: &'a LiveTree, options: &'a ScanOptions<'a>) -> Self {
        Self {
            tree,
            options,
            xattrs: XattrReader::default(),
            buffer: vec![MaybeUninit::uninit(); LISTING],
        }
    }

    /// The top of the tree, to be listed, and its own node.
    pub fn top(&mut self) -> io::Result<(Folder, Node)> {
        let open = self.tree.open_folder(&TreePath::ROOT)?;
        let meta = meta_of(&open)?;
        let top = Folder {
            slot: 0,
            path: TreePath::ROOT,
            dev: meta.stamp.dev,
        };
        let node = self
            .node(&open, b".", TreePath::ROOT, &meta, None)?
            .ok_or(Errno::NOTDIR)?;
        Ok((top, node))
    }

    /// What is in `folder`.
    pub fn list(&mut self, folder: &Folder) -> Listing {
        let mut listing = Listing::default();
        let (open, names) = match self.names(&folder.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                listing.vanished = true;
                return listing;
            }
            Err(error) => {
                listing.problems.push(format!("{}: {error}", folder.path));
                return listing;
            }
        };
        let mut known = self
            .options
            .cache
            .map(|cache| cache.folder(folder.path.as_bytes()));
        for name in names {
            let outcome = folder
                .path
                .join(&name)
                .map_err(io::Error::other)
                .and_then(|path| {
                    self.child(folder, &open, &name, path, known.as_mut(), &mut listing)
                });
            match outcome {
                Ok(()) => {}
                // It went away after the folder was listed: as if it had gone a moment earlier.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => listing.problems.push(format!(
                    "{}/{}: {error}",
                    folder.path,
                    name.escape_ascii()
                )),
            }
        }
        listing
    }

    /// The names in a folder, sorted.
    fn names(&mut self, path: &TreePath) -> io::Result<(OwnedFd, Vec<Vec<u8>>)> {
        let open = self.tree.open_folder(path)?;
        let mut names = Vec::new();
        let mut entries = RawDir::new(&open, &mut self.buffer);
        while let Some(entry) = entries.next() {
            match entry?.file_name().to_bytes() {
                b"." | b".." => {}
                name => names.push(name.to_vec()),
            }
        }
        names.sort_unstable();
        Ok((open, names))
    }

    fn child(
        &mut self,
        folder: &Folder,
        open: &OwnedFd,
        name: &[u8],
        path: TreePath,
        known: Option<&mut Known<'a>>,
        listing: &mut Listing,
    ) -> io::Result<()> {
        let meta = meta_at(open, name)?;
        let verdict = self
            .options
            .exclude
            .verdict(&path, meta.kind() == DIRECTORY);
        if verdict == Verdict::LeaveOut {
            return Ok(());
        }
        if self
            .options
            .never
            .contains(&(meta.stamp.dev, meta.stamp.ino))
        {
            listing.notes.push(format!(
                "{path}: left out, it is this store, its key or its passphrase"
            ));
            return Ok(());
        }
        let known = known.and_then(|known| known.find(name, &meta.stamp));
        let Some(node) = self.node(open, name, path, &meta, known)? else {
            return Ok(());
        };
        let mut descend = meta.kind() == DIRECTORY && verdict == Verdict::Keep;
        let boundary = meta.mount_root || meta.stamp.dev != folder.dev;
        if descend && boundary && !self.crosses(&node.entry.path)? {
            descend = false;
            listing.notes.push(format!(
                "{}: contents left out, they are on another file system",
                node.entry.path
            ));
        }
        listing
            .children
            .push((node, descend.then_some(meta.stamp.dev)));
        Ok(())
    }

    fn crosses(&self, path: &TreePath) -> io::Result<bool> {
        let crossing = self.options.crossing;
        if crossing.at.contains(path) {
            return Ok(true);
        }
        if !crossing.all {
            return Ok(false);
        }
        let kind = rustix::fs::fstatfs(self.tree.open_folder(path)?)?.f_type;
        Ok(!is_pseudo(kind as u64 & 0xffff_ffff))
    }

    /// What the manifest says about a path; none for what Linux has no such thing for in a manifest.
    fn node(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        path: TreePath,
        meta: &Meta,
        known: Option<&Entry>,
    ) -> io::Result<Option<Node>> {
        let (major, minor) = meta.device;
        let mut ready = true;
        let kind = match (meta.kind(), known.map(|known| &known.kind)) {
            (DIRECTORY, _) => Kind::Directory,
            (REGULAR, Some(kind @ Kind::Regular { .. }))
            | (SYMLINK, Some(kind @ Kind::Symlink { .. })) => kind.clone(),
            (REGULAR, _) => {
                ready = meta.stamp.size == 0;
                Kind::Regular {
                    size: meta.stamp.size,
                    id: ObjectId::EMPTY,
                }
            }
            (SYMLINK, _) => Kind::Symlink {
                target: rustix::fs::readlinkat(folder, name, Vec::new())?.into_bytes(),
            },
            (CHAR_DEVICE, _) => Kind::CharDevice { major, minor },
            (BLOCK_DEVICE, _) => Kind::BlockDevice { major, minor },
            (FIFO, _) => Kind::Fifo,
            (SOCKET, _) => Kind::Socket,
            _ => return Ok(None),
        };
        let xattrs = match known {
            Some(known) => known.xattrs.clone(),
            None => self.xattrs.read_at(folder, name)?,
        };
        let shared = meta.links > 1 && meta.kind() != DIRECTORY;
        Ok(Some(Node {
            entry: Entry {
                path,
                perm: (meta.mode & 0o7777) as u16,
                uid: meta.uid,
                gid: meta.gid,
                mtime: meta.stamp.mtime,
                xattrs,
                kind,
            },
            stamp: meta.stamp,
            known: ready,
            first_name: shared.then_some(0),
        }))
    }
}

/// Whether a file system of this type (`f_type` of statfs) holds no files of its own on a disk or a server.
fn is_pseudo(kind: u64) -> bool {
    const PSEUDO: [u64; 20] = [
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x0102_1994, // tmpfs, devtmpfs
        0x8584_58f6, // ramfs
        0x1cd1,      // devpts
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0xf97c_ff8c, // selinuxfs
        0x6165_676c, // pstore
        0xcafe_4a11, // bpf
        0xde5e_81e4, // efivarfs
        0x4249_4e4d, // binfmt_misc
        0x1980_0202, // mqueue
        0x9584_58f6, // hugetlbfs
        0x6265_6570, // configfs
        0x6573_5543, // fusectl
        0x0187,      // autofs
    ];
    PSEUDO.contains(&kind)
}
