//! Load generator: one thread, one epoll, every reply checked. The result is one JSON object on standard output.

mod args;
mod chase;
mod cluster;
mod drive;
mod error;
mod histogram;
mod hold;
mod long;
mod many;
mod near;
mod probe;
mod reply;
mod workload;

use std::process::ExitCode;

use args::{Command, USAGE};
use error::Error;

fn main() -> ExitCode {
    match start() {
        Ok(clean) => ExitCode::from(u8::from(!clean)),
        Err(error) => {
            eprintln!("loadgen: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs what the command line asks for. `false` means that it ran but that replies were wrong.
fn start() -> Result<bool, Error> {
    let result = match args::parse(lexopt::Parser::from_env())? {
        Command::Help => {
            println!("{USAGE}");
            return Ok(true);
        }
        Command::Drive(options) => drive::run(&options)?,
        Command::Idle {
            address,
            connections,
        } => hold::run(&address, connections)?,
        Command::Near(options) => near::run(&options)?,
        Command::Probe(options) => probe::run(&options)?,
        Command::Many(options) => many::run(&options)?,
        Command::Chase { bytes, seed } => chase::run(bytes, seed),
        Command::Long(options) => long::run(&options)?,
    };
    println!("{result}");
    Ok(result["errors"] == 0)
}
