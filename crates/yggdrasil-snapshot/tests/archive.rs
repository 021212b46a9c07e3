//! Archived logs: what comes back up to a point, and that damage of any object is noticed or harmless.
//!
//! `YGGDRASIL_DAMAGE_CASES` says how many cases are tried, `YGGDRASIL_DAMAGE_SEED` which are the first.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_core::keyspace::ShardReader;
use yggdrasil_core::random::Random;
use yggdrasil_snapshot::{
    Archive, Folder, Manifest, Pace, Restored, SnapshotError, Store, Until, newest, prune_archive,
    restore_until, verify,
};

use common::place::{GENERATION, Place, changes_of};
use common::{NOW, RECORD_BYTES_MAX, Scratch, contents, load};

fn archive(place: &Place, archive: &mut Archive, ms: u64) {
    archive.note(ms, vec![place.rig.shard.number()]);
    archive.archive(&*place.folder, &[place.history()]).unwrap();
}

/// Restores to a folder of its own, and gives what a shard has then.
fn restored(
    from: &dyn Store,
    to: &Path,
    until: &Until,
) -> Result<(Restored, State), SnapshotError> {
    let folder: Arc<dyn Store> = Arc::new(Folder::new(to.join("snapshots")));
    let logs = to.join("log");
    let restored = restore_until(from, "n", until, &*folder, &logs, "other")?;
    let log = logs.join("shard-0");
    let changes = if log.exists() {
        changes_of(&log)
    } else {
        Vec::new()
    };
    let copied = newest(&*folder, "other")?;
    assert_eq!(copied.is_some(), restored.snapshot.is_some());
    let state = match copied {
        Some(manifest) => load(&folder, manifest.shard(0).unwrap(), &changes),
        None => load(&folder, &empty(), &changes),
    };
    Ok((restored, contents(&state.reader)))
}

type State = (Vec<u8>, common::Contents);

fn empty() -> yggdrasil_snapshot::ShardPart {
    yggdrasil_snapshot::ShardPart {
        shard: 0,
        keys: 0,
        layers: Vec::new(),
    }
}

fn state(reader: &ShardReader) -> State {
    contents(reader)
}

fn snapshot(place: &Place, base: Option<&Manifest>) -> Manifest {
    place.snapshot(base)
}

#[test]
fn a_shard_comes_back_as_it_was_at_each_moment() {
    for with_snapshots in [false, true] {
        let mut place = Place::new(&format!("moments-{with_snapshots}"));
        let mut archived = Archive::new("n", GENERATION);
        let (mut states, mut base) = (Vec::new(), None);
        for round in 0..6_u32 {
            place.write(round * 700, 700);
            let ms = NOW + u64::from(round) * 1000;
            archive(&place, &mut archived, ms);
            states.push((ms, place.rig.shard.number(), state(&place.rig.reader)));
            if with_snapshots && round % 2 == 0 {
                base = Some(snapshot(&place, base.as_ref()));
            }
        }
        for (place_of, (ms, number, expected)) in states.iter().enumerate() {
            let points = [
                Until::Time(*ms),
                Until::Time(*ms + 999),
                Until::Numbers(vec![(0, *number)]),
            ];
            for (which, until) in points.iter().enumerate() {
                let to = Scratch::new(&format!("to-{with_snapshots}-{place_of}-{which}"));
                let (restored, found) = restored(&*place.folder, &to.0, until).unwrap();
                assert_eq!(restored.numbers, [*number], "{until:?}");
                assert_eq!(&found, expected, "{until:?}");
                assert_eq!(restored.snapshot.is_some(), with_snapshots, "{until:?}");
            }
        }
        let to = Scratch::new(&format!("latest-{with_snapshots}"));
        let (_, found) = restored(&*place.folder, &to.0, &Until::Latest).unwrap();
        assert_eq!(found, states.last().unwrap().2);
        let early = restored(&*place.folder, &to.0, &Until::Time(NOW - 1));
        assert!(matches!(early, Err(SnapshotError::Archived(_))));
    }
}

#[test]
fn another_process_goes_on_with_an_archive() {
    let mut place = Place::new("process");
    for round in 0..4_u32 {
        place.write(round * 900, 900);
        archive(
            &place,
            &mut Archive::new("n", GENERATION),
            NOW + u64::from(round),
        );
    }
    let to = Scratch::new("process-to");
    let (restored, found) = restored(&*place.folder, &to.0, &Until::Time(NOW + 3)).unwrap();
    assert_eq!(restored.moment, Some(NOW + 3));
    assert_eq!(found, state(&place.rig.reader));
}

