//! CLIENT CACHING, GETREDIR and TRACKINGINFO.

use super::session::Session;
use super::tracking::{Caching, Tracking};
use crate::commands::{CommandError, Outcome};
use crate::resp::{Args, Reply};

/// CLIENT CACHING: says of the next command or transaction whether what it reads is kept.
pub(super) fn caching(session: &mut Session, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Some(tracking) = session.tracking_mut() else {
        return Err(CommandError::Plain(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ));
    };
    let answer = args.at(2);
    let (caching, otherwise) = if answer.eq_ignore_ascii_case(b"yes") {
        let otherwise = "CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
        (Caching::OptIn, otherwise)
    } else if answer.eq_ignore_ascii_case(b"no") {
        let otherwise = "CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
        (Caching::OptOut, otherwise)
    } else {
        return Err(CommandError::Syntax);
    };
    if tracking.caching != caching {
        return Err(CommandError::Plain(otherwise));
    }
    tracking.is_said = true;
    reply.ok();
    Ok(())
}

/// The client that hears for this one: 0 for none, -1 without tracking.
pub(super) fn redirect_of(session: &Session) -> i64 {
    let redirect = |tracking: &Tracking| tracking.redirect.map_or(0, |to| to.session.client as i64);
    session.tracking().map_or(-1, redirect)
}

/// CLIENT TRACKINGINFO.
pub(super) fn info(session: &Session, reply: &mut Reply<'_>) {
    let tracking = session.tracking();
    let is = |caching| tracking.is_some_and(|tracking| tracking.caching == caching);
    let is_said = tracking.is_some_and(|tracking| tracking.is_said);
    let flags = [
        (tracking.is_some(), "on"),
        (tracking.is_none(), "off"),
        (is(Caching::Broadcast), "bcast"),
        (is(Caching::OptIn), "optin"),
        (is(Caching::OptIn) && is_said, "caching-yes"),
        (is(Caching::OptOut), "optout"),
        (is(Caching::OptOut) && is_said, "caching-no"),
        (tracking.is_some_and(|it| it.no_loop), "noloop"),
        (tracking.is_some_and(|it| it.is_broken), "broken_redirect"),
    ];
    let flags: Vec<&str> = flags
        .into_iter()
        .filter_map(|(holds, name)| holds.then_some(name))
        .collect();
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.int(redirect_of(session));
    reply.bulk(b"prefixes");
    let prefixes = tracking.map_or(&[][..], |tracking| &tracking.prefixes);
    reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
}
