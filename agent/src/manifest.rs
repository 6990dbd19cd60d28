//! Manifests on their way from the store into the pool, and what a generation needs by them. The format is
//! `reclone_format::manifest`'s.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use reclone_format::{
    Error as FormatError, Head, ManifestReader, ObjectId, PackIndex, PackedObject, frame,
};

use crate::error::{Error, Result};
use crate::image;
use crate::plan::open_pack;
use crate::pool::create_new;
use crate::stage::{FileSink, id_of, open_uncached};
use crate::store::Store;
use crate::wanted::room;

const BUFFER: usize = 256 * 1024;

/// Opens a manifest.
pub fn read_manifest(path: &Path) -> Result<ManifestReader<BufReader<File>>> {
    let file = File::open(path).map_err(Error::system("can not open", path))?;
    ManifestReader::open(BufReader::with_capacity(BUFFER, file))
        .map_err(Error::published(&path.display().to_string()))
}

/// Writes the manifest of `head` to `path`, verified, and gives the index of the pack that it came in.
pub fn fetch_manifest(store: &dyn Store, head: &Head, path: &Path) -> Result<PackIndex> {
    let pack = &head.packs[0];
    let place = pack.id.store_path();
    let (index, mut reader) = open_pack(store, pack)?;
    let missing = || Error::Absent(head.manifest.id);
    let first = index.frames().first().ok_or_else(missing)?;
    let manifest = PackedObject {
        id: head.manifest.id,
        size: head.manifest.size,
    };
    if !first.objects.contains(&manifest) || !first.bases.is_empty() {
        return Err(missing());
    }
    let mut sink = FileSink::create(path, head.manifest.id)?;
    frame::decode(first, &mut reader, &[], &mut sink).map_err(Error::passed_on(&place, path))?;
    Ok(index)
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

/// Writes the image of a manifest; a file that is there goes. Syncs nothing.
pub fn write_image(manifest: &Path, image: &Path) -> Result<()> {
    let write = || -> Result<(), reclone_format::Error> {
        image::write(|| File::open(manifest), create_new(image)?)?;
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

/// Whether the file at `path` is there, can be read and has this id.
pub fn has_id(path: &Path, id: &ObjectId) -> Result<bool> {
    match open_uncached(path).and_then(id_of) {
        Ok(found) => Ok(found == *id),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
        Err(error) => Err(Error::system("can not read", path)(error)),
    }
}
