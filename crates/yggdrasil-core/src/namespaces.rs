//! Prefixes of keys, and what each asks of the log.

/// The promise that stands behind the reply to a write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Ack {
    /// Nothing is kept.
    None,
    /// The record is written, and survives the process.
    #[default]
    Fast,
    /// The record is durable.
    Sync,
}

impl Ack {
    /// The acknowledgement of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "fast" => Self::Fast,
            "sync" => Self::Sync,
            _ => return None,
        })
    }
}

/// The acknowledgement of keys with a prefix.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Namespace {
    pub prefix: Vec<u8>,
    pub ack: Ack,
    /// True where a connection may ask for less.
    pub may_lower: bool,
}

/// All namespaces of a node. A key belongs to that with the longest prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespaces {
    /// The longest prefix first; the last one is empty.
    namespaces: Vec<Namespace>,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self::new(Vec::new(), Ack::default())
    }
}

impl Namespaces {
    /// Most namespaces of a node.
    pub const MAX: usize = 128;

    /// Puts them in order. Keys without one have the acknowledgement `otherwise`, which connections may lower.
    #[must_use]
    pub fn new(mut namespaces: Vec<Namespace>, otherwise: Ack) -> Self {
        namespaces.sort_by_key(|namespace| std::cmp::Reverse(namespace.prefix.len()));
        if namespaces.last().is_none_or(|last| !last.prefix.is_empty()) {
            namespaces.push(Namespace {
                prefix: Vec::new(),
                ack: otherwise,
                may_lower: true,
            });
        }
        Self { namespaces }
    }

    /// Reads `ack:lower:prefix` of each, divided by blanks: `lower` is 0 or 1, the prefix hexadecimal.
    #[must_use]
    pub fn parse(text: &str, otherwise: Ack) -> Option<Self> {
        let namespaces = text.split_ascii_whitespace().map(parse_one);
        let namespaces: Vec<_> = namespaces.collect::<Option<_>>()?;
        (namespaces.len() <= Self::MAX).then(|| Self::new(namespaces, otherwise))
    }

    /// The namespace of a key.
    #[inline]
    #[must_use]
    pub fn of(&self, key: &[u8]) -> &Namespace {
        // The empty prefix is not compared: that takes as long as a hundred other instructions where it lies nowhere.
        let (last, others) = self.namespaces.split_last().expect("one prefix is empty");
        let mut others = others.iter();
        let found = others.find(|namespace| key.starts_with(&namespace.prefix));
        found.unwrap_or(last)
    }

    /// True where nothing of anything is kept.
    #[must_use]
    pub fn keep_nothing(&self) -> bool {
        self.namespaces
            .iter()
            .all(|namespace| namespace.ack == Ack::None)
    }

    /// The strongest acknowledgement of all: what changes of whole databases need.
    #[must_use]
    pub fn strongest(&self) -> Ack {
        let acks = self.namespaces.iter().map(|namespace| namespace.ack);
        acks.max().unwrap_or_default()
    }
}

fn parse_one(text: &str) -> Option<Namespace> {
    let mut parts = text.splitn(3, ':');
    let ack = Ack::named(parts.next()?)?;
    let may_lower = parts.next()? == "1";
    let digits = parts.next()?.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair)
            .ok()
            .filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    });
    Some(Namespace {
        prefix: pairs.collect::<Option<_>>()?,
        ack,
        may_lower,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        let namespaces = Namespaces::parse("none:0:61 sync:1:6162 fast:0:6163", Ack::Fast);
        let namespaces = namespaces.expect("they are well formed");
        for (key, ack, may_lower) in [
            (&b"a"[..], Ack::None, false),
            (b"abc", Ack::Sync, true),
            (b"ac", Ack::Fast, false),
            (b"b", Ack::Fast, true),
            (b"", Ack::Fast, true),
        ] {
            let found = namespaces.of(key);
            assert_eq!((found.ack, found.may_lower), (ack, may_lower), "{key:?}");
        }
        assert_eq!(namespaces.strongest(), Ack::Sync);
        assert!(!namespaces.keep_nothing());
        let all = Namespaces::parse("none:0:", Ack::Sync).expect("an empty prefix is one");
        assert!(all.keep_nothing());
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in ["none", "strong:0:61", "none:0:6", "none:0:zz", "none:0"] {
            assert_eq!(Namespaces::parse(text, Ack::Fast), None, "{text}");
        }
        let many = "none:0:61 ".repeat(Namespaces::MAX + 1);
        assert_eq!(Namespaces::parse(&many, Ack::Fast), None);
    }
}
