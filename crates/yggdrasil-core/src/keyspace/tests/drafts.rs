//! Entries in the making, and uploads.

use super::{Rig, key};
use crate::keyspace::UploadError;

const NOW: u64 = 1_700_000_000_000;

#[test]
fn bytes_that_do_not_come_do_not_count_for_an_upload() {
    let mut rig = Rig::new(1 << 30, 1 << 20);
    let shard = &mut rig.shard;
    shard
        .begin_upload(1, &key(0, b"k"), None, None, NOW)
        .unwrap();
    assert_eq!(shard.append_upload(1, &[1; 1000], NOW), Ok(1000));
    shard.receive_upload(1, 500_000).unwrap();
    assert_eq!(shard.uploads(), (1, 501_000));
    shard.upload_received(1, 0, Ok(&[2; 70_000]), NOW).unwrap();
    assert_eq!(shard.end_receiving(1, None, NOW), Ok(1000));
    assert_eq!(shard.uploads(), (1, 1000));
    let refused = shard.append_upload(1, &vec![3; 1 << 20], NOW);
    assert!(matches!(refused, Err(UploadError::Keyspace(_))));
    assert_eq!(shard.uploads(), (1, 1000));
    let hash = blake3::hash(&[1; 1000]);
    shard.commit_upload(1, Some(hash), NOW).unwrap();
    assert_eq!(shard.uploads(), (0, 0));
}
