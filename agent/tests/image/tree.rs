//! Trees made of entries: a builder, and one tree with everything that a Linux file system can hold.

use std::collections::{BTreeMap, HashMap};

use reclone_format::manifest::header_of;
use reclone_format::{
    Entry, Kind, ManifestWriter, ObjectId, Timestamp, TreePath, Xattr, object_id_of,
};

/// A tree in the manifest's order, and the start of every content; zeros follow up to the file's size.
pub struct Tree {
    pub entries: Vec<Entry>,
    pub contents: HashMap<ObjectId, Vec<u8>>,
}

impl Tree {
    pub fn manifest(&self) -> Vec<u8> {
        let header = header_of(self.entries.iter());
        let mut writer = ManifestWriter::create(Vec::new(), header).unwrap();
        for entry in &self.entries {
            writer.push(entry).unwrap();
        }
        writer.finish().unwrap()
    }

    pub fn image(&self) -> Vec<u8> {
        let manifest = self.manifest();
        let mut out = std::io::Cursor::new(Vec::new());
        let size = reclone::image::write(|| Ok(&manifest[..]), &mut out).unwrap();
        let image = out.into_inner();
        assert_eq!(image.len() as u64, size);
        image
    }
}

/// Collects entries in any order.
pub struct Builder {
    entries: BTreeMap<TreePath, Entry>,
    contents: HashMap<ObjectId, Vec<u8>>,
    links: Vec<(TreePath, TreePath)>,
}

pub fn path(bytes: impl AsRef<[u8]>) -> TreePath {
    TreePath::from_bytes(bytes.as_ref().into()).unwrap()
}

impl Builder {
    pub fn new() -> Self {
        let mut builder = Self {
            entries: BTreeMap::new(),
            contents: HashMap::new(),
            links: Vec::new(),
        };
        builder.add("", Kind::Directory).perm = 0o755;
        builder
    }

    /// Adds an entry whose metadata differ from others'.
    pub fn add(&mut self, name: impl AsRef<[u8]>, kind: Kind) -> &mut Entry {
        let path = path(name);
        let mut entry = Entry::new(path.clone(), kind);
        let number = self.entries.len() as u32;
        entry.perm = 0o644;
        entry.uid = number;
        entry.gid = 100_000 + number;
        entry.mtime = Timestamp {
            sec: 1_700_000_000 + i64::from(number),
            nsec: number,
        };
        self.entries.entry(path).or_insert(entry)
    }

    pub fn directory(&mut self, name: impl AsRef<[u8]>) -> &mut Entry {
        self.add(name, Kind::Directory)
    }

    pub fn file(&mut self, name: impl AsRef<[u8]>, content: &[u8]) -> &mut Entry {
        let id = object_id_of(content);
        if !content.is_empty() {
            self.contents.insert(id, content.to_owned());
        }
        let size = content.len() as u64;
        self.add(name, Kind::Regular { size, id })
    }

    /// A file of `size` bytes that starts with its own name. Its id is made up: hashing terabytes takes too long.
    pub fn sparse(&mut self, name: &str, size: u64) {
        let id = object_id_of(&size.to_le_bytes());
        self.contents.insert(id, name.as_bytes().to_owned());
        self.add(name, Kind::Regular { size, id });
    }

    pub fn symlink(&mut self, name: impl AsRef<[u8]>, target: &[u8]) -> &mut Entry {
        let target = target.to_owned();
        self.add(name, Kind::Symlink { target })
    }

    /// One more name for the entry at `of`.
    pub fn link(&mut self, of: &str, name: &str) {
        self.links.push((path(of), path(name)));
    }

    pub fn finish(mut self) -> Tree {
        // Of all names of a file the first one in the manifest's order carries the metadata.
        for at in 0..self.links.len() {
            let (of, name) = self.links[at].clone();
            if name < of {
                let mut entry = self.entries.remove(&of).unwrap();
                entry.path = name.clone();
                self.entries.insert(name.clone(), entry);
                let renamed = |link: &mut (TreePath, TreePath)| {
                    if link.0 == of {
                        link.0 = name.clone();
                    }
                };
                self.links.iter_mut().for_each(renamed);
                self.links[at] = (name, of);
            }
        }
        for (_, name) in &self.links {
            let kind = Kind::HardLink { to: 0 };
            let entry = Entry::new(name.clone(), kind);
            assert!(self.entries.insert(name.clone(), entry).is_none());
        }
        let ordinals: HashMap<TreePath, u32> = self.entries.keys().cloned().zip(0..).collect();
        for (of, name) in &self.links {
            self.entries.get_mut(name).unwrap().kind = Kind::HardLink { to: ordinals[of] };
        }
        Tree {
            entries: self.entries.into_values().collect(),
            contents: self.contents,
        }
    }
}

