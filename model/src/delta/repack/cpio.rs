//! The content of a cpio archive as a patch of the files that it was built from, which are told by their ids.

use std::collections::HashMap;

use reclone_format::patch::Step;
use reclone_format::{ObjectId, PackedObject, object_id_of};

/// The first bytes of an entry: of the formats `newc` and `crc`.
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
/// Bytes of an entry's header: the magic and thirteen numbers of eight digits.
const HEADER: usize = 6 + 13 * 8;
/// Which of these numbers are the size of the file and of the name.
const SIZE: usize = 6;
const NAME: usize = 11;
/// Shorter files are not worth a base: its record costs forty bytes.
const MIN_SIZE: usize = 256;
/// All bases of a frame together.
const MAX_BASES: u64 = 256 << 20;
/// How many bases a frame may have.
const MOST_BASES: usize = u16::MAX as usize;

/// A content made from objects that are found in it as they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// The objects, each once, in the order of the content.
    pub bases: Vec<PackedObject>,
    /// How to go through them and what is new.
    pub steps: Vec<Step>,
    /// How many bytes are as in the bases.
    pub same: u64,
    /// What is new.
    pub extra: Vec<u8>,
}

/// Makes `content` from the objects in `known`, which has their sizes.
pub fn patch_of(content: &[u8], known: &HashMap<ObjectId, u64>) -> Made {
    let mut made = Made::default();
    let (mut ends, mut end, mut position, mut at) = (HashMap::new(), 0u64, 0i64, 0);
    for file in files(content) {
        let id = object_id_of(&content[file.clone()]);
        let size = file.len() as u64;
        if known.get(&id) != Some(&size) {
            continue;
        }
        let start = match ends.get(&id) {
            Some(start) => *start,
            None if end + size > MAX_BASES || made.bases.len() == MOST_BASES => continue,
            None => {
                made.bases.push(PackedObject { id, size });
                ends.insert(id, end);
                end += size;
                end - size
            }
        };
        made.insert(&content[at..file.start], start as i64 - position);
        made.steps.push((size, 0, 0));
        made.same += size;
        position = (start + size) as i64;
        at = file.end;
    }
    made.insert(&content[at..], 0);
    made
}

impl Made {
    /// What is new before the next run of a base, and how far away that is.
    fn insert(&mut self, new: &[u8], seek: i64) {
        if new.is_empty() && seek == 0 {
            return;
        }
        self.extra.extend_from_slice(new);
        match self.steps.last_mut() {
            Some(last) => {
                last.1 += new.len() as u64;
                last.2 += seek;
            }
            None => self.steps.push((0, new.len() as u64, seek)),
        }
    }
}

/// Where the files of all archives are that stand one after the other at the start of `content`.
pub fn files(content: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            // Between archives there are zeros.
            at += content
                .get(at..)?
                .iter()
                .take_while(|byte| **byte == 0)
                .count();
            let (file, next) = entry(content, at)?;
            at = next;
            if file.len() >= MIN_SIZE {
                return Some(file);
            }
        }
    })
}

/// The file of the entry at `at`, and where the next entry begins.
fn entry(content: &[u8], at: usize) -> Option<(std::ops::Range<usize>, usize)> {
    let header = content.get(at..)?.get(..HEADER)?;
    if !MAGICS.iter().any(|magic| header.starts_with(magic)) {
        return None;
    }
    let number = |which: usize| {
        let digits = std::str::from_utf8(&header[6 + which * 8..][..8]).ok()?;
        usize::from_str_radix(digits, 16).ok()
    };
    let start = (at + HEADER + number(NAME)?).next_multiple_of(4);
    let end = start + number(SIZE)?;
    content.get(start..end)?;
    Some((start..end, end.next_multiple_of(4)))
}

/// Where the archives at the start of `content` end, zeros behind them included.
pub fn end(content: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += content[at..].iter().take_while(|byte| **byte == 0).count();
        match entry(content, at) {
            Some((_, next)) => at = next.min(content.len()),
            None => return at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, content) in files {
            archive.extend(b"070701");
            for which in 0..13 {
                let number = match which {
                    SIZE => content.len(),
                    NAME => name.len() + 1,
                    _ => 0,
                };
                archive.extend(format!("{number:08x}").bytes());
            }
            archive.extend(name.bytes());
            archive.resize((archive.len() + 1).next_multiple_of(4), 0);
            archive.extend(*content);
            archive.resize(archive.len().next_multiple_of(4), 0);
        }
        archive
    }

    #[test]
    fn known_files_are_taken_from_their_objects_and_the_rest_is_new() {
        let [one, two, three] = [vec![1u8; 300], vec![2; 301], vec![3; 302]];
        let files = [("a", &one[..]), ("b", &two), ("c", &three), ("d", &one)];
        let content = archive(&files);
        let known = [&one, &three].map(|file| (object_id_of(file), file.len() as u64));
        let made = patch_of(&content, &known.into());
        let sizes: Vec<u64> = made.bases.iter().map(|base| base.size).collect();
        assert_eq!(sizes, [300, 302]);
        assert_eq!(made.same, 902);
        let header = HEADER as u64 + 2;
        assert_eq!(
            made.steps,
            [
                (0, header, 0),
                (300, header + 301 + 3 + header, 0),
                (302, 2 + header, -602),
                (300, 0, 0)
            ]
        );
        assert_eq!(made.extra.len() as u64 + made.same, content.len() as u64);
        assert_eq!(
            end(&[&content[..], &[0; 9], b"x"].concat()),
            content.len() + 9
        );
    }

    #[test]
    fn what_is_no_archive_has_no_files() {
        for content in [&b""[..], b"070701", &[0; 500], &[b'0'; 500]] {
            assert_eq!(patch_of(content, &HashMap::new()).bases, []);
        }
    }
}
