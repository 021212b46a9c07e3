//! The payload of FUNCTION DUMP and RESTORE: the text of each library behind the code that Redis's snapshots have for it,
//! with the same footer as the payload of a value.

use crate::commands::codecs::dump::reader::Reader;
use crate::commands::codecs::dump::writer::write_bytes;
use crate::commands::codecs::dump::{body, seal};
use crate::commands::table::error::CommandError;

const LIBRARY: u8 = 245;
/// What Redis wrote before libraries had their present form.
const OLD_LIBRARY: u8 = 246;

/// The payload of libraries with these texts.
pub fn dump<'a>(codes: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for code in codes {
        out.push(LIBRARY);
        write_bytes(&mut out, code);
    }
    seal(&mut out);
    out
}

/// The texts of the libraries in a payload, of up to `bytes_max` bytes each.
///
/// # Errors
/// The payload is none.
pub fn restore(payload: &[u8], bytes_max: u64) -> Result<Vec<Vec<u8>>, CommandError> {
    let mut reader = Reader::new(body(payload)?, bytes_max);
    let mut codes = Vec::new();
    while let Some(kind) = reader.byte() {
        match kind {
            LIBRARY => {}
            OLD_LIBRARY => {
                return Err(CommandError::Plain("Pre-GA function format not supported"));
            }
            _ => return Err(CommandError::Plain("given type is not a function")),
        }
        let code = reader.string().ok_or(CommandError::Plain(
            "failed loading the given functions payload",
        ))?;
        codes.push(code.into_owned());
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: u64 = 1 << 20;

    #[test]
    fn a_payload_of_redis_is_read() {
        let payload = b"\xf5\xc3\x40\xb8\x40\xf7\x1f#!lua name=mylib\nredis.register_\x0efunction('f1', \xe0\x00\x0e\
            \x10keys,args) return \x06@8\ncall('get',@\"\x08[1]) end)\xe0\x0fW\x00{\xc0Q\x00_`\x83\x02'f2 e@D\
            \x04back=\xc0\x1c\xe0\nn@{ ]@\\ \x96\x12lags={'no-writes',' \x88\x10ow-oom'}, descrip@\xc9\x04='d'}\
            \x0c\x00\x13\xf7\x07\xf3\xb8\x1696";
        let codes = restore(payload, MAX).unwrap();
        assert!(
            codes[0].starts_with(
                b"#!lua name=mylib\nredis.register_function('f1', function(keys,args)"
            )
        );
        assert_eq!(codes.len(), 1);
    }

    proptest! {
        #[test]
        fn libraries_come_back(codes: Vec<Vec<u8>>) {
            let payload = dump(codes.iter().map(Vec::as_slice));
            prop_assert_eq!(restore(&payload, MAX).unwrap(), codes);
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(mut bytes: Vec<u8>) {
            let _ = restore(&bytes, MAX);
            seal(&mut bytes);
            let _ = restore(&bytes, MAX);
        }
    }
}
