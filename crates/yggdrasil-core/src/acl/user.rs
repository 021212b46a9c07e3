//! A user: a name, passwords, and selectors.

use super::error::{RuleError, UsersError};
use super::password::PasswordHash;
use super::{Denial, Permission, Selector};
use crate::commands::{CommandId, CommandSpec, Registry};
use crate::resp::Args;

/// A user of the node. A change makes another one, so that whoever holds this one sees it whole.
#[derive(Clone, Debug)]
pub struct User {
    name: Box<[u8]>,
    is_enabled: bool,
    /// Every password is right.
    no_password: bool,
    /// Payloads of RESTORE are looked through, whoever sends them; kept and shown as Redis does.
    sanitizes: bool,
    passwords: Vec<PasswordHash>,
    /// The first one has the rules that stand outside of brackets.
    selectors: Vec<Selector>,
    is_unrestricted: bool,
}

impl User {
    /// A user who may do nothing.
    pub fn new(name: &[u8], all_channels: bool) -> Self {
        Self {
            name: name.into(),
            is_enabled: false,
            no_password: false,
            sanitizes: true,
            passwords: Vec::new(),
            selectors: vec![Selector::new(all_channels)],
            is_unrestricted: false,
        }
    }

    /// The user of connections that have not said who they are, as it is at first: without a password, with all rights.
    pub fn default_user(table: &Registry) -> Self {
        let mut user = Self::new(b"default", true);
        for rule in ["+@all", "~*", "on", "nopass"] {
            user.apply(table, rule.as_bytes(), false)
                .expect("rules without names are known");
        }
        user.note_rights();
        user
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// True when any password is right.
    pub fn needs_no_password(&self) -> bool {
        self.no_password
    }

    /// True when everything is allowed: then no request has to be checked.
    #[inline]
    pub fn is_unrestricted(&self) -> bool {
        self.is_unrestricted
    }

    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// The hashes of the passwords, as hexadecimal digits.
    pub fn passwords(&self) -> impl Iterator<Item = &str> {
        self.passwords.iter().map(PasswordHash::as_str)
    }

    /// True for an enabled user with this password.
    pub fn accepts(&self, password: &[u8]) -> bool {
        if !self.is_enabled || self.no_password {
            return self.is_enabled;
        }
        let given = PasswordHash::of(password);
        let known = self.passwords.iter();
        known.fold(false, |right, known| right | known.is(&given))
    }

    /// The same user changed by rules, where all of them can be applied.
    pub fn changed(
        &self,
        table: &Registry,
        rules: &[&[u8]],
        all_channels: bool,
    ) -> Result<Self, UsersError> {
        let mut user = self.clone();
        for rule in merged(rules)? {
            if let Err(error) = user.apply(table, &rule, all_channels) {
                return Err(UsersError::Rule { rule, error });
            }
        }
        user.note_rights();
        Ok(user)
    }

    pub(super) fn note_rights(&mut self) {
        self.is_unrestricted = self.selectors.iter().any(Selector::is_unrestricted);
    }

    pub(super) fn apply(
        &mut self,
        table: &Registry,
        rule: &[u8],
        all_channels: bool,
    ) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.is_enabled = true,
            b"off" => self.is_enabled = false,
            b"skip-sanitize-payload" => self.sanitizes = false,
            b"sanitize-payload" => self.sanitizes = true,
            b"nopass" => self.forget_passwords(true),
            b"resetpass" => self.forget_passwords(false),
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = Self::new(&self.name, all_channels),
            _ => return self.apply_other(table, rule, all_channels),
        }
        Ok(())
    }

    fn apply_other(
        &mut self,
        table: &Registry,
        rule: &[u8],
        all_channels: bool,
    ) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => self.add_password(PasswordHash::of(password)),
            [b'#', digits @ ..] => self.add_password(PasswordHash::parse(digits)?),
            [b'<', password @ ..] => self.remove_password(&PasswordHash::of(password))?,
            [b'!', digits @ ..] => self.remove_password(&PasswordHash::parse(digits)?)?,
            [b'(', rules @ .., b')'] => {
                self.selectors
                    .push(Selector::parse(table, rules, all_channels)?);
            }
            _ => self.selectors[0].apply(table, rule)?,
        }
        Ok(())
    }

    fn forget_passwords(&mut self, no_password: bool) {
        self.no_password = no_password;
        self.passwords.clear();
    }

    fn add_password(&mut self, password: PasswordHash) {
        if !self.passwords.contains(&password) {
            self.passwords.push(password);
        }
        self.no_password = false;
    }

    fn remove_password(&mut self, password: &PasswordHash) -> Result<(), RuleError> {
        let mut known = self.passwords.iter();
        let place = known.position(|known| known == password);
        self.passwords
            .remove(place.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// Checks a request against all selectors. Of several reasons against it, `Err` has the one that came furthest.
    pub fn check(
        &self,
        command: CommandId,
        row: &CommandSpec,
        args: &Args<'_>,
    ) -> Result<(), Denial> {
        let mut worst = Denial::Command;
        for selector in &self.selectors {
            match selector.check(command, row, args) {
                Ok(()) => return Ok(()),
                Err(denial) => worst = worst.max(denial),
            }
        }
        Err(worst)
    }

    /// True when a channel, or a pattern of channels, may be listened to.
    pub fn permits_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let mut selectors = self.selectors.iter();
        selectors.any(|selector| selector.permits_channel(channel, is_pattern))
    }

    /// The beginnings of the keys that the user may read with all of these commands; `None` for all keys. Patterns that
    /// say anything else than how a key begins are passed over.
    pub fn readable_prefixes(&self, commands: &[CommandId]) -> Option<Vec<&[u8]>> {
        let mut prefixes = Vec::new();
        for selector in &self.selectors {
            let mut needed = commands.iter();
            if !needed.all(|command| selector.allows_command(*command)) {
                continue;
            }
            let readable = selector.key_patterns()?.iter();
            let readable = readable.filter(|pattern| pattern.permission.has(Permission::READ));
            for prefix in readable.filter_map(|pattern| prefix_of(&pattern.pattern)) {
                if prefix.is_empty() {
                    return None;
                }
                prefixes.push(prefix);
            }
        }
        Some(prefixes)
    }

    /// The flags, as rules in Redis's order.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let flags = [
            (self.is_enabled, "on"),
            (!self.is_enabled, "off"),
            (self.no_password, "nopass"),
            (!self.sanitizes, "skip-sanitize-payload"),
            (self.sanitizes, "sanitize-payload"),
        ];
        let set = flags.into_iter().filter(|(holds, _)| *holds);
        set.map(|(_, name)| name)
    }

    /// The line that makes this user: "user", the name, and all rules.
    pub fn line(&self) -> Vec<u8> {
        let mut line = [b"user ", &*self.name, b" "].concat();
        for flag in self.flags() {
            line.extend_from_slice(flag.as_bytes());
            line.push(b' ');
        }
        for password in &self.passwords {
            line.push(b'#');
            line.extend_from_slice(password.as_str().as_bytes());
            line.push(b' ');
        }
        for (place, selector) in self.selectors.iter().enumerate() {
            if place == 0 {
                selector.describe(&mut line);
            } else {
                line.extend_from_slice(b" (");
                selector.describe(&mut line);
                line.push(b')');
            }
        }
        line
    }
}

/// The prefix of the keys that a pattern matches, where it says nothing else of them.
fn prefix_of(pattern: &[u8]) -> Option<&[u8]> {
    let prefix = pattern.strip_suffix(b"*")?;
    let is_plain = !prefix.iter().any(|byte| b"*?[\\".contains(byte));
    is_plain.then_some(prefix)
}

/// Rules with those put together that stand between brackets.
pub(super) fn merged(rules: &[&[u8]]) -> Result<Vec<Vec<u8>>, UsersError> {
    let mut merged: Vec<Vec<u8>> = Vec::with_capacity(rules.len());
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for &rule in rules {
        let closes = rule.last() == Some(&b')');
        match &mut open {
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(rule);
                if closes {
                    merged.extend(open.take().map(|(_, selector)| selector));
                }
            }
            None if rule.first() == Some(&b'(') && !closes => open = Some((rule, rule.to_vec())),
            None => merged.push(rule.to_vec()),
        }
    }
    match open {
        Some((start, _)) => Err(UsersError::Unmatched(start.to_vec())),
        None => Ok(merged),
    }
}
