use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crc::{CRC_16_XMODEM, Crc, Table};

use crate::error::Error;
use crate::reply::{self, NoReply, Reply};

const SLOT_COUNT: usize = 16_384;
const SLOT_CRC: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Which address owns which hash slot.
#[derive(Debug)]
pub struct Slots {
    pub addresses: Vec<String>,
    owners: Vec<u16>,
}

impl Slots {
    /// Asks the node at `address`; every slot must have an owner.
    pub fn ask(address: &str) -> Result<Self, Error> {
        let bytes = request(address).map_err(|source| Error::Connection {
            address: address.to_owned(),
            source,
        })?;
        let refused = |reason: String| Error::Cluster {
            address: address.to_owned(),
            reason,
        };
        let (reply, _) = reply::parse(&bytes)
            .map_err(|_| refused("the connection ended within the reply".to_owned()))?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        Self::read(&reply, host).map_err(refused)
    }

    fn read(reply: &Reply<'_>, seed_host: &str) -> Result<Self, String> {
        let ranges = match reply {
            Reply::Array(ranges) => ranges,
            other => return Err(format!("expected a list of ranges, got {other:?}")),
        };
        let mut addresses: Vec<String> = Vec::new();
        let mut owners = vec![u16::MAX; SLOT_COUNT];
        for range in ranges {
            let (first, last, address) =
                read_range(range, seed_host).ok_or_else(|| format!("bad range {range:?}"))?;
            let owner = addresses
                .iter()
                .position(|known| *known == address)
                .unwrap_or_else(|| {
                    addresses.push(address);
                    addresses.len() - 1
                });
            owners[first..=last].fill(owner as u16);
        }
        match owners.iter().position(|&owner| owner == u16::MAX) {
            Some(slot) => Err(format!("slot {slot} has no owner")),
            None => Ok(Self { addresses, owners }),
        }
    }

    /// The owner of a key without a hash tag.
    pub fn owner(&self, key: &[u8]) -> usize {
        let slot = usize::from(SLOT_CRC.checksum(key)) % SLOT_COUNT;
        usize::from(self.owners[slot])
    }

    #[cfg(test)]
    pub fn halves(first: &str, second: &str) -> Self {
        Self {
            addresses: vec![first.to_owned(), second.to_owned()],
            owners: (0..SLOT_COUNT)
                .map(|slot| u16::from(slot >= SLOT_COUNT / 2))
                .collect(),
        }
    }
}

fn request(address: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    stream.write_all(b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n")?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while reply::parse(&bytes) == Err(NoReply::Incomplete) {
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(&chunk[..length]);
    }
    Ok(bytes)
}

/// `[first, last, [host, port, ...], replicas...]`; an empty or missing host means the one that was asked.
fn read_range(range: &Reply<'_>, seed_host: &str) -> Option<(usize, usize, String)> {
    let Reply::Array(parts) = range else {
        return None;
    };
    let [
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Array(node),
        ..,
    ] = &parts[..]
    else {
        return None;
    };
    let [host, Reply::Integer(port), ..] = &node[..] else {
        return None;
    };
    let host = match host {
        Reply::Bulk(host) if !host.is_empty() => std::str::from_utf8(host).ok()?,
        _ => seed_host,
    };
    let first = usize::try_from(*first).ok()?;
    let last = usize::try_from(*last).ok()?;
    (first <= last && last < SLOT_COUNT).then(|| (first, last, format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Slots, String> {
        Slots::read(&reply::parse(text.as_bytes()).unwrap().0, "10.0.0.1")
    }

    #[test]
    fn a_known_key_falls_into_its_known_slot() {
        // "foo" hashes to slot 12182, "bar" to 5061.
        let slots = Slots::halves("a:1", "b:2");
        assert_eq!(slots.owner(b"foo"), 1);
        assert_eq!(slots.owner(b"bar"), 0);
    }

    #[test]
    fn ranges_name_their_owners() {
        let slots = read(
            "*3\r\n*3\r\n:0\r\n:99\r\n*3\r\n$1\r\nh\r\n:1\r\n$1\r\nx\r\n\
             *3\r\n:100\r\n:16000\r\n*3\r\n$0\r\n\r\n:2\r\n$1\r\ny\r\n\
             *3\r\n:16001\r\n:16383\r\n*3\r\n$1\r\nh\r\n:1\r\n$1\r\nx\r\n",
        )
        .unwrap();
        assert_eq!(slots.addresses, ["h:1", "10.0.0.1:2"]);
        assert_eq!(
            (slots.owners[99], slots.owners[100], slots.owners[16_383]),
            (0, 1, 0)
        );
    }

    #[test]
    fn a_slot_without_an_owner_is_refused() {
        let error = read("*1\r\n*3\r\n:0\r\n:99\r\n*2\r\n$1\r\nh\r\n:1\r\n").unwrap_err();
        assert_eq!(error, "slot 100 has no owner");
        assert!(read("-ERR This instance has cluster support disabled\r\n").is_err());
        assert!(read("*1\r\n*2\r\n:5\r\n:4\r\n").is_err());
    }
}
