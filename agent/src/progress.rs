//! How far a long step is, on one line of a terminal.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::fetch::Watcher;
use crate::sync::mib;

/// The shortest time between two lines.
const PAUSE: Duration = Duration::from_millis(250);

/// What would take longer, in seconds, is not known yet.
const LONGEST: f64 = 100.0 * 3600.0;

/// Shows percent, speed and the time left on standard error.
pub struct TerminalProgress {
    start: Instant,
    last: Mutex<Option<Instant>>,
}

impl TerminalProgress {
    /// Counts from `start`.
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            last: Mutex::new(None),
        }
    }
}

impl Watcher for TerminalProgress {
    fn transferred(&self, done: u64, total: u64) {
        let now = Instant::now();
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        let shown = last.is_some_and(|last| now - last < PAUSE);
        if (shown && done < total) || total == 0 {
            return;
        }
        *last = Some(now);
        let end = if done < total { "" } else { "\n" };
        let _ = write!(
            std::io::stderr(),
            "\r{}\x1b[K{end}",
            line(done, total, now - self.start)
        );
    }
}

/// `41 %  120.0 MiB of 290.1 MiB  12.3 MiB/s  14 s left`
pub fn line(done: u64, total: u64, time: Duration) -> String {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    let speed = done as f64 / time.as_secs_f64().max(0.001);
    let left = match total.saturating_sub(done) as f64 / speed.max(1.0) {
        left if left < 120.0 => format!("  {left:.0} s left"),
        left if left < LONGEST => format!("  {:.0} min left", left / 60.0),
        _ => String::new(),
    };
    format!(
        "{percent:3} %  {} of {}  {}/s{left}",
        mib(done),
        mib(total),
        mib(speed as u64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_percent_speed_and_time_left() {
        let second = Duration::from_secs(1);
        assert_eq!(
            line(1 << 20, 4 << 20, second),
            " 25 %  1.0 MiB of 4.0 MiB  1.0 MiB/s  3 s left"
        );
        assert_eq!(
            line(1 << 20, 241 << 20, second),
            "  0 %  1.0 MiB of 241.0 MiB  1.0 MiB/s  4 min left"
        );
        assert_eq!(
            line(0, 0, second),
            "  0 %  0.0 MiB of 0.0 MiB  0.0 MiB/s  0 s left"
        );
    }

    #[test]
    fn nothing_is_said_of_the_time_left_before_anything_came() {
        assert_eq!(
            line(0, 1 << 20, Duration::from_secs(1)),
            "  0 %  0.0 MiB of 1.0 MiB  0.0 MiB/s"
        );
    }
}
