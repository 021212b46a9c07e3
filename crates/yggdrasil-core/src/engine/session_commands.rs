//! Commands about the session itself.

use super::Engine;
use super::dispatch::Flow;
use super::durability::AckChoice;
use super::pubsub::Topic;
use super::script_queries::write_time;
use super::session::{Gates, Session, Wait};
use super::tracking_commands;
use crate::commands::{CommandError, Outcome, ScriptingQuery, SessionCommand, database_argument};
use crate::resp::{Args, Protocol, Reply, parse_i64};
use crate::stats::Counter;

/// What HELLO and INFO call the version of Redis whose behaviour clients find here.
pub const COMPATIBLE_VERSION: &str = "8.0.0";

impl Engine {
    /// Runs one of the engine's own commands.
    pub(super) fn run_session(
        &mut self,
        index: usize,
        command: SessionCommand,
        args: &Args<'_>,
    ) -> Flow {
        use SessionCommand as Command;
        let ordered = !matches!(
            command,
            Command::Ping | Command::Echo | Command::Publish | Command::SPublish
        );
        if let Command::Scripting(query) = command
            && query.looks_at_libraries()
            && let Some(wait) = self.wait_for_libraries()
        {
            return Flow::Again(wait);
        }
        let session = &mut self.sessions[index];
        if ordered && !session.slots.is_empty() {
            return Flow::Again(Wait::Slots);
        }
        match command {
            Command::Exec => return self.exec(index),
            Command::Watch if !session.gates.any(Gates::MULTI) => {
                return self.watch_keys(index, args);
            }
            Command::Publish => return self.publish_for_session(index, args, false),
            Command::SPublish => return self.publish_for_session(index, args, true),
            Command::Scripting(ScriptingQuery::ScriptKill) => {
                return self.kill_for_session(index, false);
            }
            Command::Scripting(ScriptingQuery::FunctionKill) => {
                return self.kill_for_session(index, true);
            }
            _ => {}
        }
        let mut target = std::mem::take(session.reply_target());
        let outcome = self.run_on_session(index, command, args, &mut target);
        let session = &mut self.sessions[index];
        if let Err(error) = outcome {
            error.write(&mut Reply::new(&mut target, session.protocol));
        }
        *session.reply_target() = target;
        Flow::Done
    }

    /// One of these as a step of EXEC.
    pub(super) fn session_step(
        &mut self,
        id: usize,
        command: SessionCommand,
        args: &Args<'_>,
    ) -> Vec<u8> {
        let at = self.transactions[id].session;
        let mut reply = Vec::new();
        let protocol = self.transactions[id].protocol;
        let outcome = match self.session(at) {
            None => Err(CommandError::Plain("the client has gone")),
            Some(_) if command == SessionCommand::Monitor => Err(CommandError::Plain(
                "MONITOR isn't allowed for DENY BLOCKING client",
            )),
            Some(_) => self.run_on_session(at.index, command, args, &mut reply),
        };
        if let Err(error) = outcome {
            error.write(&mut Reply::new(&mut reply, protocol));
        }
        if let Some(session) = self.session(at) {
            let (db, protocol) = (session.db, session.protocol);
            self.transactions[id].db = db;
            self.transactions[id].protocol = protocol;
        }
        reply
    }

    fn run_on_session(
        &mut self,
        index: usize,
        command: SessionCommand,
        args: &Args<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        use SessionCommand as Command;
        let session = &mut self.sessions[index];
        let mut reply = Reply::new(out, session.protocol);
        match command {
            Command::Ping => return ping(session, args, &mut reply),
            Command::Echo => reply.bulk(args.at(1)),
            Command::Select => return self.select(index, args, &mut reply),
            Command::Auth => return self.auth(index, args, &mut reply),
            Command::Hello => return self.hello(index, args, out),
            Command::Quit => {
                reply.ok();
                self.close_after_output(index);
            }
            Command::Reset => self.reset(index, out),
            Command::ClientId => reply.int(session.at.client as i64),
            Command::ClientGetName => match session.details().map(|details| &details.name) {
                Some(name) if !name.is_empty() => reply.bulk(name),
                _ => reply.null(),
            },
            Command::ClientSetName => {
                check_word(
                    args.at(2),
                    "Client names cannot contain spaces, newlines or special characters.",
                )?;
                session.details_mut().name = args.at(2).to_vec();
                reply.ok();
            }
            Command::ClientSetInfo => return set_info(session, args, &mut reply),
            Command::ClientReply => return client_reply(session, args, &mut reply),
            Command::ClientNoEvict => return switch(session, Gates::NO_EVICT, args, &mut reply),
            Command::ClientCaching => return tracking_commands::caching(session, args, &mut reply),
            Command::ClientGetRedir => reply.int(tracking_commands::redirect_of(session)),
            Command::ClientTrackingInfo => tracking_commands::info(session, &mut reply),
            Command::ClientAck => {
                session.ack = AckChoice::named(args.at(2)).ok_or(CommandError::Syntax)?;
                reply.ok();
            }
            Command::ClientNoTouch => return switch(session, Gates::NO_TOUCH, args, &mut reply),
            Command::Multi => return multi(session, &mut reply),
            Command::Discard => return self.discard(index, &mut reply),
            Command::Unwatch => {
                reply.ok();
                self.forget_watches(index);
            }
            Command::Subscribe => self.subscribe(index, args, Topic::Channel, out),
            Command::PSubscribe => self.subscribe(index, args, Topic::Pattern, out),
            Command::SSubscribe => self.subscribe(index, args, Topic::Sharded, out),
            Command::Unsubscribe => self.unsubscribe(index, args, Topic::Channel, out),
            Command::PUnsubscribe => self.unsubscribe(index, args, Topic::Pattern, out),
            Command::SUnsubscribe => self.unsubscribe(index, args, Topic::Sharded, out),
            Command::Monitor => {
                reply.ok();
                self.enter_monitor(index);
            }
            Command::Time => write_time((self.clock.unix_us)(), &mut reply),
            Command::Scripting(query) => return self.answer_scripting(query, args, &mut reply),
            // Every slot is served by whichever worker gets the request.
            Command::Asking | Command::ReadOnly | Command::ReadWrite => reply.ok(),
            Command::Watch => return Err(CommandError::Plain("WATCH inside MULTI is not allowed")),
            Command::Exec | Command::Publish | Command::SPublish => {
                return Err(CommandError::Plain(
                    "Command not allowed inside a transaction",
                ));
            }
        }
        Ok(())
    }

