//! Scripts whose text shows that they name no keys but those they are given, as most short ones do.
//!
//! Such a script needs nothing to begin again with. What is not plain is taken to name others: functions, other names for
//! `redis.call` or `KEYS`, keys that are put together, and commands with several keys.

/// What a command may name, by its own name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// No key of any shard.
    Nothing,
    /// Its first argument.
    First,
    /// Anything.
    Others,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token<'a> {
    Name(&'a [u8]),
    /// A text without escapes.
    Text(&'a [u8]),
    Number,
    Symbol(u8),
    /// `==`, `..` and the like.
    Operator,
}

/// Names by which a script could reach `redis` or `KEYS` without naming them here.
const INDIRECT: [&[u8]; 9] = [
    b"function",
    b"_G",
    b"getfenv",
    b"setfenv",
    b"load",
    b"loadstring",
    b"debug",
    b"require",
    b"dofile",
];

/// True when a script names no keys but those of `KEYS`.
pub fn names_given_only(source: &[u8], names: impl Fn(&[u8]) -> Names) -> bool {
    let Some(tokens) = tokens(source) else {
        return false;
    };
    let text = Text {
        variables: variables(&tokens),
        tokens,
    };
    (0..text.tokens.len()).all(|at| text.is_plain(at, &names))
}

struct Text<'a> {
    tokens: Vec<Token<'a>>,
    /// Local variables that are elements of `KEYS`.
    variables: Vec<&'a [u8]>,
}

impl<'a> Text<'a> {
    fn at(&self, at: usize) -> Option<Token<'a>> {
        self.tokens.get(at).copied()
    }

    /// True when the token is nothing by which another key could be named.
    fn is_plain(&self, at: usize, names: &impl Fn(&[u8]) -> Names) -> bool {
        let is_member = at > 0 && self.at(at - 1) == Some(Token::Symbol(b'.'));
        match self.tokens[at] {
            Token::Name(name) if is_member => !INDIRECT.contains(&name),
            Token::Name(b"redis" | b"server") => self.is_plain_use(at, names),
            Token::Name(b"KEYS") => {
                let is_counted = at > 0
                    && self.at(at - 1) == Some(Token::Symbol(b'#'))
                    && self.at(at + 1) != Some(Token::Symbol(b'['));
                is_counted || self.key_end(at).is_some_and(|end| !self.is_assigned(end))
            }
            Token::Name(name) => !INDIRECT.contains(&name),
            _ => true,
        }
    }

    /// True for a member of `redis` that executes nothing, or a call whose key is a given one.
    fn is_plain_use(&self, at: usize, names: &impl Fn(&[u8]) -> Names) -> bool {
        let (Some(Token::Symbol(b'.')), Some(Token::Name(member))) =
            (self.at(at + 1), self.at(at + 2))
        else {
            return false;
        };
        if !matches!(member, b"call" | b"pcall") {
            return self.at(at + 3) != Some(Token::Symbol(b'='));
        }
        let (Some(Token::Symbol(b'(')), Some(Token::Text(command))) =
            (self.at(at + 3), self.at(at + 4))
        else {
            return false;
        };
        match (names(command), self.at(at + 5)) {
            (Names::Others, _) => false,
            (_, Some(Token::Symbol(b')'))) | (Names::Nothing, Some(Token::Symbol(b','))) => true,
            (Names::First, Some(Token::Symbol(b','))) => {
                let end = self.key_end(at + 6);
                let behind = end.and_then(|end| self.at(end));
                matches!(behind, Some(Token::Symbol(b',' | b')')))
            }
            _ => false,
        }
    }

    /// Where an element of `KEYS`, or a variable that is one, ends.
    fn key_end(&self, at: usize) -> Option<usize> {
        match self.at(at)? {
            Token::Name(b"KEYS") => {
                let is_element = self.at(at + 1)? == Token::Symbol(b'[')
                    && matches!(self.at(at + 2)?, Token::Number | Token::Name(_))
                    && self.at(at + 3)? == Token::Symbol(b']');
                is_element.then_some(at + 4)
            }
            Token::Name(name) => self.variables.contains(&name).then_some(at + 1),
            _ => None,
        }
    }

    /// True where what ends here may be a target of an assignment.
    fn is_assigned(&self, end: usize) -> bool {
        match self.at(end) {
            Some(Token::Symbol(b'=')) => true,
            Some(Token::Symbol(b',')) => depth(&self.tokens[..end]) == 0,
            _ => false,
        }
    }
}

