use super::*;
use proptest::prelude::*;

type Request = Vec<Vec<u8>>;

fn args_of(requests: &Requests, index: usize, input: &[u8]) -> Request {
    requests
        .args(index, input)
        .iter()
        .map(<[u8]>::to_vec)
        .collect()
}

/// Feeds the input in pieces, as a caller does that keeps nothing but what is not yet parsed.
fn parse(
    input: &[u8],
    pieces: impl IntoIterator<Item = usize>,
    limits: &Limits,
) -> (Vec<Request>, Option<ProtocolError>) {
    let mut found = Vec::new();
    let (mut parser, mut requests) = (Parser::new(), Requests::new());
    let (mut kept, mut rest) = (Vec::new(), input);
    let mut wanted = 0;
    let mut pieces = pieces.into_iter();
    while !rest.is_empty() {
        let len = pieces.next().unwrap_or(usize::MAX).min(rest.len());
        kept.extend_from_slice(&rest[..len]);
        rest = &rest[len..];
        let (before, mut start) = (found.len(), 0);
        requests.clear();
        let error = loop {
            match parser.next(&kept, &mut start, limits, &mut requests) {
                Ok(Parsed::Request) => {
                    let last = requests.len() - 1;
                    assert_eq!(requests.wire(last).end, start);
                    found.push(args_of(&requests, last, &kept));
                }
                Ok(Parsed::Incomplete { wanted: more }) => {
                    assert!(len >= wanted || found.len() == before && more == wanted - len);
                    wanted = more;
                    break None;
                }
                Err(error) => break Some(error),
            }
        };
        for (index, request) in found[before..].iter().enumerate() {
            assert_eq!(*request, args_of(&requests, index, &kept));
        }
        if error.is_some() {
            return (found, error);
        }
        kept.drain(..start);
    }
    (found, None)
}

fn parse_all(input: &[u8]) -> (Vec<Request>, Option<ProtocolError>) {
    parse(input, [], &Limits::default())
}

fn requests(input: &[u8]) -> Vec<Vec<String>> {
    let (found, error) = parse_all(input);
    assert_eq!(error, None);
    let text = |argument: Vec<u8>| String::from_utf8(argument).unwrap();
    found
        .into_iter()
        .map(|request| request.into_iter().map(text).collect())
        .collect()
}

fn error(input: &[u8]) -> String {
    let (found, error) = parse_all(input);
    assert_eq!(found, Vec::<Request>::new());
    error.unwrap().to_string()
}

