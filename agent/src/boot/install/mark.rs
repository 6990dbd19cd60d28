//! What a disk holds, as far as an installation has to know, and the mark that an installation leaves on it: one sector in the gap
//! before the first partition, which nobody else uses, so that a power cut leaves either mark whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// Where the mark is, in bytes: behind the partition table, whatever the size of a sector.
const AT: u64 = 512 << 10;
const SECTOR: usize = 512;
/// Partition tables and the headers of all that fills whole disks are in the first or the last of so many bytes.
const EDGE: u64 = 1 << 20;
/// The type of the one partition that a table for BIOS has on a disk with a GPT, and its place.
const PROTECTIVE: (usize, u8) = (450, 0xee);

/// How far an installation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The disk is ours; nothing on it is whole.
    Begun,
    /// Partitions and file systems are there. What comes now can go on where it was.
    LaidOut,
    /// The disk starts by itself.
    Done,
}

/// The stages by their names on the disk.
const STAGES: [(&str, Stage); 3] = [
    ("begun", Stage::Begun),
    ("laid-out", Stage::LaidOut),
    ("done", Stage::Done),
];

/// What is on a disk.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// What an installation left, and the UUID of its root partition.
    Ours(Stage, String),
    /// Something else.
    Data,
}

/// Writes the mark. It is on disk when this returns.
pub fn write(disk: &File, stage: Stage, root: &str) -> io::Result<()> {
    let name = STAGES.iter().find(|it| it.1 == stage).map_or("", |it| it.0);
    let mut sector = format!("reclone install {name} {root}\n").into_bytes();
    sector.resize(SECTOR, 0);
    disk.write_all_at(&sector, AT)?;
    disk.sync_all()
}

/// Empties the edges of the disk.
pub fn wipe(disk: &mut File) -> io::Result<()> {
    let end = disk.seek(SeekFrom::End(0))?;
    let zeros = vec![0; EDGE as usize];
    // The first partition has no file system of ours that would cover an old one.
    for at in [end.saturating_sub(EDGE), EDGE, 0] {
        disk.write_all_at(&zeros, at)?;
    }
    disk.sync_all()
}

/// Looks at the edges of a disk.
pub fn look(disk: &mut File) -> io::Result<Found> {
    let end = disk.seek(SeekFrom::End(0))?;
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for (at, edge) in [(0, &mut front), (end.saturating_sub(EDGE), &mut back)] {
        disk.seek(SeekFrom::Start(at))?;
        disk.by_ref().take(EDGE).read_to_end(edge)?;
    }
    let is_blank = |bytes: &[u8]| {
        let first = bytes.first().copied().unwrap_or(0);
        matches!(first, 0 | 0xff) && bytes.iter().all(|byte| *byte == first)
    };
    let at = AT as usize;
    let Some((stage, root)) = front.get(at..at + SECTOR).and_then(parse) else {
        return Ok(match is_blank(&front) && is_blank(&back) {
            true => Found::Nothing,
            false => Found::Data,
        });
    };
    front[at..at + SECTOR].fill(0);
    let guid = guid(&root);
    let has = |edge: &[u8]| edge.windows(16).any(|it| it == guid);
    let ours = match stage {
        // The table may be there by halves.
        Stage::Begun => {
            let is_protective = front[PROTECTIVE.0] == PROTECTIVE.1 && is_blank(&front[SECTOR..]);
            (is_blank(&front) || is_protective || has(&front)) && (is_blank(&back) || has(&back))
        }
        Stage::LaidOut | Stage::Done => has(&front),
    };
    Ok(match ours {
        true => Found::Ours(stage, root),
        false => Found::Data,
    })
}

fn parse(sector: &[u8]) -> Option<(Stage, String)> {
    let text = std::str::from_utf8(sector).ok()?.trim_end_matches('\0');
    let (name, root) = text
        .strip_prefix("reclone install ")?
        .trim()
        .split_once(' ')?;
    let stage = STAGES.iter().find(|it| it.0 == name)?.1;
    (root.len() == 36 && root.is_ascii()).then(|| (stage, root.to_owned()))
}

/// A UUID as a GPT has it: the first three numbers are little-endian.
fn guid(uuid: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let digits = uuid.bytes().filter(|byte| *byte != b'-');
    for (place, digit) in digits.enumerate() {
        let value = char::from(digit).to_digit(16).unwrap_or_default() as u8;
        if let Some(byte) = bytes.get_mut(place / 2) {
            *byte = *byte << 4 | value;
        }
    }
    for number in [0..4, 4..6, 6..8] {
        bytes[number].reverse();
    }
    bytes
}

