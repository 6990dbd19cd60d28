//! How zstd writes numbers of sequences (RFC 8878, 3.1.1.3.2): a code, and bits behind it.

use super::fse::Counts;

/// The three kinds of numbers, in the order in which a block's tables come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Literals before a match.
    Literals,
    /// How far back a match is.
    Offsets,
    /// How long a match is, less three.
    Lengths,
}

/// All kinds.
pub const KINDS: [Numbers; 3] = [Numbers::Literals, Numbers::Offsets, Numbers::Lengths];

/// The bits behind those codes that do not stand for one number each: where such codes begin, and the first of them.
const LITERALS: (u32, &[u8]) = (16, &[1, 1, 1, 1, 2, 2, 3, 3, 4, 6]);
const LENGTHS: (u32, &[u8]) = (32, &[1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5]);

impl Numbers {
    /// The greatest code, and the most states of a table as a power of two.
    pub fn limits(self) -> (usize, u32) {
        match self {
            Self::Literals => (35, 9),
            Self::Offsets => (31, 8),
            Self::Lengths => (52, 9),
        }
    }

    /// The first number of a code, and the bits behind it.
    pub fn first(self, code: u8) -> (u32, u32) {
        let code = u32::from(code);
        let (single, small) = match self {
            Self::Offsets => return (1 << code, code),
            Self::Literals => LITERALS,
            Self::Lengths => LENGTHS,
        };
        if code < single {
            return (code, 0);
        }
        let which = (code - single) as usize;
        let before = small.iter().take(which);
        let start = single + before.map(|bits| 1 << bits).sum::<u32>();
        match small.get(which) {
            Some(bits) => (start, u32::from(*bits)),
            None => {
                let bits = start.ilog2() + (which - small.len()) as u32;
                (1 << bits, bits)
            }
        }
    }

    /// The table of a block that describes none.
    pub fn usual(self) -> Counts {
        match self {
            Self::Literals => Counts::fixed(6, &USUAL_LITERALS),
            Self::Offsets => Counts::fixed(5, &USUAL_OFFSETS),
            Self::Lengths => Counts::fixed(6, &USUAL_LENGTHS),
        }
    }
}

// RFC 8878, 3.1.1.3.2.2.
const USUAL_LITERALS: [i16; 36] = [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
    -1, -1, -1, -1,
];
const USUAL_LENGTHS: [i16; 53] = [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
];
const USUAL_OFFSETS: [i16; 29] = [
    1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_on_each_other_without_a_gap() {
        for numbers in KINDS {
            let mut next = u32::from(numbers == Numbers::Offsets);
            for code in 0..=numbers.limits().0 as u8 {
                let (first, bits) = numbers.first(code);
                assert_eq!(first, next, "{numbers:?} {code}");
                next = first.wrapping_add(1 << bits);
            }
        }
        // RFC 8878, 3.1.1.3.2.1.1; lengths less three.
        assert_eq!(Numbers::Literals.first(24), (48, 4));
        assert_eq!(Numbers::Literals.first(25), (64, 6));
        assert_eq!(Numbers::Literals.first(35), (65_536, 16));
        assert_eq!(Numbers::Lengths.first(42), (96, 5));
        assert_eq!(Numbers::Lengths.first(43), (128, 7));
        assert_eq!(Numbers::Lengths.first(52), (65_536, 16));
        assert_eq!(Numbers::Offsets.first(2), (4, 2));
    }
}
