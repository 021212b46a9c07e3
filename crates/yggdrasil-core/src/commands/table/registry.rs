//! The table of all commands, and the way from a name to its row: open addressing over [`NameKey`]s.

use crate::commands::families;
use crate::commands::table::error::CommandError;
use crate::commands::table::flags::Flags;
use crate::commands::table::handler::Run;
use crate::commands::table::keys::Keys;
use crate::commands::table::name_key::{NO_CONTAINER, NameKey, is_name};
use crate::commands::table::spec::{Arity, CommandSpec, Docs, Group, Route};
use crate::commands::table::{help, key_use::KeyUse, syntax};
use crate::resp::{Args, Reply, Span};

/// Every command that is written in Rust.
pub const FAMILIES: &[&[CommandSpec]] = &[
    families::strings::COMMANDS,
    families::parts::COMMANDS,
    families::streams::COMMANDS,
    families::set::COMMANDS,
    families::sets::COMMANDS,
    families::hashes::COMMANDS,
    families::hashes::expiry::COMMANDS,
    families::sorted_sets::algebra::COMMANDS,
    families::sorted_sets::changes::COMMANDS,
    families::sorted_sets::lookups::COMMANDS,
    families::sorted_sets::pops::COMMANDS,
    families::sorted_sets::ranges::COMMANDS,
    families::sorted_sets::removals::COMMANDS,
    families::sorted_sets::sampling::COMMANDS,
    families::sorted_sets::store::COMMANDS,
    families::geo::positions::COMMANDS,
    families::geo::search::COMMANDS,
    families::geo::stores::COMMANDS,
    families::counters::COMMANDS,
    families::bitmap::COMMANDS,
    families::bitfield::COMMANDS,
    families::hyperloglog::COMMANDS,
    families::keys::COMMANDS,
    families::lists::COMMANDS,
    families::sort::COMMANDS,
    families::pins::COMMANDS,
    families::expiry::COMMANDS,
    families::object::COMMANDS,
    families::databases::COMMANDS,
    families::session::COMMANDS,
    families::scripting::COMMANDS,
    families::functions::COMMANDS,
];

/// A row of a [`Registry`]: small, and valid as long as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(u16);

impl CommandId {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Row of an empty slot, and container of what is no subcommand.
const NONE: u16 = NO_CONTAINER;
/// Slots for each row at least: probes stay short.
const SLOTS_PER_ROW_MIN: usize = 4;

/// One place of the table, with what a lookup asks a row for.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: NameKey,
    row: u16,
    arity: Arity,
    is_container: bool,
}

const EMPTY: Slot = Slot {
    key: NameKey::EMPTY,
    row: NONE,
    arity: Arity::Exact(0),
    is_container: false,
};

/// All commands of a worker: those of [`FAMILIES`], and those that were registered.
#[derive(Debug)]
pub struct Registry {
    rows: Vec<&'static CommandSpec>,
    slots: Box<[Slot]>,
}

