//! What a person in front of the machine reads: QEMU takes a picture of its screen, and tesseract reads it.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::image::run;
use crate::poll::poll;

/// Letters of the console are too small to be read as they are.
const ENLARGED: usize = 3;

/// The screen of a machine.
pub struct Screen {
    monitor: PathBuf,
    picture: PathBuf,
}

impl Screen {
    /// The options with which a machine has a screen whose files are `file` with other extensions.
    pub fn options(file: &Path) -> [String; 4] {
        let monitor = file.with_extension("monitor");
        let socket = format!("unix:{},server=on,wait=off", monitor.display());
        ["-vga", "std", "-monitor", &socket].map(str::to_owned)
    }

    /// The screen of the machine that runs with those options.
    pub fn of(file: &Path) -> Screen {
        Screen {
            monitor: file.with_extension("monitor"),
            picture: file.with_extension("ppm"),
        }
    }

    /// Takes pictures until one shows all of `wanted`, and returns what is to be read on it. The last picture stays.
    pub fn expect(&self, wanted: &[&str], deadline: Duration) -> io::Result<String> {
        let end = Instant::now() + deadline;
        loop {
            let text = self.read()?;
            if wanted.iter().all(|part| text.contains(part)) {
                return Ok(text);
            }
            if Instant::now() > end {
                let picture = self.picture.display();
                let error = format!("{picture} does not show {wanted:?}, but: {text}");
                return Err(io::Error::new(ErrorKind::TimedOut, error));
            }
        }
    }

    fn read(&self) -> io::Result<String> {
        match fs::remove_file(&self.picture) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // QEMU listens, and writes the picture, when it finds the time.
        let silent = || io::Error::other("QEMU takes no picture of the screen");
        let monitor = poll(|| UnixStream::connect(&self.monitor).ok());
        let mut monitor = monitor.ok_or_else(silent)?;
        writeln!(monitor, "screendump {}", self.picture.display())?;
        let large = poll(|| enlarge(&fs::read(&self.picture).ok()?)).ok_or_else(silent)?;
        let file = self.picture.with_extension("large.ppm");
        fs::write(&file, large)?;
        run(Command::new("tesseract")
            .arg(&file)
            .args(["-", "--psm", "6"]))
    }
}

/// A whole picture (netpbm's P6), larger and dark on light, as a reader of print is used to.
fn enlarge(file: &[u8]) -> Option<Vec<u8>> {
    let mut fields = file.splitn(4, |byte| byte.is_ascii_whitespace());
    let mut field = || fields.next();
    let (magic, width, height) = (field()?, field()?, field()?);
    let (depth, pixels) = {
        let rest = field()?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        (&rest[..end], &rest[end + 1..])
    };
    let number = |digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok();
    let (width, height) = (number(width)?, number(height)?);
    if magic != b"P6"
        || depth != b"255"
        || pixels.len() != width.checked_mul(height)?.checked_mul(3)?
    {
        return None;
    }
    let mut large = format!("P5\n{} {}\n255\n", width * ENLARGED, height * ENLARGED).into_bytes();
    for row in pixels.chunks_exact(width * 3) {
        let line: Vec<u8> = row
            .chunks_exact(3)
            .flat_map(|pixel| [255 - *pixel.iter().max().unwrap_or(&0); ENLARGED])
            .collect();
        (0..ENLARGED).for_each(|_| large.extend_from_slice(&line));
    }
    Some(large)
}
