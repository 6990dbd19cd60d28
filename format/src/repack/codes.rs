//! How zstd writes numbers of sequences (RFC 8878, 3.1.1.3.2): a code, and bits behind it.

use super::fse::Counts;

/// The three kinds of numbers, in the order in which a block's tables come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Literals before a match.
    Literals,
    /// How far back a match is.
    Offsets,
    /// How long a match is, less [`super::parse::SHORTEST`].
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

    /// The code of a number, and how many of its lowest bits stand behind it.
    pub fn code(self, number: u32) -> (u8, u32) {
        let (single, small) = match self {
            Self::Offsets => {
                let code = number.max(1).ilog2();
                return (code as u8, code);
            }
            Self::Literals => LITERALS,
            Self::Lengths => LENGTHS,
        };
        if number < single {
            return (number as u8, 0);
        }
        let (mut code, mut start) = (single, single);
        for bits in small {
            if number < start + (1 << bits) {
                return (code as u8, u32::from(*bits));
            }
            start += 1 << bits;
            code += 1;
        }
        let bits = number.ilog2();
        (code as u8 + (bits - start.ilog2()) as u8, bits)
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
    fn a_code_and_its_bits_are_the_number() {
        for numbers in KINDS {
            for number in (1..200_000).chain([1 << 20, (1 << 27) + 5]) {
                let (code, bits) = numbers.code(number);
                let (first, width) = numbers.first(code);
                assert_eq!(bits, width, "{numbers:?} {number}");
                let behind = number & ((1 << bits) - 1);
                assert_eq!(first + behind, number, "{numbers:?} {number}");
            }
        }
        assert_eq!(Numbers::Literals.code(65_536), (35, 16));
        assert_eq!(Numbers::Literals.code(63), (24, 4));
        assert_eq!(Numbers::Literals.code(64), (25, 6));
        assert_eq!(Numbers::Lengths.code(131_072 - 3), (52, 16));
        assert_eq!(Numbers::Lengths.code(127), (42, 5));
        assert_eq!(Numbers::Lengths.code(128), (43, 7));
        assert_eq!(Numbers::Offsets.code(4), (2, 2));
    }
}
