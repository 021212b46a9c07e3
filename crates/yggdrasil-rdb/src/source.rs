//! The bytes of a file, with the checksum of all that was read, and a copy of what is kept.

use std::io::{self, Read};

use crc::{CRC_64_REDIS, Crc, Digest, Table};

use crate::error::{Fault, RdbError};

static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

const BUFFER_BYTES: usize = 256 << 10;

// First byte of a length: its upper two bits tell how to read it.
const LEN_6_BIT: u8 = 0;
const LEN_14_BIT: u8 = 1;
const LEN_LONG: u8 = 2;
const LEN_32_BIT: u8 = 0x80;
const LEN_64_BIT: u8 = 0x81;
// No length but an encoding, in the lower six bits.
const INT_8: u8 = 0;
const INT_16: u8 = 1;
const INT_32: u8 = 2;
const LZF: u8 = 3;

/// A length, or an encoding in its place.
pub enum Length {
    Bytes(u64),
    Encoded(u8),
}

/// A file that is read once from its beginning to its end.
pub struct Source<R> {
    file: R,
    buffer: Vec<u8>,
    /// The part of the buffer that is not read yet.
    at: usize,
    end: usize,
    /// The part before `at` that is in the checksum.
    summed: usize,
    digest: Digest<'static, u64, Table<16>>,
    /// Bytes of the file before the buffer.
    before: u64,
    /// Bytes that are kept while they are read.
    kept: Vec<u8>,
    keeps: bool,
    kept_max: u64,
}

impl<R: Read> Source<R> {
    pub fn new(file: R, kept_max: u64) -> Self {
        Self {
            file,
            buffer: vec![0; BUFFER_BYTES],
            at: 0,
            end: 0,
            summed: 0,
            digest: CRC64.digest(),
            before: 0,
            kept: Vec::new(),
            keeps: false,
            kept_max,
        }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    pub fn failed(&self, fault: Fault) -> RdbError {
        RdbError {
            offset: self.offset(),
            fault,
        }
    }

    /// Keeps all that is read from now on.
    pub fn keep(&mut self, first: u8) {
        self.kept.clear();
        self.kept.push(first);
        self.keeps = true;
    }

    /// What was read since then.
    pub fn kept(&mut self) -> Vec<u8> {
        self.keeps = false;
        std::mem::take(&mut self.kept)
    }

    fn fill(&mut self) -> Result<bool, RdbError> {
        self.digest.update(&self.buffer[self.summed..self.at]);
        self.before += self.at as u64;
        (self.at, self.end, self.summed) = (0, 0, 0);
        loop {
            match self.file.read(&mut self.buffer) {
                Ok(bytes) => {
                    self.end = bytes;
                    return Ok(bytes > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(Fault::Disk(error))),
            }
        }
    }

    /// Passes over bytes, and keeps them where that is asked for.
    pub fn pass(&mut self, mut bytes: u64) -> Result<(), RdbError> {
        if self.keeps && bytes.saturating_add(self.kept.len() as u64) > self.kept_max {
            let max = self.kept_max;
            return Err(self.failed(Fault::TooLong { bytes, max }));
        }
        while bytes > 0 {
            if self.at == self.end && !self.fill()? {
                return Err(self.failed(Fault::Short));
            }
            let there = ((self.end - self.at) as u64).min(bytes) as usize;
            if self.keeps {
                self.kept
                    .extend_from_slice(&self.buffer[self.at..self.at + there]);
            }
            self.at += there;
            bytes -= there as u64;
        }
        Ok(())
    }

    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Ok(bytes)
    }

    pub fn byte(&mut self) -> Result<u8, RdbError> {
        if self.at == self.end && !self.fill()? {
            return Err(self.failed(Fault::Short));
        }
        let byte = self.buffer[self.at];
        self.at += 1;
        if self.keeps {
            self.kept.push(byte);
        }
        Ok(byte)
    }

    pub fn length(&mut self) -> Result<Length, RdbError> {
        let first = self.byte()?;
        Ok(match first >> 6 {
            LEN_6_BIT => Length::Bytes(u64::from(first)),
            LEN_14_BIT => {
                let low = self.byte()?;
                Length::Bytes(u64::from(first & 0x3f) << 8 | u64::from(low))
            }
            LEN_LONG if first == LEN_32_BIT => {
                Length::Bytes(u64::from(u32::from_be_bytes(self.take()?)))
            }
            LEN_LONG if first == LEN_64_BIT => Length::Bytes(u64::from_be_bytes(self.take()?)),
            LEN_LONG => return Err(self.failed(Fault::Length)),
            _ => Length::Encoded(first & 0x3f),
        })
    }

    /// A number that is stored as a length.
    pub fn number(&mut self) -> Result<u64, RdbError> {
        match self.length()? {
            Length::Bytes(number) => Ok(number),
            Length::Encoded(_) => Err(self.failed(Fault::Length)),
        }
    }

    /// Passes over a string.
    pub fn string(&mut self) -> Result<(), RdbError> {
        match self.length()? {
            Length::Bytes(bytes) => self.pass(bytes),
            Length::Encoded(INT_8) => self.pass(1),
            Length::Encoded(INT_16) => self.pass(2),
            Length::Encoded(INT_32) => self.pass(4),
            Length::Encoded(LZF) => {
                let (packed, _) = (self.number()?, self.number()?);
                self.pass(packed)
            }
            Length::Encoded(_) => Err(self.failed(Fault::Length)),
        }
    }

    /// Bytes of the file from here on, as they are. They end what was kept.
    pub fn raw(&mut self, bytes: u64, max: u64) -> Result<Vec<u8>, RdbError> {
        if bytes > max {
            return Err(self.failed(Fault::TooLong { bytes, max }));
        }
        self.kept.clear();
        self.keeps = true;
        let passed = self.pass(bytes);
        let kept = self.kept();
        passed.map(|()| kept)
    }

    /// The checksum of all that was read.
    pub fn checksum(&mut self) -> u64 {
        self.digest.update(&self.buffer[self.summed..self.at]);
        self.summed = self.at;
        self.digest.clone().finalize()
    }

    /// True where nothing follows.
    pub fn is_over(&mut self) -> Result<bool, RdbError> {
        Ok(self.at == self.end && !self.fill()?)
    }
}
