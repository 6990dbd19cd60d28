//! What the firmware starts, by the variables of UEFI: which of its entries started this machine, whether another one comes before that, and to
//! put it first. BIOS keeps nothing that could be asked for.
//!
//! A variable is a file: four bytes of attributes, then its value. The values are of the UEFI specification, 3.1.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use log::info;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::sys::mount;

/// Where the kernel shows them.
const FOLDER: &str = "/sys/firmware/efi/efivars";
/// Whose the variables are that all firmware has.
const UEFI: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// No value that means something here is longer, in bytes.
const LONGEST: u64 = 64 << 10;
/// They outlast the power, and boot loaders and systems see them.
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];
/// Of an entry's attributes: it is switched on, and it is no program for people, such as the firmware's setup.
const BOOTS: u16 = 1;
const BOOTS_MASK: u16 = 1 | 0x1f00;
/// Of a title, as much as a line can take, in letters.
const TITLE: usize = 60;

/// The variables of a machine.
pub struct Variables(PathBuf);

/// Something that the firmware can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    number: u16,
    title: String,
}

/// In which order it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What started this machine.
    current: Entry,
    /// What is started at the next boot instead, unless somebody chooses.
    before: Option<Entry>,
    numbers: Vec<u16>,
}

impl Variables {
    /// Those of this machine, if it has any. Where nobody mounted them, the process gets mounts of its own; an initramfs has one process.
    pub fn find() -> Option<Self> {
        let folder = Path::new(FOLDER);
        if fs::read_dir(folder).ok()?.next().is_none() {
            if !mount::in_initramfs() {
                mount::part().ok()?;
            }
            let mounted = mount::efi_variables(folder);
            mounted
                .inspect_err(|error| info!("{FOLDER}: {error}"))
                .ok()?;
        }
        Some(Self::at(folder))
    }

    /// Those in this folder.
    pub fn at(folder: &Path) -> Self {
        Self(folder.into())
    }

    /// The order, where the firmware tells what started this machine.
    pub fn order(&self) -> Option<Order> {
        let current = *numbers(&self.read(&file("BootCurrent", UEFI))?).first()?;
        let numbers = numbers(&self.read(&file("BootOrder", UEFI)).unwrap_or_default());
        let entry = |number: u16| Some(entry(number, &self.read(&file(&name(number), UEFI))?));
        let mut tried = numbers.iter().filter_map(|&number| entry(number));
        let first = tried.find_map(|(entry, active)| active.then_some(entry));
        let unknown = || Entry {
            number: current,
            title: String::new(),
        };
        Some(Order {
            current: entry(current).map_or_else(unknown, |it| it.0),
            before: first.filter(|it| it.number != current),
            numbers,
        })
    }

    /// Has the firmware start first what started this machine. Gives the order that it has then.
    pub fn put_first(&self, order: &Order) -> Result<Order> {
        let current = order.current.number;
        let rest = order.numbers.iter().filter(|it| **it != current);
        let new: Vec<u16> = [current].iter().chain(rest).copied().collect();
        let value: Vec<u8> = new.iter().flat_map(|it| it.to_le_bytes()).collect();
        let written = self.write(&file("BootOrder", UEFI), &value);
        written.map_err(Error::system("can not write BootOrder in", &self.0))?;
        let order = self.order().filter(|it| it.numbers == new);
        order.ok_or_else(|| {
            Error::Loader(
                "the firmware did not take the new order: change it in the firmware's own setup"
                    .into(),
            )
        })
    }

    /// Writes a variable, by its file's name.
    pub fn write(&self, file: &str, value: &[u8]) -> io::Result<()> {
        let path = self.0.join(file);
        // The kernel guards those that it does not know.
        if let Ok(file) = File::open(&path)
            && let Ok(flags) = ioctl_getflags(&file)
            && flags.contains(IFlags::IMMUTABLE)
        {
            ioctl_setflags(&file, flags - IFlags::IMMUTABLE)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        // It has to come in one piece.
        file.write_all(&[&ATTRIBUTES, value].concat())
    }

    /// The value of a variable, by its file's name.
    pub fn read(&self, file: &str) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        let file = File::open(self.0.join(file)).ok()?;
        file.take(LONGEST).read_to_end(&mut value).ok()?;
        value.get(ATTRIBUTES.len()..).map(<[u8]>::to_vec)
    }
}

impl Order {
    /// Whether nothing is started before what started this machine.
    pub fn is_first(&self) -> bool {
        self.before.is_none()
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        json!({
            "entry": name(self.current.number),
            "title": self.current.title,
            "first": self.is_first(),
        })
    }

    /// For people.
    pub fn words(&self) -> String {
        let current = self.current.words();
        match &self.before {
            None => format!("{current} started this machine and is the first"),
            Some(before) => format!(
                "{current} started this machine, and {} comes before it: `reclone loader --first` changes that",
                before.words()
            ),
        }
    }
}

