//! What model and clone agree on, byte by byte. `docs/format.md` is normative; this crate follows it.
//!
//! Nothing here opens a file or a connection: parsers take bytes or a `Read`, writers a `Write`.

// the ground
mod error;
pub mod wire;

// names of things
pub mod object_id;
pub mod tree_path;

// the tree of one generation
pub mod entry;
pub mod manifest;
pub mod showable;

// what a reset does to it
pub mod policy;

// its contents on the way
pub mod frame;
pub mod pack;
pub mod patch;
pub mod repack;

// who says so
pub mod head;
pub mod signature;

pub use entry::{Entry, Kind, Timestamp, Xattr};
pub use error::{Error, Result};
pub use head::{DeltaRef, Head, ManifestRef, PackRef};
pub use manifest::{Item, ManifestHeader, ManifestReader, ManifestWriter};
pub use object_id::{ObjectHasher, ObjectId, object_id_of};
pub use pack::{Codec, Frame, PackHeader, PackId, PackIndex, PackedObject};
pub use policy::{Policy, PolicyError, Rule};
pub use signature::PublicKey;
pub use tree_path::TreePath;
