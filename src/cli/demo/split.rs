//! The live split of each route: bars on a terminal, plain lines elsewhere.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{self, Write},
    os::fd::AsFd,
    time::Duration,
};

use rustix::termios::tcgetwinsize;

use crate::app::RouteSplit;

/// How many characters a whole bar has, so that a line of two sides fits into 80.
const BAR: usize = 20;

/// How a live split is printed.
#[derive(Debug)]
pub(super) struct Display {
    /// Bars that are drawn over and over, not lines.
    bars: bool,
    /// Counts of the last seconds, oldest first.
    samples: VecDeque<Vec<RouteSplit>>,
    /// How many lines the last bars took.
    drawn: usize,
}

/// Prints the split of the last seconds, again and again.
pub(super) async fn show(counts: impl Fn() -> Vec<RouteSplit>, mut display: Display) {
    let mut tick = tokio::time::interval(display.every());
    loop {
        tick.tick().await;
        let mut out = io::stdout().lock();
        let text = display.next(counts(), columns(&out));
        // Who closed the other end does not want to see it.
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

/// How many characters a line of the terminal has; without a bound where it does not say.
fn columns(terminal: &impl AsFd) -> usize {
    match tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => usize::MAX,
    }
}

// === impl Display ===

impl Display {
    pub(super) fn new(bars: bool) -> Self {
        Self { bars, samples: VecDeque::new(), drawn: 0 }
    }

    /// The time from one print to the next.
    fn every(&self) -> Duration {
        if self.bars { Duration::from_millis(500) } else { Duration::from_secs(5) }
    }

    /// How many prints back the split reaches.
    fn window(&self) -> usize {
        if self.bars { 8 } else { 1 }
    }

    /// What to print next, given the counts of now. A bar has at most so many characters: one that went on in the next
    /// line of the terminal would stay there when the others are drawn again.
    fn next(&mut self, now: Vec<RouteSplit>, columns: usize) -> String {
        let mut text = String::new();
        if self.bars && self.drawn > 0 {
            // Back to the first line of the last bars, and nothing is left from there on.
            let _ = write!(text, "\x1b[{}F\x1b[J", self.drawn);
        }
        self.drawn = now.len();
        for route in &now {
            let before =
                self.samples.front().and_then(|routes| routes.iter().find(|before| before.route == route.route));
            let counts: Vec<_> = route
                .sides
                .iter()
                .map(|(side, count)| {
                    let before = before.and_then(|before| before.sides.iter().find(|(name, _)| name == side));
                    (side.as_str(), count.saturating_sub(before.map_or(0, |(_, count)| *count)))
                })
                .collect();
            if self.bars {
                text.extend(bar(&route.route, &counts).chars().take(columns));
            } else {
                text += &plain(&route.route, &counts);
            }
            text.push('\n');
        }
        self.samples.push_back(now);
        while self.samples.len() > self.window() {
            self.samples.pop_front();
        }
        text
    }
}

/// `shop.localhost/  ██████████░░  stable 90 %, canary 10 % of 53`
fn bar(route: &str, counts: &[(&str, u64)]) -> String {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let mut drawn = String::new();
    let (mut sum, mut from) = (0, 0);
    for (at, (_, count)) in counts.iter().enumerate() {
        sum += count;
        let to = if total == 0 { 0 } else { (sum as usize * BAR + total as usize / 2) / total as usize };
        let fill = ['█', '░', '▒', '▓'][at % 4];
        drawn.extend(std::iter::repeat_n(fill, to - from));
        from = to;
    }
    format!("{route:<24} {drawn:<BAR$}  {}", shares(counts, total))
}

/// `shop.localhost/: stable 90 %, canary 10 % of 53`
fn plain(route: &str, counts: &[(&str, u64)]) -> String {
    format!("{route}: {}", shares(counts, counts.iter().map(|(_, count)| count).sum()))
}

fn shares(counts: &[(&str, u64)], total: u64) -> String {
    let mut text = String::new();
    for (side, count) in counts {
        let percent = if total == 0 { 0.0 } else { *count as f64 * 100.0 / total as f64 };
        let _ = write!(text, "{side} {percent:.0} %, ");
    }
    text.truncate(text.len().saturating_sub(2));
    let _ = write!(text, " of {total}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(stable: u64, canary: u64) -> Vec<RouteSplit> {
        let sides = vec![("stable".to_owned(), stable), ("canary".to_owned(), canary)];
        vec![RouteSplit { route: "shop/".to_owned(), sides }]
    }

    #[test]
    fn lines_tell_the_split_since_the_last_line() {
        let mut display = Display::new(false);
        assert_eq!(display.next(counts(9, 1), 10), "shop/: stable 90 %, canary 10 % of 10\n");
        assert_eq!(display.next(counts(10, 2), 10), "shop/: stable 50 %, canary 50 % of 2\n");
    }

    #[test]
    fn bars_have_their_length_whatever_the_shares() {
        for (stable, canary) in [(1, 0), (0, 1), (1, 2), (997, 3), (1, 1)] {
            let line = bar("shop/", &[("stable", stable), ("canary", canary)]);
            assert_eq!(line.chars().filter(|c| "█░".contains(*c)).count(), BAR, "{line}");
        }
    }

    #[test]
    fn bars_are_drawn_over_the_last_ones() {
        let mut display = Display::new(true);
        assert!(display.next(counts(0, 0), 80).starts_with("shop/"));
        assert!(display.next(counts(1, 1), 80).starts_with("\x1b[1F\x1b[J"));
    }

    #[test]
    fn bars_keep_to_the_width_of_the_terminal() {
        let mut display = Display::new(true);
        let line = display.next(counts(50, 50), 80);
        assert!(line.ends_with(" of 100\n") && line.chars().count() <= 80, "a whole line fits into 80: {line}");
        assert_eq!(Display::new(true).next(counts(0, 0), 7), "shop/  \n");
    }
}
