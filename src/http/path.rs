//! Paths as routes see them.
//!
//! The same resource has many names: `/a/b`, `//a/./b`, `/a/c/../%62`. Routes are matched against one of them, made as
//! nginx makes its `$uri`: escapes resolved once, slashes merged, `.` and `..` followed. What the endpoint gets is the
//! path as the client wrote it, unless the route rewrites it.

/// A path that has no normal form: it leaves the root, holds an escape that is none, or a zero byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadPath;

/// The normal form of a path: itself where it has that form, and otherwise a copy in `scratch`.
///
/// # Errors
///
/// Where there is none; the request is then refused with 400.
pub fn normalize<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], BadPath> {
    if is_normal(path) {
        return Ok(path);
    }
    let [b'/', rest @ ..] = path else { return Err(BadPath) };
    scratch.clear();
    scratch.push(b'/');
    let mut rest = rest;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let mut byte = *byte;
        if byte == b'%' {
            byte = escaped(tail).ok_or(BadPath)?;
            rest = &tail[2..];
        }
        match byte {
            0 => return Err(BadPath),
            b'/' => end_segment(scratch, true)?,
            _ => scratch.push(byte),
        }
    }
    end_segment(scratch, false)?;
    Ok(scratch)
}

/// Whether a path is its own normal form. Says no more often than it must: `/.a` is looked at twice.
fn is_normal(path: &[u8]) -> bool {
    let mut after_slash = false;
    for byte in path {
        match byte {
            b'%' | 0 => return false,
            b'/' | b'.' if after_slash => return false,
            _ => after_slash = *byte == b'/',
        }
    }
    path.first() == Some(&b'/')
}

/// Ends the last segment of a path, which has a slash before it; follows it where it is made of dots.
fn end_segment(path: &mut Vec<u8>, slash: bool) -> Result<(), BadPath> {
    let start = memchr::memrchr(b'/', path).map_or(0, |at| at + 1);
    match &path[start..] {
        b"" | b"." => path.truncate(start),
        b".." => {
            let above = start.checked_sub(1).ok_or(BadPath)?;
            let parent = memchr::memrchr(b'/', &path[..above]).ok_or(BadPath)?;
            path.truncate(parent + 1);
        }
        _ if slash => path.push(b'/'),
        _ => {}
    }
    Ok(())
}

/// The byte that two hexadecimal digits at the front of `digits` stand for.
pub(super) fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| (*digits.get(at)? as char).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_the_form_that_nginx_gives_them() {
        for (path, normal) in [
            ("/", Some("/")),
            ("/a/b", Some("/a/b")),
            ("/a/b/", Some("/a/b/")),
            ("//", Some("/")),
            ("//a///b//", Some("/a/b/")),
            ("/%2F", Some("/")),
            ("/a%2Fb", Some("/a/b")),
            ("/a/./b", Some("/a/b")),
            ("/a/.", Some("/a/")),
            ("/.", Some("/")),
            ("/a/../b", Some("/b")),
            ("/a/..", Some("/")),
            ("/a/b/..", Some("/a/")),
            ("/a/b/../", Some("/a/")),
            ("/a/%2e%2E/b", Some("/b")),
            ("/a%2f..%2fb", Some("/b")),
            ("/a//../b", Some("/b")),
            ("/.well-known/x", Some("/.well-known/x")),
            ("/a/...", Some("/a/...")),
            ("/a/..b", Some("/a/..b")),
            ("/a%20b", Some("/a b")),
            ("/%25%32%66", Some("/%2f")),
            ("/%3F%23", Some("/?#")),
            ("/ä", Some("/ä")),
            ("/%c3%a4", Some("/ä")),
            ("/..", None),
            ("/a/../..", None),
            ("/../a", None),
            ("/%2e%2e/a", None),
            ("/%00", None),
            ("/a\0", None),
            ("/%", None),
            ("/%4", None),
            ("/%zz", None),
            ("/a%", None),
            ("", None),
            ("a", None),
            ("*", None),
        ] {
            let mut scratch = Vec::new();
            assert_eq!(normalize(path.as_bytes(), &mut scratch).ok(), normal.map(str::as_bytes), "{path}");
        }
    }
}
