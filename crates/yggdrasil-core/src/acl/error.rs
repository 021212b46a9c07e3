//! Errors of rules, in Redis's words.

use std::borrow::Cow;

/// The reason why a rule is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("Unknown command or category name in ACL")]
    Unknown,
    #[error("Syntax error")]
    Syntax,
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
         'resetkeys' to start with an empty list of patterns"
    )]
    AfterAllKeys,
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. \
         Try 'resetchannels' to start with an empty list of channels"
    )]
    AfterAllChannels,
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
    )]
    BadHash,
    #[error("Allowing first-arg of a subcommand is not supported")]
    SubcommandArgument,
}

/// The reason why a change of users is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    #[error("Usernames can't contain spaces or null characters")]
    Name,
    #[error("The 'default' user cannot be removed")]
    RemovesDefault,
    #[error("Unmatched parenthesis in acl selector starting at '{}'.", shown(.0))]
    Unmatched(Vec<u8>),
    #[error("Error in ACL SETUSER modifier '{}': {error}", shown(.rule))]
    Rule { rule: Vec<u8>, error: RuleError },
    /// Everything that is wrong with a list of users, on one line.
    #[error("{0}")]
    List(String),
}

pub(super) fn shown(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}
