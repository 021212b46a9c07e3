//! Bytes on their way to a client.

/// Sent bytes are cut off when they are at least so many, and more than half of all.
const COMPACT_BYTES: usize = 256 * 1024;

/// An output buffer: replies are appended to its end and sent from its start.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// Bytes at the start that are sent.
    sent: usize,
}

impl Output {
    /// Where replies are appended.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What is still to be sent.
    #[inline]
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Bytes still to be sent.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// True when everything is sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// So many bytes are sent. A buffer larger than `keep_bytes` is given back when it is empty.
    #[inline]
    pub fn advance(&mut self, bytes: usize, keep_bytes: usize) {
        self.sent = (self.sent + bytes).min(self.bytes.len());
        if self.is_empty() {
            self.sent = 0;
            self.bytes.clear();
            if self.bytes.capacity() > keep_bytes {
                self.bytes = Vec::new();
            }
        } else if self.sent >= COMPACT_BYTES && self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_however_they_are_sent() {
        let all: Vec<u8> = (0..2_000_000_u32).map(|number| number as u8).collect();
        for step in [1_000, 77_777, 1_500_000] {
            let mut output = Output::default();
            let mut received = Vec::new();
            output.buffer().extend_from_slice(&all[..1_000_000]);
            while !output.is_empty() {
                let piece = &output.unsent()[..step.min(output.len())];
                received.extend_from_slice(piece);
                let sent = piece.len();
                output.advance(sent, 0);
                if received.len() < 1_000_000 && output.len() < 100_000 {
                    let from = received.len() + output.len();
                    output
                        .buffer()
                        .extend_from_slice(&all[from..all.len().min(from + 300_000)]);
                }
            }
            assert!(received == all[..received.len()]);
            assert!(received.len() >= 1_000_000);
            assert_eq!(output.capacity(), 0);
        }
    }
}
