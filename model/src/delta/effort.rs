//! How much time a delta pack may take.

use std::str::FromStr;

/// How hard the publisher looks for a small delta pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A fast compressor, no patches.
    Low,
    /// The default.
    Normal,
    /// Everything is tried.
    High,
}

impl Effort {
    /// The zstd level.
    pub fn level(self) -> i32 {
        match self {
            Self::Low => 9,
            Self::Normal => 19,
            Self::High => 22,
        }
    }

    /// Whether patches are tried.
    pub fn patches(self) -> bool {
        self != Self::Low
    }

    /// To which part of a content, in thousandths, it must be compressed for no other codec to be tried.
    pub fn enough(self) -> usize {
        match self {
            Self::Low | Self::Normal => 60,
            Self::High => 0,
        }
    }
}

impl FromStr for Effort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "low" => Ok(Self::Low),
            "normal" => Ok(Self::Normal),
            "high" => Ok(Self::High),
            _ => Err(format!("`{text}` is not low, normal or high")),
        }
    }
}
