//! The notation of transcripts: requests as one types them, and replies that stand for both protocols.

/// The connection of a request that names none.
const FIRST: &str = "a";

/// A transcript of its own: new connections, and no keys.
pub(super) struct Section {
    pub name: String,
    pub steps: Vec<Step>,
}

/// A request, or none, on a connection, and the replies that the connection then reads.
pub(super) struct Step {
    pub connection: String,
    pub words: Vec<Vec<u8>>,
    pub replies: Vec<Expected>,
    pub line: usize,
}

/// A reply, whatever the protocol.
#[derive(Debug)]
pub(super) enum Expected {
    Simple(String),
    Error(String),
    Int(i64),
    /// An integer between two bounds, which belong to it.
    Range(i64, i64),
    Bulk(Vec<u8>),
    /// A null string of RESP2, a null of RESP3.
    Null,
    /// A null array of RESP2, a null of RESP3.
    NullArray,
    Array(Vec<Expected>),
    /// An array or a set whose items may come in any order.
    AnyOrder(Vec<Expected>),
    Set(Vec<Expected>),
    Push(Vec<Expected>),
    /// Keys and values by turns.
    Map(Vec<Expected>),
    Double(String),
    Big(String),
    Boolean(bool),
    Text(Vec<u8>),
    Anything,
    /// No reply to this request, or none yet.
    Nothing,
    /// A form for each protocol.
    Apart(Box<Expected>, Box<Expected>),
}

type Parsed<T> = Result<T, String>;
/// The maker of a kind of reply.
type Make<T> = fn(T) -> Expected;

/// Reads a transcript. An error begins with the number of its line.
pub(super) fn parse(text: &str) -> Parsed<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::new();
    let mut resp2 = None;
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let placed = |wrong: String| format!("{number}: {wrong}: {line}");
        if let Some(name) = line.strip_prefix("## ") {
            sections.push(Section {
                name: name.to_owned(),
                steps: Vec::new(),
            });
        } else if let Some(reply) = line.strip_prefix("  ") {
            let section = sections
                .last_mut()
                .and_then(|section| section.steps.last_mut());
            let step = section.ok_or_else(|| placed("a reply without a request".into()))?;
            let reply = add_reply(&mut resp2, reply).map_err(placed)?;
            step.replies.extend(reply);
        } else if !line.is_empty() && !line.starts_with('#') {
            let section = sections.last_mut();
            let section = section.ok_or_else(|| placed("a request outside of a section".into()))?;
            let (connection, request) = split_connection(line);
            section.steps.push(Step {
                connection: connection.to_owned(),
                words: parse_words(request).map_err(placed)?,
                replies: Vec::new(),
                line: number,
            });
        }
    }
    Ok(sections)
}

/// A reply, or none when the line was only the half of RESP2.
fn add_reply(resp2: &mut Option<Expected>, line: &str) -> Parsed<Option<Expected>> {
    if let Some(text) = line.strip_prefix("resp2: ") {
        *resp2 = Some(parse_reply(text)?);
        return Ok(None);
    }
    let Some(text) = line.strip_prefix("resp3: ") else {
        return parse_reply(line).map(Some);
    };
    let first = resp2.take().ok_or("resp3: without resp2: before it")?;
    Ok(Some(Expected::Apart(
        Box::new(first),
        Box::new(parse_reply(text)?),
    )))
}

fn split_connection(line: &str) -> (&str, &str) {
    match line.split_once('>') {
        Some((name, request))
            if name.starts_with(|c: char| c.is_ascii_lowercase())
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
                && (request.is_empty() || request.starts_with(' ')) =>
        {
            (name, request)
        }
        _ => (FIRST, line),
    }
}

/// A reply as it is written in a transcript.
pub(super) fn parse_reply(text: &str) -> Parsed<Expected> {
    let mut line = Line { rest: text };
    let reply = line.reply(false)?;
    match line.rest.trim() {
        "" => Ok(reply),
        rest => Err(format!("nothing expected at '{rest}'")),
    }
}

fn parse_words(text: &str) -> Parsed<Vec<Vec<u8>>> {
    let mut line = Line { rest: text };
    let mut words = Vec::new();
    loop {
        line.rest = line.rest.trim_start();
        if line.rest.is_empty() {
            return Ok(words);
        }
        words.push(line.word()?);
    }
}

/// A line that is read from left to right.
struct Line<'a> {
    rest: &'a str,
}

