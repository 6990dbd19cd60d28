//! How a directory's names are packed into blocks, and which names it has besides the tree's: `.`, `..` and, in the top
//! directory, the whiteouts that hide the folders of the pool's objects.

use super::erofs::{BLOCK, DIRENT, FileType};

/// How many whiteouts the top directory has: `00` to `ff`.
pub(super) const WHITEOUTS: u32 = 256;

/// A name that is not the tree's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    /// `.`
    Itself,
    /// `..`
    Parent,
    /// The name of a folder of objects.
    Whiteout([u8; 2]),
}

impl Extra {
    pub(super) fn name(&self) -> &[u8] {
        match self {
            Extra::Itself => b".",
            Extra::Parent => b"..",
            Extra::Whiteout(name) => name,
        }
    }
}

/// The names of one directory that are not the tree's, in order.
pub(super) struct Extras {
    next: u32,
    end: u32,
}

impl Extras {
    pub(super) fn of(directory: u32) -> Self {
        let end = if directory == 0 { 2 + WHITEOUTS } else { 2 };
        Self { next: 0, end }
    }

    /// The next one that stands before `name`, or simply the next one. One with the same name makes room for it.
    pub(super) fn next_before(&mut self, name: Option<&[u8]>) -> Option<Extra> {
        if self.next == self.end {
            return None;
        }
        let extra = match self.next {
            0 => Extra::Itself,
            1 => Extra::Parent,
            number => Extra::Whiteout([hex((number - 2) >> 4), hex((number - 2) & 15)]),
        };
        let wanted = name.is_none_or(|name| extra.name() < name);
        self.next += u32::from(wanted || Some(extra.name()) == name);
        wanted.then_some(extra)
    }
}

/// Whether an entry of this name in the top directory takes the place of a whiteout.
pub(super) fn is_object_folder(name: &[u8]) -> bool {
    name.len() == 2
        && name
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(digit: u32) -> u8 {
    b"0123456789abcdef"[digit as usize]
}

/// The size of a directory's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Blocks before the last one.
    pub(super) full: u32,
    /// Bytes of the last block.
    pub(super) last: u16,
}

impl Size {
    /// That of a directory with nothing in it but `.` and `..`.
    pub(super) const EMPTY: Self = Self {
        full: 0,
        last: 2 * DIRENT as u16 + 3,
    };

    /// Counts a name in; tells whether it starts a new block.
    pub(super) fn add(&mut self, name: &[u8]) -> bool {
        let length = DIRENT + name.len();
        let starts = usize::from(self.last) + length > BLOCK as usize;
        if starts {
            self.full += 1;
            self.last = 0;
        }
        self.last += length as u16;
        starts
    }

    /// Bytes.
    pub(super) fn bytes(self) -> u64 {
        u64::from(self.full) * BLOCK + u64::from(self.last)
    }
}

/// The entries of one block.
#[derive(Default)]
pub(super) struct Block {
    entries: Vec<(u32, FileType, u16)>,
    names: Vec<u8>,
}

impl Block {
    pub(super) fn push(&mut self, name: &[u8], nid: u32, kind: FileType) {
        self.entries.push((nid, kind, self.names.len() as u16));
        self.names.extend_from_slice(name);
    }

    /// Puts the block into `bytes` and starts another one.
    pub(super) fn take(&mut self, bytes: &mut Vec<u8>) {
        let names_at = (self.entries.len() * DIRENT) as u16;
        bytes.clear();
        for (nid, kind, name_at) in self.entries.drain(..) {
            bytes.extend_from_slice(&u64::from(nid).to_le_bytes());
            bytes.extend_from_slice(&(names_at + name_at).to_le_bytes());
            bytes.extend_from_slice(&[kind as u8, 0]);
        }
        bytes.append(&mut self.names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(directory: u32, names: &[&str]) -> Vec<String> {
        let mut extras = Extras::of(directory);
        let mut found = Vec::new();
        let names = names.iter().map(|name| Some(name.as_bytes()));
        for name in names.chain([None]) {
            while let Some(extra) = extras.next_before(name) {
                found.push(String::from_utf8_lossy(extra.name()).into_owned());
            }
            found.extend(name.map(|name| String::from_utf8_lossy(name).into_owned()));
        }
        found
    }

    #[test]
    fn the_two_dots_stand_where_their_bytes_put_them() {
        let found = all(7, &["!", "-", ".-", "...", "00", "x"]);
        assert_eq!(found, ["!", "-", ".", ".-", "..", "...", "00", "x"]);
        assert_eq!(all(7, &[]), [".", ".."]);
    }

    #[test]
    fn the_top_has_every_folder_of_objects_once() {
        let found = all(0, &["0", "3a", "AB", "ab", "abc", "zz"]);
        assert_eq!(found.len(), 2 + 256 + 4);
        assert!(found.is_sorted());
        assert_eq!(found.iter().filter(|name| *name == "ab").count(), 1);
        assert_eq!(all(0, &[])[2..5], ["00", "01", "02"]);
        assert_eq!(all(0, &[]).last().map(String::as_str), Some("ff"));
    }

    #[test]
    fn the_size_is_what_the_blocks_take() {
        let mut size = Size::default();
        let names: Vec<String> = (0..1000).map(|n| "x".repeat(1 + n % 255)).collect();
        let (mut block, mut bytes, mut total) = (Block::default(), Vec::new(), 0);
        for name in &names {
            if size.add(name.as_bytes()) {
                block.take(&mut bytes);
                assert!(bytes.len() <= 4096 && bytes.len() > 4096 - 12 - 255);
                total += 4096;
            }
            block.push(name.as_bytes(), 1, FileType::Fifo);
        }
        block.take(&mut bytes);
        assert_eq!(size.bytes(), total + bytes.len() as u64);
        let mut empty = Size::default();
        assert!(!empty.add(b".") && !empty.add(b".."));
        assert_eq!(empty, Size::EMPTY);
    }
}
