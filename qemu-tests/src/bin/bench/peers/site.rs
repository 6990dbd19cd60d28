//! The servers, nginx and an rsync daemon, and what they count: all peers over HTTP are served by the same nginx.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::link::{self, Link};
use super::{STATES, Trees};

const DEADLINE: Duration = Duration::from_secs(10);

/// Where a client finds the servers.
pub struct Address {
    /// `http://HOST:PORT`: the folder of [`Site::root`].
    pub http: String,
    /// `rsync://HOST:PORT`: a module for each state.
    pub rsync: String,
}

/// What the servers did so far.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    pub cpu: Duration,
    pub bytes: u64,
    pub requests: u64,
    /// Ended connections to the rsync daemon.
    pub transfers: u64,
}

/// Both servers; dropping it ends them.
pub struct Site {
    home: PathBuf,
    ports: [u16; 2],
    children: [Child; 2],
}

impl Site {
    /// Starts them; configurations and logs are in `home`.
    pub fn start(home: &Path, trees: &Trees) -> io::Result<Self> {
        fs::create_dir_all(home.join("root"))?;
        let ports = [free_port()?, free_port()?];
        let log = home.join("rsync.log");
        for log in [&log, &home.join("nginx.log")] {
            fs::write(log, "")?;
        }
        fs::write(home.join("nginx.conf"), nginx_configuration(home, ports[0]))?;
        let mut nginx = server("nginx");
        nginx.arg("-c").arg(home.join("nginx.conf"));
        fs::write(home.join("rsyncd.conf"), rsync_configuration(trees, &log))?;
        let mut rsync = server("rsync");
        rsync
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={}", ports[1]))
            .arg(format!("--config={}/rsyncd.conf", home.display()))
            .arg(format!("--log-file={}", log.display()));
        let errors = || fs::File::create(home.join("errors")).map(Stdio::from);
        let start = |command: &mut Command| command.stdin(Stdio::null()).stderr(errors()?).spawn();
        let site = Self {
            home: home.to_owned(),
            ports,
            children: [start(&mut nginx)?, start(&mut rsync)?],
        };
        ports.iter().try_for_each(|&port| wait_for(port))?;
        Ok(site)
    }

    /// The servers at the other end of this link.
    pub fn address(&self, link: Link) -> io::Result<Address> {
        let [http, rsync] = self.ports;
        Ok(Address {
            http: format!("http://127.0.0.1:{}", link::start(link, http)?),
            rsync: format!("rsync://127.0.0.1:{}", link::start(link, rsync)?),
        })
    }

    /// What was done so far. `transfers`: the rsync daemon writes its figures a moment after its client ends; so many are
    /// waited for.
    pub fn counters(&self, transfers: u64) -> io::Result<Counters> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let mut counters = self.count()?;
            if counters.transfers >= transfers {
                counters.cpu = self.children.iter().map(|child| cpu(child.id())).sum();
                return Ok(counters);
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("the rsync daemon's log misses a transfer"));
            }
            std::thread::yield_now();
        }
    }

    fn count(&self) -> io::Result<Counters> {
        let mut counters = Counters {
            cpu: Duration::ZERO,
            bytes: 0,
            requests: 0,
            transfers: 0,
        };
        for line in fs::read_to_string(self.home.join("nginx.log"))?.lines() {
            counters.requests += 1;
            counters.bytes += line
                .split(' ')
                .take(2)
                .flat_map(str::parse::<u64>)
                .sum::<u64>();
        }
        // "… sent 12 bytes  received 34 bytes  total size 56"
        for line in fs::read_to_string(self.home.join("rsync.log"))?.lines() {
            let Some((_, figures)) = line.split_once("] sent ") else {
                continue;
            };
            counters.transfers += 1;
            let words = figures.split_whitespace();
            counters.bytes += words.flat_map(str::parse::<u64>).take(2).sum::<u64>();
        }
        Ok(counters)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for child in &mut self.children {
            let id = nix::unistd::Pid::from_raw(child.id().cast_signed());
            // Not SIGKILL: nginx ends its worker.
            let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

/// A program that gets SIGTERM when this one ends, however that ends.
fn server(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", program]);
    command
}

fn nginx_configuration(home: &Path, port: u16) -> String {
    let home = home.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {home}/{kind};\n"))
        .concat();
    format!(
        "user root; daemon off; worker_processes 1; pid {home}/nginx.pid; error_log {home}/nginx.errors;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n{temporary}log_format plain '$request_length $bytes_sent $request';\n\
         access_log {home}/nginx.log plain; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n\
         server {{ listen 127.0.0.1:{port}; root {home}/root; }}\n}}\n"
    )
}

fn rsync_configuration(trees: &Trees, log: &Path) -> String {
    let modules = STATES.map(|state| {
        let (name, path) = (state.name(), trees.path(state));
        format!("[{name}]\npath = {}\n", path.display())
    });
    format!(
        "log file = {}\nuid = 0\ngid = 0\nuse chroot = no\nread only = yes\nreverse lookup = no\n{}",
        log.display(),
        modules.concat()
    )
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn wait_for(port: u16) -> io::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = std::net::TcpStream::connect(("127.0.0.1", port)) {
        if Instant::now() > deadline {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// CPU time of a process, of what it waited for, and of its running children, of which the servers have one generation.
fn cpu(process: u32) -> Duration {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.unwrap_or_default();
    let own = ticks(process).unwrap_or_default();
    let theirs = children
        .split_whitespace()
        .flat_map(str::parse)
        .flat_map(ticks);
    // The unit is USER_HZ, 100 on every machine that Debian runs on.
    Duration::from_millis(10 * (own + theirs.sum::<u64>()))
}

fn ticks(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // utime, stime, cutime, cstime, counted behind the name, which may have blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields = fields.split_whitespace().skip(11).take(4);
    Some(fields.flat_map(str::parse::<u64>).sum())
}