pub fn give(entry: &mut Entry, xattrs: &[(&str, &[u8])]) {
    entry.xattrs = xattrs
        .iter()
        .map(|(name, value)| Xattr {
            name: name.as_bytes().into(),
            value: value.to_vec(),
        })
        .collect();
    entry.xattrs.sort();
}

/// An access control list: user 1234 may read.
const ACL: &[u8] = &[
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 210, 4, 0, 0, 4, 0, 4, 0, 255, 255,
    255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
];
/// `cap_net_raw=ep`.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Everything, as far as it can be shown. `whiteouts`: with what an overlay takes for whiteouts, too.
pub fn everything(whiteouts: bool) -> Tree {
    let mut tree = Builder::new();
    names(&mut tree);
    metadata(&mut tree);
    xattrs(&mut tree);
    links(&mut tree);
    object_folders(&mut tree);
    edges(&mut tree);
    if whiteouts {
        layers(&mut tree);
    }
    tree.finish()
}

fn names(tree: &mut Builder) {
    tree.directory("names");
    for name in [
        &b"\xff\xfe not UTF-8"[..],
        b"new\nline",
        b"!",
        b".-",
        b"...",
        b"\x01",
        &[b'n'; 255],
        &[0xff; 255],
    ] {
        tree.file([b"names/", name].concat(), name);
        tree.directory([b"names/dir ", &name[..name.len().min(200)]].concat());
    }
    let mut deep = "deep".to_owned();
    tree.directory(&deep);
    for level in 0..30 {
        deep += &format!("/{level:0100}");
        tree.directory(&deep);
    }
    tree.file(deep + "/bottom", b"deep down");
    tree.directory("many");
    for number in 0..10_000 {
        tree.file(format!("many/file number {number}"), b"");
    }
    for number in 0..300 {
        tree.file(format!("at the top {number}"), b"one of many");
    }
}

fn metadata(tree: &mut Builder) {
    tree.directory("meta").perm = 0o7777;
    tree.directory("meta/empty").perm = 0;
    let file = tree.file("meta/ids", b"ids");
    (file.uid, file.gid, file.perm) = (u32::MAX - 1, u32::MAX - 1, 0o7777);
    tree.file("meta/none", b"nobody may read this").perm = 0;
    for (name, sec, nsec) in [
        ("1901", i64::from(i32::MIN) - 1, 999_999_999),
        ("1969", -1, 1),
        ("1970", 0, 0),
        ("2038", 1 << 31, 5),
        ("2446", 15_032_385_535, 999_999_999),
        ("far", 1 << 40, 7),
    ] {
        tree.file(format!("meta/{name}"), b"").mtime = Timestamp { sec, nsec };
        tree.symlink(format!("meta/{name} link"), b"x").mtime = Timestamp { sec, nsec };
    }
    for (major, minor) in [(0, 1), (1, 3), (4095, 1_048_575), (255, 256)] {
        tree.add(
            format!("meta/c{major}-{minor}"),
            Kind::CharDevice { major, minor },
        );
        tree.add(
            format!("meta/b{major}-{minor}"),
            Kind::BlockDevice { major, minor },
        );
    }
    tree.add("meta/b0-0", Kind::BlockDevice { major: 0, minor: 0 });
    tree.add("meta/fifo", Kind::Fifo).perm = 0o7777;
    tree.add("meta/socket", Kind::Socket).perm = 0o1755;
    tree.sparse("meta/sparse", 5 << 30);
    tree.sparse("meta/two chunks", (1 << 43) + 5);
    tree.file("meta/blocks", &[b'b'; 10_000]);
}

