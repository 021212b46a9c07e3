//! The arguments of a command, read from the line that describes them to people.
//!
//! ```text
//! line     = item*
//! item     = name | TOKEN | TOKEN name | "[" choice "]" | "<" choice ">" | "[" item* "..." "]"
//! choice   = item* ("|" item*)*
//! ```
//! A word in lower case is an argument, one in upper case a token that is written as it stands. Square brackets hold
//! what may be left out. `key [key ...]` says that what stands before may be repeated.

/// One argument, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub kind: ArgumentKind,
    /// The word that is written before it, or instead of it.
    pub token: Option<String>,
    pub optional: bool,
    pub multiple: bool,
    /// The token is repeated together with the argument.
    pub multiple_token: bool,
    /// Parts of a [`ArgumentKind::OneOf`] or [`ArgumentKind::Block`].
    pub arguments: Vec<Argument>,
}

/// Types, as COMMAND DOCS knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl ArgumentKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }

    /// The type that the name of an argument stands for.
    fn of(name: &str) -> Self {
        match name {
            "key" | "newkey" | "key1" | "key2" | "source" | "destination" => Self::Key,
            "pattern" => Self::Pattern,
            "unix-time-seconds" | "unix-time-milliseconds" => Self::UnixTime,
            "float-increment" => Self::Double,
            "seconds" | "milliseconds" | "ttl" | "timeout" | "cursor" | "count" | "offset"
            | "start" | "end" | "increment" | "decrement" | "db" | "index" | "index1"
            | "index2" | "destination-db" | "min-match-len" | "frequency" | "numreplicas"
            | "protover" | "client-id" | "slot" | "samples" | "port" | "bytes" => Self::Integer,
            _ => Self::String,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    #[error("syntax {0:?}: a bracket is not closed")]
    Unclosed(String),
    #[error("syntax {0:?}: {1:?} is out of place")]
    Misplaced(String, String),
    #[error("syntax {0:?}: brackets with nothing in them")]
    Empty(String),
}

/// Reads the line.
pub fn parse(syntax: &str) -> Result<Vec<Argument>, SyntaxError> {
    let mut reader = Reader {
        syntax,
        words: split(syntax).peekable(),
    };
    let arguments = reader.sequence()?;
    match reader.words.next() {
        None => Ok(arguments),
        Some(word) => Err(reader.misplaced(word)),
    }
}

/// Brackets, bars and words.
fn split(syntax: &str) -> impl Iterator<Item = &str> {
    let is_mark = |c: char| matches!(c, '[' | ']' | '<' | '>' | '|');
    syntax
        .split_inclusive(is_mark)
        .flat_map(move |part| match part.strip_suffix(is_mark) {
            Some(text) => [text, &part[text.len()..]],
            None => [part, ""],
        })
        .flat_map(str::split_whitespace)
}

struct Reader<'a, W: Iterator<Item = &'a str>> {
    syntax: &'a str,
    words: std::iter::Peekable<W>,
}

impl<'a, W: Iterator<Item = &'a str>> Reader<'a, W> {
    fn misplaced(&self, word: &str) -> SyntaxError {
        SyntaxError::Misplaced(self.syntax.to_owned(), word.to_owned())
    }

    /// Items up to a bar, a closing bracket, "..." or the end.
    fn sequence(&mut self) -> Result<Vec<Argument>, SyntaxError> {
        let mut items: Vec<Argument> = Vec::new();
        loop {
            match self.words.peek().copied() {
                None | Some("|" | "]" | ">" | "...") => return Ok(items),
                Some("[") => {
                    self.words.next();
                    self.optional(&mut items)?;
                }
                Some("<") => {
                    self.words.next();
                    let item = self.choice(">")?;
                    items.push(item);
                }
                Some(word) => {
                    self.words.next();
                    let item = self.word(word);
                    items.push(item);
                }
            }
        }
    }

    /// A name, a token, or a token with its name.
    fn word(&mut self, word: &str) -> Argument {
        if !is_token(word) {
            return argument(word, ArgumentKind::of(word));
        }
        let token = Some(word.to_owned());
        match self.words.next_if(|next| is_name(next)) {
            Some(name) => Argument {
                token,
                ..argument(name, ArgumentKind::of(name))
            },
            None => Argument {
                token,
                ..argument(&word.to_lowercase(), ArgumentKind::PureToken)
            },
        }
    }

    /// Reads what follows "[": an optional choice, or a repetition of the items before it.
    fn optional(&mut self, before: &mut Vec<Argument>) -> Result<(), SyntaxError> {
        let mut item = self.choice("]")?;
        let Some(repeated) = item.multiple.then(|| parts(&item)) else {
            item.optional = true;
            before.push(item);
            return Ok(());
        };
        if before.ends_with(&repeated) {
            before.truncate(before.len() - repeated.len());
        } else {
            item.optional = true;
        }
        before.push(item);
        Ok(())
    }

    /// Everything up to the closing bracket, as one argument.
    fn choice(&mut self, close: &str) -> Result<Argument, SyntaxError> {
        let mut options = Vec::new();
        loop {
            let items = self.sequence()?;
            let mut option = self.joined(items)?;
            let mut word = self.words.next();
            if word == Some("...") {
                option.multiple = true;
                option.multiple_token = option.token.is_some();
                word = self.words.next();
            }
            options.push(option);
            match word {
                Some("|") => {}
                Some(word) if word == close => break,
                Some(word) => return Err(self.misplaced(word)),
                None => return Err(SyntaxError::Unclosed(self.syntax.to_owned())),
            }
        }
        if options.len() == 1 {
            return Ok(options.remove(0));
        }
        Ok(group(ArgumentKind::OneOf, options))
    }

    fn joined(&self, mut items: Vec<Argument>) -> Result<Argument, SyntaxError> {
        match items.len() {
            0 => Err(SyntaxError::Empty(self.syntax.to_owned())),
            1 => Ok(items.remove(0)),
            _ => Ok(group(ArgumentKind::Block, items)),
        }
    }
}

