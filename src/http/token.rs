//! The bytes of which heads are made.
//!
//! Tables and searches that every reader shares. A byte of a head is in one of a few classes, and which one is one look
//! into a table of 256.

/// A letter, a digit or one of ``!#$%&'*+-.^_`|~``: RFC 9110's `tchar`.
pub(super) const TOKEN: u8 = 1;
/// A letter, a digit or `-`: what the names of fields are made of that every application tells apart.
pub(super) const PLAIN: u8 = 2;
/// What a request target may hold: all visible bytes but `#`, and those above ASCII.
pub(super) const TARGET: u8 = 4;
/// A capital letter, `-` or `_`: what methods are made of.
pub(super) const METHOD: u8 = 8;
/// What a host name may hold: letters, digits, `-`, `.`, `_` and `~`.
pub(super) const HOST: u8 = 16;

const BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            bytes[at] |= TOKEN | HOST;
        }
        if matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|') {
            bytes[at] |= TOKEN;
        }
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            bytes[at] |= PLAIN;
        }
        if byte > b' ' && byte != b'#' && byte != 0x7f {
            bytes[at] |= TARGET;
        }
        if byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_') {
            bytes[at] |= METHOD;
        }
        at += 1;
    }
    bytes
};

/// The classes that `byte` is in.
#[inline]
pub(super) const fn classes(byte: u8) -> u8 {
    BYTES[byte as usize]
}

/// Whether `byte` is in `class`.
#[inline]
pub(super) const fn is(class: u8, byte: u8) -> bool {
    classes(byte) & class != 0
}

/// The place of the first byte at or after `at` that is not in `class`; the end where there is none.
#[inline]
pub(super) fn end_of(class: u8, bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && is(class, bytes[at]) {
        at += 1;
    }
    at
}

/// The end of the token at `at`, and the classes that all bytes of it are in.
///
/// Eight bytes at a time where it is that long: their classes are combined without a branch.
#[inline(always)]
pub(super) fn token_end(bytes: &[u8], mut at: usize) -> (usize, u8) {
    let mut common = TOKEN | PLAIN;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let classes = word.iter().fold(common, |common, byte| common & classes(*byte));
        if classes & TOKEN == 0 {
            break;
        }
        common = classes;
        at += 8;
    }
    while let Some(classes) = bytes.get(at).map(|byte| classes(*byte))
        && classes & TOKEN != 0
    {
        common &= classes;
        at += 1;
    }
    (at, common)
}

/// The place of the first control byte at or after `at`, tabs aside; the end where there is none.
///
/// Eight bytes at a time, since most of a head is field values. In a word `w`, `w - 0x20…` has the high bit of a byte
/// below 0x20 set, and `(w & 0x7f…) + 1…` that of 0x7f; `!w` takes away the bytes above ASCII. A borrow can set a bit
/// wrongly only above such a byte, so that the lowest hit is always true.
#[inline(always)]
pub(super) fn first_control(bytes: &[u8], at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut at = at.min(bytes.len());
    let (words, rest) = bytes[at..].as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below = word.wrapping_sub(ONES * 0x20);
        let delete = (word & (ONES * 0x7f)).wrapping_add(ONES);
        let hits = (below | delete) & !word & (ONES << 7);
        if hits != 0 {
            let hit = at + 8 * index + hits.trailing_zeros() as usize / 8;
            return if bytes[hit] == b'\t' { first_control_after_tab(bytes, hit + 1) } else { hit };
        }
    }
    at = bytes.len() - rest.len();
    while at < bytes.len() && !is_control(bytes[at]) {
        at += 1;
    }
    at
}

/// Goes on after a tab, which is rare.
#[cold]
fn first_control_after_tab(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && !is_control(bytes[at]) {
        at += 1;
    }
    at
}

/// Whether a field value must not hold `byte`.
const fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7f
}

/// Whether `name` can be the name of a field: a token.
#[must_use]
pub fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && token_end(name, 0).0 == name.len()
}

/// Whether `value` can be the value of a field: no controls but tabs.
#[must_use]
pub fn is_field_value(value: &[u8]) -> bool {
    first_control(value, 0) == value.len()
}

/// Whether `bytes` is `word`, which is in lower case, in any case.
#[inline]
pub(super) fn is_word(bytes: &[u8], word: &[u8]) -> bool {
    bytes.eq_ignore_ascii_case(word)
}

/// Whether `token` is `word` in any case, where `word` is made of small letters, digits and `-`.
///
/// The bit that makes letters small is set in digits and `-` anyway, and no other byte of a token becomes one of these.
#[inline(always)]
pub(super) fn is_name<const N: usize>(token: &[u8], word: &[u8; N]) -> bool {
    let Some(token) = token.as_array::<N>() else { return false };
    let mut difference = 0;
    for at in 0..N {
        difference |= (token[at] | 0x20) ^ word[at];
    }
    difference == 0
}

/// A number in decimal digits and nothing else, of at most 18 digits so that it never overflows.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 18 {
        return None;
    }
    let mut number = 0;
    for byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(byte - b'0');
    }
    Some(number)
}

/// The elements of a comma-separated list, trimmed, without empty ones.
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}
