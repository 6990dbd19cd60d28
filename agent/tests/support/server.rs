//! A web server on loopback that fails as told: one [`Fault`] for each request, in order; none left is good behaviour.
#![allow(dead_code)] // Each test program needs a part of it.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What goes wrong with one answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection breaks after this many bytes of the body.
    Drop(usize),
    /// Nothing comes any more after this many bytes of the body.
    Stall(usize),
    /// Nothing comes any more after this many bytes of the body, until [`FaultyServer::go_on`].
    Pause(usize),
    /// The status, with these further header lines, each with its line end.
    Status(u16, &'static str),
    /// A redirect to this URL.
    Redirect(String),
    /// The whole file instead of the range.
    NoRange,
    /// A range that starts a byte later than asked.
    WrongRange,
    /// `Content-Length` is this much more than the body, which then ends.
    TooLong(usize),
    /// Conditions are ignored.
    NoCondition,
    /// The file is replaced by this before the answer.
    Replace(Vec<u8>),
    /// Not HTTP at all.
    Garbage,
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    headers: HashMap<String, String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct Shared {
    files: Mutex<HashMap<String, Vec<u8>>>,
    faults: Mutex<VecDeque<Fault>>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicU64,
    /// Bytes of bodies sent.
    sent: AtomicU64,
    /// Answers that came to a [`Fault::Stall`].
    stalls: Mutex<u64>,
    stalled: Condvar,
    /// How many more answers that came to a [`Fault::Pause`] may go on.
    go_on: Mutex<u64>,
    goes_on: Condvar,
    /// Whether answers carry dates instead of entity tags.
    dates: bool,
}

/// A running server; its threads end with the test program.
pub struct FaultyServer {
    shared: Arc<Shared>,
    pub port: u16,
    tls: bool,
}

fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl FaultyServer {
    pub fn start() -> Self {
        Self::launch(loopback(), None, false)
    }

    pub fn with_dates() -> Self {
        Self::launch(loopback(), None, true)
    }

    pub fn with_tls(config: Arc<ServerConfig>) -> Self {
        Self::launch(loopback(), Some(config), false)
    }

    /// A server that listens here, wherever that is.
    pub fn at(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> Self {
        Self::launch(listener, tls, false)
    }

    fn launch(listener: TcpListener, tls: Option<Arc<ServerConfig>>, dates: bool) -> Self {
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            dates,
            ..Shared::default()
        });
        let (server, is_tls) = (Arc::clone(&shared), tls.is_some());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, tls) = (Arc::clone(&server), tls.clone());
                std::thread::spawn(move || shared.connection(stream.unwrap(), tls));
            }
        });
        Self {
            shared,
            port,
            tls: is_tls,
        }
    }

    pub fn url(&self) -> String {
        format!(
            "{}://127.0.0.1:{}",
            if self.tls { "https" } else { "http" },
            self.port
        )
    }

    pub fn put(&self, path: &str, content: &[u8]) {
        self.shared
            .files
            .lock()
            .unwrap()
            .insert(path.to_owned(), content.to_owned());
    }

    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.faults.lock().unwrap().extend(faults);
    }

    /// What was asked so far, each only once.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.shared.asked.lock().unwrap())
    }

    /// Bytes of bodies sent so far, each counted once.
    pub fn sent(&self) -> u64 {
        self.shared.sent.swap(0, Ordering::SeqCst)
    }

    /// Has one answer that pauses go on.
    pub fn go_on(&self) {
        *self.shared.go_on.lock().unwrap() += 1;
        self.shared.goes_on.notify_all();
    }

    /// Waits until one more answer has stalled or paused.
    pub fn wait_for_stall(&self) {
        let stalls = self.shared.stalls.lock().unwrap();
        let wait = Duration::from_secs(60);
        let waited = self
            .shared
            .stalled
            .wait_timeout_while(stalls, wait, |stalls| *stalls == 0);
        let (mut stalls, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "nothing stalled");
        *stalls -= 1;
    }

    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn connection(&self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        stream.set_nodelay(true).unwrap();
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => Box::new(StreamOwned::new(
                ServerConnection::new(config).unwrap(),
                stream,
            )),
        };
        let mut stream = BufReader::new(stream);
        while let Some(asked) = read_request(&mut stream) {
            self.asked.lock().unwrap().push(asked.clone());
            let fault = self
                .faults
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or(Fault::None);
            if self.answer(stream.get_mut(), &asked, &fault).is_none() {
                return;
            }
        }
    }

    /// Answers; nothing is returned where the connection must be closed.
    fn answer(&self, stream: &mut dyn Stream, asked: &Asked, fault: &Fault) -> Option<()> {
        let path = asked.path.trim_start_matches('/').to_owned();
        match fault {
            Fault::Status(status, headers) => {
                return self.send(stream, *status, headers, b"no", fault);
            }
            Fault::Redirect(to) => {
                return self.send(stream, 302, &format!("Location: {to}\r\n"), b"", fault);
            }
            Fault::Garbage => {
                stream.write_all(b"SSH-2.0-OpenSSH_9\r\n\r\n").ok()?;
                return None;
            }
            Fault::Replace(content) => {
                self.files
                    .lock()
                    .unwrap()
                    .insert(path.clone(), content.clone());
            }
            _ => {}
        }
        let file = self.files.lock().unwrap().get(&path).cloned();
        let Some(file) = file else {
            return self.send(stream, 404, "", b"no", fault);
        };
        let sum = file.iter().fold(7u64, |sum, b| {
            sum.wrapping_mul(31).wrapping_add((*b).into())
        });
        let (tag, condition) = if self.dates {
            let date = format!(
                "Thu, 01 Jan 1970 00:{:02}:{:02} GMT",
                sum / 60 % 60,
                sum % 60
            );
            (date, "if-modified-since")
        } else {
            (format!("\"{sum:x}\""), "if-none-match")
        };
        let name = if self.dates { "Last-Modified" } else { "ETag" };
        let headers = format!("{name}: {tag}\r\n");
        let ignores = matches!(fault, Fault::NoCondition);
        if asked.header(condition) == Some(&tag) && !ignores {
            return self.send(stream, 304, &headers, b"", fault);
        }
        let same = asked.header("if-range").is_none_or(|wanted| wanted == tag);
        match asked.header("range").and_then(parse_range) {
            Some((first, _)) if first >= file.len() => self.send(stream, 416, "", b"", fault),
            Some((first, last)) if same && !matches!(fault, Fault::NoRange) => {
                let last = last.min(file.len() - 1);
                let shift = usize::from(matches!(fault, Fault::WrongRange));
                let size = file.len();
                let range = format!(
                    "{headers}Content-Range: bytes {}-{last}/{size}\r\n",
                    first + shift
                );
                self.send(stream, 206, &range, &file[first + shift..=last], fault)
            }
            _ => self.send(stream, 200, &headers, &file, fault),
        }
    }

    fn send(
        &self,
        stream: &mut dyn Stream,
        status: u16,
        headers: &str,
        body: &[u8],
        fault: &Fault,
    ) -> Option<()> {
        let extra = if let Fault::TooLong(extra) = fault {
            *extra
        } else {
            0
        };
        let length = body.len() + extra;
        write!(
            stream,
            "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n"
        )
        .ok()?;
        match fault {
            Fault::Drop(after) | Fault::Stall(after) => {
                let count = (*after).min(body.len());
                stream.write_all(&body[..count]).ok()?;
                stream.flush().ok()?;
                self.sent.fetch_add(count as u64, Ordering::SeqCst);
                if matches!(fault, Fault::Stall(_)) {
                    self.tell_stall();
                    std::thread::sleep(Duration::from_secs(5));
                }
                None
            }
            _ => {
                let mut rest = body;
                if let Fault::Pause(after) = fault {
                    let (before, behind) = body.split_at((*after).min(body.len()));
                    stream.write_all(before).ok()?;
                    stream.flush().ok()?;
                    self.pause();
                    rest = behind;
                }
                stream.write_all(rest).ok()?;
                stream.flush().ok()?;
                self.sent.fetch_add(body.len() as u64, Ordering::SeqCst);
                (extra == 0).then_some(())
            }
        }
    }
}

impl Shared {
    fn tell_stall(&self) {
        *self.stalls.lock().unwrap() += 1;
        self.stalled.notify_all();
    }

    fn pause(&self) {
        self.tell_stall();
        let waiting = self.go_on.lock().unwrap();
        let mut go_on = self
            .goes_on
            .wait_while(waiting, |go_on| *go_on == 0)
            .unwrap();
        *go_on -= 1;
    }
}

fn read_request(stream: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Asked { path, headers })
}

fn parse_range(header: &str) -> Option<(usize, usize)> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}
