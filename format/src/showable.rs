//! What of the tree a clone's kernel can not show, or only from some version on. A clone's root is an overlay over an
//! EROFS image, and both keep some of a tree's possibilities for themselves. The publisher reports these entries by
//! path; the image's writer leaves out exactly the xattrs that [`stored`] leaves out.

use std::fmt;

use crate::{Entry, Kind, Xattr};

/// The xattrs that the overlay takes for its own. An image holds the tree's own with [`ESCAPE`] put in.
const OVERLAY: &[u8] = b"overlay.";
/// What stands between `trusted.overlay.` and the rest of an escaped name.
pub const ESCAPE: &[u8] = b"overlay.";
/// The longest xattr name that Linux takes.
const MAX_NAME: usize = 255;
/// The longest value that EROFS has a length for.
const MAX_VALUE: usize = 65_535;
/// The bytes that EROFS has for the xattrs of one inode, less 1 KiB for those that the image itself needs.
const ROOM: usize = 12 + 4 * 65_534 - 1024;

/// A namespace of xattrs that EROFS knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// `user.`
    User,
    /// `system.posix_acl_access`, the whole name.
    AccessAcl,
    /// `system.posix_acl_default`, the whole name.
    DefaultAcl,
    /// `trusted.`
    Trusted,
    /// `security.`
    Security,
}

/// An xattr as an image stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its namespace.
    pub namespace: Namespace,
    /// Whether the name is one of the overlay's: `trusted.overlay.x` is stored as `trusted.overlay.overlay.x`.
    pub escaped: bool,
    /// What follows the namespace, and `overlay.` where it is escaped.
    pub rest: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

/// One thing of an entry that not every clone can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unshowable {
    /// The xattr's name; none where it is the entry itself.
    pub xattr: Option<Vec<u8>>,
    /// Why.
    pub reason: Reason,
}

/// Why something can not be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A character device 0:0, which an overlay takes for a whiteout.
    Whiteout,
    /// An xattr in the namespace that the overlay keeps for itself.
    OverlayXattr,
    /// An xattr in a namespace that EROFS does not know.
    Namespace,
    /// An xattr whose name is a namespace and nothing more.
    EmptyName,
    /// An xattr whose escaped name is too long.
    LongName,
    /// An xattr with a value of more than 65,535 bytes.
    LongValue,
    /// More xattrs than one EROFS inode has room for.
    Room,
}

impl Reason {
    /// The first Linux version that shows it; none where no version does.
    pub fn since(self) -> Option<&'static str> {
        (self == Reason::OverlayXattr).then_some("6.7")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Whiteout => {
                "clones show a character device 0:0 as an empty file; an overlay inside the clone takes it for \
                 a whiteout from Linux 6.8 on"
            }
            Reason::OverlayXattr => "clones with a Linux before 6.7 hide it, for it is the overlay's own",
            Reason::Namespace => "no clone shows it: EROFS has no place for its namespace",
            Reason::EmptyName => "no clone shows it: its name is a namespace and nothing more",
            Reason::LongName => "no clone shows it: its name would be longer than 255 bytes",
            Reason::LongValue => "no clone shows it: EROFS holds values up to 65535 bytes",
            Reason::Room => "no clone shows it: EROFS holds 256 KiB of xattrs for one file",
        })
    }
}

impl fmt::Display for Unshowable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.xattr {
            Some(name) => write!(f, "xattr {}: {}", name.escape_ascii(), self.reason),
            None => self.reason.fmt(f),
        }
    }
}

/// What of `entry` not every clone can show; mostly nothing.
pub fn unshowable(entry: &Entry) -> impl Iterator<Item = Unshowable> {
    let whiteout = is_whiteout(entry).then_some(Unshowable {
        xattr: None,
        reason: Reason::Whiteout,
    });
    let xattrs = judged(entry).filter_map(|(xattr, verdict)| {
        let reason = match verdict {
            Ok(stored) if stored.escaped => Reason::OverlayXattr,
            Ok(_) => return None,
            Err(reason) => reason,
        };
        Some(Unshowable {
            xattr: Some(xattr.name.clone()),
            reason,
        })
    });
    whiteout.into_iter().chain(xattrs)
}

/// The xattrs of `entry` that an image holds, as it holds them.
pub fn stored(entry: &Entry) -> impl Iterator<Item = Stored<'_>> {
    judged(entry).filter_map(|(_, verdict)| verdict.ok())
}

/// Whether this is a character device 0:0.
pub fn is_whiteout(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::CharDevice { major: 0, minor: 0 })
}

fn judged(entry: &Entry) -> impl Iterator<Item = (&Xattr, Result<Stored<'_>, Reason>)> {
    let mut room = ROOM;
    entry.xattrs.iter().map(move |xattr| {
        let verdict = judge(xattr).and_then(|stored| {
            let prefix = if stored.escaped { 16 } else { 0 };
            let cost = (4 + prefix + stored.rest.len() + stored.value.len()).next_multiple_of(4);
            room = room.checked_sub(cost).ok_or(Reason::Room)?;
            Ok(stored)
        });
        (xattr, verdict)
    })
}