impl Line<'_> {
    fn takes(&mut self, wanted: &str) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Parsed<char> {
        let mut chars = self.rest.chars();
        let next = chars.next().ok_or("the line ends too early")?;
        self.rest = chars.as_str();
        Ok(next)
    }

    /// An integer in front, if one is there.
    fn integer(&mut self) -> Option<i64> {
        let sign = usize::from(self.rest.starts_with('-'));
        let digits = self.rest[sign..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
        let (number, rest) = self.rest.split_at(sign + digits);
        let number = number.parse().ok()?;
        self.rest = rest;
        Some(number)
    }

    /// The rest of a quoted string, as often as it is repeated.
    fn quoted(&mut self) -> Parsed<Vec<u8>> {
        let mut data = Vec::new();
        loop {
            match self.next()? {
                '"' => break,
                '\\' => data.push(self.escaped()?),
                other => data.extend(other.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        let before = self.rest;
        let times = if self.takes("*") {
            self.integer()
        } else {
            None
        };
        if times.is_none() {
            self.rest = before;
        }
        Ok(data.repeat(times.unwrap_or(1) as usize))
    }

    fn escaped(&mut self) -> Parsed<u8> {
        Ok(match self.next()? {
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'x' => {
                let digits = [self.next()?, self.next()?].map(|digit| digit.to_digit(16));
                let [Some(high), Some(low)] = digits else {
                    return Err("\\x wants two digits".into());
                };
                (high * 16 + low) as u8
            }
            other @ ('"' | '\\') => other as u8,
            other => return Err(format!("\\{other} is no escape")),
        })
    }

    /// Quoted strings, one behind the other, are one.
    fn string(&mut self) -> Parsed<Vec<u8>> {
        let mut data = Vec::new();
        while self.takes("\"") {
            data.extend(self.quoted()?);
        }
        Ok(data)
    }

    fn word(&mut self) -> Parsed<Vec<u8>> {
        let mut data = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with(' ') {
            if self.takes("\"") {
                data.extend(self.quoted()?);
            } else {
                data.extend(self.next()?.encode_utf8(&mut [0; 4]).bytes());
            }
        }
        Ok(data)
    }

    /// Text up to the end of the line, or of the item inside an aggregate.
    fn text(&mut self, inside: bool) -> Parsed<String> {
        if self.rest.starts_with('"') {
            return String::from_utf8(self.string()?).map_err(|wrong| wrong.to_string());
        }
        let end = if inside {
            self.rest.find([',', ']', '}', ':'])
        } else {
            None
        };
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        Ok(text.to_owned())
    }

    /// The items of an aggregate, with `between` inside of pairs if it is a map.
    fn items(&mut self, closing: &str, between: Option<&str>) -> Parsed<Vec<Expected>> {
        let mut items = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if self.takes(closing) {
                return Ok(items);
            }
            if !items.is_empty() && !self.takes(",") {
                return Err(format!("expected , or {closing} at '{}'", self.rest));
            }
            items.push(self.reply(true)?);
            if let Some(between) = between {
                self.rest = self.rest.trim_start();
                if !self.takes(between) {
                    return Err(format!("expected {between} at '{}'", self.rest));
                }
                items.push(self.reply(true)?);
            }
        }
    }

    fn reply(&mut self, inside: bool) -> Parsed<Expected> {
        use Expected as E;
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('"') {
            return self.string().map(E::Bulk);
        }
        if let Some(low) = self.integer() {
            if !self.takes("..") {
                return Ok(E::Int(low));
            }
            let high = self.integer().ok_or("a range wants two integers")?;
            return Ok(E::Range(low, high));
        }
        let words = [
            ("null-array", E::NullArray),
            ("null", E::Null),
            ("true", E::Boolean(true)),
            ("false", E::Boolean(false)),
            ("anything", E::Anything),
            ("nothing", E::Nothing),
        ];
        for (word, reply) in words {
            if self.takes(word) {
                return Ok(reply);
            }
        }
        self.aggregate_or_text(inside)
    }

    fn aggregate_or_text(&mut self, inside: bool) -> Parsed<Expected> {
        use Expected as E;
        let aggregates: [(&str, Make<Vec<E>>); 4] = [
            ("[", E::Array),
            ("any-order [", E::AnyOrder),
            ("set [", E::Set),
            ("push [", E::Push),
        ];
        for (opening, make) in aggregates {
            if self.takes(opening) {
                return self.items("]", None).map(make);
            }
        }
        if self.takes("{") {
            return self.items("}", Some(":")).map(E::Map);
        }
        let scalars: [(&str, Make<String>); 5] = [
            ("+", E::Simple),
            ("-", E::Error),
            ("double ", E::Double),
            ("big ", E::Big),
            ("text ", |text| E::Text(text.into_bytes())),
        ];
        for (opening, make) in scalars {
            if self.takes(opening) {
                return self.text(inside).map(make);
            }
        }
        Err(format!("no reply at '{}'", self.rest))
    }
}
