//! Session affinity by cookie: a client comes back to the endpoint, and to the side of the split, that served it.
//!
//! The cookie's value is `<key>|<tag>`, both 64 bits in hexadecimal. The tag names the side, the key what chooses the
//! endpoint: a random number where sessions are balanced, the endpoint's own tag where they are persistent.
//!
//! Routes may share a cookie, and each of them has other sides. A tag that names none of a route's is another's, and the
//! key chooses the endpoint here too: if each began a session of its own, each would end the other's. A cookie of
//! ingress-nginx has a longer tag, so it begins a new session and is replaced.

use std::{
    hash::Hasher,
    io::Write as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use siphasher::sip::SipHasher13;

use super::{Request, Scheme, Split, fields, sticky};

/// The keys of the hash. A change would end every session.
const KEYS: (u64, u64) = (0x7365_7269_6e2d_7365, 0x7373_696f_6e2d_3031);

/// The affinity of a route (`affinity: cookie` and its annotations).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Affinity {
    pub mode: AffinityMode,
    pub cookie_name: Arc<str>,
    /// `Max-Age`, seconds; may be negative, which ends the cookie.
    pub max_age: Option<i64>,
    /// `Expires`, seconds from now.
    pub expires: Option<i64>,
    /// `Path`; where it is not set, the path of the route.
    pub path: Option<Arc<str>>,
    pub domain: Option<Arc<str>>,
    pub same_site: Option<SameSite>,
    /// Leaves `SameSite=None` out for clients that misunderstand it.
    pub conditional_same_site_none: bool,
    /// `Secure`; where it is not set, whether the request came by https.
    pub secure: Option<bool>,
    /// A new cookie when another endpoint had to serve.
    pub change_on_failure: bool,
}

/// Where a session belongs when endpoints come and go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum AffinityMode {
    /// Some sessions move, so that load stays even.
    #[default]
    Balanced,
    /// A session moves only when its endpoint is gone.
    Persistent,
}

/// `affinity-canary-behavior`, which stands on the canary's Ingress.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum CanaryBehavior {
    /// A session stays on the side that it began on.
    #[default]
    Sticky,
    /// The canary knows no sessions.
    Legacy,
}

/// The `SameSite` attribute of a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum SameSite {
    None,
    Lax,
    Strict,
}

/// What affinity asks of the choice of an endpoint for one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AffinityPlan<'t> {
    pub affinity: &'t Affinity,
    pub held: Held,
    /// The tag of the side that the session belongs to, for the cookie.
    pub tag: u64,
    /// The path of the route, for the cookie.
    pub path: &'t str,
}

/// What the client's cookie is to the side that serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// There is none: a session begins, and the answer sets it.
    Nothing,
    /// The key of a session with this side. The cookie is set again where the session moves to another endpoint.
    Here(u64),
    /// The key of a session with another side, which is of elsewhere or does not serve this time. The cookie stays as it
    /// is.
    Elsewhere(u64),
    /// The key of a session with a side of elsewhere, on a route whose canaries keep sessions. The cookie is set again
    /// with the same key, so that it names a side of this one.
    Unnamed(u64),
}

/// What a client's cookie says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Session {
    pub(super) key: Option<u64>,
    pub(super) side: SessionSide,
}

/// The side that a session began on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum SessionSide {
    #[default]
    None,
    Stable,
    /// The position of the canary.
    Canary(usize),
    /// A side that is none of the split's: of another route, or of a canary that is gone.
    Elsewhere,
}

/// The tag of a side or an endpoint, by its name: the same on every replica and after a restart.
#[must_use]
pub fn tag(name: &str) -> u64 {
    tag_of(name.as_bytes())
}

fn tag_of(name: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(KEYS.0, KEYS.1);
    hasher.write(name);
    hasher.finish()
}

