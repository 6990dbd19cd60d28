//! Where bytes stood before, as zstd's rows find it: places are kept in rows by a hash of their first bytes, the newest in
//! place of the oldest, each with eight further bits of that hash. What is found depends on nothing but the bytes and the calls.

/// Places that are kept of a long run that was skipped: at its start, and at its end.
const KEPT: (usize, usize) = (96, 32);
/// A longer run is skipped.
const LONG_RUN: usize = 384;

/// How places are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Places in all, as a power of two.
    pub places_log: u32,
    /// Places of a row, as a power of two: 4 to 6.
    pub row_log: u32,
    /// How many of a row are compared.
    pub attempts: u32,
    /// Bytes that are hashed: 4 to 6.
    pub hashed: u32,
}

/// The places of a content in the making.
#[derive(Debug)]
pub struct Finder {
    rows: Rows,
    /// In each row, where the newest is.
    newest: Vec<u8>,
    tags: Vec<u8>,
    /// Each plus one; 0 where there is none.
    places: Vec<u32>,
    /// The first place that is not yet kept.
    pub next: usize,
}

/// A match: how far back, and how long.
pub type Found = (usize, usize);

impl Finder {
    /// Without any places. Memory: five bytes for each.
    pub fn new(rows: Rows) -> Self {
        let count = 1 << rows.places_log;
        Self {
            rows,
            newest: vec![0; count >> rows.row_log],
            tags: vec![0; count],
            places: vec![0; count],
            next: 0,
        }
    }

    /// Forgets all places.
    pub fn clear(&mut self) {
        self.newest.fill(0);
        self.tags.fill(0);
        self.places.fill(0);
        self.next = 0;
    }

    /// The row of a place, and its tag.
    fn row_of(&self, content: &[u8], at: usize) -> (usize, u8) {
        let bits = self.rows.places_log - self.rows.row_log + 8;
        let word = word(content, at);
        let hash = match self.rows.hashed {
            4 => (word as u32).wrapping_mul(2_654_435_761) >> (32 - bits),
            5 => ((word << 24).wrapping_mul(889_523_592_379) >> (64 - bits)) as u32,
            _ => ((word << 16).wrapping_mul(227_718_039_650_203) >> (64 - bits)) as u32,
        };
        ((hash >> 8) as usize, hash as u8)
    }

    fn keep(&mut self, content: &[u8], at: usize) {
        let (row, tag) = self.row_of(content, at);
        let start = row << self.rows.row_log;
        let newest = self.newest[row].wrapping_sub(1) & ((1 << self.rows.row_log) - 1);
        self.newest[row] = newest;
        self.tags[start + usize::from(newest)] = tag;
        self.places[start + usize::from(newest)] = at as u32 + 1;
    }

    /// Keeps every place up to `end`.
    pub fn keep_all(&mut self, content: &[u8], end: usize) {
        (self.next..end).for_each(|at| self.keep(content, at));
        self.next = self.next.max(end);
    }

    fn keep_up_to(&mut self, content: &[u8], at: usize) {
        if at > self.next + LONG_RUN {
            self.keep_all(content, self.next + KEPT.0);
            self.next = at - KEPT.1;
        }
        self.keep_all(content, at);
    }

    /// The longest match at `at` of what does not begin before `low`, the newest of equals, compared up to `end`, which is
    /// at least eight bytes away. Keeps the place.
    pub fn longest(&mut self, content: &[u8], at: usize, low: usize, end: usize) -> Option<Found> {
        self.keep_up_to(content, at);
        let (row, tag) = self.row_of(content, at);
        let (start, size) = (row << self.rows.row_log, 1u32 << self.rows.row_log);
        let newest = u32::from(self.newest[row]);
        let alike = alike(&self.tags[start..][..size as usize], tag);
        // The newest first.
        let mut alike = rotate(alike, newest, size);
        let mut best: Option<Found> = None;
        for _ in 0..self.rows.attempts {
            if alike == 0 {
                break;
            }
            let which = (newest + alike.trailing_zeros()) & (size - 1);
            alike &= alike - 1;
            let place = self.places[start + which as usize] as usize;
            if place == 0 || place - 1 < low {
                break;
            }
            let place = place - 1;
            let least = best.map_or(3, |(_, length)| length);
            if place >= at || half(content, place + least - 3) != half(content, at + least - 3) {
                continue;
            }
            let length = common(content, place, at, end);
            if length > least {
                best = Some((at - place, length));
                if at + length == end {
                    break;
                }
            }
        }
        if self.next == at {
            self.keep_all(content, at + 1);
        }
        best
    }
}

/// Which of these tags are `tag`, one bit for each.
fn alike(tags: &[u8], tag: u8) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const REST: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let splat = u64::from(tag) * LOW;
    let eight = |(at, tags): (usize, &[u8])| {
        let other = word(tags, 0) ^ splat;
        let zero = !(((other & REST) + REST) | other | REST);
        ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (at * 8)
    };
    tags.chunks_exact(8).enumerate().map(eight).sum()
}

/// The lowest `size` bits, turned right.
fn rotate(bits: u64, by: u32, size: u32) -> u64 {
    match by {
        0 => bits,
        _ => (bits >> by | bits << (size - by)) & (u64::MAX >> (64 - size)),
    }
}

/// Eight bytes; zeros where the content has ended.
pub fn word(content: &[u8], at: usize) -> u64 {
    let bytes = content.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Four bytes; zeros where the content has ended.
pub fn half(content: &[u8], at: usize) -> u32 {
    let bytes = content.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// How many bytes are the same from `old` and from `new` on, which is behind it, up to `end`.
pub fn common(content: &[u8], old: usize, new: usize, end: usize) -> usize {
    let (new, old) = (&content[new..end], &content[old..end]);
    let mut at = 0;
    while at + 8 <= new.len() {
        let different = word(new, at) ^ word(old, at);
        if different != 0 {
            return at + different.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = new[at..].iter().zip(&old[at..]);
    at + rest.take_while(|(new, old)| new == old).count()
}
