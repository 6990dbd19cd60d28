//! Finds the longest match of some bytes in a content, with its sorted suffixes.

use libsais::SuffixArrayConstruction;

/// Contents above this get the larger table of first bytes.
const LARGE: usize = 32 << 20;

/// The sorted suffixes of a content. Memory: four bytes for each of its own, and a table of 256 KiB or 64 MiB.
pub struct Suffixes<'a> {
    content: &'a [u8],
    sorted: Vec<i32>,
    /// How many first bytes choose a run of `sorted`.
    key: usize,
    /// Where the run of each key begins; one more for the end.
    starts: Vec<u32>,
}

impl<'a> Suffixes<'a> {
    /// Of `content`, which is at most 2 GiB.
    pub fn of(content: &'a [u8]) -> Self {
        let sorted = match content {
            [] => Vec::new(),
            _ => SuffixArrayConstruction::for_text(content)
                .in_owned_buffer32()
                .single_threaded()
                .run()
                .expect("the content is below 2 GiB")
                .into_vec(),
        };
        let key = if content.len() > LARGE { 3 } else { 2 };
        let mut starts = vec![0; (1 << (8 * key)) + 1];
        for at in 0..content.len() {
            starts[key_of(&content[at..], key) + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        Self {
            content,
            sorted,
            key,
            starts,
        }
    }

    /// Where in the content the longest beginning of `wanted` stands, and its length; 0 if it is shorter than a key.
    pub fn longest(&self, wanted: &[u8]) -> (usize, usize) {
        if wanted.len() < self.key {
            return (0, 0);
        }
        let key = key_of(wanted, self.key);
        let run = self.starts[key] as usize..self.starts[key + 1] as usize;
        let run = &self.sorted[run];
        let (mut low, mut high) = (0, run.len());
        let (mut low_common, mut high_common) = (0, 0);
        let mut best = (0, 0);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = run[middle] as usize;
            let suffix = &self.content[at..];
            let known = low_common.min(high_common).min(suffix.len());
            let length = known + common(&wanted[known..], &suffix[known..]);
            if length > best.1 {
                best = (at, length);
            }
            match (wanted.get(length), suffix.get(length)) {
                (None, _) => break,
                (Some(new), Some(old)) if new < old => (high, high_common) = (middle, length),
                _ => (low, low_common) = (middle + 1, length),
            }
        }
        best
    }
}

/// The first bytes as a number; what a short suffix lacks counts as zeros, which is where it is sorted.
fn key_of(bytes: &[u8], key: usize) -> usize {
    let byte = |at: usize| usize::from(bytes.get(at).copied().unwrap_or_default());
    (0..key).fold(0, |number, at| number << 8 | byte(at))
}

/// How many bytes two contents have in common at their start.
fn common(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8));
    let whole = words.take_while(|(a, b)| a == b).count() * 8;
    let rest = a[whole..].iter().zip(&b[whole..]);
    whole + rest.take_while(|(a, b)| a == b).count()
}
