//! Damage of a folder of snapshots: each is noticed or harmless, and nothing wrong is ever handed on.
//!
//! `YGGDRASIL_DAMAGE_CASES` says how many cases are tried, `YGGDRASIL_DAMAGE_SEED` which are the first.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use yggdrasil_core::random::Random;
use yggdrasil_snapshot::{
    Folder, Loader, Manifest, Options, Pace, Progress, Source, Store, Unowned, list, take, verify,
};

use common::{NOW, RECORD_BYTES_MAX, Rig, Scratch};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

type Records = Vec<(u64, Vec<u8>)>;

/// Everything that the snapshots of a folder hand on before an error, and whether there was one.
fn loaded(root: &Path) -> Vec<(String, Records, bool)> {
    let store: Arc<dyn Store> = Arc::new(Folder::new(root));
    let mut all = Vec::new();
    for listed in list(&*store).unwrap() {
        let Ok(manifest) = listed.manifest else {
            all.push((listed.id, Vec::new(), true));
            continue;
        };
        let (mut records, mut is_damaged) = (Vec::new(), false);
        for batch in Loader::new(&store, &manifest.shards[0], 2, RECORD_BYTES_MAX) {
            match batch {
                Ok(batch) => records.extend(
                    batch
                        .changes()
                        .map(|change| (change.number, change.record.to_vec())),
                ),
                Err(_) => is_damaged = true,
            }
        }
        all.push((listed.id, records, is_damaged));
    }
    all
}

fn prepared(root: &Path) -> Vec<PathBuf> {
    let folder = Folder::new(root);
    let mut rig = Rig::new();
    let mut history = rig.history();
    let mut last: Option<Manifest> = None;
    for round in 0..3_u8 {
        for n in 0..40_u8 {
            rig.set(n % 3, &[n], &vec![round ^ n; usize::from(n) * 10]);
        }
        if round == 1 {
            rig.set(0, b"long", &vec![round; 5 << 20]);
        }
        let mut sources = [Source {
            shard: 0,
            reader: &rig.reader,
            history: &mut history,
            owner: &mut Unowned(0),
            keeps: &|_| true,
        }];
        let options = Options {
            growth_max: 1_000,
            generation: 0,
            ..Options::default()
        };
        let progress = Progress::default();
        let (base, now) = (last.as_ref(), || NOW);
        let taken = take(&folder, "n", &mut sources, base, &options, &progress, &now).unwrap();
        last = Some(taken.manifest);
    }
    let mut files = Vec::new();
    for part in ["chunks", "manifests"] {
        files.extend(
            fs::read_dir(root.join(part))
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }
    files.sort();
    files
}

/// Damages files, and tells what was in them.
fn damage(files: &[PathBuf], random: &mut Random) -> (&'static str, Vec<(PathBuf, Vec<u8>)>) {
    let mut below = |limit: usize| (random.draw() % limit as u64) as usize;
    let file = &files[below(files.len())];
    let bytes = fs::read(file).unwrap();
    let before = vec![(file.clone(), bytes.clone())];
    match below(6) {
        0 => {
            let mut damaged = bytes.clone();
            let place = below(bytes.len());
            damaged[place] ^= 1 << below(8);
            fs::write(file, damaged).unwrap();
            ("flipped", before)
        }
        1 => {
            fs::write(file, &bytes[..below(bytes.len())]).unwrap();
            ("truncated", before)
        }
        2 => {
            let mut damaged = bytes.clone();
            damaged.extend((0..=below(40)).map(|n| n as u8));
            fs::write(file, damaged).unwrap();
            ("longer", before)
        }
        3 => {
            fs::remove_file(file).unwrap();
            ("removed", before)
        }
        4 => {
            let mut damaged = bytes.clone();
            let start = below(bytes.len());
            let end = (start + 1 + below(4096)).min(bytes.len());
            damaged[start..end].fill(0);
            fs::write(file, damaged).unwrap();
            ("zeroed", before)
        }
        _ => {
            let other = &files[below(files.len())];
            let others = fs::read(other).unwrap();
            fs::write(file, &others).unwrap();
            fs::write(other, &bytes).unwrap();
            (
                "swapped",
                vec![(file.clone(), bytes), (other.clone(), others)],
            )
        }
    }
}

#[test]
fn damage_is_noticed_or_harmless() {
    let scratch = Scratch::new("damage");
    let files = prepared(&scratch.0);
    let good = loaded(&scratch.0);
    assert!(
        good.iter()
            .all(|(_, records, damaged)| !damaged && !records.is_empty())
    );
    let seed = number("YGGDRASIL_DAMAGE_SEED", 0x00dd_ba11);
    for case in 0..number("YGGDRASIL_DAMAGE_CASES", 200) {
        let mut random = Random::new(seed + case);
        let (kind, before) = damage(&files, &mut random);
        let told = format!("seed {} case 0: {kind} {:?}", seed + case, before[0].0);
        let is_same = before
            .iter()
            .all(|(file, bytes)| fs::read(file).is_ok_and(|now| now == *bytes));
        let folder = Folder::new(&scratch.0);
        let verdict = verify(&folder, RECORD_BYTES_MAX, &Pace::new(0), &mut |_| true).unwrap();
        let is_gone = kind == "removed" && before[0].0.extension().is_some();
        assert_eq!(
            verdict.damage.is_empty(),
            is_same || is_gone,
            "{told}: {verdict:?}"
        );
        for (id, records, is_damaged) in loaded(&scratch.0) {
            let (_, expected, _) = good.iter().find(|(good, ..)| *good == id).expect(&told);
            assert!(expected.starts_with(&records), "{told}");
            assert_eq!(is_damaged, verdict.damaged.contains(&id), "{told}");
            assert_eq!(!is_damaged, records.len() == expected.len(), "{told}");
        }
        for (file, bytes) in before {
            fs::write(file, bytes).unwrap();
        }
    }
}
