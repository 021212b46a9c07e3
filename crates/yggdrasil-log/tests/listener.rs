//! The log as a shard asks it for room.

use std::path::PathBuf;
use std::sync::Arc;

use yggdrasil_core::engine::Log;
use yggdrasil_core::keyspace::ChangeListener;
use yggdrasil_core::namespaces::{Ack, Namespaces};
use yggdrasil_log::disk::{Disk, SimulatedDisk};
use yggdrasil_log::{Content, Decision, End, ShardLog, Writer, WriterOptions, shard_directory};

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

#[test]
fn a_decision_is_found_however_much_was_written_behind_it() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    let open = |shard: usize| {
        let options = WriterOptions {
            directory: PathBuf::from("/log").join(shard_directory(shard)),
            segment_bytes: SEGMENT_BYTES,
            epoch: 1,
        };
        Writer::open(Arc::clone(&disk), options, &End::default()).expect("a new log")
    };
    let mut coordinator = open(0);
    for number in 1..=20 {
        let parts = vec![(0, number), (1, number)];
        let tag = 2 * number;
        let decision = Decision { tag, parts };
        coordinator.mark_numbered(number, &Content::Decision(decision));
        // Other changes, which fill a segment each.
        coordinator.reserve(SEGMENT_BYTES).expect("there is room");
        let bytes = &vec![1; SEGMENT_BYTES as usize];
        assert!(coordinator.piece(number, 0, bytes));
    }
    let namespaces = Arc::new(Namespaces::new(Vec::new(), Ack::Fast));
    let (log, _) = ShardLog::new(open(1), namespaces, u64::MAX);
    for number in 1..=20 {
        let tag = 2 * number;
        for since in [0, 1, number] {
            assert!(log.has_decided(0, tag, since), "{tag} since {since}");
        }
        for tag in [tag - 1, tag + 1] {
            assert!(
                !log.has_decided(0, tag, 0),
                "nothing was decided about {tag}"
            );
        }
    }
    assert!(!log.has_decided(2, 2, 0), "there is no such log");
}
