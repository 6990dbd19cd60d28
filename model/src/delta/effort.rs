//! How much time a delta pack may take.

use std::str::FromStr;

use super::groups::Group;

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

    /// Whether a patch of the group is tried.
    pub fn patches(self, group: &Group) -> bool {
        match self {
            Self::Low => false,
            Self::Normal => group.is_code || group.objects.len() == 1,
            Self::High => true,
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
