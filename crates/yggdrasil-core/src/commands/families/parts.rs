//! Long values in pieces: reading a part of one version, and writing by parts.

use crate::commands::families::value::{EXPIRE_AT_MAX, text, text_len};
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::{
    KeyLimits, Outcome, ReadContext, Run, ShardContext, check_kind,
};
use crate::commands::table::keys::Keys;
use crate::commands::table::spec::Arity::{AtLeast, Exact};
use crate::commands::table::spec::{CommandSpec, Docs, Group, Route};
use crate::keyspace::{
    EntryView, Kind, Millis, Received, UPLOAD_SERIAL_BITS, UploadError, UploadId,
};
use crate::resp::{Args, Reply, parse_i64};

/// The size of a read that STREAMINFO advises: large enough that requests cost nothing beside the bytes.
const CHUNK_BYTES: u64 = 1024 * 1024;

pub(in crate::commands) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "get_stream",
        arity: AtLeast(4),
        flags: Flags::READONLY,
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Read(get_stream),
        docs: Docs {
            summary: "Gives up to so many bytes of a value from an offset on, of one version only where one is named: \
                otherwise the error STALE. Empty at the end and behind it, null without a value.",
            since: "0.1.0",
            complexity: "O(N) for N bytes given",
            syntax: "key offset length [VERSION version]",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "streaminfo",
        arity: Exact(2),
        flags: Flags::of(&[Flags::READONLY, Flags::FAST, Flags::NO_TOUCH]),
        keys: Keys::FIRST,
        group: Group::String,
        needs: Some(Kind::String),
        route: Route::Key,
        run: Run::Shard(streaminfo),
        docs: Docs {
            summary: "Gives a map of the length, version, advised chunk size, tier and pin (milliseconds left, or \
                null) of a value; null without one.",
            since: "0.1.0",
            complexity: "O(1)",
            syntax: "key",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "put_stream",
        arity: AtLeast(2),
        flags: Flags::NONE,
        keys: Keys::None,
        group: Group::String,
        needs: None,
        route: Route::Session,
        run: Run::Container,
        docs: Docs {
            summary: "Writes a value by parts.",
            since: "0.1.0",
            complexity: "That of the subcommand",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "put_stream|begin",
        arity: AtLeast(3),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM]),
        keys: Keys::SECOND,
        group: Group::String,
        needs: None,
        route: Route::Key,
        run: Run::Shard(begin),
        docs: Docs {
            summary: "Begins an upload, which nobody sees before it is committed, and gives its id. The time to live \
                counts from the commit.",
            since: "0.1.0",
            complexity: "O(1)",
            syntax: "key [size-hint] [EX seconds | PX milliseconds]",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "put_stream|append",
        arity: Exact(4),
        flags: Flags::of(&[Flags::WRITE, Flags::DENYOOM, Flags::VALUE_THIRD]),
        keys: Keys::None,
        group: Group::String,
        needs: None,
        route: Route::Upload,
        run: Run::Shard(append),
        docs: Docs {
            summary: "Adds bytes to an upload and gives its length.",
            since: "0.1.0",
            complexity: "O(N) for N bytes added",
            syntax: "id bytes",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "put_stream|commit",
        arity: AtLeast(3),
        flags: Flags::WRITE,
        keys: Keys::None,
        group: Group::String,
        needs: None,
        route: Route::Upload,
        run: Run::Shard(commit),
        docs: Docs {
            summary: "Makes an upload the value of its key and gives the version of that. An upload that has not the \
                BLAKE3 hash that is given is aborted with the error CHECKSUM.",
            since: "0.1.0",
            complexity: "O(1)",
            syntax: "id [blake3]",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "put_stream|abort",
        arity: Exact(3),
        flags: Flags::WRITE,
        keys: Keys::None,
        group: Group::String,
        needs: None,
        route: Route::Upload,
        run: Run::Shard(abort),
        docs: Docs {
            summary: "Forgets an upload.",
            since: "0.1.0",
            complexity: "O(1)",
            syntax: "id",
            tips: &[],
            key_uses: &[],
        },
    },
    CommandSpec {
        name: "put_stream|help",
        arity: Exact(2),
        flags: Flags::of(&[Flags::LOADING, Flags::STALE]),
        keys: Keys::None,
        group: Group::String,
        needs: None,
        route: Route::Session,
        run: Run::Help,
        docs: Docs {
            summary: "Lists the subcommands.",
            since: "0.1.0",
            complexity: "O(1)",
            syntax: "",
            tips: &[],
            key_uses: &[],
        },
    },
];

/// The shard of the upload that a request names in its argument 2; `None` for what is no id.
pub fn upload_shard(args: &Args<'_>) -> Option<usize> {
    Some((upload_id(args.get(2)?)? >> UPLOAD_SERIAL_BITS) as usize)
}

/// The number that an upload id stands for: 16 hexadecimal digits.
pub fn upload_id(text: &[u8]) -> Option<UploadId> {
    let digits = std::str::from_utf8(text).ok()?;
    (digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

/// A number of bytes that is not negative.
fn bytes_argument(what: &str, argument: &[u8]) -> Result<u64, CommandError> {
    parse_i64(argument)
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| {
            let given = String::from_utf8_lossy(&argument[..argument.len().min(32)]);
            CommandError::text(format!(
                "ERR {what} is a number of bytes from 0 on, not '{given}'"
            ))
        })
}

fn get_stream(
    _: &ReadContext<'_>,
    entry: Option<&EntryView<'_>>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let offset = bytes_argument("the offset", &args[2])?;
    let length = bytes_argument("the length", &args[3])?;
    let version = match (args.get(4), args.get(5), args.len()) {
        (None, ..) => None,
        (Some(word), Some(version), 6) if word.eq_ignore_ascii_case(b"version") => {
            let version = parse_i64(version).and_then(|number| u64::try_from(number).ok());
            Some(version.ok_or(CommandError::NotAnInteger)?)
        }
        _ => return Err(CommandError::Syntax),
    };
    let Some(entry) = entry else {
        reply.null();
        return Ok(());
    };
    if let Some(version) = version.filter(|version| *version != entry.version) {
        return Err(CommandError::text(format!(
            "STALE the value has version {}, not {version}",
            entry.version
        )));
    }
    let mut buffer = itoa::Buffer::new();
    let bytes = text(entry.value, &mut buffer);
    let start = usize::try_from(offset).map_or(bytes.len(), |start| start.min(bytes.len()));
    let rest = &bytes[start..];
    let length = usize::try_from(length).map_or(rest.len(), |length| length.min(rest.len()));
    reply.bulk(&rest[..length]);
    Ok(())
}

/// At the owner, who alone knows of pins.
fn streaminfo(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, now) = (context.first_key(args.at(1)), context.now);
    let Some(entry) = context.look_up(&key, Flags::NO_TOUCH) else {
        reply.null();
        return Ok(());
    };
    check_kind(Some(Kind::String), Some(&entry))?;
    reply.map(5);
    reply.bulk(b"length");
    reply.count(text_len(entry.value) as u64);
    reply.bulk(b"version");
    reply.count(entry.version);
    reply.bulk(b"chunk-size");
    reply.count(CHUNK_BYTES);
    reply.bulk(b"tier");
    reply.bulk(b"dram");
    reply.bulk(b"pin");
    match entry.pinned_until.filter(|until| *until > now) {
        Some(until) => reply.count(until - now),
        None => reply.null(),
    }
    Ok(())
}

/// The options of PUT_STREAM BEGIN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct BeginOptions {
    expected: Option<u64>,
    lifetime: Option<Millis>,
}

impl BeginOptions {
    fn parse(options: &Args<'_>) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        let mut rest = options.iter();
        let mut is_first = true;
        while let Some(option) = rest.next() {
            let factor = match option {
                _ if option.eq_ignore_ascii_case(b"ex") => 1000,
                _ if option.eq_ignore_ascii_case(b"px") => 1,
                _ if is_first => {
                    parsed.expected = Some(bytes_argument("the size hint", option)?);
                    is_first = false;
                    continue;
                }
                _ => return Err(CommandError::Syntax),
            };
            is_first = false;
            let time = rest.next().ok_or(CommandError::Syntax)?;
            let time = parse_i64(time).ok_or(CommandError::NotAnInteger)?;
            let time = u64::try_from(time).ok().filter(|time| *time > 0);
            let time = time.and_then(|time| time.checked_mul(factor));
            let lifetime = time
                .filter(|time| *time <= EXPIRE_AT_MAX)
                .ok_or(CommandError::InvalidExpireTime("put_stream|begin"))?;
            if parsed.lifetime.replace(lifetime).is_some() {
                return Err(CommandError::Syntax);
            }
        }
        Ok(parsed)
    }
}

fn begin(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = BeginOptions::parse(&args.from(3))?;
    let (uploads, bytes) = context.shard.uploads();
    let limits = context.limits;
    if uploads >= limits.uploads_max {
        return Err(CommandError::text(format!(
            "ERR {uploads} uploads are under way in this shard, no more are allowed (stream-uploads-max): \
             commit or abort one"
        )));
    }
    check_upload_bytes(limits, bytes, options.expected.unwrap_or(0))?;
    let serial = |random: u64| random & ((1 << UPLOAD_SERIAL_BITS) - 1);
    let shard = u64::from(context.shard_index) << UPLOAD_SERIAL_BITS;
    let mut id = shard | serial(context.random.draw());
    while context.shard.has_upload(id) {
        id = shard | serial(id + 1);
    }
    let key = context.key(&args[2]);
    let now = context.now;
    context
        .shard
        .begin_upload(id, &key, options.expected, options.lifetime, now)?;
    reply.bulk(format!("{id:016x}").as_bytes());
    Ok(())
}

/// True when uploads that hold `bytes` may have `more`.
///
/// # Errors
/// When they would be more than the limit.
pub fn check_upload_bytes(limits: &KeyLimits, bytes: u64, more: u64) -> Outcome {
    let limit = limits.upload_bytes_max;
    if limit == 0 || bytes.saturating_add(more) <= limit {
        return Ok(());
    }
    Err(CommandError::text(format!(
        "ERR uploads of this shard would hold more than {limit} bytes (stream-upload-bytes-max): \
         commit or abort one"
    )))
}

fn append(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let id = upload_id(&args[2]).ok_or(UploadError::Unknown)?;
    let now = context.now;
    let length = match context.shard.take_received() {
        Some(Received::Part { id, len }) => context.shard.end_receiving(id, Some(len), now)?,
        _ => {
            let (_, bytes) = context.shard.uploads();
            check_upload_bytes(context.limits, bytes, args[3].len() as u64)?;
            context.shard.append_upload(id, &args[3], now)?
        }
    };
    reply.count(length);
    Ok(())
}

fn commit(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 4 {
        return Err(CommandError::Syntax);
    }
    let id = upload_id(&args[2]).ok_or(UploadError::Unknown)?;
    let expected = match args.get(3) {
        None => None,
        Some(digits) => Some(blake3::Hash::from_hex(digits).map_err(|_| {
            CommandError::Plain("a BLAKE3 hash is 64 hexadecimal digits; the upload is kept")
        })?),
    };
    let version = context.shard.commit_upload(id, expected, context.now)?;
    reply.count(version);
    Ok(())
}

fn abort(context: &mut ShardContext<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let id = upload_id(&args[2]).ok_or(UploadError::Unknown)?;
    if !context.shard.abort_upload(id) {
        return Err(UploadError::Unknown.into());
    }
    reply.ok();
    Ok(())
}

impl From<UploadError> for CommandError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Keyspace(error) => error.into(),
            UploadError::Unknown => Self::text(format!("NOUPLOAD {error}")),
            UploadError::Busy => Self::text(format!("ERR {error}")),
            UploadError::Hash { .. } => Self::text(format!("CHECKSUM {error}")),
        }
    }
}
