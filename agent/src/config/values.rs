//! What the values of single keys are.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::{SessionPlace, Space};

/// Which of two words it is: whether the second.
pub fn one_of(value: &str, words: [&str; 2]) -> Result<bool, String> {
    match words.iter().position(|word| *word == value) {
        Some(index) => Ok(index == 1),
        None => Err(format!(
            "`{value}` is neither {} nor {}",
            words[0], words[1]
        )),
    }
}

/// `disk`, `ram`, or `ram,SIZE`.
pub fn session(value: &str) -> Result<SessionPlace, String> {
    let (place, size) = match value.split_once(',') {
        Some((place, size)) => (place, Some(size)),
        None => (value, None),
    };
    match (place, size) {
        ("disk", None) => Ok(SessionPlace::Disk),
        ("ram", size) if size.is_none_or(is_size) => Ok(SessionPlace::Ram {
            size: size.map(str::to_owned),
        }),
        _ => Err(format!(
            "`{value}` is not disk, ram, or ram with a size: ram,2G or ram,30%"
        )),
    }
}

/// A number above nothing with one of the letters behind it that tmpfs knows.
fn is_size(size: &str) -> bool {
    let number = size
        .strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%'])
        .unwrap_or(size);
    number.len() <= 12 && number.parse::<u64>().is_ok_and(|number| number > 0)
}

/// For how long: a second to a week.
pub fn seconds(value: &str) -> Result<Duration, String> {
    match value.parse() {
        Ok(seconds @ 1..=604_800) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!(
            "`{value}` is not a number of seconds between 1 and 604800"
        )),
    }
}

/// How many: up to a thousand.
pub fn count(value: &str) -> Result<u32, String> {
    match value.parse() {
        Ok(count @ 0..=1000) => Ok(count),
        _ => Err(format!("`{value}` is not a number between 0 and 1000")),
    }
}

/// `10%`, or a number of bytes with K, M, G or T behind it.
pub fn space(value: &str) -> Result<Space, String> {
    let bad = || {
        format!("`{value}` is neither a part of the disk, as in `10%`, nor a size, as in `500M`")
    };
    if let Some(percent) = value.strip_suffix('%') {
        return match percent.parse() {
            Ok(percent @ 0..=100) => Ok(Space::Percent(percent)),
            _ => Err(bad()),
        };
    }
    let (digits, shift) = match value.find(|letter: char| !letter.is_ascii_digit()) {
        None => (value, 0),
        Some(end) => match &value[end..] {
            "K" => (&value[..end], 10),
            "M" => (&value[..end], 20),
            "G" => (&value[..end], 30),
            "T" => (&value[..end], 40),
            _ => return Err(bad()),
        },
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(bad)?;
    Ok(Space::Bytes(bytes))
}

/// A path below the top of the root file system. `..` could lead out of the disk and into the initramfs.
pub fn pool_path(value: &str) -> Result<PathBuf, String> {
    let path = Path::new(value.trim_start_matches('/'));
    let is_plain = |part| matches!(part, Component::Normal(_));
    match path.components().all(is_plain) && path.components().next().is_some() {
        true => Ok(path.into()),
        false => Err(format!(
            "`{value}` is not a folder below the top of the root file system"
        )),
    }
}
