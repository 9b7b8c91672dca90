//! Reading text files as users have them: with a byte-order mark, compressed, or not UTF-8.

use std::io::Read;
use std::path::Path;

use crate::Error;

/// Reads a text file: UTF-8, with or without a byte-order mark, plain or compressed by gzip.
///
/// Compression is detected from the content, not from the name. The mark is removed. Line ends are left as they are;
/// [`str::lines`] accepts both `\n` and `\r\n`.
///
/// # Errors
/// A file that cannot be read or decompressed, or text that is not UTF-8; the message names the file and the line.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("pairs.jsonl");
/// std::fs::write(&path, "\u{feff}{}\r\n")?;
/// assert_eq!(common::read_text(&path)?, "{}\r\n");
///
/// std::fs::write(&path, b"good\n\xff\xff\n")?;
/// let message = common::read_text(&path).unwrap_err().to_string();
/// assert!(message.ends_with("pairs.jsonl: line 2: not UTF-8 text"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_text(path: impl AsRef<Path>) -> Result<String, Error> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    text_of(path, bytes)
}

/// The text in `bytes`, the content of the file at `path`: as [`read_text`], for a caller that has the bytes.
///
/// # Errors
/// As [`read_text`].
pub fn text_of(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<String, Error> {
    let path = path.as_ref();
    String::from_utf8(plain(path, bytes)?).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        Error::line(path, 1 + good.iter().filter(|&&b| b == b'\n').count(), NOT_UTF8)
    })
}

/// Reads the lines of a text file, each of which may fail alone: otherwise as [`read_text`].
///
/// # Errors
/// A file that cannot be read or decompressed, or that is UTF-16. A line that is not UTF-8 is an error in its place.
pub fn read_lines(path: impl AsRef<Path>) -> Result<Vec<Result<String, Error>>, Error> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let bytes = plain(path, bytes)?;
    let lines = bytes.strip_suffix(b"\n").unwrap_or(&bytes).split(|&b| b == b'\n');
    let line = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        std::str::from_utf8(line).map(str::to_owned).map_err(|_| Error::input(NOT_UTF8))
    };
    Ok(lines.map(line).collect())
}

const NOT_UTF8: &str = "not UTF-8 text";

/// `bytes` without compression and byte-order mark.
fn plain(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    let mut bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..])
            .read_to_end(&mut plain)
            .map_err(|e| Error::at(path, format_args!("gzip: {e}")))?;
        plain
    } else {
        bytes
    };
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Error::line(path, 1, "UTF-16 text, expected UTF-8"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn gzip_is_known_by_its_content_and_its_members_are_joined() {
        let member = |text: &[u8]| {
            let mut file = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            file.write_all(text).unwrap();
            file.finish().unwrap()
        };
        let bytes = [member("\u{feff}a\n".as_bytes()), member(b"b\n")].concat();
        assert_eq!(text_of("x.jsonl", bytes.clone()).unwrap(), "a\nb\n");
        let error = text_of("x.jsonl", bytes[..20].to_vec()).unwrap_err();
        assert!(error.is_input() && error.to_string().starts_with("x.jsonl: gzip: "), "{error}");
    }

    #[test]
    fn other_encodings_are_named() {
        let error = text_of("x", b"\xff\xfea\0".to_vec()).unwrap_err().to_string();
        assert_eq!(error, "x: line 1: UTF-16 text, expected UTF-8");
        assert_eq!(text_of("x", b"a\xc3".to_vec()).unwrap_err().to_string(), "x: line 1: not UTF-8 text");
        assert_eq!(text_of("x", Vec::new()).unwrap(), "");
    }

    #[test]
    fn a_line_fails_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let lines = read_lines(&path)?;
            Ok::<_, Error>(lines.into_iter().map(|l| l.map_err(|e| e.to_string())).collect::<Vec<_>>())
        };
        let bad = || Err("not UTF-8 text".to_owned());
        assert_eq!(
            read(b"\xef\xbb\xbfa\r\n\xffb\n\nc").unwrap(),
            [Ok("a".into()), bad(), Ok("".into()), Ok("c".into())]
        );
        assert_eq!(read(b"a\n").unwrap(), [Ok("a".into())]);
        assert!(read(b"\xff\xfea\0").unwrap_err().to_string().contains("UTF-16"));
    }
}