fn judge(xattr: &Xattr) -> Result<Stored<'_>, Reason> {
    let name = xattr.name.as_slice();
    let (namespace, rest) = split(name)?;
    let own = (namespace == Namespace::Trusted)
        .then(|| rest.strip_prefix(OVERLAY))
        .flatten();
    if own.is_some_and(<[u8]>::is_empty) {
        Err(Reason::EmptyName)
    } else if own.is_some() && name.len() + ESCAPE.len() > MAX_NAME {
        Err(Reason::LongName)
    } else if xattr.value.len() > MAX_VALUE {
        Err(Reason::LongValue)
    } else {
        Ok(Stored {
            namespace,
            escaped: own.is_some(),
            rest: own.unwrap_or(rest),
            value: &xattr.value,
        })
    }
}

/// The namespace of `name` and the rest.
fn split(name: &[u8]) -> Result<(Namespace, &[u8]), Reason> {
    match name {
        b"system.posix_acl_access" => return Ok((Namespace::AccessAcl, b"")),
        b"system.posix_acl_default" => return Ok((Namespace::DefaultAcl, b"")),
        _ => {}
    }
    let dot = name.iter().position(|byte| *byte == b'.');
    let (prefix, rest) = name.split_at(dot.map_or(0, |dot| dot + 1));
    let namespace = match prefix {
        b"user." => Namespace::User,
        b"trusted." => Namespace::Trusted,
        b"security." => Namespace::Security,
        _ => return Err(Reason::Namespace),
    };
    match rest {
        [] => Err(Reason::EmptyName),
        _ => Ok((namespace, rest)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::TreePath;

    fn entry(kind: Kind, xattrs: &[(&str, usize)]) -> Entry {
        let mut entry = Entry::new(TreePath::from_bytes(b"x".into()).unwrap(), kind);
        entry.xattrs = xattrs
            .iter()
            .map(|(name, length)| Xattr {
                name: name.as_bytes().into(),
                value: vec![7; *length],
            })
            .collect();
        entry
    }

    fn reasons(entry: &Entry) -> Vec<(Option<String>, Reason)> {
        unshowable(entry)
            .map(|found| {
                (
                    found.xattr.map(|name| String::from_utf8(name).unwrap()),
                    found.reason,
                )
            })
            .collect()
    }

    #[test]
    fn what_every_kernel_shows_is_not_reported() {
        let fine = entry(
            Kind::CharDevice { major: 0, minor: 1 },
            &[
                ("security.capability", 20),
                ("system.posix_acl_access", 44),
                ("system.posix_acl_default", 44),
                ("trusted.overlays", 65_535),
                ("trusted.x", 0),
                ("user.overlay.opaque", 1),
            ],
        );
        assert_eq!(reasons(&fine), []);
        assert_eq!(stored(&fine).count(), 6);
    }

    #[test]
    fn each_thing_that_can_not_be_shown_is_reported_with_its_reason() {
        let long = format!("trusted.overlay.{}", "n".repeat(232));
        let whiteout = entry(
            Kind::CharDevice { major: 0, minor: 0 },
            &[
                ("btrfs.compression", 4),
                ("system.nfs4_acl", 4),
                ("trusted.overlay.", 1),
                ("trusted.overlay.opaque", 1),
                (&long, 1),
                ("user.", 1),
                ("user.big", 65_536),
            ],
        );
        let named = |name: &str, reason| (Some(name.to_owned()), reason);
        assert_eq!(
            reasons(&whiteout),
            [
                (None, Reason::Whiteout),
                named("btrfs.compression", Reason::Namespace),
                named("system.nfs4_acl", Reason::Namespace),
                named("trusted.overlay.", Reason::EmptyName),
                named("trusted.overlay.opaque", Reason::OverlayXattr),
                named(&long, Reason::LongName),
                named("user.", Reason::EmptyName),
                named("user.big", Reason::LongValue),
            ]
        );
        assert_eq!(stored(&whiteout).count(), 1);
        assert_eq!(Reason::OverlayXattr.since(), Some("6.7"));
        assert_eq!(Reason::Whiteout.since(), None);
    }

    #[test]
    fn an_inode_has_room_for_so_many_bytes_of_xattrs() {
        let full = entry(
            Kind::Fifo,
            &[
                ("user.a", 65_535),
                ("user.b", 65_535),
                ("user.c", 65_535),
                ("user.d", 64_460),
                ("user.e", 100),
                ("user.f", 8),
            ],
        );
        let names: Vec<_> = reasons(&full);
        assert_eq!(names, [(Some("user.e".to_owned()), Reason::Room)]);
        assert_eq!(stored(&full).count(), 5);
    }

    #[test]
    fn a_name_of_the_overlay_is_escaped() {
        let one = entry(Kind::Fifo, &[("trusted.overlay.overlay.x", 1)]);
        assert_eq!(
            stored(&one).collect::<Vec<_>>(),
            [Stored {
                namespace: Namespace::Trusted,
                escaped: true,
                rest: b"overlay.x",
                value: &[7],
            }]
        );
    }
}
