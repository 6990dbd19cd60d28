//! The serial console as a line of questions and answers. A command is followed by an `echo` of its exit code and a
//! number; the echoed command line does not match the mark, for there the code is still the word `$?`.

use std::io::{self, Read, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Answer {
    /// The exit code.
    pub code: u32,
    /// The output, with the console's carriage returns taken out.
    pub text: String,
}

/// Both directions of the serial line, and all that came over it.
pub struct Console {
    input: ChildStdin,
    chunks: Receiver<Vec<u8>>,
    /// Everything the machine has said so far.
    pub transcript: String,
    read_to: usize,
    asked: u32,
    deadline: Instant,
}

impl Console {
    /// Takes over the pipes of a machine that may run until `deadline`; with `show` the console is copied to stdout.
    pub fn new(
        input: ChildStdin,
        mut output: ChildStdout,
        deadline: Instant,
        show: bool,
    ) -> Console {
        let (sender, chunks) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                if show {
                    let mut screen = io::stdout();
                    let _ = screen
                        .write_all(&buffer[..length])
                        .and_then(|()| screen.flush());
                }
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Console {
            input,
            chunks,
            transcript: String::new(),
            read_to: 0,
            asked: 0,
            deadline,
        }
    }

    /// From now on, the machine may run for so long.
    pub fn give_time(&mut self, time: Duration) {
        self.deadline = Instant::now() + time;
    }

    /// Waits until `text` comes, and returns what came before it.
    pub fn expect(&mut self, text: &str) -> io::Result<String> {
        loop {
            if let Some(at) = self.transcript[self.read_to..].find(text) {
                let before = self.transcript[self.read_to..self.read_to + at].to_owned();
                self.read_to += at + text.len();
                return Ok(before);
            }
            self.receive(text)?;
        }
    }

    /// Runs a command in the shell at the other end.
    pub fn ask(&mut self, command: &str) -> io::Result<Answer> {
        self.asked += 1;
        let number = self.asked;
        writeln!(self.input, "{command}; echo @@$?-{number:03}@@")?;
        self.input.flush()?;
        let mark = format!("-{number:03}@@");
        let mut text = String::new();
        loop {
            text += &self.expect(&mark)?;
            // The code stands between the last `@@` and the mark; in the echoed command line that is `$?`.
            if let Some((before, code)) = text.rsplit_once("@@")
                && let Ok(code) = code.parse()
            {
                let echo_ends = before.find('\n').map_or(0, |at| at + 1);
                return Ok(Answer {
                    code,
                    text: before[echo_ends..].to_owned(),
                });
            }
            text.clear();
        }
    }

    /// Sends a line without waiting for an answer.
    pub fn send(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.input, "{line}")?;
        self.input.flush()
    }

    /// Reads on until the machine has closed its end.
    pub fn drain(&mut self) -> io::Result<()> {
        loop {
            match self.receive("the end") {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            }
        }
    }

    fn receive(&mut self, wanted: &str) -> io::Result<()> {
        let left = self
            .deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        match self.chunks.recv_timeout(left) {
            Ok(chunk) => {
                let text = String::from_utf8_lossy(&chunk).replace('\r', "");
                self.transcript += &text;
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Err(self.failure(io::ErrorKind::TimedOut, wanted)),
            Err(RecvTimeoutError::Disconnected) => {
                Err(self.failure(io::ErrorKind::UnexpectedEof, wanted))
            }
        }
    }

    fn failure(&self, kind: io::ErrorKind, wanted: &str) -> io::Error {
        let lines: Vec<&str> = self.transcript.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        io::Error::new(
            kind,
            format!("The console never said {wanted:?}; its last lines:\n{tail}"),
        )
    }
}
