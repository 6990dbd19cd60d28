//! The xattrs of an inode as bytes: the tree's own, escaped where they are the overlay's, and those by which the overlay
//! finds a file's content. What is small is stored once for the whole image and named by number.

use std::collections::HashMap;

use reclone_format::showable::{self, Namespace, Stored};
use reclone_format::{Entry, ObjectId};

use super::erofs::{XATTR_HEADER, filter_bit};

/// The largest xattr that is shared, in bytes as encoded.
const MAX_SHARED: usize = 512;
/// The most bytes of shared xattrs.
const MAX_AREA: usize = 256 << 10;
/// The most shared xattrs of one inode; EROFS counts them in a byte.
const MAX_IDS: usize = 200;

const TRUSTED: u8 = 4;
/// Says that the content is elsewhere. Empty: any other value is understood from Linux 6.6 on only.
const METACOPY: &[u8] = b"overlay.metacopy";
/// Says where, as a path from the top of the objects' folder.
const REDIRECT: &[u8] = b"overlay.redirect";
/// On a directory, `y`: nothing of lower layers shows in it.
const OPAQUE: &[u8] = b"overlay.opaque";
/// For an overlay above this one: this empty file is a whiteout, and, on a directory with the value `x`, it has such.
const INNER_WHITEOUT: &[u8] = b"overlay.overlay.whiteout";
const INNER_OPAQUE: &[u8] = b"overlay.overlay.opaque";

/// What the image adds to a directory of the tree.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// A folder of objects with the same name must not show in it.
    pub(super) opaque: bool,
    /// It has files that stand for whiteouts.
    pub(super) whiteouts: bool,
}

/// Where the object lies in the pool, as a path from the top of the objects' folder: `/ab/cdef…`.
fn redirect(id: &ObjectId) -> [u8; 66] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut path = [b'/'; 66];
    for (at, byte) in id.as_bytes().iter().enumerate() {
        // The first byte names the folder; a slash follows it.
        let at = 1 + 2 * at + usize::from(at > 0);
        path[at] = DIGITS[usize::from(byte >> 4)];
        path[at + 1] = DIGITS[usize::from(byte & 15)];
    }
    path
}

/// The xattrs that many inodes may have. Whoever comes first gets in, until the area is full: so one pass over the
/// manifest decides, and a second one decides the same.
pub(super) struct Pool {
    area: Vec<u8>,
    numbers: HashMap<Box<[u8]>, u32>,
}

impl Pool {
    pub(super) fn new() -> Self {
        let mut pool = Self {
            area: Vec::new(),
            numbers: HashMap::new(),
        };
        // What marks are made of is always shared: adding a mark then costs four bytes.
        let mut encoded = Vec::new();
        for (name, value) in [
            (METACOPY, &b""[..]),
            (OPAQUE, b"y"),
            (INNER_WHITEOUT, b""),
            (INNER_OPAQUE, b"x"),
        ] {
            encoded.clear();
            encode(&mut encoded, TRUSTED, &[name], value);
            pool.offer(&encoded);
        }
        pool
    }

    /// All of them, one after the other.
    pub(super) fn area(&self) -> &[u8] {
        &self.area
    }

    /// The number of `xattr`, if it is shared.
    fn offer(&mut self, xattr: &[u8]) -> Option<u32> {
        if let Some(number) = self.numbers.get(xattr) {
            return Some(*number);
        }
        if xattr.len() > MAX_SHARED || self.area.len() + xattr.len() > MAX_AREA {
            return None;
        }
        let number = (self.area.len() / 4) as u32;
        self.area.extend_from_slice(xattr);
        self.numbers.insert(xattr.into(), number);
        Some(number)
    }
}

/// The xattrs of one inode. Made once and filled again for each entry.
#[derive(Default)]
pub(super) struct Body {
    present: u32,
    shared: Vec<u32>,
    own: Vec<u8>,
    scratch: Vec<u8>,
}

impl Body {
    /// Takes the xattrs of `entry`, which is no further name of another.
    pub(super) fn compose(&mut self, entry: &Entry, marks: Marks, pool: &mut Pool) {
        self.present = 0;
        self.shared.clear();
        self.own.clear();
        if marks.opaque {
            self.add(pool, TRUSTED, &[OPAQUE], b"y");
        }
        if marks.whiteouts {
            self.add(pool, TRUSTED, &[INNER_OPAQUE], b"x");
        }
        if showable::is_whiteout(entry) {
            self.add(pool, TRUSTED, &[INNER_WHITEOUT], b"");
        }
        if let Some((id, _)) = entry.object() {
            self.add(pool, TRUSTED, &[METACOPY], b"");
            // Hardly ever the same twice, so not offered.
            self.present |= filter_bit(TRUSTED, REDIRECT);
            encode(&mut self.own, TRUSTED, &[REDIRECT], &redirect(&id));
        }
        for Stored {
            namespace,
            escaped,
            rest,
            value,
        } in showable::stored(entry)
        {
            let index = number_of(namespace);
            if escaped {
                self.add(pool, index, &[b"overlay.", showable::ESCAPE, rest], value);
            } else {
                self.add(pool, index, &[rest], value);
            }
        }
    }