/// A command that is registered at run time.
#[derive(Clone, Debug)]
pub struct NewCommand {
    /// Lower case; "container|name" for a subcommand, whose container has to be registered before it.
    pub name: String,
    pub arity: Arity,
    pub flags: Flags,
    pub keys: Keys,
    pub group: Group,
    /// [`Run::Python`], [`Run::Container`] or [`Run::Help`].
    pub run: Run,
    pub summary: String,
    pub since: String,
    pub complexity: String,
    pub syntax: String,
    pub tips: Vec<String>,
    /// As in [`Docs`].
    pub key_uses: Vec<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    #[error("command name {0:?}: 1 to 64 lower-case letters, digits, '-', '_' or '.' are allowed")]
    Name(String),
    #[error("command {0:?} is registered already")]
    Duplicate(String),
    #[error("command {0:?} has no container of that name")]
    NoContainer(String),
    #[error("command {name:?}: {error}")]
    Syntax {
        name: String,
        error: syntax::SyntaxError,
    },
    #[error("command {0:?}: its arity counts the words of its name, so it is {1} at least")]
    Arity(String, usize),
    #[error(
        "command {0:?}: keys begin behind its name, within its arity, and no later than they end; their step is at \
         least 1"
    )]
    Keys(String),
    #[error(
        "command {0:?} cannot be atomic: it needs keys, whose shards are reserved, and must not be blocking"
    )]
    Atomic(String),
    #[error("no room for command {0:?}: 65535 commands are registered")]
    Full(String),
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// The commands of [`FAMILIES`].
    ///
    /// # Panics
    /// If a row of these breaks the rules that hold for registered commands.
    pub fn new() -> Self {
        let mut registry = Self {
            rows: Vec::new(),
            slots: vec![EMPTY; 8].into_boxed_slice(),
        };
        for spec in FAMILIES.iter().copied().flatten() {
            if let Err(error) = registry.add(spec) {
                panic!("{error}");
            }
        }
        registry
    }

    /// Adds a command. Its texts live as long as the process: a row is registered once, at the start.
    pub fn register(&mut self, command: NewCommand) -> Result<CommandId, RegistrationError> {
        self.check(&command.name, &command.syntax)?;
        check_arguments(&command)?;
        let docs = Docs {
            summary: command.summary.leak(),
            since: command.since.leak(),
            complexity: command.complexity.leak(),
            syntax: command.syntax.leak(),
            tips: leaked(command.tips),
            key_uses: command
                .key_uses
                .into_iter()
                .map(leaked)
                .collect::<Vec<_>>()
                .leak(),
        };
        let spec = CommandSpec {
            name: command.name.leak(),
            arity: command.arity,
            flags: command.flags,
            keys: command.keys,
            group: command.group,
            needs: None,
            route: Route::Session,
            run: command.run,
            docs,
        };
        self.add(Box::leak(Box::new(spec)))
    }

    /// Adds a row as a family has them, for tests.
    #[cfg(test)]
    pub fn add_row(&mut self, spec: CommandSpec) -> CommandId {
        self.add(Box::leak(Box::new(spec))).unwrap()
    }

    #[inline]
    pub fn spec(&self, id: CommandId) -> &'static CommandSpec {
        self.rows[id.index()]
    }

    /// The row with this index; `None` when there is none.
    pub fn at(&self, index: usize) -> Option<CommandId> {
        u16::try_from(index)
            .ok()
            .filter(|_| index < self.rows.len())
            .map(CommandId)
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows, subcommands included, in the order of registration.
    pub fn iter(&self) -> impl Iterator<Item = (CommandId, &'static CommandSpec)> {
        (0..).map(CommandId).zip(self.rows.iter().copied())
    }

    /// The subcommands of a container.
    pub fn subcommands(
        &self,
        container: &CommandSpec,
    ) -> impl Iterator<Item = (CommandId, &'static CommandSpec)> {
        self.iter()
            .filter(move |(_, spec)| spec.container() == Some(container.name))
    }

    /// The row of a full name, whatever its case: "get", "OBJECT|Encoding".
    pub fn find(&self, name: &[u8]) -> Option<CommandId> {
        let mut parts = name.splitn(2, |byte| *byte == b'|');
        let slot = self.probe(NONE, parts.next()?)?;
        let slot = match parts.next() {
            Some(own) => self.probe(slot.row, own)?,
            None => slot,
        };
        Some(CommandId(slot.row))
    }

    /// The command that a request names, with the right number of arguments for it; otherwise Redis's error.
    #[inline]
    pub fn lookup(&self, args: &Args<'_>) -> Result<CommandId, CommandError> {
        match self.quick_lookup(args) {
            Some(id) => Ok(id),
            None => self.careful_lookup(args),
        }
    }

    /// Finds nearly everything: a right request with a name of up to 16 bytes that is not hidden behind another.
    #[inline]
    fn quick_lookup(&self, args: &Args<'_>) -> Option<CommandId> {
        let name = *args.spans().first()?;
        match NameKey::short(args.bytes(), name) {
            Some(key) => self.in_its_place(&key, args),
            None => self.quick_lookup_of_long(name, args),
        }
    }

    #[inline(never)]
    fn quick_lookup_of_long(&self, name: Span, args: &Args<'_>) -> Option<CommandId> {
        self.in_its_place(&NameKey::long(args.bytes(), name)?, args)
    }

    /// The command of a name that stands where it is looked for first, if the request is right for it.
    #[inline(always)]
    fn in_its_place(&self, key: &NameKey, args: &Args<'_>) -> Option<CommandId> {
        let slot = self
            .slots
            .get(key.hash() as usize & (self.slots.len() - 1))?;
        let is_right = slot.key == *key && slot.arity.allows(args.len()) && !slot.is_container;
        is_right.then_some(CommandId(slot.row))
    }

    #[inline(never)]
    fn careful_lookup(&self, args: &Args<'_>) -> Result<CommandId, CommandError> {
        let Some(slot) = self.resolve(args) else {
            return Err(self.unknown(args));
        };
        if !slot.arity.allows(args.len()) {
            let spec = self.rows[usize::from(slot.row)];
            return Err(CommandError::WrongArity(spec.name));
        }
        Ok(CommandId(slot.row))
    }

    /// The command that a request names, whatever its arguments.
    pub fn named(&self, args: &Args<'_>) -> Option<CommandId> {
        self.resolve(args).map(|slot| CommandId(slot.row))
    }

    /// The keys of a request with their uses, for COMMAND GETKEYSANDFLAGS.
    pub fn keys_of<'a>(&self, args: &Args<'a>) -> Result<Vec<(&'a [u8], KeyUse)>, CommandError> {
        let Some(slot) = self.resolve(args) else {
            return Err(CommandError::Plain("Invalid command specified"));
        };
        let spec = self.rows[usize::from(slot.row)];
        if spec.keys == Keys::None || spec.flags.has(Flags::PUBSUB) {
            return Err(CommandError::Plain("The command has no key arguments"));
        }
        if !spec.arity.allows(args.len()) {
            return Err(CommandError::Plain(
                "Invalid number of arguments specified for command",
            ));
        }
        let uses = spec.uses_in(args);
        let keys: Vec<_> = uses
            .map(|(place, key_use)| (args.at(place), key_use))
            .collect();
        let is_mandatory = !spec.flags.has(Flags::NO_MANDATORY_KEYS);
        if keys.is_empty() && is_mandatory && spec.keys.depends_on_arguments() {
            return Err(CommandError::Plain(
                "Invalid arguments specified for command",
            ));
        }
        Ok(keys)
    }

    /// Writes the answer to "CONTAINER HELP": each subcommand with its arguments, and what it does.
    pub fn write_help(&self, container: &str, reply: &mut Reply<'_>) {
        let rows = self.rows.iter().copied();
        help::write(
            container,
            rows.filter(|spec| spec.container() == Some(container)),
            reply,
        );
    }

    /// Name, and for a container its subcommand where one is given.
    fn resolve(&self, args: &Args<'_>) -> Option<&Slot> {
        let slot = self.probe(NONE, args.get(0)?)?;
        if !slot.is_container {
            return Some(slot);
        }
        match args.get(1) {
            None => Some(slot),
            Some(own) => self.probe(slot.row, own),
        }
    }

    fn probe(&self, parent: u16, name: &[u8]) -> Option<&Slot> {
        let key = NameKey::of(parent, name)?;
        let mask = self.slots.len() - 1;
        let mut index = key.hash() as usize & mask;
        loop {
            let slot = &self.slots[index];
            if slot.row == NONE {
                return None;
            }
            if slot.key == key
                && (name.len() <= NameKey::WHOLE_BYTES_MAX || self.is_named(slot.row, name))
            {
                return Some(slot);
            }
            index = (index + 1) & mask;
        }
    }

    #[cold]
    fn is_named(&self, row: u16, name: &[u8]) -> bool {
        let own = self.rows[usize::from(row)].own_name();
        own.as_bytes().eq_ignore_ascii_case(name)
    }

    fn check(&self, name: &str, syntax: &str) -> Result<(), RegistrationError> {
        if name.split('|').count() > 2 || !name.split('|').all(is_name) {
            return Err(RegistrationError::Name(name.to_owned()));
        }
        if self.find(name.as_bytes()).is_some() {
            return Err(RegistrationError::Duplicate(name.to_owned()));
        }
        syntax::parse(syntax).map_err(|error| RegistrationError::Syntax {
            name: name.to_owned(),
            error,
        })?;
        Ok(())
    }

    fn add(&mut self, spec: &'static CommandSpec) -> Result<CommandId, RegistrationError> {
        self.check(spec.name, spec.docs.syntax)?;
        self.parent_of(spec)?;
        let row = u16::try_from(self.rows.len())
            .ok()
            .filter(|row| *row != NONE);
        let row = row.ok_or_else(|| RegistrationError::Full(spec.name.to_owned()))?;
        self.rows.push(spec);
        if self.rows.len() * SLOTS_PER_ROW_MIN > self.slots.len() {
            self.rebuild()?;
        } else {
            self.place(row)?;
        }
        Ok(CommandId(row))
    }

    fn parent_of(&self, spec: &CommandSpec) -> Result<u16, RegistrationError> {
        let Some(container) = spec.container() else {
            return Ok(NONE);
        };
        self.probe(NONE, container.as_bytes())
            .filter(|slot| slot.is_container)
            .map(|slot| slot.row)
            .ok_or_else(|| RegistrationError::NoContainer(spec.name.to_owned()))
    }

    fn rebuild(&mut self) -> Result<(), RegistrationError> {
        let size = (self.rows.len() * SLOTS_PER_ROW_MIN * 2).next_power_of_two();
        self.slots = vec![EMPTY; size].into_boxed_slice();
        (0..self.rows.len() as u16).try_for_each(|row| self.place(row))
    }

    fn place(&mut self, row: u16) -> Result<(), RegistrationError> {
        let spec = self.rows[usize::from(row)];
        let parent = self.parent_of(spec)?;
        let key = NameKey::of(parent, spec.own_name().as_bytes())
            .ok_or_else(|| RegistrationError::Name(spec.name.to_owned()))?;
        let mask = self.slots.len() - 1;
        let mut index = key.hash() as usize & mask;
        while self.slots[index].row != NONE {
            index = (index + 1) & mask;
        }
        self.slots[index] = Slot {
            key,
            row,
            arity: spec.arity,
            is_container: matches!(spec.run, Run::Container),
        };
        Ok(())
    }

    #[cold]
    fn unknown(&self, args: &Args<'_>) -> CommandError {
        let name = args.get(0).unwrap_or_default();
        let mut text = Vec::with_capacity(128);
        if self.probe(NONE, name).is_some() {
            text.extend_from_slice(b"ERR unknown subcommand '");
            text.extend_from_slice(shown(args.get(1).unwrap_or_default(), 128));
            text.extend_from_slice(b"'. Try ");
            text.extend(name.to_ascii_uppercase());
            text.extend_from_slice(b" HELP.");
            return CommandError::Text(text.into());
        }
        text.extend_from_slice(b"ERR unknown command '");
        text.extend_from_slice(shown(name, 128));
        text.extend_from_slice(b"', with args beginning with: ");
        let start = text.len();
        for argument in args.iter().skip(1) {
            let written = text.len() - start;
            if written >= 128 {
                break;
            }
            text.push(b'\'');
            text.extend_from_slice(shown(argument, 128 - written));
            text.extend_from_slice(b"' ");
        }
        CommandError::Text(text.into())
    }
}