/// Writes the value of the `Set-Cookie` that begins a session with the endpoint of `key`, as ingress-nginx writes it.
///
/// `now` is the time in seconds since 1970.
pub fn set_cookie(
    plan: &AffinityPlan<'_>,
    key: u64,
    now: u64,
    scheme: Scheme,
    user_agent: Option<&[u8]>,
    out: &mut Vec<u8>,
) {
    let affinity = plan.affinity;
    // Writing to a vector does not fail.
    let _ = write!(out, "{}={key:016x}|{:016x}", affinity.cookie_name, plan.tag);
    if let Some(expires) = affinity.expires {
        out.extend_from_slice(b"; Expires=");
        write_date(now.saturating_add_signed(expires), out);
    }
    if let Some(max_age) = affinity.max_age {
        let _ = write!(out, "; Max-Age={max_age}");
    }
    if let Some(domain) = &affinity.domain {
        out.extend_from_slice(b"; Domain=");
        sticky::write_path(domain.as_bytes(), out);
    }
    out.extend_from_slice(b"; Path=");
    sticky::write_path(affinity.path.as_deref().unwrap_or(plan.path).as_bytes(), out);
    if affinity.secure.unwrap_or(scheme == Scheme::Https) {
        out.extend_from_slice(b"; Secure");
    }
    out.extend_from_slice(b"; HttpOnly");
    let misunderstood = || affinity.conditional_same_site_none && user_agent.is_some_and(misreads_same_site_none);
    match affinity.same_site {
        None => {}
        Some(SameSite::None) if misunderstood() => {}
        Some(SameSite::None) => out.extend_from_slice(b"; SameSite=None"),
        Some(SameSite::Lax) => out.extend_from_slice(b"; SameSite=Lax"),
        Some(SameSite::Strict) => out.extend_from_slice(b"; SameSite=Strict"),
    }
}

/// Writes a date as nginx does in cookies: `Thu, 18-Nov-10 11:27:35 GMT`; with all digits of the year after 2037.
fn write_date(seconds: u64, out: &mut Vec<u8>) {
    // The last second of the year 9999.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799));
    let date = httpdate::fmt_http_date(time);
    // `Thu, 18 Nov 2010 11:27:35 GMT`
    let (day, month, year, rest) = (&date[..7], &date[8..11], &date[12..16], &date[16..]);
    let year = if year > "2037" { year } else { &year[2..] };
    let _ = write!(out, "{day}-{month}-{year}{rest}");
}

/// Whether a client takes `SameSite=None` for `Strict`, or drops the cookie: old Chrome, iOS 12, Safari on macOS 10.14.
fn misreads_same_site_none(user_agent: &[u8]) -> bool {
    let has = |text: &str| memchr::memmem::find(user_agent, text.as_bytes()).is_some();
    ["Chrome/4", "Chrome/5", "Chrome/6", "CPU iPhone OS 12", "iPad; CPU OS 12"].into_iter().any(has)
        || (has("Macintosh") && has("Intel Mac OS X 10_14") && has("Safari") && !has("Chrome"))
}

// === impl Held ===

impl Held {
    /// The key of the session; none where it begins.
    #[must_use]
    pub const fn key(self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Here(key) | Self::Elsewhere(key) | Self::Unnamed(key) => Some(key),
        }
    }
}

// === impl Session ===

impl Session {
    /// Reads the session of a client from its cookie.
    pub(super) fn of<B>(affinity: &Affinity, split: &Split<B>, request: &impl Request) -> Self {
        match fields::cookie(request, &affinity.cookie_name) {
            None | Some([]) => Self::default(),
            Some(value) => Self::read(value, split),
        }
    }

    /// What the client holds; `home` is whether the side that serves is the one that the session belongs to.
    pub(super) fn held<B>(self, split: &Split<B>, home: bool) -> Held {
        match (self.key, self.side) {
            (None, _) => Held::Nothing,
            (Some(key), SessionSide::Elsewhere) if split.canaries.iter().any(|canary| canary.keeps_sessions) => {
                Held::Unnamed(key)
            }
            (Some(key), SessionSide::Elsewhere) => Held::Elsewhere(key),
            (Some(key), _) if home => Held::Here(key),
            (Some(key), _) => Held::Elsewhere(key),
        }
    }

    fn read<B>(value: &[u8], split: &Split<B>) -> Self {
        let Some(bar) = memchr::memchr(b'|', value) else {
            // ingress-nginx takes any value for a key.
            return Self { key: Some(key_of(value)), side: SessionSide::None };
        };
        let Some(held) = hex(&value[bar + 1..]) else {
            // ingress-nginx wrote it.
            return Self::default();
        };
        let holds = |name: &str| held == tag(name);
        let side = if [&split.stable, &split.fallback].into_iter().flatten().any(|side| holds(&side.name)) {
            SessionSide::Stable
        } else if let Some(at) = split.canaries.iter().position(|it| it.keeps_sessions && holds(&it.side.name)) {
            SessionSide::Canary(at)
        } else {
            SessionSide::Elsewhere
        };
        Self { key: Some(key_of(&value[..bar])), side }
    }
}

/// The key in a cookie.
fn key_of(text: &[u8]) -> u64 {
    hex(text).unwrap_or_else(|| tag_of(text))
}

/// A number as [`set_cookie`] writes it.
fn hex(text: &[u8]) -> Option<u64> {
    if text.len() != 16 {
        return None;
    }
    text.iter().try_fold(0, |number, &c| Some(number << 4 | u64::from(char::from(c).to_digit(16)?)))
}
