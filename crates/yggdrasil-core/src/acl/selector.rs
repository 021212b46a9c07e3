//! A selector: commands, keys and channels that belong together. A user may do what one of its selectors allows.

use super::error::RuleError;
use super::{CATEGORIES, KeyPattern, Permission, has_spaces};
use crate::commands::{CommandId, CommandSpec, Flags, Registry, Run, SessionCommand, glob};
use crate::resp::Args;

/// The reason why a request is denied. A later one says more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    Command,
    /// The place of the key among the arguments.
    Key(usize),
    /// The place of the channel among the arguments.
    Channel(usize),
}

/// A set of commands, by the places of their rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CommandSet {
    words: Vec<u64>,
    /// Holds every command that is not in `words`, too.
    beyond: bool,
}

impl CommandSet {
    fn all() -> Self {
        Self {
            words: Vec::new(),
            beyond: true,
        }
    }

    fn is_all(&self) -> bool {
        self.beyond && self.words.iter().all(|word| *word == u64::MAX)
    }

    #[inline]
    fn has(&self, command: CommandId) -> bool {
        let index = command.index();
        match self.words.get(index / 64) {
            Some(word) => word >> (index % 64) & 1 != 0,
            None => self.beyond,
        }
    }

    fn set(&mut self, command: CommandId, on: bool) {
        let (word, bit) = (command.index() / 64, 1 << (command.index() % 64));
        if word >= self.words.len() {
            let filling = if self.beyond { u64::MAX } else { 0 };
            self.words.resize(word + 1, filling);
        }
        if on {
            self.words[word] |= bit;
        } else {
            self.words[word] &= !bit;
        }
    }
}

/// Commands, keys and channels that are allowed together.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    commands: CommandSet,
    /// First arguments with which a command is allowed that is not in the set.
    first_arguments: Vec<(CommandId, Box<[u8]>)>,
    /// What was said of commands since all or none were allowed, each with its sign.
    command_rules: Vec<String>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Box<[u8]>>,
}

impl Selector {
    /// One that allows nothing, but for all channels where that is the default.
    pub fn new(all_channels: bool) -> Self {
        Self {
            all_channels,
            ..Self::default()
        }
    }

    /// Reads the rules between the brackets of a selector.
    pub fn parse(table: &Registry, rules: &[u8], all_channels: bool) -> Result<Self, RuleError> {
        let mut selector = Self::new(all_channels);
        let words = rules.split(u8::is_ascii_whitespace);
        for rule in words.filter(|rule| !rule.is_empty()) {
            selector.apply(table, rule)?;
        }
        Ok(selector)
    }

    /// True when it allows everything.
    pub fn is_unrestricted(&self) -> bool {
        self.all_keys && self.all_channels && self.commands.is_all()
    }

    pub fn allows_all_channels(&self) -> bool {
        self.all_channels
    }

    /// Patterns of the keys that may be used; `None` for all keys.
    pub fn key_patterns(&self) -> Option<&[KeyPattern]> {
        (!self.all_keys).then_some(&self.keys[..])
    }

    /// True for a command that is allowed whatever its arguments.
    pub fn allows_command(&self, command: CommandId) -> bool {
        self.commands.has(command)
    }

