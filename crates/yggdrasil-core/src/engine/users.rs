//! Users of sessions: who is logged in, what becomes of that when users change, and the check of requests.

use std::sync::Arc;

use super::Engine;
use super::denials::{DeniedWhat, DeniedWhere};
use super::pending::SessionRef;
use super::session::{Gates, Session};
use crate::acl::{Denial, User, Users, UsersError};
use crate::commands::{CommandError, CommandId};
use crate::resp::Args;

/// A change of users, which every worker of the node makes.
#[derive(Clone, Debug)]
pub enum UsersChange<'a> {
    /// Rules for a user, who is made where there is none.
    Set {
        name: &'a [u8],
        rules: &'a [&'a [u8]],
    },
    Remove {
        names: &'a [&'a [u8]],
    },
    /// Another list in place of all users; `origin` names it in errors.
    Load {
        list: &'a [u8],
        origin: &'a str,
    },
}

impl Engine {
    /// The users of the node.
    #[must_use]
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Changes users, or nothing where anything of it is wrong. Sessions of users who are gone, and of those who listen
    /// to what they may not any more, are closed; that of the client who asked for it after its reply. How many users
    /// were removed.
    ///
    /// # Errors
    /// What is wrong, in Redis's words.
    pub fn change_users(
        &mut self,
        change: &UsersChange<'_>,
        by: Option<u64>,
    ) -> Result<usize, UsersError> {
        self.run_staged();
        self.read_clock();
        let mut removed = 0;
        match *change {
            UsersChange::Set { name, rules } => self.users.set(&self.table, name, rules)?,
            UsersChange::Remove { names } => removed = self.users.remove(names)?,
            UsersChange::Load { list, origin } => self.users.load(&self.table, list, origin)?,
        }
        self.meet_new_users(by);
        self.settle();
        Ok(removed)
    }

    /// Gives every session the rights that its user has now.
    fn meet_new_users(&mut self, by: Option<u64>) {
        let all: Vec<usize> = self.sessions.iter().map(|(index, _)| index).collect();
        for index in all {
            let session = &mut self.sessions[index];
            let known = self.users.get(session.user.name()).cloned();
            let is_kept = known
                .as_ref()
                .is_some_and(|user| listens_to_allowed(session, user));
            // Whoever has lost its user keeps nothing of its rights until its connection ends.
            session.user = known.unwrap_or_else(|| Arc::clone(self.users.default_user()));
            session.is_authenticated &= is_kept;
            self.apply_rights(index);
            if is_kept || self.sessions[index].closing {
                continue;
            }
            if by == Some(self.sessions[index].at.client) {
                self.close_after_output(index);
            } else {
                self.drop_session(index);
            }
        }
    }

    /// Sets the gates of a session by its user.
    pub(super) fn apply_rights(&mut self, index: usize) {
        let default = self.users.default_user();
        let is_open = default.needs_no_password() && default.is_enabled();
        let session = &mut self.sessions[index];
        let is_unknown = !session.is_authenticated && !is_open;
        session.gates.set(Gates::UNAUTHENTICATED, is_unknown);
        let is_restricted = !session.user.is_unrestricted();
        session.gates.set(Gates::RESTRICTED, is_restricted);
    }

    /// Puts a session back to the default user, authenticated where that needs no password.
    pub(super) fn log_out(&mut self, index: usize) {
        let default = Arc::clone(self.users.default_user());
        let session = &mut self.sessions[index];
        session.is_authenticated = default.needs_no_password() && default.is_enabled();
        session.user = default;
        self.apply_rights(index);
    }

    /// Logs a session in; what is wrong is in the log.
    pub(super) fn log_in(
        &mut self,
        index: usize,
        name: &[u8],
        password: &[u8],
        command: &[u8],
    ) -> Result<(), CommandError> {
        let Some(user) = self.users.log_in(name, password) else {
            let context = self.context_of(index);
            self.note_denial(Some(index), DeniedWhat::Auth, context, command, name);
            return Err(CommandError::text(
                "WRONGPASS invalid username-password pair or user is disabled.",
            ));
        };
        let session = &mut self.sessions[index];
        session.user = user;
        session.is_authenticated = true;
        self.apply_rights(index);
        Ok(())
    }

