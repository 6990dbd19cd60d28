//! Disks of several partitions, put together from images: this machine may have no loop devices with partitions.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::image::run;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Partitions begin at multiples of this many bytes; as much stays free at the end for the table's copy.
const ALIGN: u64 = 1 << 20;
/// The sector at which the first partition begins.
pub const FIRST_SECTOR: u64 = ALIGN / SECTOR;
/// The largest piece that is copied, or left out where it is empty.
const PIECE: usize = 1 << 16;

/// A partition: its name, the type that sfdisk knows it by, and the image of its content.
pub struct Partition {
    /// The name, which udev makes a link of.
    pub name: &'static str,
    /// `U` for a system partition of UEFI, `L` for Linux, or a type's UUID.
    pub kind: &'static str,
    /// What is in it.
    pub image: PathBuf,
}

/// Where the partitions lie: first byte and length of each.
fn places(partitions: &[Partition]) -> io::Result<Vec<(u64, u64)>> {
    let mut start = ALIGN;
    let mut places = Vec::new();
    for partition in partitions {
        let length = fs::metadata(&partition.image)?.len();
        places.push((start, length));
        start += length.next_multiple_of(ALIGN);
    }
    Ok(places)
}

/// Makes `disk` of these partitions, in their order.
pub fn assemble(disk: &Path, partitions: &[Partition]) -> io::Result<()> {
    let places = places(partitions)?;
    let end = places
        .last()
        .map_or(ALIGN, |(start, length)| start + length);
    let file = File::create(disk)?;
    file.set_len(end.next_multiple_of(ALIGN) + ALIGN)?;
    let mut script = "label: gpt\n".to_owned();
    for (partition, (start, length)) in partitions.iter().zip(&places) {
        let (start, length) = (start / SECTOR, length / SECTOR);
        let Partition { name, kind, .. } = partition;
        script += &format!("start={start},size={length},type={kind},name={name}\n");
    }
    let mut sfdisk = Command::new("sfdisk")
        .arg("--quiet")
        .arg(disk)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    if let Some(mut input) = sfdisk.stdin.take() {
        input.write_all(script.as_bytes())?;
    }
    if !sfdisk.wait()?.success() {
        return Err(io::Error::other(format!("sfdisk did not take:\n{script}")));
    }
    for (partition, (start, _)) in partitions.iter().zip(&places) {
        copy_sparse(File::open(&partition.image)?, 0, u64::MAX, &file, *start)?;
    }
    Ok(())
}

/// Copies partition `number`, counted from 0, out of the disk.
pub fn extract(disk: &Path, partitions: &[Partition], number: usize, to: &Path) -> io::Result<()> {
    copy_out(disk, places(partitions)?[number], to)
}

/// The same for a disk that somebody else made.
pub fn carve(disk: &Path, number: usize, to: &Path) -> io::Result<()> {
    let table = run(Command::new("sfdisk").arg("--dump").arg(disk))?;
    let value = |line: &str, key: &str| -> Option<u64> {
        let (_, rest) = line.split_once(key)?;
        rest.split(',').next()?.trim().parse().ok()
    };
    let place = |line: &str| Some((value(line, "start=")?, value(line, "size=")?));
    let found = table.lines().filter_map(place).nth(number);
    let (start, length) = found.ok_or_else(|| io::Error::other(format!("{number}: {table}")))?;
    copy_out(disk, (start * SECTOR, length * SECTOR), to)
}

fn copy_out(disk: &Path, (start, length): (u64, u64), to: &Path) -> io::Result<()> {
    let whole = File::create(to)?;
    copy_sparse(File::open(disk)?, start, length, &whole, 0)?;
    whole.set_len(length)
}

fn copy_sparse(mut from: File, start: u64, length: u64, mut to: &File, at: u64) -> io::Result<()> {
    from.seek(SeekFrom::Start(start))?;
    let mut source = from.take(length);
    to.seek(SeekFrom::Start(at))?;
    let mut piece = vec![0; PIECE];
    loop {
        let count = source.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        match piece[..count].iter().all(|byte| *byte == 0) {
            true => to.seek(SeekFrom::Current(count as i64)).map(drop)?,
            false => to.write_all(&piece[..count])?,
        }
    }
}

/// Makes a FAT file system of these files, each with its path in it.
pub fn make_fat(image: &Path, megabytes: u64, files: &[(PathBuf, &str)]) -> io::Result<()> {
    File::create(image)?.set_len(megabytes << 20)?;
    run(Command::new("mkfs.vfat").args(["-F", "32"]).arg(image))?;
    for (file, path) in files {
        let folders = Path::new(path).ancestors().skip(1);
        let mut folders: Vec<&Path> = folders.filter(|it| !it.as_os_str().is_empty()).collect();
        folders.reverse();
        for folder in folders {
            // One that is there already is fine.
            let _ = run(Command::new("mmd")
                .args(["-D", "s", "-i"])
                .arg(image)
                .arg(format!("::{}", folder.display())));
        }
        run(Command::new("mcopy")
            .arg("-i")
            .arg(image)
            .arg(file)
            .arg(format!("::{path}")))?;
    }
    Ok(())
}