    /// Changes it by one rule.
    pub fn apply(&mut self, table: &Registry, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => self.set_all_keys(true),
            b"resetkeys" => self.set_all_keys(false),
            b"allchannels" | b"&*" => self.set_all_channels(true),
            b"resetchannels" => self.set_all_channels(false),
            b"allcommands" | b"+@all" => self.set_all_commands(true),
            b"nocommands" | b"-@all" => self.set_all_commands(false),
            _ => return self.apply_one(table, rule),
        }
        Ok(())
    }

    fn apply_one(&mut self, table: &Registry, rule: &[u8]) -> Result<(), RuleError> {
        match rule {
            [b'~' | b'%', ..] => self.add_keys(rule),
            [b'&', pattern @ ..] => self.add_channels(pattern),
            [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                self.set_category(table, category, *sign == b'+')
            }
            [b'+', name @ ..] if name.contains(&b'|') => self.add_part(table, name),
            [sign @ (b'+' | b'-'), name @ ..] => {
                let command = table.find(name).ok_or(RuleError::Unknown)?;
                self.set_command(table, command, *sign == b'+');
                self.note(table.spec(command).name, *sign == b'+');
                Ok(())
            }
            _ => Err(RuleError::Syntax),
        }
    }

    fn set_all_keys(&mut self, on: bool) {
        self.all_keys = on;
        self.keys.clear();
    }

    fn set_all_channels(&mut self, on: bool) {
        self.all_channels = on;
        self.channels.clear();
    }

    fn set_all_commands(&mut self, on: bool) {
        self.commands = if on {
            CommandSet::all()
        } else {
            CommandSet::default()
        };
        self.command_rules.clear();
        self.first_arguments.clear();
    }

    fn add_keys(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        let added = KeyPattern::parse(rule)?;
        let mut known = self.keys.iter_mut();
        match known.find(|known| known.pattern == added.pattern) {
            Some(known) => known.permission = known.permission.with(added.permission),
            None => self.keys.push(added),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AfterAllChannels);
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| **known == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    fn set_category(
        &mut self,
        table: &Registry,
        category: &[u8],
        on: bool,
    ) -> Result<(), RuleError> {
        let mut known = CATEGORIES.into_iter();
        let category = known
            .find(|known| known.as_bytes().eq_ignore_ascii_case(category))
            .ok_or(RuleError::Unknown)?;
        for (command, row) in table.iter() {
            if row.acl_categories().contains(&category) {
                self.set_command(table, command, on);
            }
        }
        self.note(&format!("@{category}"), on);
        Ok(())
    }

    /// Allows `container|subcommand`, or `command|argument` where a command has no subcommands.
    fn add_part(&mut self, table: &Registry, name: &[u8]) -> Result<(), RuleError> {
        let bar = name.iter().rposition(|byte| *byte == b'|').unwrap_or(0);
        let (whole, part) = (&name[..bar], &name[bar + 1..]);
        let command = table.find(whole).ok_or(RuleError::Unknown)?;
        let row = table.spec(command);
        if row.container().is_some() {
            return Err(RuleError::SubcommandArgument);
        }
        if part.is_empty() {
            return Err(RuleError::Syntax);
        }
        if matches!(row.run, Run::Container) {
            let command = table.find(name).ok_or(RuleError::Unknown)?;
            self.set_command(table, command, true);
        } else {
            let mut known = self.first_arguments.iter();
            if !known.any(|(id, known)| *id == command && known.eq_ignore_ascii_case(part)) {
                self.first_arguments.push((command, part.into()));
            }
        }
        self.note(&String::from_utf8_lossy(name).to_lowercase(), true);
        Ok(())
    }

    /// Allows or denies a command with its subcommands.
    fn set_command(&mut self, table: &Registry, command: CommandId, on: bool) {
        self.commands.set(command, on);
        self.first_arguments.retain(|(id, _)| *id != command);
        let row = table.spec(command);
        if matches!(row.run, Run::Container) {
            for (subcommand, _) in table.subcommands(row) {
                self.commands.set(subcommand, on);
            }
        }
    }

    /// Remembers a rule, in place of those about the same commands.
    fn note(&mut self, rule: &str, on: bool) {
        let is_about = |known: &str| {
            let rest = known.strip_prefix(rule);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        };
        self.command_rules.retain(|known| !is_about(&known[1..]));
        let sign = if on { '+' } else { '-' };
        self.command_rules.push(format!("{sign}{rule}"));
    }

    /// Checks a request; `Err` says what it lacks.
    pub fn check(
        &self,
        command: CommandId,
        row: &CommandSpec,
        args: &Args<'_>,
    ) -> Result<(), Denial> {
        if !self.commands.has(command)
            && !row.flags.has(Flags::NO_AUTH)
            && !self.allows_argument(command, row, args)
        {
            return Err(Denial::Command);
        }
        if !self.all_keys {
            for (place, wanted) in row.key_permissions(args) {
                if !self.permits_key(args.at(place), wanted) {
                    return Err(Denial::Key(place));
                }
            }
        }
        if !self.all_channels {
            let (channels, is_pattern) = channels_of(row, args);
            for place in channels {
                if !self.permits_channel(args.at(place), is_pattern) {
                    return Err(Denial::Channel(place));
                }
            }
        }
        Ok(())
    }

    fn allows_argument(&self, command: CommandId, row: &CommandSpec, args: &Args<'_>) -> bool {
        let place = 1 + usize::from(row.container().is_some());
        let Some(given) = args.get(place) else {
            return false;
        };
        let mut allowed = self.first_arguments.iter();
        allowed.any(|(id, argument)| *id == command && argument.eq_ignore_ascii_case(given))
    }

    /// True when a key may be used like this.
    pub fn permits_key(&self, key: &[u8], wanted: Permission) -> bool {
        self.all_keys || self.keys.iter().any(|pattern| pattern.permits(key, wanted))
    }

    /// True when a channel may be used; a pattern of channels has to be among the patterns as it stands.
    pub fn permits_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let fits = |allowed: &[u8]| {
            if is_pattern {
                allowed == channel
            } else {
                glob::matches(allowed, channel)
            }
        };
        self.all_channels || self.channels.iter().any(|allowed| fits(allowed))
    }

    /// The rules about commands that make it.
    pub fn command_rules(&self) -> String {
        let first = if self.commands.beyond {
            "+@all"
        } else {
            "-@all"
        };
        let rules = self.command_rules.iter().map(String::as_str);
        std::iter::once(first)
            .chain(rules)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The rules about keys.
    pub fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let mut rules = Vec::new();
        for (place, pattern) in self.keys.iter().enumerate() {
            if place > 0 {
                rules.push(b' ');
            }
            pattern.describe(&mut rules);
        }
        rules
    }

    /// The rules about channels.
    pub fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let rules = self
            .channels
            .iter()
            .map(|pattern| [b"&", &**pattern].concat());
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// All rules that make it, behind one another.
    pub(super) fn describe(&self, into: &mut Vec<u8>) {
        let keys = self.key_rules();
        into.extend_from_slice(&keys);
        if !keys.is_empty() {
            into.push(b' ');
        }
        if !self.all_channels {
            into.extend_from_slice(b"resetchannels ");
        }
        let channels = self.channel_rules();
        into.extend_from_slice(&channels);
        if !channels.is_empty() {
            into.push(b' ');
        }
        into.extend_from_slice(self.command_rules().as_bytes());
    }
}

/// The places of the channels that a request uses, and whether they are patterns. Leaving a channel is always allowed.
fn channels_of(row: &CommandSpec, args: &Args<'_>) -> (std::ops::Range<usize>, bool) {
    use SessionCommand as Command;
    match row.run {
        Run::Session(Command::Subscribe | Command::SSubscribe) => (1..args.len(), false),
        Run::Session(Command::PSubscribe) => (1..args.len(), true),
        Run::Session(Command::Publish | Command::SPublish) => (1..args.len().min(2), false),
        _ => (0..0, false),
    }
}
