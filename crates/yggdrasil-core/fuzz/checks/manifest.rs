//! Manifests of any text: what is read is written again, and read as the same.

use yggdrasil_snapshot::{Manifest, seal_manifest};

/// Reads a manifest by itself, and as the body of one whose checksum is right.
pub fn manifest(data: &[u8]) {
    let sealed = seal_manifest(data);
    for bytes in [data, &sealed] {
        if let Ok(manifest) = Manifest::decode(bytes) {
            assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }
    }
}
