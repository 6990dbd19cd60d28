//! The splash screen: where plymouth hides the console, what the boot says is shown on it, too.
//!
//! The protocol is that of plymouth's own client (`src/ply-boot-protocol.h`), which systemd speaks as well: a letter, a byte 2,
//! the length of the argument with its zero byte, the argument. Nothing here waits: a splash that does not listen is none.

use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

/// The daemon's socket, an abstract one.
const SOCKET: &[u8] = b"/org/freedesktop/plymouthd";
const SHOW_MESSAGE: u8 = b'M';
const HIDE_MESSAGE: u8 = b'm';
/// The longest argument without its zero byte.
const LONGEST: usize = 254;
const PATIENCE: Duration = Duration::from_millis(100);

/// The one message that is shown.
pub struct Splash {
    socket: &'static [u8],
    shown: String,
}

impl Default for Splash {
    fn default() -> Self {
        Self {
            socket: SOCKET,
            shown: String::new(),
        }
    }
}

impl Splash {
    /// Shows a line in place of the one before.
    pub fn show(&mut self, line: &str) {
        let line = cut(line.trim_end());
        let hide = std::mem::replace(&mut self.shown, line.to_owned());
        let requests = [request(HIDE_MESSAGE, &hide), request(SHOW_MESSAGE, line)];
        let wanted = if hide.is_empty() {
            &requests[1..]
        } else {
            &requests[..]
        };
        // No splash, or one that is busy: the line is on the console.
        let _ = self.send(&wanted.concat());
    }

    fn send(&self, requests: &[u8]) -> io::Result<()> {
        let address = SocketAddr::from_abstract_name(self.socket)?;
        let mut stream = UnixStream::connect_addr(&address)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(requests)
    }
}

fn cut(line: &str) -> &str {
    let mut end = line.len().min(LONGEST);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

fn request(kind: u8, argument: &str) -> Vec<u8> {
    let length = u8::try_from(argument.len() + 1).unwrap_or(u8::MAX);
    let mut bytes = vec![kind, 2, length];
    bytes.extend(argument.bytes());
    bytes.push(0);
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_line_takes_the_place_of_the_one_before() {
        const NAME: &[u8] = b"reclone-test-splash";
        let mut splash = Splash {
            socket: NAME,
            ..Splash::default()
        };
        splash.show("nobody listens");
        let listener =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(NAME).unwrap()).unwrap();
        splash.show("one\n");
        let mut bytes = Vec::new();
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"m\x02\x0fnobody listens\0M\x02\x04one\0");
    }

    #[test]
    fn a_long_line_is_cut_between_two_letters() {
        let line = format!("{}é", "x".repeat(LONGEST - 1));
        assert_eq!(cut(&line), &line[..LONGEST - 1]);
        assert_eq!(request(SHOW_MESSAGE, cut(&line)).len(), 3 + LONGEST);
    }
}
