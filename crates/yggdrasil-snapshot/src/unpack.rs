//! Reading chunks one after another in the same memory: fresh pages for each would cost as much as unpacking it.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use zstd::bulk::Decompressor;

use crate::chunk::{Decoded, decode_with};
use crate::error::SnapshotError;
use crate::load::read_bytes_into;
use crate::manifest::ChunkRef;
use crate::store::Store;

/// Bodies that are kept for the chunks that follow.
const KEPT_MAX: usize = 8;

/// The memory of chunks that are not needed any more.
#[derive(Default)]
pub(crate) struct Bodies(Mutex<Vec<Vec<u8>>>);

impl fmt::Debug for Bodies {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Bodies")
    }
}

impl Bodies {
    fn take(&self) -> Vec<u8> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().unwrap_or_default()
    }

    /// Takes the memory of a chunk back.
    pub(crate) fn give(&self, body: Vec<u8>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(body);
        }
    }
}

/// Reads, checks and unpacks chunks.
pub(crate) struct Unpacker {
    bodies: Arc<Bodies>,
    /// The bytes of an object.
    object: Vec<u8>,
    context: Option<Decompressor<'static>>,
}

impl Unpacker {
    /// Unpacks into the memory of what is given back to `bodies`.
    pub(crate) fn new(bodies: Arc<Bodies>) -> Self {
        Self {
            bodies,
            object: Vec::new(),
            context: None,
        }
    }

    /// Reads a chunk, and unpacks it.
    pub(crate) fn read(
        &mut self,
        store: &dyn Store,
        chunk: &ChunkRef,
    ) -> Result<Decoded, SnapshotError> {
        let Self {
            bodies,
            object,
            context,
        } = self;
        read_bytes_into(store, chunk, object)?;
        let decoded = decode_with(object, &mut |frame, raw| {
            let mut body = bodies.take();
            body.clear();
            body.reserve_exact(raw);
            unpack(context, frame, &mut body)?;
            Ok(body)
        });
        decoded.map_err(|fault| SnapshotError::Chunk {
            name: chunk.name.object(),
            fault,
        })
    }
}

fn unpack(
    context: &mut Option<Decompressor<'static>>,
    frame: &[u8],
    body: &mut Vec<u8>,
) -> io::Result<()> {
    let mut ready = match context.take() {
        Some(ready) => ready,
        None => Decompressor::new()?,
    };
    ready.decompress_to_buffer(frame, body)?;
    // One that has failed is not used again.
    *context = Some(ready);
    Ok(())
}
