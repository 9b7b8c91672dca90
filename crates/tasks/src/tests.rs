//! Every builder under tokenizers that read numbers and names in different ways.

use proptest::prelude::*;

use hooks::Encode;

use super::*;

/// One token a word (with its space) and a number or pair of digits: reads names whole, years in halves.
struct Words;

/// One token a byte: splits digits, and names too.
struct Bytes;

impl Encode for Words {
    fn prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
        words(text)
    }
    fn continuation(&self, text: &str) -> Result<Vec<u32>, Error> {
        words(text)
    }
}

impl Encode for Bytes {
    fn prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(text.bytes().map(u32::from).collect())
    }
    fn continuation(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.prompt(text)
    }
}

fn words(text: &str) -> Result<Vec<u32>, Error> {
    let mut ids = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
        let space = usize::from(rest.starts_with(' '));
        let letters = rest[space..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let n = if digits > 0 { digits } else { (space + letters).max(1) };
        // FNV-1a: one id for one piece.
        let id = rest[..n].bytes().fold(2_166_136_261u32, |h, b| (h ^ u32::from(b)).wrapping_mul(16_777_619));
        ids.push(id);
        rest = &rest[n..];
    }
    Ok(ids)
}

fn text(ids: &[u32]) -> String {
    ids.iter().map(|&b| char::from(b as u8)).collect()
}

