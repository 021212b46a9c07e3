//! Reading a file entry by entry.

use std::io::Read;

use yggdrasil_core::commands::rdb::seal_payload;

use crate::error::{Fault, RdbError};
use crate::opcode::{
    AUX, EOF, EXPIRETIME, EXPIRETIME_MS, FREQ, FUNCTION_PRE_GA, FUNCTION2, IDLE, MODULE_2,
    MODULE_AUX, RESIZEDB, SELECTDB, SLOT_INFO, VERSION_MAX, VERSION_WITH_CHECKSUM,
};
use crate::source::{Length, Source};
use crate::value::{module_name, module_parts, pass};

const MAGIC: &[u8; 5] = b"REDIS";
/// Longest key, name or note that makes sense.
const NAME_BYTES_MAX: u64 = 512 << 20;

/// Limits of what is taken into memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a value as they stand in the file.
    pub value_bytes: u64,
    /// Databases that there are.
    pub databases: u64,
}

/// An entry of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub db: u64,
    pub key: Vec<u8>,
    /// Unix time in milliseconds.
    pub expire_at: Option<i64>,
    /// Seconds since its last use, or the frequency of its uses, where the file tells.
    pub idle: Option<u64>,
    pub frequency: Option<u8>,
    /// The value, as DUMP gives it.
    pub payload: Vec<u8>,
}

/// A part of a file that nobody here can use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// The module that it is of.
    pub module: String,
    /// The database and the key; none for what is of no key.
    pub key: Option<(u64, Vec<u8>)>,
}

/// A part of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    Entry(Entry),
    /// The source of a library of functions.
    Library(Vec<u8>),
    /// What the writer tells of itself.
    Note {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    Skipped(Skipped),
}

/// What stands before the next entry.
#[derive(Default)]
struct Marks {
    expire_at: Option<i64>,
    idle: Option<u64>,
    frequency: Option<u8>,
}

/// A reader of a file, which is read once from its beginning to its end.
pub struct Reader<R> {
    source: Source<R>,
    version: u32,
    limits: Limits,
    db: u64,
    is_over: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the head of a file.
    ///
    /// # Errors
    /// It is none of Redis, or of a later version.
    pub fn open(file: R, limits: Limits) -> Result<Self, RdbError> {
        let mut source = Source::new(file, limits.value_bytes);
        if &source.take()? != MAGIC {
            return Err(source.failed(Fault::Magic));
        }
        let digits: [u8; 4] = source.take()?;
        let version = digits.iter().try_fold(0, |all, digit| {
            let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
            Some(all * 10 + u32::from(digit))
        });
        let version = version.ok_or_else(|| source.failed(Fault::Magic))?;
        if !(1..=VERSION_MAX).contains(&version) {
            return Err(source.failed(Fault::Version(version)));
        }
        Ok(Self {
            source,
            version,
            limits,
            db: 0,
            is_over: false,
        })
    }

    /// The version of the file.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Bytes read so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }

    fn step(&mut self) -> Result<Option<Item>, RdbError> {
        let mut marks = Marks::default();
        loop {
            let opcode = self.source.byte()?;
            match opcode {
                EXPIRETIME_MS => {
                    marks.expire_at = Some(i64::from_le_bytes(self.source.take()?));
                }
                EXPIRETIME => {
                    let seconds = i32::from_le_bytes(self.source.take()?);
                    marks.expire_at = Some(i64::from(seconds) * 1000);
                }
                IDLE => marks.idle = Some(self.source.number()?),
                FREQ => marks.frequency = Some(self.source.byte()?),
                SELECTDB => {
                    self.db = self.source.number()?;
                    if self.db >= self.limits.databases {
                        return Err(self
                            .source
                            .failed(Fault::Database(self.db.saturating_add(1))));
                    }
                }
                RESIZEDB => self.pass_numbers(2)?,
                SLOT_INFO => self.pass_numbers(3)?,
                AUX => {
                    let (name, value) = (self.text()?, self.text()?);
                    return Ok(Some(Item::Note { name, value }));
                }
                FUNCTION2 => return self.text().map(Item::Library).map(Some),
                FUNCTION_PRE_GA => return Err(self.source.failed(Fault::OldFunctions)),
                MODULE_AUX => {
                    let module = module_name(self.source.number()?);
                    self.pass_numbers(2)?;
                    module_parts(&mut self.source)?;
                    return Ok(Some(Item::Skipped(Skipped { module, key: None })));
                }
                EOF => {
                    self.end()?;
                    return Ok(None);
                }
                kind => return self.entry(kind, &marks).map(Some),
            }
        }
    }

    fn entry(&mut self, kind: u8, marks: &Marks) -> Result<Item, RdbError> {
        let key = self.text()?;
        if kind != MODULE_2 {
            self.source.keep(kind);
        }
        let passed = pass(kind, &mut self.source);
        let mut payload = self.source.kept();
        if let Some(id) = passed? {
            return Ok(Item::Skipped(Skipped {
                module: module_name(id),
                key: Some((self.db, key)),
            }));
        }
        seal_payload(&mut payload);
        Ok(Item::Entry(Entry {
            db: self.db,
            key,
            expire_at: marks.expire_at,
            idle: marks.idle,
            frequency: marks.frequency,
            payload,
        }))
    }

    fn pass_numbers(&mut self, count: usize) -> Result<(), RdbError> {
        for _ in 0..count {
            self.source.number()?;
        }
        Ok(())
    }

    /// A string, unpacked.
    fn text(&mut self) -> Result<Vec<u8>, RdbError> {
        let max = self.limits.value_bytes.min(NAME_BYTES_MAX);
        let int = match self.source.length()? {
            Length::Bytes(bytes) => return self.source.raw(bytes, max),
            Length::Encoded(0) => i64::from(i8::from_le_bytes(self.source.take()?)),
            Length::Encoded(1) => i64::from(i16::from_le_bytes(self.source.take()?)),
            Length::Encoded(2) => i64::from(i32::from_le_bytes(self.source.take()?)),
            Length::Encoded(3) => return self.packed(max),
            Length::Encoded(_) => return Err(self.source.failed(Fault::Length)),
        };
        Ok(int.to_string().into_bytes())
    }

    fn packed(&mut self, max: u64) -> Result<Vec<u8>, RdbError> {
        let (packed, bytes) = (self.source.number()?, self.source.number()?);
        if bytes > max {
            return Err(self.source.failed(Fault::TooLong { bytes, max }));
        }
        let packed = self.source.raw(packed, max)?;
        let unpacked = usize::try_from(bytes).ok();
        unpacked
            .and_then(|bytes| yggdrasil_core::commands::rdb::unpack(&packed, bytes))
            .ok_or_else(|| self.source.failed(Fault::Length))
    }

    fn end(&mut self) -> Result<(), RdbError> {
        if self.version >= VERSION_WITH_CHECKSUM {
            let found = self.source.checksum();
            let expected = u64::from_le_bytes(self.source.take()?);
            // Zero stands where the writer was told to make none.
            if expected != 0 && expected != found {
                return Err(self.source.failed(Fault::Checksum));
            }
        }
        if !self.source.is_over()? {
            return Err(self.source.failed(Fault::Trailing));
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Item, RdbError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let step = self.step().transpose();
        // Nothing follows an error.
        self.is_over = !matches!(step, Some(Ok(_)));
        step
    }
}
