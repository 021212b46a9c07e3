//! Writing a file.

use std::io::{self, Write};

use crc::{CRC_64_REDIS, Crc, Digest, Table};
use yggdrasil_core::commands::rdb::{append_length, append_text, append_value};
use yggdrasil_core::keyspace::{Kind, Millis, Value};

use crate::opcode::{AUX, EOF, EXPIRETIME_MS, RESIZEDB, SELECTDB, VERSION};

static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

const BUFFER_BYTES: usize = 256 << 10;

/// What a file tells of its writer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// The version of Redis that it is like.
    pub version: &'a str,
    /// Unix time in seconds.
    pub created: u64,
}

/// A writer of a file.
pub struct Writer<W> {
    file: W,
    buffer: Vec<u8>,
    digest: Digest<'static, u64, Table<16>>,
    db: Option<u8>,
    bytes: u64,
    entries: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(file: W, header: &Header<'_>) -> io::Result<Self> {
        let mut writer = Self {
            file,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            digest: CRC64.digest(),
            db: None,
            bytes: 0,
            entries: 0,
        };
        writer
            .buffer
            .extend_from_slice(format!("REDIS{VERSION:04}").as_bytes());
        let created = header.created.to_string();
        for (name, value) in [
            ("redis-ver", header.version),
            ("redis-bits", "64"),
            ("ctime", &created),
        ] {
            writer.buffer.push(AUX);
            append_text(&mut writer.buffer, name.as_bytes());
            append_text(&mut writer.buffer, value.as_bytes());
        }
        writer.flush_if_full()?;
        Ok(writer)
    }

    /// Adds libraries of functions, as FUNCTION DUMP has them before version and checksum.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn libraries(&mut self, body: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(body);
        self.flush_if_full()
    }

    /// Says how many entries a database is to have.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn expect(&mut self, db: u8, entries: u64) -> io::Result<()> {
        self.select(db);
        self.buffer.push(RESIZEDB);
        append_length(&mut self.buffer, entries);
        append_length(&mut self.buffer, 0);
        self.flush_if_full()
    }

    /// Adds an entry. False for a value that has no form here; nothing is added then.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn entry(
        &mut self,
        db: u8,
        key: &[u8],
        kind: Kind,
        value: Value<'_>,
        expire_at: Option<Millis>,
    ) -> io::Result<bool> {
        // Type and value come first from their codec, and have the key between them.
        let mut typed = Vec::new();
        let has_form = append_value(&mut typed, kind, value);
        let Some((first, rest)) = typed.split_first().filter(|_| has_form) else {
            return Ok(false);
        };
        self.select(db);
        if let Some(at) = expire_at {
            self.buffer.push(EXPIRETIME_MS);
            self.buffer.extend(at.to_le_bytes());
        }
        self.buffer.push(*first);
        append_text(&mut self.buffer, key);
        self.flush_if_full()?;
        if rest.len() > BUFFER_BYTES {
            self.flush()?;
            self.write(rest)?;
        } else {
            self.buffer.extend_from_slice(rest);
        }
        self.entries += 1;
        Ok(true)
    }

    /// Entries added so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Ends the file: its bytes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(mut self) -> io::Result<u64> {
        self.buffer.push(EOF);
        self.flush()?;
        let checksum = self.digest.clone().finalize();
        self.write(&checksum.to_le_bytes())?;
        self.file.flush()?;
        Ok(self.bytes)
    }

    fn select(&mut self, db: u8) {
        if self.db != Some(db) {
            self.db = Some(db);
            self.buffer.push(SELECTDB);
            append_length(&mut self.buffer, u64::from(db));
        }
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() < BUFFER_BYTES / 2 {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let written = self.write(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        written
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}
