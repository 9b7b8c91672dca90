//! Licences of everything that is built: permissive ones only.

use super::cargo;

const FINE: [&str; 14] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unlicense",
    "0BSD",
    "CC0-1.0",
    "BSL-1.0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "MPL-2.0",
    "CDLA-Permissive-2.0",
];

#[test]
fn licences_are_permissive() {
    // `cargo tree` and not the lock file, which also lists what other devices and platforms would need.
    let tree = cargo(&["tree", "--workspace", "--prefix", "none", "--format", "{p}|{l}"]);
    assert!(tree.lines().count() > 100);
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let (package, licence) = line.split_once('|').unwrap();
        let licence = licence.trim_end_matches("(*)").trim();
        let free = licence.split(" OR ").flat_map(|l| l.split('/')).any(|choice| {
            let terms = choice.split(" AND ").map(|l| l.split(" WITH ").next().unwrap_or(l));
            terms.into_iter().all(|l| FINE.contains(&l.trim_matches(['(', ')', ' '])))
        });
        assert!(free, "{package}: licence `{licence}`");
    }
}
