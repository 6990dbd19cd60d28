//! Reads FAT16 and FAT32 as firmware does, by Microsoft's "FAT: General Overview of On-Disk Format": a name, a chain of clusters, and nothing is
//! mended.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes of an entry of a folder.
const ENTRY: usize = 32;
/// No file here is longer, in bytes: what is, has a chain that leads nowhere.
const LONGEST: usize = 16 << 20;
/// Where an entry's attributes are, and two of them.
const ATTRIBUTES: usize = 11;
const IS_LONG_NAME: u8 = 0x0f;
const IS_FOLDER: u8 = 0x10;

/// A file system with FAT on a disk.
pub struct Fat {
    /// The file allocation table.
    table: Vec<u8>,
    /// Bytes of one entry of it: 2 or 4.
    wide: usize,
    /// Bytes of a cluster.
    cluster: usize,
    /// The folder at the top: its first cluster with FAT32, else all of it.
    top: Result<u32, Vec<u8>>,
    /// All clusters, from number 2 on.
    data: (File, u64),
}

/// What a folder has about one of its files.
struct Found {
    first: u32,
    length: usize,
    is_folder: bool,
}

impl Fat {
    /// The one that begins at this byte of a disk.
    pub fn open(disk: &File, start: u64) -> Result<Fat, String> {
        let mut boot = [0; 512];
        let read = |at: u64, into: &mut [u8]| {
            let read = disk.read_exact_at(into, start + at);
            read.map_err(|error| format!("FAT: {error}"))
        };
        read(0, &mut boot)?;
        let [sector, reserved, entries] = [11, 14, 17].map(|at| number(&boot, at, 2) as usize);
        let (per_cluster, tables) = (usize::from(boot[13]), usize::from(boot[16]));
        let (small, large) = (number(&boot, 22, 2) as usize, number(&boot, 36, 4) as usize);
        if boot[510..] != [0x55, 0xaa] || sector != 512 || per_cluster == 0 {
            return Err("FAT: there is none".into());
        }
        let (wide, length) = if small == 0 { (4, large) } else { (2, small) };
        let mut table = vec![0; length.min(1 << 16) * sector];
        read((reserved * sector) as u64, &mut table)?;
        let folder_at = (reserved + tables * length) * sector;
        let mut folder = vec![0; entries * ENTRY];
        read(folder_at as u64, &mut folder)?;
        let data_at = (folder_at + folder.len()) as u64;
        let disk = disk.try_clone().map_err(|error| error.to_string())?;
        Ok(Fat {
            table,
            wide,
            cluster: per_cluster * sector,
            top: if wide == 4 {
                Ok(number(&boot, 44, 4))
            } else {
                Err(folder)
            },
            data: (disk, start + data_at),
        })
    }

    /// The content of the file with this path, if there is one.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let mut folder = match &self.top {
            Ok(first) => self.chain(*first, LONGEST)?,
            Err(folder) => folder.clone(),
        };
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let Some(found) = find(&folder, part) else {
                return Ok(None);
            };
            if found.is_folder != parts.peek().is_some() {
                return Err(format!("FAT: {part} of {path} is of another kind"));
            }
            if !found.is_folder {
                let content = self.chain(found.first, found.length)?;
                return match content.len() == found.length {
                    true => Ok(Some(content)),
                    false => Err(format!("FAT: {path} ends early")),
                };
            }
            folder = self.chain(found.first, LONGEST)?;
        }
        Ok(None)
    }

    /// What a chain of clusters has, at most `wanted` bytes.
    fn chain(&self, first: u32, wanted: usize) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        let mut next = first;
        let end = if self.wide == 4 { 0x0fff_fff8 } else { 0xfff8 };
        while content.len() < wanted && next < end {
            let cluster = next.checked_sub(2).ok_or("FAT: a chain leads nowhere")?;
            let at = content.len();
            content.resize(at + self.cluster, 0);
            let (disk, start) = &self.data;
            let place = start + u64::from(cluster) * self.cluster as u64;
            let read = disk.read_exact_at(&mut content[at..], place);
            read.map_err(|error| format!("FAT: cluster {next}: {error}"))?;
            let entry = self.table.chunks(self.wide).nth(next as usize);
            let entry = entry.ok_or("FAT: a chain leaves the disk")?;
            next = number(entry, 0, self.wide) & 0x0fff_ffff;
        }
        content.truncate(wanted);
        Ok(content)
    }
}

