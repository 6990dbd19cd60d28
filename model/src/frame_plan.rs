//! Decides which new objects share a frame of a pack.
//!
//! A frame begins without memory, so what it holds should be alike: objects are sorted by what kind of file they are, then
//! by path. A large object has a frame of its own, so that a clone can resume in the middle of many.

use std::collections::HashSet;

use reclone_format::{ObjectId, PackedObject};

use crate::node::Node;

/// Bytes of content that a frame of several objects holds at most.
pub const FRAME: u64 = 4 << 20;

/// An object to be packed, and the node whose file has its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The object.
    pub object: PackedObject,
    /// A node.
    pub node: usize,
}

/// The objects of each frame to be made. A frame with more than [`FRAME`] bytes has a single object.
pub type Plan = Vec<Vec<Planned>>;

/// Frames for every object of `nodes` that `have` denies. The same tree gives the same frames.
pub fn plan(nodes: &[Node], have: impl Fn(&ObjectId) -> bool) -> Plan {
    let mut seen = HashSet::new();
    let (mut large, mut small) = (Vec::new(), Vec::new());
    for (at, node) in nodes.iter().enumerate() {
        let object = match node.entry.object() {
            Some((id, size)) if node.first_name.is_none() => PackedObject { id, size },
            _ => continue,
        };
        if have(&object.id) || !seen.insert(object.id) {
            continue;
        }
        let planned = Planned { object, node: at };
        if object.size > FRAME {
            large.push(planned);
        } else {
            small.push(planned);
        }
    }
    // The longest work first: no core waits for it at the end.
    large.sort_by_key(|planned| (u64::MAX - planned.object.size, planned.node));
    small.sort_by_cached_key(|planned| {
        let path = &nodes[planned.node].entry.path;
        (kind_of_name(path.name()), planned.node)
    });
    let mut frames: Plan = large.into_iter().map(|planned| vec![planned]).collect();
    let (mut frame, mut content) = (Vec::new(), 0);
    for planned in small {
        if content + planned.object.size > FRAME {
            frames.push(std::mem::take(&mut frame));
            content = 0;
        }
        content += planned.object.size;
        frame.push(planned);
    }
    frames.extend((!frame.is_empty()).then_some(frame));
    frames
}

/// Bytes of content of all frames.
pub fn content(plan: &Plan) -> u64 {
    plan.iter()
        .flatten()
        .map(|planned| planned.object.size)
        .sum()
}

/// What kind of file a name promises: its extension, without a library's version, in lower case; empty if it has none.
pub fn kind_of_name(name: &[u8]) -> Vec<u8> {
    let mut parts = name.split(|byte| *byte == b'.').rev();
    let mut last = parts.next().unwrap_or_default();
    while !last.is_empty() && last.iter().all(u8::is_ascii_digit) {
        match parts.next() {
            Some(before) => last = before,
            None => break,
        }
    }
    // The part before the first dot is no extension, and a long one is part of a name.
    match parts.next() {
        Some(stem) if !stem.is_empty() && last.len() <= 8 => last.to_ascii_lowercase(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::kind_of_name;

    #[test]
    fn a_name_tells_the_kind_of_its_file() {
        for (name, kind) in [
            ("libc.so.6", "so"),
            ("a.PY", "py"),
            ("README", ""),
            (".bashrc", ""),
            ("nginx-1.24", ""),
            ("x.tar.gz", "gz"),
            ("org.freedesktop.interface", ""),
        ] {
            assert_eq!(kind_of_name(name.as_bytes()), kind.as_bytes(), "{name}");
        }
    }
}
