//! The captures made to order are those that `testdata/captures` holds.

use std::path::Path;

use crate::generate::cases::CASES;
use crate::scenario::testdata;

/// Captures are small enough to be read in a review and to be tested with in no time.
const MAX_LEN: usize = 200_000;

#[test]
fn each_capture_is_made_again_byte_for_byte() {
    for case in &CASES {
        let folder = testdata().join("captures").join(case.name);
        let (capture, readme) = case.make();
        assert!(capture.len() < MAX_LEN, "{}: {} bytes", case.name, capture.len());
        expect_file(&folder.join(case.file), &capture);
        expect_file(&folder.join("README.md"), readme.as_bytes());
    }
}

/// Compares a file with what it should hold, or writes it when `UPDATE_EXPECT` is set.
fn expect_file(path: &Path, expected: &[u8]) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read(path).unwrap_or_default();
    // Not assert_eq: nobody wants to read the bytes of a capture.
    assert!(found == expected, "{} differs; UPDATE_EXPECT=1 rewrites it", path.display());
}
