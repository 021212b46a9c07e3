//! The log as a shard asks it for room.

use std::path::PathBuf;
use std::sync::Arc;

use yggdrasil_core::keyspace::ChangeListener;
use yggdrasil_core::namespaces::{Ack, Namespaces};
use yggdrasil_log::disk::{Disk, SimulatedDisk};
use yggdrasil_log::{End, ShardLog, Writer, WriterOptions};

const SEGMENT_BYTES: u64 = 1 << 16;

#[test]
fn room_that_is_only_asked_about_is_not_made() {
    let disk = SimulatedDisk::new();
    let options = WriterOptions {
        directory: PathBuf::from("/log"),
        segment_bytes: SEGMENT_BYTES,
        epoch: 1,
    };
    let directory = options.directory.clone();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let writer = Writer::open(shared, options, &End::default()).expect("a new log");
    let namespaces = Arc::new(Namespaces::new(Vec::new(), Ack::Fast));
    let (_log, listener) = ShardLog::new(writer, namespaces, u64::MAX);
    let room = listener.certain_room();
    assert!((SEGMENT_BYTES / 2..SEGMENT_BYTES).contains(&room), "{room}");
    assert!(listener.has_room(room));
    let names = disk.list(&directory).expect("it is there");
    assert_eq!(names.len(), 1, "what it has is enough: {names:?}");
    assert!(listener.has_room(room + 8));
    let names = disk.list(&directory).expect("it is there");
    assert_eq!(names.len(), 2, "it is not for more: {names:?}");
}
