//! An entropy coder: range asymmetric numeral systems (Duda 2014) with 64 interleaved states.
//!
//! Symbol `i` belongs to state `i % 64`, so that vectors of any width up to 64 decode the same bytes. A state is 32 bits
//! wide, stays from `2^15` to `2^31`, and gives off or takes in words of 16 bits. A stream is the 64 states, then the words.
//! The decoder ends with all states at `2^15` and no word left; anything else is a damaged stream.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::error::{KernelError, Result};
use crate::model::{Frequencies, PRECISION, TOTAL};
use crate::simd::{Level, Width};

pub const LANES: usize = 64;
/// Most tables that one stream can choose from.
pub const CONTEXTS_MAX: usize = 16;
const STATE_LOW: u32 = 1 << 15;
/// A symbol's frequency shifted by this is the first state that does not fit any more after the symbol.
const LIMIT_SHIFT: u32 = 31 - PRECISION;
const STATE_BYTES: usize = LANES * 4;
const SHIFT_AT: u32 = 25;
const BIAS_MASK: u32 = (1 << (SHIFT_AT - PRECISION)) - 1;
/// Free words that a vector may write below what it means to write.
const HEADROOM: usize = 32;

/// Facts of a symbol for the encoder: frequency in 12 bits, bias in 13, shift in 4, and the reciprocal above.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
struct EncoderSymbol(u64);

impl EncoderSymbol {
    /// Division by the frequency as a multiplication (Alverson 1991), as in `ryg_rans`: exact for states below 2^31.
    fn new(start: u16, frequency: u16) -> Self {
        let (start, frequency) = (u32::from(start), u32::from(frequency));
        if frequency < 2 {
            return Self::packed(frequency, start + TOTAL - 1, 0, u32::MAX);
        }
        let shift = frequency.next_power_of_two().ilog2();
        let numerator = (1u64 << (shift + 31)) + u64::from(frequency) - 1;
        Self::packed(
            frequency,
            start,
            shift - 1,
            (numerator / u64::from(frequency)) as u32,
        )
    }

    fn packed(frequency: u32, bias: u32, shift: u32, reciprocal: u32) -> Self {
        Self(
            u64::from(frequency | bias << PRECISION | shift << SHIFT_AT)
                | u64::from(reciprocal) << 32,
        )
    }

    #[inline]
    fn frequency(self) -> u32 {
        self.0 as u32 & (TOTAL - 1)
    }

    /// The first state that has to give off a word before it can take in this symbol.
    #[inline]
    fn limit(self) -> u32 {
        self.frequency() << LIMIT_SHIFT
    }

    #[inline]
    fn step(self, state: u32) -> u32 {
        let fields = self.0 as u32;
        let high = ((u64::from(state) * (self.0 >> 32)) >> 32) as u32;
        let quotient = high >> (fields >> SHIFT_AT);
        let bias = fields >> PRECISION & BIAS_MASK;
        state + bias + quotient * (TOTAL - self.frequency())
    }
}

/// Writes streams; keeps its memory from one to the next.
#[derive(Default)]
pub struct Encoder {
    symbols: Vec<EncoderSymbol>,
    words: Vec<u16>,
}

