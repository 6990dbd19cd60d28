//! What time it is for a certificate: that of the clock, but never before `floor`. A machine with an empty battery starts in
//! 1970, when no certificate was valid yet; what it has seen since can not lie in its future.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// A clock with a floor.
#[derive(Debug)]
pub struct FlooredClock {
    /// The earliest that it can be.
    pub floor: SystemTime,
}

impl TimeProvider for FlooredClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(not_before(
            self.floor,
            SystemTime::now(),
        )))
    }
}

fn not_before(floor: SystemTime, now: SystemTime) -> Duration {
    now.max(floor)
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_lags_behind_counts_from_the_floor() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(not_before(at(100), at(5)), Duration::from_secs(100));
        assert_eq!(not_before(at(100), at(200)), Duration::from_secs(200));
        assert_eq!(
            not_before(UNIX_EPOCH - Duration::from_secs(9), at(0)),
            Duration::ZERO
        );
    }
}