/// The file of this name, which may be long: then parts of it, the last one first, stand before what there is about the file.
fn find(folder: &[u8], wanted: &str) -> Option<Found> {
    let mut long = String::new();
    // Of the short name that the parts belong to.
    let mut sum = 0;
    let (entries, _) = folder.as_chunks::<ENTRY>();
    for entry in entries.iter().take_while(|entry| entry[0] != 0) {
        if entry[0] == 0xe5 {
            long.clear();
        } else if entry[ATTRIBUTES] == IS_LONG_NAME {
            if entry[0] & 0x40 != 0 {
                long.clear();
            }
            long.insert_str(0, &long_part(entry));
            sum = entry[13];
        } else {
            let mut name = std::mem::take(&mut long);
            if sum != sum_of(&entry[..ATTRIBUTES]) {
                name.clear();
            }
            if name == wanted || name.is_empty() && short(entry).eq_ignore_ascii_case(wanted) {
                return Some(Found {
                    first: number(entry, 20, 2) << 16 | number(entry, 26, 2),
                    length: number(entry, 28, 4) as usize,
                    is_folder: entry[ATTRIBUTES] & IS_FOLDER != 0,
                });
            }
        }
    }
    None
}

fn long_part(entry: &[u8; ENTRY]) -> String {
    let places = [1..11, 14..26, 28..32]
        .into_iter()
        .flat_map(|range| range.step_by(2));
    let units = places.map(|at| number(entry, at, 2) as u16);
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

fn sum_of(short: &[u8]) -> u8 {
    let add = |sum: u8, byte: &u8| sum.rotate_right(1).wrapping_add(*byte);
    short.iter().fold(0, add)
}

fn short(entry: &[u8; ENTRY]) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match (part(&entry[..8]), part(&entry[8..11])) {
        (name, end) if end.is_empty() => name,
        (name, end) => format!("{name}.{end}"),
    }
}

/// A little-endian number of so many bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> u32 {
    let bytes = bytes[at..at + length].iter().rev();
    bytes.fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    use crate::image::run;

    #[test]
    fn what_others_wrote_is_read() {
        let folder = std::env::temp_dir().join(format!("reclone-fat-{}", std::process::id()));
        fs::create_dir_all(folder.join("tree/loader/entries")).unwrap();
        let content: Vec<u8> = (0..100_000u32).map(|byte| byte as u8).collect();
        let name = "loader/entries/a-rather-long-name.conf";
        fs::write(folder.join("tree").join(name), &content).unwrap();
        fs::write(folder.join("tree/loader/LOADER.CON"), "x").unwrap();
        let image = folder.join("image");
        for (kind, start) in [("16", 0), ("32", 1 << 20)] {
            let _ = fs::remove_file(&image);
            File::create(&image).unwrap().set_len(64 << 20).unwrap();
            let mut make = Command::new("mkfs.vfat");
            let make = make.args(["-F", kind, "--offset", &(start / 512).to_string()]);
            run(make.arg(&image).arg(((63 << 20) / 1024).to_string())).unwrap();
            let place = format!("{}@@{start}", image.display());
            let mut copy = Command::new("mcopy");
            let copy = copy.args(["-s", "-i", &place]);
            run(copy.arg(folder.join("tree/loader")).arg("::/")).unwrap();
            let fat = Fat::open(&File::open(&image).unwrap(), start).unwrap();
            assert!(fat.read(name).unwrap() == Some(content.clone()), "{kind}");
            assert_eq!(fat.read("loader/loader.con").unwrap().unwrap(), b"x");
            assert_eq!(fat.read("loader/entries/another").unwrap(), None);
            assert!(fat.read("loader").is_err(), "a folder is no file");
            // Without its table the folder at the top is all that there is.
            let disk = File::options().read(true).write(true).open(&image).unwrap();
            let mut boot = [0; 512];
            disk.read_exact_at(&mut boot, start).unwrap();
            let table = start + u64::from(number(&boot, 14, 2)) * 512;
            disk.write_all_at(&[0; 1000], table + 12).unwrap();
            let fat = Fat::open(&disk, start).unwrap();
            assert!(fat.read(name).is_err(), "a chain that is cut off");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