#[test]
fn what_no_snapshot_needs_is_removed() {
    let mut place = Place::new("pruned");
    let mut archived = Archive::new("n", GENERATION);
    place.write(0, 5_000);
    archive(&place, &mut archived, NOW);
    let first = snapshot(&place, None);
    place.write(5_000, 2_000);
    archive(&place, &mut archived, NOW + 1);
    let before = place.folder.list("segments/").unwrap().len();
    assert!(prune_archive(&*place.folder, "n", &first).unwrap() > 0);
    let after = place.folder.list("segments/").unwrap().len();
    assert!(0 < after && after < before, "{after} of {before}");
    let to = Scratch::new("pruned-to");
    let (restored, found) = restored(&*place.folder, &to.0, &Until::Latest).unwrap();
    assert_eq!(restored.snapshot.map(|it| it.id), Some(first.id));
    assert_eq!(found, state(&place.rig.reader));
}

#[test]
fn a_gap_is_said() {
    let mut place = Place::new("gap");
    place.write(0, 5_000);
    archive(&place, &mut Archive::new("n", GENERATION), NOW);
    let names = place.folder.list("segments/").unwrap();
    place.folder.remove(&names[1].name).unwrap();
    let to = Scratch::new("gap-to");
    let error = restored(&*place.folder, &to.0, &Until::Latest).unwrap_err();
    assert_eq!(
        error.to_string(),
        "segment 0000000000000002 of the log of shard 0 is not archived"
    );
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Damages a file, and tells how.
fn damage(files: &[PathBuf], random: &mut Random) -> (&'static str, Vec<(PathBuf, Vec<u8>)>) {
    let mut below = |limit: usize| (random.draw() % limit as u64) as usize;
    let file = &files[below(files.len())];
    let bytes = fs::read(file).unwrap();
    let mut before = vec![(file.clone(), bytes.clone())];
    let mut damaged = bytes.clone();
    let kind = match below(5) {
        0 => {
            let place = below(bytes.len());
            damaged[place] ^= 1 << below(8);
            "flipped"
        }
        1 => {
            damaged.truncate(below(bytes.len()));
            "truncated"
        }
        2 => {
            damaged.extend((0..=below(40)).map(|n| n as u8));
            "longer"
        }
        3 => {
            fs::remove_file(file).unwrap();
            return ("removed", before);
        }
        _ => {
            let other = &files[below(files.len())];
            let others = fs::read(other).unwrap();
            fs::write(other, &bytes).unwrap();
            before.push((other.clone(), others.clone()));
            damaged = others;
            "swapped"
        }
    };
    fs::write(file, damaged).unwrap();
    (kind, before)
}

#[test]
fn damage_of_an_archive_is_noticed_or_harmless() {
    let mut place = Place::new("archive-damage");
    let mut archived = Archive::new("n", GENERATION);
    place.write(0, 1_200);
    archive(&place, &mut archived, NOW);
    place.write(1_200, 900);
    archive(&place, &mut archived, NOW + 3_600_000);
    let expected = state(&place.rig.reader);
    let root = place.scratch.0.join("snapshots");
    let mut files = Vec::new();
    for part in ["segments", "tails", "times"] {
        let entries = fs::read_dir(root.join(part)).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    files.sort();
    let seed = number("YGGDRASIL_DAMAGE_SEED", 0x00a2_c417);
    for case in 0..number("YGGDRASIL_DAMAGE_CASES", 100) {
        let mut random = Random::new(seed + case);
        let (kind, before) = damage(&files, &mut random);
        let told = format!("seed {}: {kind} {:?}", seed + case, before[0].0);
        let is_same = before
            .iter()
            .all(|(file, bytes)| fs::read(file).is_ok_and(|now| now == *bytes));
        let verdict = verify(&*place.folder, RECORD_BYTES_MAX, &Pace::new(0), &mut |_| {
            true
        });
        let is_sound = verdict.unwrap().damage.is_empty();
        assert_eq!(is_sound, is_same || kind == "removed", "{told}");
        let to = Scratch::new("archive-damage-to");
        // An end that is gone, or a moment, is told by how far it goes.
        if let Ok((restored, found)) = restored(&*place.folder, &to.0, &Until::Latest) {
            let is_whole = restored.numbers == [place.rig.shard.number()];
            assert!(is_whole || kind == "removed", "{told}");
            assert_eq!(found == expected, is_whole, "{told}");
        }
        for (file, bytes) in before {
            fs::write(file, bytes).unwrap();
        }
    }
}
