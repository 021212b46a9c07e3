//! Where one reply ends and the next begins.

/// The end of the reply that begins at `at`; `None` while it is not whole.
pub(in crate::engine::tests) fn reply_end(bytes: &[u8], at: usize) -> Option<usize> {
    let line_end = at + memchr::memchr(b'\n', bytes.get(at..)?)? + 1;
    let text = std::str::from_utf8(&bytes[at + 1..line_end - 2]).unwrap_or("");
    let number = || text.parse::<i64>().unwrap_or(-1);
    match bytes[at] {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Some(line_end),
        b'$' | b'=' | b'!' if number() < 0 => Some(line_end),
        b'$' | b'=' | b'!' => {
            let end = line_end + number() as usize + 2;
            (end <= bytes.len()).then_some(end)
        }
        kind @ (b'*' | b'~' | b'>' | b'%' | b'|') => {
            let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
            let mut end = line_end;
            for _ in 0..number().max(0) * each {
                end = reply_end(bytes, end)?;
            }
            // An attribute stands before what it belongs to.
            if kind == b'|' {
                reply_end(bytes, end)
            } else {
                Some(end)
            }
        }
        other => panic!("no reply begins with {:?}", char::from(other)),
    }
}