impl Encoder {
    /// Appends the stream of `symbols`, each coded by the table that its entry in `contexts` names.
    ///
    /// An empty `contexts` stands for the first table everywhere.
    pub fn encode(
        &mut self,
        symbols: &[u8],
        contexts: &[u8],
        tables: &[Frequencies],
        level: Level,
        out: &mut Vec<u8>,
    ) {
        assert!(contexts.is_empty() || contexts.len() == symbols.len());
        self.words.clear();
        self.words.resize(HEADROOM + symbols.len(), 0);
        let mut states = [STATE_LOW; LANES];
        let whole = symbols.len() / LANES * LANES;
        self.prepare(tables);
        let end = self.words.len();
        let tail = self.encode_scalar(symbols, contexts, whole, &mut states, end);
        let position = self.encode_groups(&symbols[..whole], contexts, level, &mut states, tail);
        for state in states {
            out.extend_from_slice(&state.to_le_bytes());
        }
        out.reserve((self.words.len() - position) * 2);
        for word in &self.words[position..] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Codes whole groups of 64 symbols.
    fn encode_groups(
        &mut self,
        symbols: &[u8],
        contexts: &[u8],
        level: Level,
        states: &mut [u32; LANES],
        position: usize,
    ) -> usize {
        #[cfg(target_arch = "x86_64")]
        if level.width() == Width::Avx512 {
            let small = contexts
                .is_empty()
                .then(|| avx512::SmallTable::new(&self.symbols))
                .flatten();
            return match small {
                Some(small) => small.encode(symbols, states, &mut self.words, position),
                None => avx512::encode(
                    symbols,
                    contexts,
                    &self.symbols,
                    states,
                    &mut self.words,
                    position,
                ),
            };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = level;
        self.encode_scalar(symbols, contexts, 0, states, position)
    }

    fn prepare(&mut self, tables: &[Frequencies]) {
        self.symbols.clear();
        for table in tables {
            let starts = table.starts();
            self.symbols
                .extend((0..256).map(|symbol| EncoderSymbol::new(starts[symbol], table.0[symbol])));
        }
    }

    /// Codes the symbols from `from` on, the last one first.
    fn encode_scalar(
        &mut self,
        symbols: &[u8],
        contexts: &[u8],
        from: usize,
        states: &mut [u32; LANES],
        position: usize,
    ) -> usize {
        if contexts.is_empty() {
            let table = self.symbols.first_chunk::<256>().expect("a table");
            encode_each(symbols, from, states, &mut self.words, position, |index| {
                table[usize::from(symbols[index])]
            })
        } else {
            let tables = self.symbols.as_slice();
            encode_each(symbols, from, states, &mut self.words, position, |index| {
                tables[usize::from(contexts[index]) << 8 | usize::from(symbols[index])]
            })
        }
    }
}

#[inline(always)]
fn encode_each(
    symbols: &[u8],
    from: usize,
    states: &mut [u32; LANES],
    words: &mut [u16],
    mut position: usize,
    symbol_at: impl Fn(usize) -> EncoderSymbol,
) -> usize {
    for index in (from..symbols.len()).rev() {
        let symbol = symbol_at(index);
        let state = states[index % LANES];
        let gives_off = state >= symbol.limit();
        words[position - 1] = state as u16;
        position -= usize::from(gives_off);
        let state = if gives_off { state >> 16 } else { state };
        states[index % LANES] = symbol.step(state);
    }
    position
}

/// Slots of all tables: the symbol in the top byte, twelve bits of offset, twelve of frequency.
pub struct DecoderTables {
    slots: Box<[u32; CONTEXTS_MAX << PRECISION]>,
}

impl Default for DecoderTables {
    fn default() -> Self {
        let slots = vec![0; CONTEXTS_MAX << PRECISION].into_boxed_slice();
        Self {
            slots: slots.try_into().expect("the length just given"),
        }
    }
}

impl DecoderTables {
    pub fn set(&mut self, context: usize, table: &Frequencies) {
        let slots = &mut self.slots[context << PRECISION..(context + 1) << PRECISION];
        let mut next = 0;
        for (symbol, &frequency) in table.0.iter().enumerate() {
            let end = next + usize::from(frequency);
            let head = (symbol as u32) << 24 | u32::from(frequency);
            for (offset, slot) in slots[next..end].iter_mut().enumerate() {
                *slot = head | (offset as u32) << PRECISION;
            }
            next = end;
        }
    }
}

/// Reads one stream, a part at a time.
pub struct Decoder<'a> {
    tables: &'a DecoderTables,
    /// The table that an empty list of contexts stands for.
    table: usize,
    states: [u32; LANES],
    words: &'a [u8],
    level: Level,
}

impl<'a> Decoder<'a> {
    pub fn new(
        tables: &'a DecoderTables,
        table: usize,
        stream: &'a [u8],
        level: Level,
    ) -> Result<Self> {
        let Some((head, words)) = stream.split_first_chunk::<STATE_BYTES>() else {
            return Err(KernelError::Corrupt("a stream is shorter than its states"));
        };
        let (chunks, _) = head.as_chunks::<4>();
        let states = std::array::from_fn(|lane| u32::from_le_bytes(chunks[lane]));
        Ok(Self {
            tables,
            table,
            states,
            words,
            level,
        })
    }

    /// Decodes the next symbols. Every part but the last has a multiple of 64.
    pub fn decode(&mut self, contexts: &[u8], out: &mut [u8]) -> Result<()> {
        assert!(contexts.is_empty() || contexts.len() == out.len());
        #[cfg(target_arch = "x86_64")]
        let done = match self.level.width() {
            Width::Avx512 => avx512::decode(self, contexts, out),
            Width::Avx2 => avx2::decode(self, contexts, out),
            Width::Scalar => 0,
        };
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        if contexts.is_empty() {
            let table = self.table;
            self.decode_scalar(&mut out[done..], |_| table)
        } else {
            let contexts = &contexts[done..];
            self.decode_scalar(&mut out[done..], |index| usize::from(contexts[index]))
        }
    }

    #[inline(always)]
    fn decode_scalar(&mut self, out: &mut [u8], context_at: impl Fn(usize) -> usize) -> Result<()> {
        let (words, _) = self.words.as_chunks::<2>();
        let mut next = 0;
        for (index, symbol) in out.iter_mut().enumerate() {
            let state = self.states[index % LANES];
            let row = context_at(index) % CONTEXTS_MAX;
            let slot = self.tables.slots[row << PRECISION | (state & (TOTAL - 1)) as usize];
            let mut state =
                (slot & (TOTAL - 1)) * (state >> PRECISION) + ((slot >> PRECISION) & (TOTAL - 1));
            if state < STATE_LOW {
                let Some(&word) = words.get(next) else {
                    return Err(KernelError::Corrupt("a stream has too few words"));
                };
                next += 1;
                state = state << 16 | u32::from(u16::from_le_bytes(word));
            }
            self.states[index % LANES] = state;
            *symbol = (slot >> 24) as u8;
        }
        self.words = &self.words[next * 2..];
        Ok(())
    }

    /// Refuses a stream that is not at its end.
    pub fn finish(&self) -> Result<()> {
        if !self.words.is_empty() || self.states.iter().any(|&state| state != STATE_LOW) {
            return Err(KernelError::Corrupt(
                "a stream does not end where it should",
            ));
        }
        Ok(())
    }
}