fn xattrs(tree: &mut Builder) {
    let directory = tree.directory("xattrs");
    give(
        directory,
        &[
            ("system.posix_acl_access", ACL),
            ("system.posix_acl_default", ACL),
            ("trusted.overlay.opaque", b"y"),
            ("trusted.overlay.origin", b"nothing"),
            ("user.directory", b"yes"),
        ],
    );
    let file = tree.file("xattrs/all", b"with everything");
    give(
        file,
        &[
            ("security.capability", CAPABILITY),
            ("security.selinux", b"system_u:object_r:etc_t:s0\0"),
            ("system.posix_acl_access", ACL),
            ("trusted.md5sum", &[0; 16]),
            ("trusted.overlay.metacopy", b""),
            ("trusted.overlay.overlay.redirect", b"/deeper"),
            ("trusted.overlay.redirect", b"/etc/shadow"),
            ("user.empty", b""),
            ("user.overlay.opaque", b"y"),
            // What no clone can show.
            ("btrfs.compression", b"zstd"),
            ("trusted.overlay.", b"no name"),
            ("user.too-long", &[1; 65_536]),
        ],
    );
    let long = format!("user.{}", "n".repeat(250));
    give(
        tree.file("xattrs/empty", b""),
        &[("user.a", b"1"), (&long, b"2")],
    );
    give(
        tree.file("xattrs/one big", b"x"),
        &[("user.big", &[7; 65_535])],
    );
    give(
        tree.file("xattrs/64 KiB", b"y"),
        &[
            ("user.1", &[1; 20_001]),
            ("user.2", &[2; 20_002]),
            ("user.3", &[3; 20_003]),
            ("user.4", &[4; 5_530]),
        ],
    );
    let many: Vec<(String, Vec<u8>)> = (0..600)
        .map(|number| (format!("user.number {number}"), vec![number as u8; 40]))
        .collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(n, v)| (n.as_str(), &v[..])).collect();
    give(tree.file("xattrs/many", b"z"), &many);
    give(
        tree.directory("xattrs/big folder"),
        &[("user.big", &[9; 4000])],
    );
    tree.file("xattrs/big folder/inside", b"i");
    let label = ("security.selinux", &b"system_u:object_r:usr_t:s0\0"[..]);
    give(tree.symlink("xattrs/link", b"all"), &[label]);
    give(
        tree.symlink("xattrs/far link", &[b't'; 3000]),
        &[label, ("trusted.big", &[3; 1500])],
    );
    give(tree.add("xattrs/fifo", Kind::Fifo), &[label]);
}

fn links(tree: &mut Builder) {
    for folder in ["links", "links/a", "links/b", "zlinks"] {
        tree.directory(folder);
    }
    tree.file("links/b/file", b"linked");
    tree.link("links/b/file", "links/a/first name");
    tree.link("links/a/first name", "zlinks/third name");
    tree.symlink("links/symlink", b"anywhere");
    tree.link("links/symlink", "zlinks/symlink");
    tree.add("links/fifo", Kind::Fifo);
    tree.link("links/fifo", "links/a/fifo");
    tree.file("links/empty", b"");
    for number in 0..300 {
        tree.link("links/empty", &format!("links/a/empty {number}"));
    }
    for (name, length) in [("1", 1), ("4000", 4000), ("4032", 4032), ("4095", 4095)] {
        tree.symlink(format!("links/{name}"), &vec![b'a'; length]);
    }
    for length in (60..4000).step_by(61) {
        tree.symlink(format!("links/b/{length}"), &vec![b's'; length]);
    }
}

/// Names at the top that are those of folders of objects.
fn object_folders(tree: &mut Builder) {
    tree.directory("ab").perm = 0o711;
    tree.file("ab/inside", b"not an object");
    tree.file("cd", b"a file named as a folder of objects");
    tree.symlink("ef", b"ab");
    tree.add("00", Kind::Fifo);
    give(tree.directory("ff"), &[("user.x", b"1")]);
    tree.directory("AB");
    tree.directory("abc");
}

/// Directories whose last block just fits behind the inode, or just does not, or fills up to its end.
fn edges(tree: &mut Builder) {
    tree.directory("edges");
    for length in 1..=255 {
        let folder = format!("edges/{length}");
        tree.directory(&folder);
        for number in 0..15 {
            tree.add(format!("{folder}/{number:0232}"), Kind::Socket);
        }
        tree.add(format!("{folder}/{}", "z".repeat(length)), Kind::Fifo);
    }
}

/// Layers of an overlay, as container programs leave them.
fn layers(tree: &mut Builder) {
    for folder in ["layers", "layers/base", "layers/top", "layers/top/opaque"] {
        tree.directory(folder);
    }
    tree.file("layers/base/gone", b"gone in the top layer");
    tree.file("layers/base/gone, too", b"gone in the top layer");
    tree.file("layers/base/there", b"there");
    let whiteout = || Kind::CharDevice { major: 0, minor: 0 };
    give(
        tree.add("layers/top/gone", whiteout()),
        &[("user.on-it", b"1")],
    );
    tree.link("layers/top/gone", "layers/top/gone, too");
    give(
        tree.directory("layers/top/opaque"),
        &[("trusted.overlay.opaque", b"y")],
    );
    tree.directory("layers/linked");
    tree.add("layers/another", whiteout());
    tree.link("layers/another", "layers/linked/another");
}
