//! Whether the kernel leaves huge pages out of shared memory that does not ask for them.
//!
//! A hole that takes a part of a huge page is written with zeros instead of being cut out of it.

use std::fs;
use std::path::Path;

const SETTINGS: &str = "/sys/kernel/mm/transparent_hugepage";

/// False where shared memory gets huge pages of any size without being asked, or nothing is known of that.
pub(super) fn are_the_rule() -> bool {
    are_the_rule_by(Path::new(SETTINGS))
}

/// The same by the settings in a directory, which a kernel without huge pages lacks.
fn are_the_rule_by(settings: &Path) -> bool {
    if !settings.parent().is_some_and(Path::is_dir) {
        return false;
    }
    let Ok(directory) = fs::read_dir(settings) else {
        return !settings.exists();
    };
    let sizes = directory.flatten().map(|size| size.path());
    let mut all = sizes
        .filter(|size| size.is_dir())
        .chain([settings.to_path_buf()]);
    all.all(|size| {
        let text = fs::read_to_string(size.join("shmem_enabled"));
        text.map_or(true, |text| is_off(&text))
    })
}

/// Whether a list of choices, the chosen one in brackets, leaves segments without huge pages: they do not ask for any,
/// and `inherit` is judged by what is inherited.
fn is_off(choices: &str) -> bool {
    ["[never]", "[deny]", "[advise]", "[inherit]"]
        .iter()
        .any(|off| choices.contains(off))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_size_that_comes_unasked_is_enough() {
        let root = std::env::temp_dir().join(format!("yggdrasil-pages-{}", std::process::id()));
        let settings = root.join("settings");
        assert!(!are_the_rule_by(&settings), "nothing is known");
        let size = settings.join("hugepages-64kB");
        fs::create_dir_all(&size).unwrap();
        let write = |all: &str, one: &str| {
            fs::write(settings.join("shmem_enabled"), all).unwrap();
            fs::write(size.join("shmem_enabled"), one).unwrap();
            are_the_rule_by(&settings)
        };
        assert!(write(
            "always within_size advise [never] deny force",
            "always [inherit] never"
        ));
        assert!(write("[advise]", "[never]"));
        assert!(!write("[never]", "[always] never"));
        assert!(!write("[within_size]", "[inherit]"));
        assert!(!write("[force]", "[never]"));
        fs::remove_dir_all(&settings).unwrap();
        assert!(are_the_rule_by(&settings), "the kernel has none");
        fs::remove_dir_all(&root).unwrap();
    }
}