    fn add(&mut self, pool: &mut Pool, index: u8, name: &[&[u8]], value: &[u8]) {
        self.scratch.clear();
        encode(&mut self.scratch, index, name, value);
        let length = usize::from(self.scratch[0]);
        self.present |= filter_bit(index, &self.scratch[4..4 + length]);
        let number = match self.shared.len() < MAX_IDS {
            true => pool.offer(&self.scratch),
            false => None,
        };
        match number {
            Some(number) => self.shared.push(number),
            None => self.own.extend_from_slice(&self.scratch),
        }
    }

    /// Bytes, a multiple of four; 0 where there are none.
    pub(super) fn len(&self) -> usize {
        match self.shared.len() * 4 + self.own.len() {
            0 => 0,
            length => XATTR_HEADER + length,
        }
    }

    /// The length as inodes have it.
    pub(super) fn count(&self) -> u16 {
        match self.len() {
            0 => 0,
            length => ((length - XATTR_HEADER) / 4 + 1) as u16,
        }
    }

    /// Appends them to `bytes`.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        if self.len() == 0 {
            return;
        }
        bytes.extend_from_slice(&(!self.present).to_le_bytes());
        bytes.push(self.shared.len() as u8);
        bytes.extend_from_slice(&[0; 7]);
        for number in &self.shared {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.own);
    }
}

/// Whether the tree itself gave `entry` the mark of a directory with whiteouts, or of an opaque one.
pub(super) fn has_inner_opaque(entry: &Entry) -> bool {
    let name = [b"trusted.", OPAQUE].concat();
    entry.xattrs.iter().any(|xattr| xattr.name == name)
}

fn number_of(namespace: Namespace) -> u8 {
    match namespace {
        Namespace::User => 1,
        Namespace::AccessAcl => 2,
        Namespace::DefaultAcl => 3,
        Namespace::Trusted => TRUSTED,
        Namespace::Security => 6,
    }
}

/// Appends one xattr: lengths, namespace, name, value, up to a multiple of four bytes.
fn encode(bytes: &mut Vec<u8>, index: u8, name: &[&[u8]], value: &[u8]) {
    let length: usize = name.iter().map(|part| part.len()).sum();
    bytes.push(length as u8);
    bytes.push(index);
    bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
    name.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use reclone_format::{Kind, TreePath, Xattr, object_id_of};

    use super::*;

    fn entry(kind: Kind, xattrs: &[(&str, &[u8])]) -> Entry {
        let mut entry = Entry::new(TreePath::from_bytes(b"x".into()).unwrap(), kind);
        entry.xattrs = xattrs
            .iter()
            .map(|(name, value)| Xattr {
                name: name.as_bytes().into(),
                value: value.to_vec(),
            })
            .collect();
        entry
    }

    #[test]
    fn an_object_is_found_by_its_id_in_hex() {
        let hex = ObjectId::EMPTY.to_string();
        let path = format!("/{}/{}", &hex[..2], &hex[2..]);
        assert_eq!(redirect(&ObjectId::EMPTY), path.as_bytes());
    }

    #[test]
    fn a_file_without_xattrs_of_its_own_takes_192_bytes() {
        let (mut body, mut pool) = (Body::default(), Pool::new());
        let kind = Kind::Regular {
            size: 1,
            id: object_id_of(b"x"),
        };
        body.compose(&entry(kind, &[]), Marks::default(), &mut pool);
        assert_eq!((64 + body.len() + 4).next_multiple_of(32), 192);
        assert_eq!(body.count(), 1 + 1 + 88 / 4);
    }

    #[test]
    fn an_xattr_that_repeats_is_stored_once() {
        let (mut body, mut pool) = (Body::default(), Pool::new());
        let label = entry(
            Kind::Fifo,
            &[("security.selinux", b"system_u:object_r:etc_t:s0")],
        );
        body.compose(&label, Marks::default(), &mut pool);
        let area = pool.area().len();
        assert_eq!((body.len(), body.shared.len()), (16, 1));
        body.compose(&label, Marks::default(), &mut pool);
        assert_eq!((body.len(), pool.area().len()), (16, area));
        let big = entry(Kind::Fifo, &[("user.big", &[7; 600])]);
        body.compose(&big, Marks::default(), &mut pool);
        assert_eq!((body.len(), pool.area().len()), (12 + 608, area));
    }

    #[test]
    fn a_mark_costs_four_bytes_where_there_are_xattrs() {
        let (mut body, mut pool) = (Body::default(), Pool::new());
        let marks = Marks {
            opaque: false,
            whiteouts: true,
        };
        for (xattrs, lengths) in [(&[][..], [0, 16]), (&[("user.a", &b"1"[..])], [16, 20])] {
            let directory = entry(Kind::Directory, xattrs);
            body.compose(&directory, Marks::default(), &mut pool);
            assert_eq!(body.len(), lengths[0]);
            body.compose(&directory, marks, &mut pool);
            assert_eq!(body.len(), lengths[1]);
        }
    }
}
