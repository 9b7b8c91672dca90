//! The page of some results.

use study::Results;

pub(crate) fn written(results: &Results) -> (String, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    study::write_report(results, dir.path()).expect("written");
    (std::fs::read_to_string(dir.path().join("report.html")).expect("the page"), dir)
}

/// The page between the heading of one section and that of the next.
pub(crate) fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<section id=\"{id}\">")).unwrap();
    rest.split_once("<section ").map_or(rest, |(mine, _)| mine)
}
