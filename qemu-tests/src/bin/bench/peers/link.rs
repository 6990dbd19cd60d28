//! A slow line between a client and a server on this machine: connections are handed on at a bounded rate and late. Linux'
//! `netem` could do that to packets, but not every kernel has it. What is not as on a real line: TCP's slow start.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What lies between client and server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    pub name: &'static str,
    /// Bits a second and seconds for the way there and back; none: loopback.
    pub shape: Option<(f64, f64)>,
}

/// The links, by the word that asks for one.
pub const LINKS: [Link; 3] = [
    Link {
        name: "loopback",
        shape: None,
    },
    Link {
        name: "100mbit",
        shape: Some((100e6, 0.005)),
    },
    Link {
        name: "10mbit",
        shape: Some((10e6, 0.040)),
    },
];

/// The part of a full Ethernet frame, with preamble and gap, that TCP may use.
const PAYLOAD: f64 = 1448.0 / 1538.0;
/// How much may wait in front of the line: what a router would buffer.
const QUEUE: Duration = Duration::from_millis(50);
const PIECE: usize = 16 << 10;

/// Bytes, and when they arrive. No bytes: the end.
type Piece = (Instant, Vec<u8>);

/// One direction of the line, shared by all its connections.
struct Direction {
    /// Bytes a second.
    rate: f64,
    delay: Duration,
    free: Mutex<Instant>,
}

impl Direction {
    fn new(bits: f64, round_trip: f64) -> Arc<Self> {
        Arc::new(Self {
            rate: bits / 8.0 * PAYLOAD,
            delay: Duration::from_secs_f64(round_trip / 2.0),
            free: Mutex::new(Instant::now()),
        })
    }

    /// Takes the line for this many bytes; when they arrive. Waits while its queue is full.
    fn send(&self, bytes: usize) -> Instant {
        let sent = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let time = Duration::from_secs_f64(bytes as f64 / self.rate);
            *free = (*free).max(Instant::now()) + time;
            *free
        };
        thread::sleep(sent.saturating_duration_since(Instant::now() + QUEUE));
        sent + self.delay
    }
}

/// Listens on a free port and hands connections on to `port` as `link` would; its port. Ends with the program.
pub fn start(link: Link, port: u16) -> io::Result<u16> {
    let Some((bits, round_trip)) = link.shape else {
        return Ok(port);
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let own = listener.local_addr()?.port();
    let (up, down) = (
        Direction::new(bits, round_trip),
        Direction::new(bits, round_trip),
    );
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A connection that can not be made is a closed one for the client.
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                continue;
            };
            // What is sent first has waited for the handshake.
            let handshake = Duration::from_secs_f64(round_trip);
            let _ = join(&client, &server, &up, handshake);
            let _ = join(&server, &client, &down, Duration::ZERO);
        }
    });
    Ok(own)
}

fn join(
    from: &TcpStream,
    to: &TcpStream,
    direction: &Arc<Direction>,
    wait: Duration,
) -> io::Result<()> {
    to.set_nodelay(true)?;
    let (from, to) = (from.try_clone()?, to.try_clone()?);
    let direction = Arc::clone(direction);
    let (sender, receiver) = sync_channel(64);
    thread::spawn(move || read(from, &direction, wait, &sender));
    thread::spawn(move || write(to, &receiver));
    Ok(())
}

fn read(mut from: TcpStream, direction: &Direction, wait: Duration, sender: &SyncSender<Piece>) {
    let earliest = Instant::now() + direction.delay + wait;
    let mut buffer = vec![0; PIECE];
    loop {
        // An error is an end, too: the other side sees a closed connection.
        let length = from.read(&mut buffer).unwrap_or(0);
        let due = direction.send(length).max(earliest);
        if sender.send((due, buffer[..length].to_vec())).is_err() || length == 0 {
            return;
        }
    }
}

fn write(mut to: TcpStream, receiver: &Receiver<Piece>) {
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_its_time_for_bytes_and_for_the_way() {
        let echo = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = echo.local_addr().expect("bound").port();
        thread::spawn(move || {
            let (mut stream, _) = echo.accept().expect("a connection");
            let mut sent = Vec::new();
            stream.read_to_end(&mut sent).expect("all of it");
            stream.write_all(&sent[..1]).expect("one byte");
        });
        let link = Link {
            name: "test",
            shape: Some((8e6 / PAYLOAD, 0.100)),
        };
        let slow = start(link, port).expect("a port");
        let begin = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", slow)).expect("the line");
        stream.write_all(&[7; 200_000]).expect("sent");
        stream.shutdown(Shutdown::Write).expect("ended");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        assert_eq!(answer, [7]);
        // 0.2 s for the bytes, 0.1 s for the way there and back; both at least.
        assert!(
            begin.elapsed() >= Duration::from_millis(300),
            "{:?}",
            begin.elapsed()
        );
    }
}
