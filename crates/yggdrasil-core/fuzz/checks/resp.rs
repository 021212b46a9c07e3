//! Whatever a client sends, in whatever pieces it arrives: the requests are the same, and within the limits.

use yggdrasil_core::resp::{Limits, Parsed, Parser, ProtocolError, Requests};

/// Small, so that the fuzzer comes to them.
const LIMITS: Limits = Limits {
    arguments_max: 40,
    bulk_bytes_max: 4096,
    authenticated: true,
};

type Found = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Parses an input in several ways. The first bytes choose the limits and the sizes of the pieces.
pub fn resp(data: &[u8]) {
    let [choice, first, second, input @ ..] = data else {
        return;
    };
    let limits = Limits {
        authenticated: choice & 1 == 0,
        ..LIMITS
    };
    let whole = parse(input, &limits, std::iter::repeat(usize::MAX));
    check(&whole, &limits);
    let sizes = [usize::from(*first) + 1, usize::from(*second) * 16 + 1];
    assert_eq!(parse(input, &limits, sizes.into_iter().cycle()), whole);
    assert_eq!(parse(input, &limits, std::iter::repeat(1)), whole);
}

/// Feeds the input in pieces and keeps only what is not yet parsed.
fn parse(mut input: &[u8], limits: &Limits, sizes: impl Iterator<Item = usize>) -> Found {
    let (mut parser, mut requests) = (Parser::new(), Requests::new());
    let (mut found, mut kept) = (Vec::new(), Vec::new());
    let mut wanted_before = 0;
    for size in sizes {
        if input.is_empty() {
            break;
        }
        let (piece, rest) = input.split_at(size.min(input.len()));
        input = rest;
        kept.extend_from_slice(piece);
        requests.clear();
        let mut start = 0;
        let outcome = loop {
            match parser.next(&kept, &mut start, limits, &mut requests) {
                Ok(Parsed::Request) => {}
                Ok(Parsed::Incomplete { wanted }) => break Ok(wanted),
                Err(error) => break Err(error),
            }
        };
        assert!(requests.is_empty() || piece.len() >= wanted_before);
        for index in 0..requests.len() {
            let args = requests.args(index, &kept);
            found.push(args.iter().map(<[u8]>::to_vec).collect());
        }
        match outcome {
            Ok(wanted) => wanted_before = wanted,
            Err(error) => return (found, Some(error)),
        }
        assert!(wanted_before > 0);
        assert!(wanted_before <= limits.bulk_bytes_max + 2);
        kept.drain(..start);
    }
    (found, None)
}

fn check((found, _): &Found, limits: &Limits) {
    for request in found {
        assert!(!request.is_empty());
        // An inline request is bounded by its line.
        let is_short = request.iter().map(Vec::len).sum::<usize>() <= 64 * 1024;
        assert!(is_short || request.len() <= limits.arguments_max);
        assert!(
            is_short
                || request
                    .iter()
                    .all(|argument| argument.len() <= limits.bulk_bytes_max)
        );
    }
}
