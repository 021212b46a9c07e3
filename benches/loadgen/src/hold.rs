use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::Error;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"+PONG\r\n";
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// One PING and its answer; the connection is then known to both sides.
pub fn ping(stream: &mut TcpStream, address: &str) -> Result<(), Error> {
    let mut answer = [0; PONG.len()];
    stream
        .write_all(PING)
        .and_then(|()| stream.read_exact(&mut answer))
        .map_err(|source| Error::Connection {
            address: address.to_owned(),
            source,
        })?;
    if answer == PONG {
        return Ok(());
    }
    Err(Error::Unexpected {
        address: address.to_owned(),
        expected: "PONG",
        got: String::from_utf8_lossy(&answer).into_owned(),
    })
}

pub fn connect(address: &str) -> Result<TcpStream, Error> {
    let connect = || {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        Ok(stream)
    };
    connect().map_err(|source| Error::Connect {
        address: address.to_owned(),
        source,
    })
}

/// Opens the connections, says so on standard output, waits for a line, and checks that all still answer.
pub fn run(address: &str, connections: usize) -> Result<Value, Error> {
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = connect(address)?;
        ping(&mut stream, address)?;
        streams.push(stream);
    }
    println!("open");
    // The other side may be gone already; then the connections are given up just the same.
    let _ = io::stdin().lock().read_line(&mut String::new());
    let errors = streams
        .iter_mut()
        .filter_map(|stream| ping(stream, address).err())
        .count();
    Ok(json!({ "connections": connections, "errors": errors }))
}
