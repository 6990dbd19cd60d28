//! The model's server on this machine, as a clone in QEMU sees it, and what was asked of it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

/// This machine's loopback, seen from a machine in QEMU's user-mode network.
pub const HOST: &str = "10.0.2.2";

/// A running `reclone-model serve`; dropping it ends it.
pub struct Server {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    /// Serves `store` on this port, or on a free one if it is 0; the log of requests goes to the file `log`.
    pub fn start(program: &Path, store: &Path, port: u16, log: &Path) -> io::Result<Server> {
        Server::start_with(program, store, port, log, &[])
    }

    /// The same with further options of `serve`.
    pub fn start_with(
        program: &Path,
        store: &Path,
        port: u16,
        log: &Path,
        options: &[&OsStr],
    ) -> io::Result<Server> {
        let mut child = Command::new(program)
            .arg("serve")
            .arg(store)
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().expect("stdout was asked for as a pipe");
        BufReader::new(output).read_line(&mut line)?;
        let server = Server {
            child,
            url: seen_from_inside(line.trim().rsplit(' ').next().unwrap_or_default()),
            log: log.to_owned(),
        };
        match line.starts_with("listening on http") {
            true => Ok(server),
            false => Err(io::Error::other(format!(
                "{} says {line:?}: {}",
                program.display(),
                fs::read_to_string(log)?
            ))),
        }
    }

    /// The store's URL for a machine in QEMU.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of the server at this port, whether or not it runs.
    pub fn url_at(port: u16) -> String {
        format!("http://{HOST}:{port}")
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        let port = self
            .url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        port.expect("the URL was made of an address with a port")
    }

    /// Every request so far: method and path.
    pub fn requests(&self) -> io::Result<Vec<String>> {
        let log = fs::read_to_string(&self.log)?;
        let request = |line: &str| {
            let at = ["GET /", "HEAD /"]
                .iter()
                .find_map(|start| line.find(start))?;
            Some(line[at..].split(' ').take(2).collect::<Vec<_>>().join(" "))
        };
        Ok(log.lines().filter_map(request).collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn seen_from_inside(url: &str) -> String {
    url.replace("127.0.0.1", HOST)
}

/// A server that stops in mid-answer: it gives the head, then half of whatever else it is asked for, then nothing more,
/// and keeps the line open. It ends with the test.
pub struct StallingServer {
    url: String,
}

impl StallingServer {
    /// Serves the files of `store` on a free port.
    pub fn start(store: &Path) -> io::Result<StallingServer> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let store = store.to_owned();
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().flatten() {
                // A closed line would be an error for the clone, not a wait.
                if let Ok(stream) = answer(&store, stream) {
                    kept.push(stream);
                }
            }
        });
        Ok(StallingServer {
            url: seen_from_inside(&url),
        })
    }

    /// The store's URL for a machine in QEMU.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn answer(store: &Path, mut stream: TcpStream) -> io::Result<TcpStream> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = request
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .trim_start_matches('/');
    let length = fs::metadata(store.join(path))?.len();
    let sent = if path == "head" { length } else { length / 2 };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
    )?;
    io::copy(&mut File::open(store.join(path))?.take(sent), &mut stream)?;
    stream.flush()?;
    Ok(stream)
}