/// Brackets that are open at the end.
fn depth(tokens: &[Token<'_>]) -> i64 {
    let steps = tokens.iter().map(|token| match token {
        Token::Symbol(b'(' | b'[' | b'{') => 1,
        Token::Symbol(b')' | b']' | b'}') => -1,
        _ => 0,
    });
    steps.sum()
}

/// Variables that are made once, by `local name = KEYS[...]`, and are nothing else anywhere.
fn variables<'a>(tokens: &[Token<'a>]) -> Vec<&'a [u8]> {
    let made = tokens
        .windows(7)
        .enumerate()
        .filter_map(|(at, window)| match window {
            [
                Token::Name(b"local"),
                Token::Name(name),
                Token::Symbol(b'='),
                Token::Name(b"KEYS"),
                Token::Symbol(b'['),
                Token::Number,
                Token::Symbol(b']'),
            ] => {
                let is_whole = match tokens.get(at + 7) {
                    None | Some(Token::Symbol(b';')) => true,
                    Some(Token::Name(next)) => !matches!(*next, b"and" | b"or"),
                    _ => false,
                };
                is_whole.then_some((at + 1, *name))
            }
            _ => None,
        });
    let made: Vec<(usize, &[u8])> = made.collect();
    let is_only_that = |place: usize, name: &[u8]| {
        tokens.iter().enumerate().all(|(at, token)| {
            let is_member = at > 0 && tokens[at - 1] == Token::Symbol(b'.');
            *token != Token::Name(name) || at == place || is_member || {
                let before = at.checked_sub(1).map(|before| tokens[before]);
                let is_declared = matches!(before, Some(Token::Name(b"local" | b"for")));
                let is_changed = match tokens.get(at + 1) {
                    Some(Token::Symbol(b'=') | Token::Name(b"in")) => true,
                    Some(Token::Symbol(b',')) => depth(&tokens[..at]) == 0,
                    _ => false,
                };
                !is_declared && !is_changed
            }
        })
    };
    let only = made
        .into_iter()
        .filter(|(place, name)| is_only_that(*place, name));
    only.map(|(_, name)| name).collect()
}