/// What blkid says of it, for people.
pub fn describe(disk: &Path) -> String {
    let mut blkid = Command::new("blkid");
    let output = blkid.args(["-p", "-o", "export"]).arg(disk).output();
    let text = output.map(|it| it.stdout).unwrap_or_default();
    let mut found = String::new();
    for line in String::from_utf8_lossy(&text).lines() {
        if ["TYPE=", "PTTYPE=", "LABEL="]
            .iter()
            .any(|key| line.starts_with(key))
        {
            found += line;
            found.push(' ');
        }
    }
    match found.is_empty() {
        true => "of no known kind".into(),
        false => found.trim_end().into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::Stdio;

    const ROOT: &str = "01234567-89ab-4cde-8f01-23456789abc0";

    fn empty() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(16 << 20).unwrap();
        file
    }

    fn found(file: &tempfile::NamedTempFile) -> Found {
        look(&mut file.reopen().unwrap()).unwrap()
    }

    fn sfdisk(file: &tempfile::NamedTempFile, script: &str) {
        let mut sfdisk = Command::new("sfdisk");
        sfdisk.arg("--quiet").arg(file.path()).stdin(Stdio::piped());
        let mut sfdisk = sfdisk.spawn().unwrap();
        let mut input = sfdisk.stdin.take().unwrap();
        input.write_all(script.as_bytes()).unwrap();
        drop(input);
        assert!(sfdisk.wait().unwrap().success(), "{script}");
    }

    #[test]
    fn a_disk_without_a_byte_of_data_is_empty() {
        let file = empty();
        assert_eq!(found(&file), Found::Nothing);
        file.as_file()
            .write_all_at(&vec![0xff; 16 << 20], 0)
            .unwrap();
        assert_eq!(found(&file), Found::Nothing, "erased flash");
        wipe(&mut file.reopen().unwrap()).unwrap();
        assert_eq!(found(&file), Found::Nothing);
    }

    #[test]
    fn a_disk_with_anything_at_its_edges_holds_data() {
        for (at, bytes) in [
            (0x438, &[0x53, 0xef][..]),
            (512, b"LABELONE"),
            ((16 << 20) - 512, b"EFI PART"),
            (3, b"NTFS    "),
            (777_777, b"?"),
        ] {
            let file = empty();
            file.as_file().write_all_at(bytes, at).unwrap();
            assert_eq!(found(&file), Found::Data, "{at}");
        }
        for label in ["gpt", "dos"] {
            let file = empty();
            sfdisk(&file, &format!("label: {label}\nsize=1MiB\n"));
            assert_eq!(found(&file), Found::Data, "{label}");
            let said = describe(file.path());
            assert_eq!(said, format!("PTTYPE={label}"));
            wipe(&mut file.reopen().unwrap()).unwrap();
            assert_eq!(found(&file), Found::Nothing, "{label}");
        }
    }

    #[test]
    fn a_half_installed_disk_is_taken_again_at_every_stage() {
        let file = empty();
        write(file.as_file(), Stage::Begun, ROOT).unwrap();
        let begun = Found::Ours(Stage::Begun, ROOT.into());
        assert_eq!(found(&file), begun);
        // The power went while the table was written.
        file.as_file().write_all_at(&[0xee], 450).unwrap();
        assert_eq!(found(&file), begun);
        let script = format!("label: gpt\nlabel-id: {ROOT}\nstart=2048,size=2048,uuid={ROOT}\n");
        sfdisk(&file, &script);
        assert_eq!(found(&file), begun, "sfdisk leaves the mark");
        for stage in [Stage::LaidOut, Stage::Done] {
            write(file.as_file(), stage, ROOT).unwrap();
            assert_eq!(found(&file), Found::Ours(stage, ROOT.into()));
        }
    }

    #[test]
    fn a_mark_beside_somebody_elses_partitions_is_no_permission() {
        for stage in [Stage::Begun, Stage::LaidOut, Stage::Done] {
            for label in ["gpt", "dos"] {
                let file = empty();
                write(file.as_file(), stage, ROOT).unwrap();
                sfdisk(&file, &format!("label: {label}\nstart=4096,size=2048\n"));
                assert_eq!(found(&file), Found::Data, "{stage:?} {label}");
            }
        }
    }
}