impl Entry {
    fn words(&self) -> String {
        format!("{} ({})", name(self.number), self.title)
    }
}

fn file(name: &str, vendor: &str) -> String {
    format!("{name}-{vendor}")
}

/// The variable of an entry.
fn name(number: u16) -> String {
    format!("Boot{number:04X}")
}

fn numbers(value: &[u8]) -> Vec<u16> {
    let (pairs, _) = value.as_chunks();
    pairs.iter().map(|it| u16::from_le_bytes(*it)).collect()
}

/// An entry, and whether the firmware starts it unasked: four bytes of attributes, two for the length of what comes behind the title, the title.
fn entry(number: u16, value: &[u8]) -> (Entry, bool) {
    let mut units = numbers(value);
    let attributes = units.first().copied().unwrap_or(0);
    units.drain(..units.len().min(3));
    let title = char::decode_utf16(units.into_iter().take_while(|it| *it != 0));
    let title = title.map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER));
    let title = title.filter(|it| !it.is_control()).take(TITLE).collect();
    let active = attributes & BOOTS_MASK == BOOTS;
    (Entry { number, title }, active)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A firmware with these variables.
    fn firmware(variables: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in variables {
            let path = folder.path().join(file(name, UEFI));
            fs::write(path, [&ATTRIBUTES[..], value].concat()).unwrap();
        }
        folder
    }

    fn load_option(attributes: u16, title: &str) -> Vec<u8> {
        let [low, high] = attributes.to_le_bytes();
        let mut value = vec![low, high, 0, 0, 9, 0];
        value.extend(title.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        value.extend(b"\x04\x01a path");
        value
    }

    #[test]
    fn what_started_the_machine_is_put_before_what_the_firmware_takes_first() {
        let folder = firmware(&[
            ("BootCurrent", vec![0x0a, 0]),
            ("BootOrder", vec![3, 0, 9, 0, 2, 0, 1, 0, 0x0a, 0]),
            // 3 is none, 9 is switched off, 2 is for people.
            ("Boot0002", load_option(0x109, "UiApp")),
            ("Boot0009", load_option(8, "Shell")),
            ("Boot0001", load_option(1, "UEFI PXEv4 \u{1b}[31m")),
            ("Boot000A", load_option(1, "debian")),
        ]);
        let variables = Variables::at(folder.path());
        let order = variables.order().unwrap();
        assert_eq!(
            order.words(),
            "Boot000A (debian) started this machine, and Boot0001 (UEFI PXEv4 [31m) comes before it: `reclone loader --first` changes that"
        );
        assert_eq!(
            order.json().to_string(),
            r#"{"entry":"Boot000A","first":false,"title":"debian"}"#
        );
        let order = variables.put_first(&order).unwrap();
        assert!(order.is_first());
        assert_eq!(
            order.words(),
            "Boot000A (debian) started this machine and is the first"
        );
        let written = fs::read(folder.path().join(file("BootOrder", UEFI))).unwrap();
        assert_eq!(written, [7, 0, 0, 0, 0x0a, 0, 3, 0, 9, 0, 2, 0, 1, 0]);
        assert_eq!(variables.order(), Some(order));
    }

    #[test]
    fn a_firmware_that_tells_little_or_nonsense_is_asked_all_the_same() {
        let none = firmware(&[("BootOrder", vec![1, 0])]);
        assert_eq!(Variables::at(none.path()).order(), None);
        let short = firmware(&[("BootCurrent", vec![2])]);
        assert_eq!(Variables::at(short.path()).order(), None);
        fs::write(short.path().join(file("BootCurrent", UEFI)), "\x07").unwrap();
        assert_eq!(Variables::at(short.path()).order(), None);

        let odd = firmware(&[
            ("BootCurrent", vec![2, 0, 5]),
            ("BootOrder", vec![1, 0, 2]),
            ("Boot0001", vec![1, 0, 0, 0, 9, 0, 0x00, 0xd8, b'x', 0]),
            ("Boot0002", vec![1]),
        ]);
        let order = Variables::at(odd.path()).order().unwrap();
        assert_eq!(order.before.clone().unwrap().title, "\u{fffd}x");
        assert_eq!(order.current.words(), "Boot0002 ()");
        let long = load_option(1, &"long".repeat(100));
        assert_eq!(entry(1, &long).0.title.len(), TITLE);

        let unnamed = firmware(&[("BootCurrent", vec![2, 0])]);
        let variables = Variables::at(unnamed.path());
        let order = variables.order().unwrap();
        assert!(order.is_first(), "there is no other");
        assert_eq!(variables.put_first(&order).unwrap().numbers, [2]);
    }
}