fn leaked(texts: Vec<String>) -> &'static [&'static str] {
    let texts: Vec<&'static str> = texts.into_iter().map(|text| &*text.leak()).collect();
    texts.leak()
}

/// As C prints a string: up to its first zero byte, and no more than `most` bytes.
fn shown(text: &[u8], most: usize) -> &[u8] {
    let text = &text[..text.len().min(most)];
    &text[..memchr::memchr(0, text).unwrap_or(text.len())]
}

/// Checks what a row says of its arguments.
fn check_arguments(command: &NewCommand) -> Result<(), RegistrationError> {
    let words = command.name.split('|').count();
    let (Arity::Exact(least) | Arity::AtLeast(least)) = command.arity;
    if usize::from(least) < words {
        return Err(RegistrationError::Arity(command.name.clone(), words));
    }
    if let Keys::At { first, last, step } = command.keys {
        let begins_behind_name = (words..usize::from(least)).contains(&usize::from(first));
        let ends_behind_begin = last < 0 || i32::from(last) >= i32::from(first);
        if step == 0 || !begins_behind_name || !ends_behind_begin {
            return Err(RegistrationError::Keys(command.name.clone()));
        }
    }
    let may_reserve = command.keys != Keys::None && !command.flags.has(Flags::BLOCKING);
    if command.flags.has(Flags::ATOMIC) && !may_reserve {
        return Err(RegistrationError::Atomic(command.name.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ArgsBuffer;

    fn request(line: &str) -> ArgsBuffer {
        line.split(' ').map(str::as_bytes).collect()
    }

    fn error(registry: &Registry, line: &str) -> String {
        registry
            .lookup(&request(line).as_args())
            .unwrap_err()
            .to_string()
    }

    fn new_command(name: &str, run: Run) -> NewCommand {
        NewCommand {
            name: name.to_owned(),
            arity: Arity::AtLeast(name.split('|').count() as u16),
            flags: Flags::of(&[Flags::ADMIN, Flags::LOADING]),
            keys: Keys::None,
            group: Group::Server,
            run,
            summary: "A test.".to_owned(),
            since: "8.0.0".to_owned(),
            complexity: "O(1)".to_owned(),
            syntax: "[name]".to_owned(),
            tips: vec!["nondeterministic_output".to_owned()],
            key_uses: Vec::new(),
        }
    }

    #[test]
    fn every_row_is_found_in_every_case() {
        let registry = Registry::new();
        assert!(registry.len() > 50);
        for (id, spec) in registry.iter() {
            assert_eq!(
                registry.find(spec.name.as_bytes()),
                Some(id),
                "{}",
                spec.name
            );
            let upper = spec.name.to_ascii_uppercase();
            assert_eq!(registry.find(upper.as_bytes()), Some(id), "{}", spec.name);
            assert_eq!(
                registry
                    .find(&upper.as_bytes()[1..])
                    .filter(|found| *found == id),
                None
            );
        }
    }

    #[test]
    fn keys_are_found_by_their_count() {
        let registry = Registry::new();
        let row = |name: &[u8]| registry.spec(registry.find(name).unwrap());
        let keys = |line: &str| {
            let request = request(line);
            let keys = registry.keys_of(&request.as_args());
            keys.map(|keys| {
                keys.into_iter()
                    .map(|(key, _)| key.to_vec())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(
            keys("ZUNIONSTORE to 2 a b"),
            Ok(vec![b"to".to_vec(), b"a".to_vec(), b"b".to_vec()])
        );
        let wrong = CommandError::Plain("Invalid arguments specified for command");
        assert_eq!(keys("ZUNIONSTORE to 0 a b"), Err(wrong.clone()));
        assert_eq!(keys("ZUNIONSTORE to 3 a b"), Err(wrong));
        let mut spec = *row(b"zunionstore");
        spec.flags = Flags::NONE;
        let uses =
            |spec: &CommandSpec, line| spec.key_uses(&request(line).as_args()).collect::<Vec<_>>();
        let line = "ZUNIONSTORE to 2 a b";
        assert_eq!(uses(&spec, line), [(1, false), (3, false), (4, false)]);
        spec.flags = Flags::WRITE;
        assert_eq!(uses(&spec, line), [(1, true), (3, false), (4, false)]);
        assert_eq!(uses(row(b"copy"), "COPY a b"), [(1, false), (2, true)]);
        assert_eq!(uses(row(b"rename"), "RENAME a b"), [(1, true), (2, true)]);
        assert_eq!(uses(row(b"mget"), "MGET a b"), [(1, false), (2, false)]);
        let rooms = |name: &[u8], line: &str| {
            let request = request(line);
            let rooms = row(name).rooms(&request.as_args());
            rooms
                .map(|(key, bytes)| (key.to_vec(), bytes))
                .collect::<Vec<_>>()
        };
        let (long, short) = ("x".repeat(1_000), "y");
        let (a, b) = (
            rooms(b"set", &format!("SET a {long}")),
            rooms(b"set", "SET b y"),
        );
        assert!((900..1_200).contains(&(a[0].1 - b[0].1)));
        let both = rooms(b"mset", &format!("MSET a {long} b {short}"));
        assert_eq!(both, [a, b].concat());
        assert_eq!(rooms(b"get", "GET a"), []);
    }

    #[test]
    fn rows_make_sense() {
        for (_, spec) in Registry::new().iter() {
            let name = spec.name;
            assert!(spec.docs.summary.ends_with('.'), "{name}");
            assert!(!spec.docs.since.is_empty(), "{name}");
            let write = spec.flags.has(Flags::WRITE);
            assert!(!(write && spec.flags.has(Flags::READONLY)), "{name}");
            assert!(
                spec.flags.has(Flags::WRITE) || !spec.flags.has(Flags::DENYOOM),
                "{name}"
            );
            let needs_key = matches!(spec.route, Route::Key | Route::Split(_) | Route::Together);
            assert!(!needs_key || spec.keys != Keys::None, "{name}");
            if matches!(spec.run, Run::Read(_)) {
                assert_eq!(spec.route, Route::Key, "{name}");
                assert!(!write, "{name}");
            }
        }
    }

    #[test]
    fn unknown_commands_get_the_error_of_redis() {
        let registry = Registry::new();
        assert_eq!(
            error(&registry, "FOO"),
            "ERR unknown command 'FOO', with args beginning with: "
        );
        assert_eq!(
            error(&registry, "foo bar baz"),
            "ERR unknown command 'foo', with args beginning with: 'bar' 'baz' "
        );
        let long = format!("foo {} {} c", "a".repeat(100), "b".repeat(100));
        assert_eq!(
            error(&registry, &long),
            format!(
                "ERR unknown command 'foo', with args beginning with: '{}' '{}' ",
                "a".repeat(100),
                "b".repeat(25)
            )
        );
        assert_eq!(
            error(&registry, "Object nope k"),
            "ERR unknown subcommand 'nope'. Try OBJECT HELP."
        );
        assert_eq!(
            error(&registry, "a\0b c\0d"),
            "ERR unknown command 'a', with args beginning with: 'c' "
        );
    }

    #[test]
    fn a_row_whose_arguments_make_no_sense_is_refused() {
        let mut registry = Registry::new();
        let mut row = NewCommand {
            arity: Arity::AtLeast(2),
            ..new_command("test.keys", Run::Python)
        };
        for (first, last, step) in [(0, 1, 1), (1, 1, 0), (1, 0, 1), (2, 2, 1)] {
            row.keys = Keys::At { first, last, step };
            let refused = registry.register(row.clone());
            assert_eq!(
                refused,
                Err(RegistrationError::Keys("test.keys".to_owned()))
            );
        }
        row.keys = Keys::At {
            first: 1,
            last: -1,
            step: 2,
        };
        registry.register(row).unwrap();
        let atomic = NewCommand {
            flags: Flags::ATOMIC,
            ..new_command("test.atomic", Run::Python)
        };
        let refused = registry.register(atomic);
        assert_eq!(
            refused,
            Err(RegistrationError::Atomic("test.atomic".to_owned()))
        );
        let no_words = NewCommand {
            arity: Arity::Exact(0),
            ..new_command("test.none", Run::Python)
        };
        let refused = registry.register(no_words);
        assert_eq!(
            refused,
            Err(RegistrationError::Arity("test.none".to_owned(), 1))
        );
    }

    #[test]
    fn arity_is_checked() {
        let registry = Registry::new();
        assert_eq!(
            error(&registry, "GET"),
            "ERR wrong number of arguments for 'get' command"
        );
        assert_eq!(
            error(&registry, "OBJECT"),
            "ERR wrong number of arguments for 'object' command"
        );
        assert_eq!(
            error(&registry, "OBJECT encoding"),
            "ERR wrong number of arguments for 'object|encoding' command"
        );
        assert!(registry.lookup(&request("get k").as_args()).is_ok());
    }

    #[test]
    fn keys_are_extracted() {
        let registry = Registry::new();
        let keys = |line: &str| {
            registry.keys_of(&request(line).as_args()).map(|keys| {
                keys.into_iter()
                    .map(|(key, _)| key)
                    .collect::<Vec<_>>()
                    .concat()
            })
        };
        assert_eq!(keys("mset a 1 b 2").unwrap(), b"ab");
        assert_eq!(keys("object encoding k").unwrap(), b"k");
        for (line, text) in [
            ("nope a", "ERR Invalid command specified"),
            ("dbsize", "ERR The command has no key arguments"),
            (
                "get",
                "ERR Invalid number of arguments specified for command",
            ),
        ] {
            assert_eq!(keys(line).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn commands_are_registered_at_run_time() {
        let mut registry = Registry::new();
        let len = registry.len();
        let container = registry
            .register(new_command("gadget", Run::Container))
            .unwrap();
        let names = ["gadget|list", "gadget|a-very-long-name-of-a-subcommand"];
        for name in names {
            let id = registry.register(new_command(name, Run::Python)).unwrap();
            assert_eq!(registry.find(name.as_bytes()), Some(id));
            let args = request(&name.replace('|', " ").to_uppercase());
            assert_eq!(registry.lookup(&args.as_args()).unwrap(), id);
        }
        assert_eq!(registry.len(), len + 3);
        let tips = registry.spec(container).docs.tips;
        assert_eq!(tips, ["nondeterministic_output"]);
        let subcommands = registry.subcommands(registry.spec(container));
        assert_eq!(
            subcommands.map(|(_, spec)| spec.name).collect::<Vec<_>>(),
            names
        );
        assert_eq!(
            registry.find(b"gadget|a-very-long-XXXX-of-a-subcommand"),
            None
        );
        assert_eq!(registry.find(b"list"), None);
    }

    #[test]
    fn bad_registrations_are_refused() {
        let mut registry = Registry::new();
        for (name, error) in [
            ("GET", RegistrationError::Name("GET".into())),
            ("get", RegistrationError::Duplicate("get".into())),
            ("", RegistrationError::Name(String::new())),
            ("a|b|c", RegistrationError::Name("a|b|c".into())),
            ("nope|a", RegistrationError::NoContainer("nope|a".into())),
            ("get|a", RegistrationError::NoContainer("get|a".into())),
        ] {
            assert_eq!(
                registry.register(new_command(name, Run::Python)),
                Err(error)
            );
        }
        let bad = NewCommand {
            syntax: "[a".to_owned(),
            ..new_command("gadget", Run::Python)
        };
        assert!(matches!(
            registry.register(bad),
            Err(RegistrationError::Syntax { .. })
        ));
        assert_eq!(registry.find(b"gadget"), None);
    }

    #[test]
    fn many_commands_are_kept_apart() {
        let mut registry = Registry::new();
        for number in 0..500 {
            registry
                .register(new_command(&format!("x{number}"), Run::Python))
                .unwrap();
        }
        for number in 0..500 {
            let id = registry.find(format!("X{number}").as_bytes()).unwrap();
            assert_eq!(registry.spec(id).name, format!("x{number}"));
        }
    }
}
