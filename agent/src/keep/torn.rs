//! What a file system makes of a file that nobody synced before the power went.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What disks write at once, in bytes. File systems write such pieces or larger ones.
const SECTOR: usize = 512;

/// Whether this is such a file: nothing, or zeros, where there was something else before, or where a file makes a machine itself.
pub fn is_torn(path: &Path, before: Option<&PathBuf>, is_identity: bool) -> io::Result<bool> {
    let before = before.map(fs::read).transpose()?;
    Ok(reads_as_torn(
        &fs::read(path)?,
        before.as_deref(),
        is_identity,
    ))
}

/// Of zeros in a file that had none before, whole sectors count: a single one is as likely in a random seed as any other byte.
fn reads_as_torn(content: &[u8], before: Option<&[u8]>, is_identity: bool) -> bool {
    let is_lost = |content: &[u8]| content.iter().all(|byte| *byte == 0);
    match (is_lost(content), before) {
        (true, None) => is_identity || !content.is_empty(),
        (true, Some(old)) => !is_lost(old),
        (false, None) => false,
        (false, Some(old)) => !old.contains(&0) && content.chunks(SECTOR).any(is_lost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_where_text_was_are_a_file_that_was_not_written() {
        let old = Some(&b"text\n"[..]);
        let end = [&[b'x'; SECTOR][..], &[0; 3]].concat();
        for torn in [vec![], vec![0; 5], end] {
            assert!(reads_as_torn(&torn, old, false), "{torn:?}");
        }
        let hole = [&[b'x'; SECTOR][..], &[0; SECTOR], b"x"].concat();
        assert!(reads_as_torn(&hole, old, false));
        assert!(!reads_as_torn(b"other\n", old, false));
        assert!(!reads_as_torn(&hole, Some(b"a\0b"), false), "it had some");
        assert!(!reads_as_torn(b"", Some(b""), false), "it was empty");
    }

    #[test]
    fn a_new_file_may_be_empty_but_for_one_that_makes_a_machine_itself() {
        assert!(!reads_as_torn(b"", None, false));
        assert!(reads_as_torn(b"", None, true));
        assert!(reads_as_torn(&[0; 9], None, false));
        assert!(!reads_as_torn(b"a\0", None, true));
    }

    #[test]
    fn a_random_seed_with_a_zero_in_it_is_whole() {
        let seed = |zero_at: usize| {
            let mut seed = [7; SECTOR];
            seed[zero_at] = 0;
            seed
        };
        let old = [9; SECTOR];
        for at in [0, 100, SECTOR - 1] {
            assert!(!reads_as_torn(&seed(at), Some(&old), true), "{at}");
        }
    }
}