    /// The user of a session that is open.
    pub fn user_of(&mut self, at: SessionRef) -> Option<Arc<User>> {
        self.session(at).map(|session| Arc::clone(&session.user))
    }

    fn context_of(&self, index: usize) -> DeniedWhere {
        if self.sessions[index].gates.any(Gates::MULTI) {
            DeniedWhere::Multi
        } else {
            DeniedWhere::TopLevel
        }
    }

    /// The error of a request that the user of a session may not make.
    pub(super) fn refusal_by_rules(
        &mut self,
        index: usize,
        command: CommandId,
        args: &Args<'_>,
    ) -> Option<CommandError> {
        let row = self.table.spec(command);
        let user = &self.sessions[index].user;
        let Err(denial) = user.check(command, row, args) else {
            let option = user.denied_sort_option(command, row, args);
            return option.map(no_sort_option);
        };
        let user = Arc::clone(user);
        let context = self.context_of(index);
        Some(self.deny(index, &user, command, args, denial, context))
    }

    /// True for a step of EXEC that its user may not make any more.
    pub(super) fn is_denied_step(
        &self,
        at: SessionRef,
        command: CommandId,
        args: &Args<'_>,
    ) -> bool {
        let session = self.sessions.get(at.index);
        session.is_some_and(|session| {
            session.at == at
                && session.gates.any(Gates::RESTRICTED)
                && session
                    .user
                    .check(command, self.table.spec(command), args)
                    .is_err()
        })
    }

    /// The error of a step of EXEC that its user may not make any more.
    pub(super) fn refusal_of_step(
        &mut self,
        at: SessionRef,
        command: CommandId,
        args: &Args<'_>,
    ) -> Option<CommandError> {
        let row = self.table.spec(command);
        let session = self.session(at)?;
        if !session.gates.any(Gates::RESTRICTED) {
            return None;
        }
        let denial = session.user.check(command, row, args).err()?;
        let user = Arc::clone(&session.user);
        self.deny(at.index, &user, command, args, denial, DeniedWhere::Multi);
        let reason = match denial {
            Denial::Command => "no permission to execute the command or subcommand",
            Denial::Key(_) => "no permission to touch the specified keys",
            Denial::Channel(_) => {
                "no permission to access one of the channels used as argument to the command"
            }
        };
        Some(CommandError::text(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
             command is no longer allowed for the following reason: {reason}"
        )))
    }

    /// Checks a request that a script, or a command written in Python, makes for its user.
    ///
    /// # Errors
    /// The error of the request, which is in the log.
    pub fn check_for(
        &mut self,
        at: SessionRef,
        user: &User,
        command: CommandId,
        args: &Args<'_>,
        context: DeniedWhere,
    ) -> Result<(), CommandError> {
        if user.is_unrestricted() {
            return Ok(());
        }
        let row = self.table.spec(command);
        let Err(denial) = user.check(command, row, args) else {
            let option = user.denied_sort_option(command, row, args);
            return option.map_or(Ok(()), |option| Err(no_sort_option(option)));
        };
        let is_open = self.session(at).is_some();
        if is_open {
            return Err(self.deny(at.index, user, command, args, denial, context));
        }
        let name = self.table.spec(command).name;
        Err(super::denials::no_permission(user, name, denial))
    }

    /// True when a user may make a request, as `redis.acl_check_cmd` of scripts asks; nothing is logged.
    ///
    /// # Errors
    /// A request that names no command, or has a wrong number of arguments for it.
    pub fn allows(&self, user: &User, args: &Args<'_>) -> Result<bool, CommandError> {
        let command = self.table.lookup(args)?;
        Ok(user.check(command, self.table.spec(command), args).is_ok())
    }
}

fn no_sort_option(option: &str) -> CommandError {
    CommandError::text(format!(
        "ERR {option} option of SORT denied due to insufficient ACL permissions."
    ))
}

/// True when a session listens to nothing that its user may not listen to.
fn listens_to_allowed(session: &Session, user: &User) -> bool {
    let Some(details) = session.details() else {
        return true;
    };
    let subscribed = &details.subscribed;
    let mut channels = subscribed.channels.iter().chain(&subscribed.sharded);
    let mut patterns = subscribed.patterns.iter();
    channels.all(|name| user.permits_channel(name, false))
        && patterns.all(|name| user.permits_channel(name, true))
}
