//! What a script says of itself in its first line.

use crate::resp::split_words;

/// Flags of a script or a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScriptFlags(u8);

impl ScriptFlags {
    pub const NONE: Self = Self(0);
    pub const NO_WRITES: Self = Self(1);
    pub const ALLOW_OOM: Self = Self(1 << 1);
    pub const ALLOW_STALE: Self = Self(1 << 2);
    pub const NO_CLUSTER: Self = Self(1 << 3);
    pub const ALLOW_CROSS_SLOT_KEYS: Self = Self(1 << 4);
    /// A script without a first line of that kind: nothing is known of it before it runs.
    pub const UNDECLARED: Self = Self(1 << 5);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::NO_WRITES, "no-writes"),
        (Self::ALLOW_OOM, "allow-oom"),
        (Self::ALLOW_STALE, "allow-stale"),
        (Self::NO_CLUSTER, "no-cluster"),
        (Self::ALLOW_CROSS_SLOT_KEYS, "allow-cross-slot-keys"),
    ];

    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }

    #[must_use]
    pub fn with(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }

    pub fn named(name: &[u8]) -> Option<Self> {
        let known = Self::NAMES.iter();
        let found = known.clone().find(|(_, known)| known.as_bytes() == name);
        found.map(|(flag, _)| *flag)
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let names = Self::NAMES.into_iter();
        names
            .filter(move |(flag, _)| self.has(*flag))
            .map(|(_, name)| name)
    }
}

/// The flags of a script, and the bytes of its first line where that says them.
///
/// # Errors
/// What is wrong with the line.
pub fn read_first_line(body: &[u8]) -> Result<(ScriptFlags, usize), String> {
    if !body.starts_with(b"#!") {
        return Ok((ScriptFlags::UNDECLARED, 0));
    }
    let Some(end) = memchr::memchr(b'\n', body) else {
        return Err("Invalid script shebang".into());
    };
    let words = split_words(&body[..end]).unwrap_or_default();
    let Some((engine, options)) = words.split_first() else {
        return Err("Invalid engine in script shebang".into());
    };
    let quoted = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    if engine != b"#!lua" {
        let engine = quoted(engine);
        return Err(format!("Unexpected engine in script shebang: {engine}"));
    }
    let mut flags = ScriptFlags::NONE;
    for option in options {
        let Some(names) = option.strip_prefix(b"flags=") else {
            return Err(format!("Unknown lua shebang option: {}", quoted(option)));
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|byte| *byte == b',') {
            let flag = ScriptFlags::named(name).ok_or_else(|| {
                let name = quoted(name);
                format!("Unexpected flag in script shebang: {name}")
            })?;
            flags = flags.with(flag);
        }
    }
    Ok((flags, end))
}

/// The first line of a library.
pub struct LibraryHead {
    pub engine: Vec<u8>,
    pub name: Vec<u8>,
    /// Bytes of the line.
    pub bytes: usize,
}

/// Reads the first line of a library.
///
/// # Errors
/// What is wrong with it.
pub fn read_library_head(code: &[u8]) -> Result<LibraryHead, String> {
    if !code.starts_with(b"#!") {
        return Err("Missing library metadata".into());
    }
    let invalid = || "Invalid library metadata".to_owned();
    let end = memchr::memchr(b'\n', code).ok_or_else(invalid)?;
    let words = split_words(&code[..end]).ok_or_else(invalid)?;
    let (engine, options) = words.split_first().ok_or_else(invalid)?;
    let mut name = None;
    for option in options {
        let is_name = option.len() >= 5 && option[..5].eq_ignore_ascii_case(b"name=");
        if !is_name {
            let option = String::from_utf8_lossy(option);
            return Err(format!("Invalid metadata value given: {option}"));
        }
        if name.is_some() {
            return Err("Invalid metadata value, name argument was given multiple times".into());
        }
        name = Some(option[5..].to_vec());
    }
    Ok(LibraryHead {
        engine: engine[2..].to_vec(),
        name: name.ok_or("Library name was not given")?,
        bytes: end,
    })
}
