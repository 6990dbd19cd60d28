//! What a person in front of the machine reads: QEMU takes a picture of its screen, and tesseract reads it.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::image::run;
use crate::poll::poll;

/// Letters of the console are too small to be read as they are.
const ENLARGED: usize = 3;

/// QEMU answers when it finds the time: a host that writes images at the same moment lets it wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// The screen of a machine.
pub struct Screen {
    monitor: BufReader<UnixStream>,
    picture: PathBuf,
}

impl Screen {
    /// The options with which a machine has a screen whose files are `file` with other extensions.
    pub fn options(file: &Path) -> [String; 4] {
        let socket = format!("unix:{},server=on,wait=off", monitor(file).display());
        ["-vga", "std", "-qmp", &socket].map(str::to_owned)
    }

    /// The screen of the machine that was started with those options.
    pub fn of(file: &Path) -> io::Result<Screen> {
        let stream = poll(|| UnixStream::connect(monitor(file)).ok())
            .ok_or_else(|| io::Error::other("QEMU does not listen"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut screen = Screen {
            monitor: BufReader::new(stream),
            picture: file.with_extension("ppm"),
        };
        screen.command(r#"{"execute": "qmp_capabilities"}"#)?;
        Ok(screen)
    }

    /// Takes pictures until each of `wanted` was read on one of them, and returns what is to be read on the last. The
    /// same line is not read well in every picture.
    pub fn expect(&mut self, wanted: &[&str], deadline: Duration) -> io::Result<String> {
        let end = Instant::now() + deadline;
        let mut missing = wanted.to_vec();
        let mut text = String::new();
        loop {
            text = self.read().map_err(|error| {
                io::Error::other(format!(
                    "{error}; {missing:?} was not seen, the last picture: {text}"
                ))
            })?;
            missing.retain(|part| !text.contains(part));
            if missing.is_empty() {
                return Ok(text);
            }
            if Instant::now() > end {
                let picture = self.picture.display();
                let error = format!("{picture} does not show {missing:?}, but: {text}");
                return Err(io::Error::new(ErrorKind::TimedOut, error));
            }
        }
    }

    fn read(&mut self) -> io::Result<String> {
        let picture = self.picture.display();
        let command =
            format!(r#"{{"execute": "screendump", "arguments": {{"filename": "{picture}"}}}}"#);
        self.command(&command)?;
        let large = enlarge(&fs::read(&self.picture)?)
            .ok_or_else(|| io::Error::other("QEMU's picture is not a whole one"))?;
        let file = self.picture.with_extension("large.ppm");
        fs::write(&file, large)?;
        run(Command::new("tesseract")
            .arg(&file)
            .args(["-", "--psm", "6"]))
    }

    /// Has QEMU carry out a command, and waits until it did. Between the two come greetings and events.
    fn command(&mut self, command: &str) -> io::Result<()> {
        writeln!(self.monitor.get_mut(), "{command}")?;
        loop {
            let mut line = String::new();
            match self.monitor.read_line(&mut line)? {
                0 => return Err(io::Error::other("QEMU has ended")),
                _ if line.starts_with(r#"{"return""#) => return Ok(()),
                _ if line.starts_with(r#"{"error""#) => return Err(io::Error::other(line)),
                _ => {}
            }
        }
    }
}

fn monitor(file: &Path) -> PathBuf {
    file.with_extension("monitor")
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