    fn select(&mut self, index: usize, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
        let databases = self.options.limits.databases;
        self.sessions[index].db = database_argument(args.at(1), databases)?;
        reply.ok();
        Ok(())
    }

    fn auth(&mut self, index: usize, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
        let (user, password) = match args.len() {
            2 if self.users.default_user().needs_no_password() => {
                return Err(CommandError::Plain(
                    "AUTH <password> called without any password configured for the default user. Are you sure \
                     your configuration is correct?",
                ));
            }
            2 => (&b"default"[..], args.at(1)),
            3 => (args.at(1), args.at(2)),
            _ => return Err(CommandError::Syntax),
        };
        self.log_in(index, user, password, args.at(0))?;
        reply.ok();
        Ok(())
    }

    fn hello(&mut self, index: usize, args: &Args<'_>, out: &mut Vec<u8>) -> Outcome {
        let mut protocol = self.sessions[index].protocol;
        if let Some(version) = args.get(1) {
            protocol = match parse_i64(version) {
                Some(2) => Protocol::Resp2,
                Some(3) => Protocol::Resp3,
                Some(_) => return Err(CommandError::text("NOPROTO unsupported protocol version")),
                None => {
                    return Err(CommandError::Plain(
                        "Protocol version is not an integer or out of range",
                    ));
                }
            };
        }
        let mut rest = args.iter().skip(2);
        let (mut login, mut name) = (None, None);
        while let Some(option) = rest.next() {
            match (option.to_ascii_lowercase().as_slice(), rest.len()) {
                (b"auth", 2..) => {
                    let user = rest.next().unwrap_or_default();
                    let password = rest.next().unwrap_or_default();
                    login = Some((user, password));
                }
                (b"setname", 1..) => {
                    let given = rest.next().unwrap_or_default();
                    check_word(
                        given,
                        "Client names cannot contain spaces, newlines or special characters.",
                    )?;
                    name = Some(given.to_vec());
                }
                _ => {
                    let option = String::from_utf8_lossy(option);
                    return Err(CommandError::text(format!(
                        "ERR Syntax error in HELLO option '{option}'"
                    )));
                }
            }
        }
        match login {
            Some((user, password)) => self.log_in(index, user, password, args.at(0))?,
            None if self.sessions[index].gates.any(Gates::UNAUTHENTICATED) => {
                return Err(hello_without_auth());
            }
            None => {}
        }
        let session = &mut self.sessions[index];
        if let Some(name) = name {
            session.details_mut().name = name;
        }
        session.protocol = protocol;
        let restricted = session.subscriptions() > 0 && protocol == Protocol::Resp2;
        session.gates.set(Gates::SUBSCRIBED, restricted);
        let client = session.at.client;
        describe_node(&mut Reply::new(out, protocol), client);
        Ok(())
    }

    fn reset(&mut self, index: usize, out: &mut Vec<u8>) {
        self.forget_subscriptions(index);
        self.forget_watches(index);
        self.leave_monitor(index);
        self.stop_tracking(index);
        self.sessions[index].gates = Gates::default();
        self.log_out(index);
        let session = &mut self.sessions[index];
        session.db = 0;
        session.ack = AckChoice::Default;
        session.protocol = Protocol::Resp2;
        let details = session.details_mut();
        details.name.clear();
        details.multi.queue = Vec::new();
        details.multi.aborted = false;
        Reply::new(out, Protocol::Resp2).simple("RESET");
    }

