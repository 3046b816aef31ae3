//! The time as text, made once a second.

use std::{
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The texts of the last second that was asked for, in UTC.
#[derive(Debug)]
pub(super) struct Clock {
    second: u64,
    /// `21/Nov/2026:10:46:32 +0000`, as nginx's `$time_local` in a container.
    local: Vec<u8>,
    /// `2026-11-21T10:46:32`.
    iso: Vec<u8>,
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// === impl Clock ===

impl Clock {
    pub(super) fn new() -> Self {
        let mut clock = Self { second: 0, local: Vec::with_capacity(32), iso: Vec::with_capacity(32) };
        clock.set(0);
        clock
    }

    /// The time as nginx logs it.
    pub(super) fn local(&mut self, now: SystemTime) -> &[u8] {
        self.at(now);
        &self.local
    }

    /// The time up to its second (RFC 3339 without the zone), and the milliseconds after it.
    pub(super) fn iso(&mut self, now: SystemTime) -> (&[u8], u32) {
        let since = self.at(now);
        (&self.iso, since.subsec_millis())
    }

    fn at(&mut self, now: SystemTime) -> Duration {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second {
            self.set(since.as_secs());
        }
        since
    }

    fn set(&mut self, second: u64) {
        self.second = second;
        let (year, month, day) = date(second / 86_400);
        let (hour, minute, rest) = (second / 3_600 % 24, second / 60 % 60, second % 60);
        let name = usize::try_from(month - 1).ok().and_then(|at| MONTHS.get(at)).unwrap_or(&"");
        self.local.clear();
        self.iso.clear();
        // Writing to a vector cannot fail.
        let _ = write!(self.local, "{day:02}/{name}/{year}:{hour:02}:{minute:02}:{rest:02} +0000");
        let _ = write!(self.iso, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{rest:02}");
    }
}

/// Year, month and day of a day counted from 1 January 1970, in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // 400 years have 146,097 days. Years begin in March here, so that the leap day is the last; 1 March of the year 0
    // is 719,468 days before 1970.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months from March, and from August, have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (era * 400 + year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (789, (1972, 2, 29)),
            (10_956, (1999, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_778, (2026, 11, 21)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut former = date(0);
        for days in 1..80_000 {
            let (year, month, day) = date(days);
            let next_day = (year, month, day) == (former.0, former.1, former.2 + 1);
            let next_month = day == 1 && (year * 12 + month) == (former.0 * 12 + former.1) + 1 && former.2 >= 28;
            assert!(next_day || next_month, "{days}: {former:?} then {:?}", (year, month, day));
            former = (year, month, day);
        }
    }

    #[test]
    fn the_text_follows_the_second() {
        let mut clock = Clock::new();
        let now = UNIX_EPOCH + Duration::from_millis(1_795_258_792_345);
        assert_eq!(clock.local(now), b"21/Nov/2026:10:59:52 +0000");
        assert_eq!(clock.iso(now), (&b"2026-11-21T10:59:52"[..], 345));
        assert_eq!(clock.local(now + Duration::from_secs(8)), b"21/Nov/2026:11:00:00 +0000");
        assert_eq!(clock.local(UNIX_EPOCH - Duration::from_secs(1)), b"01/Jan/1970:00:00:00 +0000");
    }
}
