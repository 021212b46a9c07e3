//! The longest common subsequence of two strings, and where it lies in both.

use crate::commands::families::value::int_argument;
use crate::commands::table::error::CommandError;
use crate::resp::{Args, Reply};

/// The options of LCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LcsOptions {
    pub len: bool,
    pub ranges: bool,
    pub range_lens: bool,
    /// Shorter ranges are left out.
    pub range_len_min: u64,
}

impl LcsOptions {
    /// From what follows the two keys.
    pub fn parse(options: &Args<'_>) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"idx") {
                parsed.ranges = true;
            } else if option.eq_ignore_ascii_case(b"len") {
                parsed.len = true;
            } else if option.eq_ignore_ascii_case(b"withmatchlen") {
                parsed.range_lens = true;
            } else if option.eq_ignore_ascii_case(b"minmatchlen") {
                let least = int_argument(rest.next().ok_or(CommandError::Syntax)?)?;
                parsed.range_len_min = least.max(0).unsigned_abs();
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if parsed.ranges && parsed.len {
            return Err(CommandError::Plain(
                "If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(parsed)
    }
}

/// Equal pieces of both strings: they start at `a` and `b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// Lengths of the longest common subsequences of all prefixes.
struct Table {
    width: usize,
    lens: Vec<u32>,
}

impl Table {
    /// Takes time and memory proportional to the product of both lengths; the latter is limited.
    fn new(a: &[u8], b: &[u8], bytes_max: u64) -> Result<Self, CommandError> {
        let width = b.len() + 1;
        let bytes = (a.len() as u128 + 1) * width as u128 * size_of::<u32>() as u128;
        if bytes > u128::from(bytes_max) {
            return Err(CommandError::Plain(
                "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ));
        }
        let mut lens = vec![0; (a.len() + 1) * width];
        for (row, letter) in a.iter().enumerate() {
            let (above, below) = lens.split_at_mut((row + 1) * width);
            let (above, below) = (&above[row * width..], &mut below[..width]);
            for (column, other) in b.iter().enumerate() {
                below[column + 1] = if letter == other {
                    above[column] + 1
                } else {
                    above[column + 1].max(below[column])
                };
            }
        }
        Ok(Self { width, lens })
    }

    fn len(&self, a: usize, b: usize) -> u32 {
        self.lens[a * self.width + b]
    }

    /// Walks from the ends to the starts and collects the pieces, the last one first.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let mut found: Vec<Match> = Vec::new();
        let mut adjoins = false;
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                match found.last_mut() {
                    Some(last) if adjoins => {
                        let len = last.len + 1;
                        *last = Match { a: i, b: j, len };
                    }
                    _ => found.push(Match { a: i, b: j, len: 1 }),
                }
                adjoins = true;
            } else {
                if self.len(i - 1, j) > self.len(i, j - 1) {
                    i -= 1;
                } else {
                    j -= 1;
                }
                adjoins = false;
            }
        }
        found
    }
}

/// Writes the reply of LCS for two strings.
pub fn lcs(
    a: &[u8],
    b: &[u8],
    options: &LcsOptions,
    bytes_max: u64,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let table = Table::new(a, b, bytes_max)?;
    let len = i64::from(table.len(a.len(), b.len()));
    if options.ranges {
        let mut matches = table.matches(a, b);
        matches.retain(|piece| piece.len as u64 >= options.range_len_min);
        write_ranges(reply, &matches, len, options.range_lens);
    } else if options.len {
        reply.int(len);
    } else {
        let pieces = table.matches(a, b);
        let pieces = pieces
            .iter()
            .rev()
            .map(|piece| &a[piece.a..piece.a + piece.len]);
        reply.bulk(&pieces.collect::<Vec<_>>().concat());
    }
    Ok(())
}

fn write_ranges(reply: &mut Reply<'_>, matches: &[Match], len: i64, with_lens: bool) {
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches.len());
    for piece in matches {
        reply.array(2 + usize::from(with_lens));
        for start in [piece.a, piece.b] {
            reply.array(2);
            reply.count(start as u64);
            reply.count((start + piece.len - 1) as u64);
        }
        if with_lens {
            reply.count(piece.len as u64);
        }
    }
    reply.bulk(b"len");
    reply.int(len);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Protocol;

    fn run(a: &str, b: &str, options: LcsOptions) -> String {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        if let Err(error) = lcs(a.as_bytes(), b.as_bytes(), &options, 1 << 20, &mut reply) {
            error.write(&mut reply);
        }
        String::from_utf8(out).unwrap().replace("\r\n", " ")
    }

    const IDX: LcsOptions = LcsOptions {
        ranges: true,
        len: false,
        range_lens: false,
        range_len_min: 0,
    };

    #[test]
    fn replies_are_those_of_redis() {
        let text = LcsOptions::default();
        assert_eq!(run("ohmytext", "mynewtext", text), "$6 mytext ");
        assert_eq!(run("ohmytext", "", text), "$0  ");
        let len = LcsOptions { len: true, ..text };
        assert_eq!(run("ohmytext", "mynewtext", len), ":6 ");
        assert_eq!(
            run("ohmytext", "mynewtext", IDX),
            "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6 "
        );
        let long = LcsOptions {
            range_len_min: 4,
            range_lens: true,
            ..IDX
        };
        assert_eq!(
            run("ohmytext", "mynewtext", long),
            "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6 "
        );
        assert_eq!(run("", "", IDX), "*4 $7 matches *0 $3 len :0 ");
    }

    #[test]
    fn memory_is_limited() {
        let long = "a".repeat(1 << 10);
        assert_eq!(
            run(&long, &long, IDX),
            "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len "
        );
    }
}