/// The items that a repetition repeats.
fn parts(item: &Argument) -> Vec<Argument> {
    match item.kind {
        ArgumentKind::Block => item.arguments.clone(),
        _ => vec![Argument {
            multiple: false,
            multiple_token: false,
            ..item.clone()
        }],
    }
}

fn argument(name: &str, kind: ArgumentKind) -> Argument {
    Argument {
        name: name.to_owned(),
        kind,
        token: None,
        optional: false,
        multiple: false,
        multiple_token: false,
        arguments: Vec::new(),
    }
}

/// Named after its parts; conditions and expirations have the names that Redis gives them.
fn group(kind: ArgumentKind, arguments: Vec<Argument>) -> Argument {
    let names: Vec<_> = arguments.iter().map(|part| part.name.as_str()).collect();
    let name = match (kind, &names[..]) {
        (ArgumentKind::OneOf, ["nx", "xx", ..]) => "condition".to_owned(),
        (ArgumentKind::OneOf, ["seconds", "milliseconds", ..]) => "expiration".to_owned(),
        _ => names.join("-"),
    };
    Argument {
        arguments: arguments.clone(),
        ..argument(&name, kind)
    }
}

fn is_token(word: &str) -> bool {
    !word.chars().any(char::is_lowercase)
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pure(token: &str) -> Argument {
        Argument {
            token: Some(token.to_owned()),
            ..argument(&token.to_lowercase(), ArgumentKind::PureToken)
        }
    }

    fn with_token(token: &str, name: &str, kind: ArgumentKind) -> Argument {
        Argument {
            token: Some(token.to_owned()),
            ..argument(name, kind)
        }
    }

    fn optional(item: Argument) -> Argument {
        Argument {
            optional: true,
            ..item
        }
    }

    fn multiple(item: Argument) -> Argument {
        Argument {
            multiple: true,
            ..item
        }
    }

    #[test]
    fn plain_arguments() {
        let key = argument("key", ArgumentKind::Key);
        let value = argument("value", ArgumentKind::String);
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(parse("key value").unwrap(), [key.clone(), value.clone()]);
        assert_eq!(parse("[value]").unwrap(), [optional(value)]);
        assert_eq!(
            parse("key [COUNT count]").unwrap(),
            [
                key,
                optional(with_token("COUNT", "count", ArgumentKind::Integer))
            ]
        );
    }

    #[test]
    fn choices() {
        let expected = group(
            ArgumentKind::OneOf,
            vec![
                with_token("EX", "seconds", ArgumentKind::Integer),
                with_token("EXAT", "unix-time-seconds", ArgumentKind::UnixTime),
                pure("KEEPTTL"),
            ],
        );
        let line = "EX seconds | EXAT unix-time-seconds | KEEPTTL";
        assert_eq!(
            parse(&format!("<{line}>")).unwrap(),
            std::slice::from_ref(&expected)
        );
        assert_eq!(parse(&format!("[{line}]")).unwrap(), [optional(expected)]);
        let on_off = parse("<ON | OFF>").unwrap();
        assert_eq!(on_off[0].name, "on-off");
        assert_eq!(on_off[0].arguments, [pure("ON"), pure("OFF")]);
    }

    #[test]
    fn repetitions() {
        let key = argument("key", ArgumentKind::Key);
        let value = argument("value", ArgumentKind::String);
        assert_eq!(parse("key [key ...]").unwrap(), [multiple(key.clone())]);
        assert_eq!(
            parse("key value [key value ...]").unwrap(),
            [multiple(group(
                ArgumentKind::Block,
                vec![key.clone(), value]
            ))]
        );
        assert_eq!(parse("[key ...]").unwrap(), [optional(multiple(key))]);
        let prefix = with_token("PREFIX", "prefix", ArgumentKind::String);
        let repeated = Argument {
            multiple: true,
            multiple_token: true,
            ..prefix
        };
        assert_eq!(
            parse("[PREFIX prefix [PREFIX prefix ...]]").unwrap(),
            [optional(repeated)]
        );
    }

    #[test]
    fn nested_blocks() {
        let parsed = parse("<AUTH username password | NO [SAVE]>").unwrap();
        let [choice] = &parsed[..] else {
            panic!("{parsed:?}");
        };
        let [auth, no] = &choice.arguments[..] else {
            panic!("{choice:?}");
        };
        assert_eq!(auth.kind, ArgumentKind::Block);
        assert_eq!(auth.arguments[0].token.as_deref(), Some("AUTH"));
        assert_eq!(auth.arguments[1].name, "password");
        assert_eq!(no.arguments, [pure("NO"), optional(pure("SAVE"))]);
    }

    #[test]
    fn mistakes_are_named() {
        let unclosed = |line: &str| SyntaxError::Unclosed(line.to_owned());
        let misplaced =
            |line: &str, word: &str| SyntaxError::Misplaced(line.to_owned(), word.to_owned());
        assert_eq!(parse("[a"), Err(unclosed("[a")));
        assert_eq!(parse("<a |b"), Err(unclosed("<a |b")));
        assert_eq!(parse("a]"), Err(misplaced("a]", "]")));
        assert_eq!(parse("a | b"), Err(misplaced("a | b", "|")));
        assert_eq!(parse("[a>"), Err(misplaced("[a>", ">")));
        assert_eq!(parse("key ..."), Err(misplaced("key ...", "...")));
        assert_eq!(parse("[]"), Err(SyntaxError::Empty("[]".to_owned())));
        assert_eq!(parse("[a |]"), Err(SyntaxError::Empty("[a |]".to_owned())));
    }
}
