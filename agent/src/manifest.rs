//! Manifests on their way from the store into the pool, and what a generation needs by them. The format is
//! `reclone_format::manifest`'s.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use reclone_format::{
    Entry, Error as FormatError, Head, ManifestReader, ObjectId, PackRef, PackedObject, TreePath,
};

use crate::bases::Bases;
use crate::error::{Error, Result};
use crate::image::Layout;
use crate::memory;
use crate::open_pack::{OpenPack, Rest};
use crate::pool::create_new;
use crate::stage::{FileSink, id_of, open_uncached};
use crate::store::Store;
use crate::wanted::{Wanted, room};

const BUFFER: usize = 256 * 1024;

/// Opens a manifest.
pub fn read_manifest(path: &Path) -> Result<ManifestReader<BufReader<File>>> {
    let file = File::open(path).map_err(Error::system("can not open", path))?;
    ManifestReader::open(BufReader::with_capacity(BUFFER, file))
        .map_err(Error::published(&path.display().to_string()))
}

/// Writes the manifest of `head` to `path`, verified, out of the prelude of the first pack.
pub fn fetch_manifest(
    store: &dyn Store,
    head: &Head,
    bases: &Bases,
    path: &Path,
) -> Result<OpenPack> {
    let pack = &head.packs[0];
    let mut open = OpenPack::open(store, pack, pack.prelude)?;
    match open.frames.first() {
        Some(first) if first.bases.is_empty() => {}
        _ => return Err(Error::Absent(head.manifest.id)),
    }
    unpack_first(store, &mut open, &manifest_of(head), bases, path)?;
    Ok(open)
}

/// The same out of delta packs, each of whose first frame yields the manifest that it leads to. The manifests between get
/// names of their own beside `path`.
pub fn follow_manifests(
    store: &dyn Store,
    head: &Head,
    links: &[PackRef],
    lengths: fn(&PackRef) -> u64,
    bases: &mut Bases,
    path: &Path,
) -> Result<Vec<OpenPack>> {
    let mut opened = Vec::with_capacity(links.len());
    for (at, pack) in links.iter().enumerate() {
        let mut open = OpenPack::open(store, pack, lengths(pack))?;
        let is_last = at + 1 == links.len();
        let (manifest, path) = match open.frames.first() {
            Some(first) if !is_last => (first.objects[0], path.with_extension(at.to_string())),
            _ => (manifest_of(head), path.to_owned()),
        };
        unpack_first(store, &mut open, &manifest, bases, &path)?;
        bases.add_manifest(manifest.id, path);
        opened.push(open);
    }
    Ok(opened)
}

fn manifest_of(head: &Head) -> PackedObject {
    PackedObject {
        id: head.manifest.id,
        size: head.manifest.size,
    }
}

/// Writes `object`, which the first frame of a pack must yield, to `path`.
fn unpack_first(
    store: &dyn Store,
    open: &mut OpenPack,
    object: &PackedObject,
    bases: &Bases,
    path: &Path,
) -> Result<()> {
    let first = open.frames.first();
    let Some(first) = first.filter(|first| first.objects.contains(object)) else {
        return Err(Error::Absent(object.id));
    };
    if first.memory() > memory::limit() && !first.bases.is_empty() {
        return Err(Error::Absent(object.id));
    }
    let place = open.pack.id.store_path();
    let (at, end) = (first.offset, first.offset + first.length);
    let mut rest = match open.rest.take().filter(|rest| rest.end >= end) {
        Some(rest) => rest,
        None => Rest {
            reader: store.read(&place, at, first.length)?,
            at,
            end,
        },
    };
    let mut sink = FileSink::create(path, object.id)?;
    let places = [Path::new(&place), path];
    bases.decode(
        first,
        &mut rest.reader,
        &Wanted::default(),
        &mut sink,
        places,
    )?;
    rest.at = end;
    open.rest = (end < rest.end).then_some(rest);
    Ok(())
}

/// Opens the staged manifest, whose id was checked, and checks what the head says about it.
pub fn open_manifest(path: &Path, head: &Head) -> Result<ManifestReader<BufReader<File>>> {
    let manifest = read_manifest(path).map_err(|error| match error {
        // Where it is staged does not matter to anyone.
        Error::Published { source, .. } => Error::published("manifest")(source),
        error => error,
    })?;
    let header = manifest.header();
    if header.entries == head.manifest.entries && header.content == head.content {
        return Ok(manifest);
    }
    Err(Error::published("manifest")(
        reclone_format::Error::Malformed {
            structure: "head",
            reason: "its entries or its content are not those of its manifest".into(),
        },
    ))
}

/// Where everything will lie in the image of a manifest.
pub fn lay_out(manifest: &Path) -> Result<Layout> {
    let file = File::open(manifest).map_err(Error::system("can not open", manifest))?;
    Layout::read(file).map_err(Error::published(&manifest.display().to_string()))
}

/// Writes the image of a manifest; a file that is there goes. Syncs nothing.
pub fn write_image(manifest: &Path, image: &Path) -> Result<()> {
    write_laid_out(lay_out(manifest)?, manifest, image)
}

/// The same, where it is known where everything will lie.
pub fn write_laid_out(layout: Layout, manifest: &Path, image: &Path) -> Result<()> {
    let write = || -> Result<(), FormatError> {
        layout.write(File::open(manifest)?, create_new(image)?)?;
        Ok(())
    };
    write().map_err(Error::passed_on(&manifest.display().to_string(), image))
}

/// The objects that a manifest of the pool names, in its order; those of several files more than once.
pub fn objects_of(path: &Path) -> Result<Vec<ObjectId>> {
    let damaged = |reason: String| Error::Damaged {
        path: path.into(),
        reason,
    };
    let malformed = |error: FormatError| damaged(error.to_string());
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged("it is missing".into()),
        _ => Error::system("can not open", path)(error),
    })?;
    let manifest = ManifestReader::open(BufReader::with_capacity(BUFFER, file));
    let manifest = manifest.map_err(malformed)?;
    let mut ids = Vec::with_capacity(room(&manifest.header()));
    for item in manifest {
        ids.extend(item.map_err(malformed)?.entry.object().map(|(id, _)| id));
    }
    Ok(ids)
}

/// What a manifest of the pool says about one path of the tree.
pub fn find(manifest: &Path, path: &TreePath) -> Result<Option<Entry>> {
    let malformed = |error: FormatError| Error::Damaged {
        path: manifest.into(),
        reason: error.to_string(),
    };
    for item in read_manifest(manifest)? {
        let entry = item.map_err(malformed)?.entry;
        match entry.path.cmp(path) {
            Ordering::Less => {}
            Ordering::Equal => return Ok(Some(entry)),
            Ordering::Greater => break,
        }
    }
    Ok(None)
}

/// Whether the file at `path` is there, can be read and has this id.
pub fn has_id(path: &Path, id: &ObjectId) -> Result<bool> {
    match open_uncached(path).and_then(id_of) {
        Ok(found) => Ok(found == *id),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
        Err(error) => Err(Error::system("can not read", path)(error)),
    }
}