    fn discard(&mut self, index: usize, reply: &mut Reply<'_>) -> Outcome {
        if !self.sessions[index].gates.any(Gates::MULTI) {
            return Err(CommandError::Plain("DISCARD without MULTI"));
        }
        self.end_multi(index);
        reply.ok();
        Ok(())
    }

    /// Forgets what MULTI has queued, and the watches: those also without MULTI.
    pub(super) fn end_multi(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        if session.gates.any(Gates::MULTI) {
            session.gates.set(Gates::MULTI, false);
            let multi = &mut session.details_mut().multi;
            multi.queue = Vec::new();
            multi.aborted = false;
        }
        self.forget_watches(index);
    }

    fn exec(&mut self, index: usize) -> Flow {
        let session = &mut self.sessions[index];
        if !session.gates.any(Gates::MULTI) {
            self.refuse(index, None, &CommandError::Plain("EXEC without MULTI"));
            return Flow::Done;
        }
        session.gates.set(Gates::MULTI, false);
        let multi = &mut session.details_mut().multi;
        let queue = std::mem::take(&mut multi.queue);
        if std::mem::take(&mut multi.aborted) {
            self.forget_watches(index);
            let text = "EXECABORT Transaction discarded because of previous errors.";
            self.refuse(index, None, &CommandError::text(text));
            return Flow::Done;
        }
        let flow = self.start_transaction(index, queue, true);
        if let Some(session) = self.sessions.get_mut(index)
            && session
                .details()
                .is_some_and(|details| details.multi.watched != 0)
        {
            // The owners forget the watches when the transaction releases their shards.
            let multi = &mut session.details_mut().multi;
            multi.watched = 0;
            let keys = std::mem::take(&mut multi.watched_keys) as u64;
            multi.watch_lost = false;
            self.stats.subtract(Counter::WatchedKeys, keys);
            self.stats.subtract(Counter::WatchingClients, 1);
        }
        flow
    }
}

fn ping(session: &Session, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match args.len() {
        1 | 2 if session.gates.any(Gates::SUBSCRIBED) => {
            reply.array(2);
            reply.bulk(b"pong");
            reply.bulk(args.get(1).unwrap_or_default());
        }
        1 => reply.simple("PONG"),
        2 => reply.bulk(args.at(1)),
        _ => {
            return Err(CommandError::Plain(
                "wrong number of arguments for 'ping' command",
            ));
        }
    }
    Ok(())
}

fn multi(session: &mut Session, reply: &mut Reply<'_>) -> Outcome {
    if session.gates.any(Gates::MULTI) {
        return Err(CommandError::Plain("MULTI calls can not be nested"));
    }
    session.gates.set(Gates::MULTI, true);
    session.details_mut().multi.queue = Vec::<super::session::Queued>::new();
    reply.ok();
    Ok(())
}

fn set_info(session: &mut Session, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let value = args.at(3);
    let details = session.details_mut();
    let (place, error) = match args.at(2).to_ascii_lowercase().as_slice() {
        b"lib-name" => (
            &mut details.library_name,
            "lib-name cannot contain spaces, newlines or special characters.",
        ),
        b"lib-ver" => (
            &mut details.library_version,
            "lib-ver cannot contain spaces, newlines or special characters.",
        ),
        _ => {
            let option = String::from_utf8_lossy(args.at(2));
            return Err(CommandError::text(format!(
                "ERR Unrecognized option '{option}'"
            )));
        }
    };
    check_word(value, error)?;
    *place = value.to_vec();
    reply.ok();
    Ok(())
}

fn client_reply(session: &mut Session, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match args.at(2).to_ascii_lowercase().as_slice() {
        b"on" => {
            session.gates.set(Gates::REPLY_OFF, false);
            session.gates.set(Gates::REPLY_SKIP, false);
            session.mute_this = false;
            reply.ok();
        }
        b"off" => session.gates.set(Gates::REPLY_OFF, true),
        b"skip" => {
            if !session.gates.any(Gates::REPLY_OFF) {
                session.gates.set(Gates::REPLY_SKIP, true);
            }
        }
        _ => return Err(CommandError::Syntax),
    }
    Ok(())
}

fn switch(session: &mut Session, gate: Gates, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let on = match args.at(2).to_ascii_lowercase().as_slice() {
        b"on" => true,
        b"off" => false,
        _ => return Err(CommandError::Syntax),
    };
    session.gates.set(gate, on);
    reply.ok();
    Ok(())
}

/// Names are printed in lists: nothing but visible ASCII.
fn check_word(word: &[u8], error: &'static str) -> Outcome {
    if word.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        Ok(())
    } else {
        Err(CommandError::Plain(error))
    }
}

fn hello_without_auth() -> CommandError {
    CommandError::text(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
         <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
    )
}

fn describe_node(reply: &mut Reply<'_>, client: u64) {
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(COMPATIBLE_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.int(i64::from(reply.protocol().version()));
    reply.bulk(b"id");
    reply.int(client as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
}
