//! Expected texts, parts of which vary.

/// Whether a text is as a pattern says, in which each `*` stands for something.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    (1..=text.len()).any(|taken| text.is_char_boundary(taken) && fits(rest, &text[taken..]))
}

#[test]
fn stars_stand_for_something() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a=*; b", "a=1; b", true),
        ("a=*; b", "a=; b", false),
        ("a*", "b1", false),
        ("*.*", "1.2", true),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}