fn result(sum: &str) -> u64 {
    let (left, _) = sum.split_once('=').expect("a sum");
    let sign = left.find(['+', '-', '*']).expect("a sign");
    let (a, b): (u64, u64) = (left[..sign].parse().expect("a"), left[sign + 1..].parse().expect("b"));
    match left.as_bytes()[sign] {
        b'+' => a + b,
        b'-' => a - b,
        _ => a * b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn sums_ask_for_what_their_results_begin_with(seed: u64, digits in 1u32..4) {
        for operation in [Operation::Add, Operation::Subtract, Operation::Multiply] {
            let what = Arithmetic { operation, digits };
            let built = arithmetic(what, 6, seed, &Bytes).expect("pairs");
            prop_assert_eq!(&built, &arithmetic(what, 6, seed, &Bytes).expect("pairs"));
            for pair in &built.checked().expect("some") {
                prop_assert_eq!(pair.clean.len(), pair.corrupt.len());
                for (side, token) in [(&pair.clean, &pair.target.answers), (&pair.corrupt, &pair.target.distractors)] {
                    prop_assert!(result(&text(side)).to_string().starts_with(&text(token)));
                }
                prop_assert_ne!(&pair.target.answers, &pair.target.distractors);
            }
        }
    }

    #[test]
    fn the_answer_is_the_name_that_is_not_repeated(seed: u64) {
        for corruption in [Corruption::Abc, Corruption::Flip] {
            let built = ioi(corruption, 8, seed, &Words).expect("pairs");
            prop_assert_eq!(built.pairs.len(), 8);
            for (i, pair) in built.pairs.iter().enumerate() {
                let count = |ids: &[u32], id| ids.iter().filter(|&&x| x == id).count();
                let (io, subject) = (pair.target.answers[0], pair.target.distractors[0]);
                prop_assert_eq!((count(&pair.clean, io), count(&pair.clean, subject)), (1, 2));
                let changed: Vec<usize> =
                    (0..pair.clean.len()).filter(|&p| pair.clean[p] != pair.corrupt[p]).collect();
                prop_assert_eq!(changed.len(), 1);
                prop_assert_eq!(pair.clean[changed[0]], subject);
                let expected = if corruption == Corruption::Flip { (2, 1) } else { (1, 1) };
                prop_assert_eq!((count(&pair.corrupt, io), count(&pair.corrupt, subject)), expected);
                let first = |id| pair.clean.iter().position(|&x| x == id);
                prop_assert_eq!(first(io) < first(subject), i % 2 == 0, "ABBA names the answer first");
            }
        }
    }

    #[test]
    fn every_year_is_on_one_side(seed: u64) {
        for (digits, encode) in [(YearDigits::Two, &Words as &dyn Encode), (YearDigits::One, &Bytes)] {
            for pair in &greater_than(digits, 4, seed, encode).expect("pairs").checked().expect("some") {
                let Target { answers, distractors } = &pair.target;
                let n = if digits == YearDigits::Two { 100 } else { 10 };
                prop_assert_eq!(answers.len() + distractors.len(), n);
                prop_assert!(!answers.is_empty());
                prop_assert_eq!(pair.clean.len(), pair.corrupt.len());
                if digits == YearDigits::One {
                    let clean = text(&pair.clean);
                    let (_, year) = clean.split_once("from the year ").expect("a year");
                    let start: u32 = year[..4].parse().expect("four digits");
                    for tens in 0..10 {
                        let right = answers.contains(&(u32::from(b'0') + tens));
                        for unit in 0..10 {
                            let year = start / 100 * 100 + 10 * tens + unit;
                            prop_assert_eq!(right, year > start, "{} after {}", year, start);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn tokenizers_that_cannot_are_told_what_to_use() {
    let error = greater_than(YearDigits::Two, 4, 0, &Bytes).expect_err("digits are split").to_string();
    assert!(error.contains("splits numbers into digits; use --digits 1"), "{error}");
    let error = greater_than(YearDigits::One, 4, 0, &Words);
    // `words` reads `174` as 17 and 4: both forms can be asked.
    assert!(error.is_ok());
    let error = ioi(Corruption::Abc, 4, 0, &Bytes).expect_err("names are split").to_string();
    assert!(error.contains("has 0 of 32 names as one token"), "{error}");
    assert!(arithmetic(Arithmetic { operation: Operation::Add, digits: 0 }, 1, 0, &Bytes).is_err());
}

#[test]
fn openings_that_do_not_differ_are_dropped_and_counted() {
    let of = |id: &str, answer: &[u32]| Opening { id: id.into(), prompt: vec![1, 2], answer: answer.into() };
    let post = [of("a", &[5, 6, 7, 8]), of("b", &[5, 6, 7, 8]), of("c", &[5, 6, 7, 8]), of("d", &[5])];
    let base =
        [of("a", &[9, 6, 4, 8]), of("b", &[9, 6, 7, 3]), of("c", &[5, 6, 3, 3]), of("d", &[9, 9, 9, 9])];
    let built = openings(&post, &base, &[2, 3]).expect("pairs");
    let ids: Vec<&str> = built.pairs.iter().map(|pair| &pair.id[..]).collect();
    assert_eq!(ids, ["a-2", "b-3", "c-3"]);
    let first = &built.pairs[0];
    assert_eq!((&first.clean[..], &first.corrupt[..]), (&[1, 2, 5, 6][..], &[1, 2, 9, 6][..]));
    assert_eq!(first.target, Target { answers: vec![7], distractors: vec![4] });
    let counts: Vec<(&str, usize)> = built.dropped.iter().map(|(why, n)| (&why[..], *n)).collect();
    assert_eq!(
        counts,
        [("that both go on alike", 2), ("whose answer ends before the cut", 2), ("with one opening", 1)]
    );
    assert!(openings(&post, &base[1..], &[2]).is_err());
    assert!(openings(&post, &base, &[0]).is_err());
}

#[test]
fn files_read_back() {
    let pairs = ioi(Corruption::Flip, 3, 1, &Words).expect("pairs").checked().expect("some");
    let decode = |ids: &[u32]| Ok(format!("{} tokens", ids.len()));
    let lines = to_jsonl(&pairs, &decode).expect("lines");
    assert!(lines.contains("\"text\":{\"clean\":"));
    let read = Pairs::parse(&lines, &hooks::IdsOnly).expect("pairs");
    assert_eq!(read, pairs);
}