#[test]
fn requests_of_both_kinds() {
    assert_eq!(
        requests(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*1\r\n$0\r\n\r\nget 'a b'\n"),
        [vec!["GET", "k"], vec!["PING"], vec![""], vec!["get", "a b"]]
    );
}

#[test]
fn empty_requests_are_passed_over() {
    assert_eq!(
        requests(b"\r\n\n  \r\n*0\r\n*-1\r\n*-7\r\nPING\r\n"),
        [["PING"]]
    );
}

#[test]
fn what_redis_accepts_is_accepted() {
    // Line feeds and the end of a bulk string are not looked at.
    assert_eq!(
        requests(b"*1\rx$4\rxPINGab*1\r\n$4\r\nPING\r\n"),
        [["PING"], ["PING"]]
    );
}

#[test]
fn errors_are_those_of_redis() {
    for (input, text) in [
        (&b"*x\r\n"[..], "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\nfoo\r\n", "expected '$', got 'f'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$04\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"\"PING\r\n", "unbalanced quotes in request"),
    ] {
        assert_eq!(error(input), format!("ERR Protocol error: {text}"));
    }
    assert_eq!(
        error(b"*1\r\n\r\n"),
        "ERR Protocol error: expected '$', got '\r'"
    );
}

#[test]
fn lines_have_a_longest() {
    for (input, text) in [
        (&b""[..], "too big inline request"),
        (b"*", "too big mbulk count string"),
        (b"*1\r\n$", "too big bulk count string"),
    ] {
        let input = [input, &b"1".repeat(LINE_BYTES_MAX + 1)].concat();
        assert_eq!(error(&input), format!("ERR Protocol error: {text}"));
    }
    let longest = b"1".repeat(LINE_BYTES_MAX);
    assert_eq!(parse_all(&longest), (vec![], None));
    let (found, error) = parse_all(&[&longest[..], b"\n"].concat());
    assert_eq!((found[0][0].len(), error), (LINE_BYTES_MAX, None));
}

#[test]
fn who_is_not_authenticated_may_send_little() {
    let limits = Limits {
        authenticated: false,
        ..Limits::default()
    };
    let error = |input: &[u8]| parse(input, [], &limits).1;
    assert_eq!(error(b"*10\r\n$16384\r\n"), None);
    assert_eq!(
        error(b"*11\r\n"),
        Some(ProtocolError::ArgumentCountUnauthenticated)
    );
    assert_eq!(
        error(b"*1\r\n$16385\r\n"),
        Some(ProtocolError::BulkLengthUnauthenticated)
    );
}

#[test]
fn what_a_bulk_string_lacks_is_told() {
    let (mut parser, mut requests) = (Parser::new(), Requests::new());
    let mut input = b"*2\r\n$3\r\nGET\r\n$1000000\r\n".to_vec();
    let mut next = |input: &[u8]| {
        let mut start = 0;
        let parsed = parser.next(input, &mut start, &Limits::default(), &mut requests);
        (parsed.unwrap(), start, parser.memory_bytes() > 0)
    };
    assert_eq!(
        next(&input[..20]),
        (Parsed::Incomplete { wanted: 1 }, 0, false)
    );
    assert_eq!(
        next(&input),
        (Parsed::Incomplete { wanted: 1_000_002 }, 0, true)
    );
    input.resize(input.len() + 600_000, b'x');
    assert_eq!(
        next(&input),
        (Parsed::Incomplete { wanted: 400_002 }, 0, true)
    );
    input.resize(input.len() + 400_002, b'x');
    assert_eq!(next(&input), (Parsed::Request, input.len(), false));
}

#[test]
fn a_request_of_many_arguments_is_not_parsed_again_and_again() {
    const COUNT: usize = 300_000;
    let mut input = format!("*{COUNT}\r\n").into_bytes();
    input.extend(b"$1\r\na\r\n".repeat(COUNT));
    // In pieces of one byte this would take hours.
    let (found, error) = parse(&input[..40_000], std::iter::repeat(1), &Limits::default());
    assert_eq!((found.len(), error), (0, None));
    let (found, error) = parse(&input, std::iter::repeat(1000), &Limits::default());
    assert_eq!((found[0].len(), error), (COUNT, None));
}

fn bulk() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 0..20),
        1 => proptest::collection::vec(any::<u8>(), 900..3000),
    ]
}

fn array() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(bulk(), 0..6).prop_map(|arguments| {
        let mut wire = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            wire.extend(format!("${}\r\n", argument.len()).into_bytes());
            wire.extend(argument);
            wire.extend(b"\r\n");
        }
        wire
    })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let request = prop_oneof![
        6 => array(),
        2 => "[a-z \"'\\\\x0-9]{0,30}\r?\n".prop_map(String::into_bytes),
        1 => "[*$0-9\r\n-]{0,8}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(request, 0..8).prop_map(|requests| requests.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_requests(
        mut input in stream(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
        pieces in proptest::collection::vec(1usize..2000, 0..40),
    ) {
        for (index, byte) in changes {
            if !input.is_empty() {
                let index = index.index(input.len());
                input[index] = byte;
            }
        }
        let whole = parse_all(&input);
        prop_assert_eq!(&parse(&input, pieces, &Limits::default()), &whole);
        prop_assert_eq!(&parse(&input, std::iter::repeat(1), &Limits::default()), &whole);
    }
}