/// The tokens of a text; `None` where it has any that are not understood.
fn tokens(source: &[u8]) -> Option<Vec<Token<'_>>> {
    let (mut found, mut rest) = (Vec::new(), source);
    while let Some(first) = rest.first() {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let len = match first {
            byte if byte.is_ascii_whitespace() => {
                rest = &rest[1..];
                continue;
            }
            b'-' if rest.starts_with(b"--") => {
                if rest.starts_with(b"--[") {
                    return None;
                }
                let line = rest.iter().position(|byte| *byte == b'\n');
                rest = &rest[line.unwrap_or(rest.len())..];
                continue;
            }
            quote @ (b'"' | b'\'') => {
                let inner = rest[1..].iter().position(|byte| byte == quote)?;
                let text = &rest[1..=inner];
                if text.contains(&b'\\') || text.contains(&b'\n') {
                    return None;
                }
                found.push(Token::Text(text));
                inner + 2
            }
            b'[' if rest.starts_with(b"[[") || rest.starts_with(b"[=") => return None,
            byte if byte.is_ascii_digit() => {
                found.push(Token::Number);
                let is_digit = |byte: &&u8| is_word(byte) || **byte == b'.';
                rest.iter().take_while(is_digit).count()
            }
            byte if is_word(byte) => {
                let len = rest.iter().take_while(|byte| is_word(byte)).count();
                found.push(Token::Name(&rest[..len]));
                len
            }
            _ if [b"==", b"~=", b"<=", b">=", b".."]
                .iter()
                .any(|two| rest.starts_with(*two)) =>
            {
                found.push(Token::Operator);
                2
            }
            byte => {
                found.push(Token::Symbol(*byte));
                1
            }
        };
        rest = &rest[len..];
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_given_only(source: &str) -> bool {
        names_given_only(source.as_bytes(), |name| match name {
            b"get" | b"incr" | b"expire" | b"set" => Names::First,
            b"publish" | b"time" => Names::Nothing,
            _ => Names::Others,
        })
    }

    #[test]
    fn plain_scripts_name_what_they_are_given() {
        for source in [
            "return 1",
            "return redis.call('get', KEYS[1])",
            "local n = redis.call('incr', KEYS[1]) if n == 1 then redis.call('expire', KEYS[1], ARGV[1]) end return n",
            "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.pcall('set',KEYS[2],'x') else return 0 end",
            "local key = KEYS[1]\nlocal t = redis.call(\"time\") -- a comment\nreturn {redis.call('get', key), t[1]}",
            "for i = 1, #KEYS do redis.call('incr', KEYS[i]) end redis.call('publish', 'c' .. ARGV[1], 'm')",
            "return redis.status_reply('fine') or redis.sha1hex(KEYS[1])",
        ] {
            assert!(is_given_only(source), "{source}");
        }
    }

    #[test]
    fn whatever_else_may_name_others() {
        for source in [
            "return redis.call('get', KEYS[1] .. ':x')",
            "return redis.call('get', 'other')",
            "return redis.call('get', ARGV[1])",
            "return redis.call('mget', KEYS[1], 'other')",
            "return redis.call(ARGV[1], KEYS[1])",
            "return redis.call(unpack(ARGV))",
            "local call = redis.call return call('get', 'other')",
            "local r = redis return r.call('get', 'other')",
            "return redis['call']('get', 'other')",
            "return pcall(redis.call, 'get', 'other')",
            "return _G.redis.call('get', 'other')",
            "return x._G",
            "return loadstring(ARGV[1])()",
            "KEYS[1] = 'other' return redis.call('get', KEYS[1])",
            "KEYS[1], x = 'other', 1 return redis.call('get', KEYS[1])",
            "table.insert(KEYS, 1, 'other') return redis.call('get', KEYS[1])",
            "local k = KEYS k[1] = 'other' return redis.call('get', KEYS[1])",
            "local key = KEYS[1] key = 'other' return redis.call('get', key)",
            "local key = KEYS[1] .. 'x' return redis.call('get', key)",
            "local key = KEYS[1] or 'x' return redis.call('get', key)",
            "local key = KEYS[1] for key = 1, 2 do redis.call('get', key) end",
            "local key = KEYS[1] for i, key in ipairs(ARGV) do redis.call('get', key) end",
            "local key = KEYS[1] for key, i in pairs(ARGV) do redis.call('get', key) end",
            "local key = KEYS[1] do local key = 'other' redis.call('get', key) end",
            "local key = KEYS[1] local x, key = 1, 'other' redis.call('get', key)",
            "local key = KEYS[1] x, key, y = 1, 'other', 2 redis.call('get', key)",
            "local function f(key) return redis.call('get', key) end return f('other')",
            "return redis.call('\\103et', 'other')",
            "--[[ ]] return redis.call('get', 'other')",
            "return redis.call [[get]]",
            "redis.sha1hex = redis.call",
            "return redis.call('get', (KEYS[1]))",
        ] {
            assert!(!is_given_only(source), "{source}");
        }
    }
}
