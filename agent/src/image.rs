//! Writes a generation's manifest as an EROFS image: every directory, name, mode, time and xattr of the tree, and for
//! each file's content the path of its object. Mounted as the lower layer of an overlay whose further layer is the
//! pool's folder `objects`, it is the tree. It follows the layout of composefs, version 1.
//!
//! A file that is not empty has its size, no data (one chunk, a hole), and two xattrs for the overlay:
//! `trusted.overlay.metacopy`, empty, and `trusted.overlay.redirect`, `/ab/cdef…`. From Linux 6.5 on the objects are a
//! data-only layer (`lowerdir=IMAGE::OBJECTS`). On 6.1 they are an ordinary one (`lowerdir=IMAGE:OBJECTS`); its folders
//! `00` to `ff` are then hidden by whiteouts in the image's top directory. Both need `metacopy=on,redirect_dir=on`.
//! Where the tree itself has one of these names at its top, it takes the whiteout's place, and a directory is made
//! opaque.
//!
//! What the kernel does not show as it is, `reclone_format::showable` says entry by entry. The tree's own
//! `trusted.overlay.x` is stored as `trusted.overlay.overlay.x`, which Linux shows as the former from 6.7 on and hides
//! before. A character device 0:0 would vanish in the overlay. In its place stands an empty file with the xattr
//! `trusted.overlay.whiteout` (escaped), and its directory gets `trusted.overlay.opaque`, value `x`, unless the tree sets
//! that itself: an overlay inside the clone takes this for a whiteout from Linux 6.8 on.
//!
//! The layout: superblock, inodes in the manifest's order (each with its xattrs and the end of its content), shared
//! xattrs, blocks of large directories and long targets. No object's content is in it, nothing is compressed, and the
//! same manifest makes the same bytes.

mod erofs;
mod listing;
mod plan;
mod render;
mod sink;
mod xattrs;

use std::io::{self, BufReader, Read, Seek, Write};

use reclone_format::{ManifestReader, Result};

/// Reads the manifest twice, each time from what `manifest` opens, and writes the image of it to `out`, which must be
/// empty. Gives the image's size in bytes, a multiple of 4096. Syncs nothing. Takes 19 bytes of memory for each entry.
pub fn write<R: Read, W: Write + Seek>(
    mut manifest: impl FnMut() -> io::Result<R>,
    out: W,
) -> Result<u64> {
    Layout::read(manifest()?)?.write(manifest()?, out)
}

/// Where everything lies in an image: what the first pass over its manifest finds out, 19 bytes of memory for each entry.
pub struct Layout(plan::Plan);

impl Layout {
    /// That of this manifest's image.
    pub fn read(manifest: impl Read) -> Result<Self> {
        plan::Plan::read(open(manifest)?).map(Self)
    }

    /// Writes the image of the same manifest to `out`, which must be empty. Gives its size in bytes. Syncs nothing.
    pub fn write(self, manifest: impl Read, out: impl Write + Seek) -> Result<u64> {
        render::Render::new(self.0, out).run(open(manifest)?)
    }
}

fn open<R: Read>(manifest: R) -> Result<ManifestReader<BufReader<R>>> {
    ManifestReader::open(BufReader::with_capacity(1 << 16, manifest))
}
