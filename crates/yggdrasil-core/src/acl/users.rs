//! All users of a node, by their names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::error::{RuleError, UsersError, shown};
use super::user::merged;
use super::{User, has_spaces};
use crate::commands::Registry;

const DEFAULT: &[u8] = b"default";

type ByName = BTreeMap<Box<[u8]>, Arc<User>>;

/// The users of a node. Every worker has them all.
#[derive(Clone, Debug)]
pub struct Users {
    by_name: ByName,
    default: Arc<User>,
    /// New users may use all channels.
    all_channels: bool,
    /// Rules about commands that are not in the table are passed over.
    passes_unknown: bool,
}

impl Users {
    /// The default user alone.
    pub fn new(table: &Registry) -> Self {
        let default = Arc::new(User::default_user(table));
        Self {
            by_name: BTreeMap::from([(DEFAULT.into(), Arc::clone(&default))]),
            default,
            all_channels: false,
            passes_unknown: false,
        }
    }

    /// The users of a list, by the commands of a table that does not have all of them.
    pub fn known_of(table: &Registry, list: &[u8]) -> Result<Self, UsersError> {
        let mut users = Self::new(table);
        users.passes_unknown = true;
        users.load(table, list, "users")?;
        Ok(users)
    }

    /// Says whether new users may use all channels.
    pub fn set_all_channels(&mut self, on: bool) {
        self.all_channels = on;
    }

    /// The user of connections that have not said who they are.
    pub fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// All users, by their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// The user of this name, where the password is right.
    pub fn log_in(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        let user = self.get(name)?;
        user.accepts(password).then(|| Arc::clone(user))
    }

    /// Changes a user, or makes one.
    pub fn set(
        &mut self,
        table: &Registry,
        name: &[u8],
        rules: &[&[u8]],
    ) -> Result<(), UsersError> {
        if has_spaces(name) {
            return Err(UsersError::Name);
        }
        let changed = match self.get(name) {
            Some(user) => user.changed(table, rules, self.all_channels)?,
            None => User::new(name, self.all_channels).changed(table, rules, self.all_channels)?,
        };
        let changed = Arc::new(changed);
        if name == DEFAULT {
            self.default = Arc::clone(&changed);
        }
        self.by_name.insert(name.into(), changed);
        Ok(())
    }

    /// Removes users; how many there were.
    pub fn remove(&mut self, names: &[&[u8]]) -> Result<usize, UsersError> {
        if names.contains(&DEFAULT) {
            return Err(UsersError::RemovesDefault);
        }
        let removed = names
            .iter()
            .filter(|name| self.by_name.remove(**name).is_some());
        Ok(removed.count())
    }

    /// Puts the users of a list in place of all that there are: lines of "user", a name, and rules. `origin` names the
    /// list in errors. Where anything is wrong, everything stays as it is.
    pub fn load(&mut self, table: &Registry, list: &[u8], origin: &str) -> Result<(), UsersError> {
        let mut loaded = ByName::new();
        let mut errors = String::new();
        for (place, line) in list.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if !line.is_empty() {
                let at = format!("{origin}:{}", place + 1);
                self.load_line(table, line, &at, &mut loaded, &mut errors);
            }
        }
        if !errors.is_empty() {
            errors.push_str(
                "WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
            );
            return Err(UsersError::List(errors));
        }
        let default = loaded
            .entry(DEFAULT.into())
            .or_insert_with(|| Arc::new(User::default_user(table)));
        self.default = Arc::clone(default);
        self.by_name = loaded;
        Ok(())
    }

    fn load_line(
        &self,
        table: &Registry,
        line: &[u8],
        at: &str,
        loaded: &mut ByName,
        errors: &mut String,
    ) {
        let words = line.split(|byte| *byte == b' ');
        let words: Vec<&[u8]> = words.map(<[u8]>::trim_ascii).collect();
        // Writing to a string cannot fail.
        let [b"user", name, rules @ ..] = &words[..] else {
            let _ = write!(
                errors,
                "{at} should start with user keyword followed by the username. "
            );
            return;
        };
        if has_spaces(name) {
            let name = shown(name);
            let _ = write!(
                errors,
                "'{at}: username '{name}' contains invalid characters. "
            );
            return;
        }
        if loaded.contains_key(*name) {
            let (name, line) = (
                shown(name),
                at.rsplit_once(':').map_or("", |(_, line)| line),
            );
            let _ = write!(
                errors,
                "WARNING: Duplicate user '{name}' found on line {line}. "
            );
            return;
        }
        let mut user = User::new(name, self.all_channels);
        self.apply_loaded(table, &mut user, rules, at, errors);
        user.note_rights();
        loaded.insert((*name).into(), Arc::new(user));
    }

    fn apply_loaded(
        &self,
        table: &Registry,
        user: &mut User,
        rules: &[&[u8]],
        at: &str,
        errors: &mut String,
    ) {
        let Ok(rules) = merged(rules) else {
            let _ = write!(
                errors,
                "{at}: Unmatched parenthesis in selector definition."
            );
            return;
        };
        let mut is_named = false;
        for rule in rules {
            match user.apply(table, &rule, self.all_channels) {
                Ok(()) => {}
                Err(RuleError::Unknown) if self.passes_unknown => {}
                // The name of a command gives nothing away.
                Err(error @ RuleError::Unknown) => {
                    let rule = shown(&rule);
                    let _ = write!(
                        errors,
                        "{at}: Error in applying operation '{rule}': {error}. "
                    );
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_named, true) {
                        let _ = write!(errors, "{at}: {error}. ");
                    }
                }
            }
        }
    }
}
