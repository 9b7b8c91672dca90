//! Reading pairs files: JSONL, with prompts and answers as text or as token ids.

use std::path::Path;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::{Error, Pair, Pairs, Positions, Target};

/// Turns text into token ids. A tokenizer implements it: `model_qwen::Text` does.
///
/// There are two methods because an answer must not get the special token (BOS) that a prompt starts with: its first
/// token would be the same for every answer, and every score 0.
pub trait Encode {
    /// Token ids of a text that a run starts with, with the special tokens that the tokenizer puts in front.
    ///
    /// # Errors
    /// What the tokenizer cannot encode.
    fn prompt(&self, text: &str) -> Result<Vec<u32>, Error>;

    /// Token ids of a text that goes on with a prompt: no special tokens.
    ///
    /// # Errors
    /// What the tokenizer cannot encode.
    fn continuation(&self, text: &str) -> Result<Vec<u32>, Error>;
}

/// An [`Encode`] for files that hold token ids only: text is an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct IdsOnly;

impl Encode for IdsOnly {
    fn prompt(&self, _: &str) -> Result<Vec<u32>, Error> {
        Err(Error::input("text needs a tokenizer (tokenizer.json beside the model), expected token ids"))
    }

    fn continuation(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.prompt(text)
    }
}

/// How a pairs file is read: with which tokenizer, for a metric at which positions. [`Pairs::read`] is the short form
/// for the last position.
///
/// # Format
/// One JSON object a line; blank lines, `\r\n`, a byte-order mark and gzip are accepted. Keys:
///
/// | key | value |
/// |---|---|
/// | `clean`, `corrupt` | a prompt as text, or `clean_ids`, `corrupt_ids` as token ids; both prompts have as many tokens |
/// | `answer`, `distractor` | optional: text, of which the first token counts, or `answer_ids`, `distractor_ids`: several accepted first tokens |
/// | `id` | optional: text or a number; the line number where absent |
/// | `text` | ignored: this project's builders keep the text of token ids there |
///
/// Any other key is an error, and so are a text and ids of the same thing.
///
/// # Positions
/// For [`Positions::Answer`], `answer` and `distractor` are whole continuations, as text or as ids, of as many tokens.
/// Both prompts go on with the answer but for its last token, and position by position the targets are the answer's
/// tokens against the distractor's. For [`Positions::All`], the target of a position is the next token of the clean
/// prompt against that of the corrupt one, and at the last position the answer against the distractor.
#[derive(Clone, Copy)]
pub struct PairsReader<'a> {
    encode: &'a dyn Encode,
    positions: Positions,
}

impl<'a> PairsReader<'a> {
    /// Reads for the last position, encoding texts by `encode`.
    pub fn new(encode: &'a dyn Encode) -> Self {
        Self { encode, positions: Positions::Last }
    }

    /// Reads for a metric at `positions`.
    #[must_use]
    pub fn positions(mut self, positions: Positions) -> Self {
        self.positions = positions;
        self
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// An unreadable file, a bad line, or what [`Pairs::new`] refuses; the message names the file, the line or the
    /// pair, and the field.
    pub fn read(self, path: impl AsRef<Path>) -> Result<Pairs, Error> {
        let path = path.as_ref();
        self.parse(&common::read_text(path)?).map_err(|e| e.within(path.display()))
    }

    /// Reads the text of a pairs file.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(self, text: &str) -> Result<Pairs, Error> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let read = lines
            .map(|(i, line)| self.line(line, i + 1).map_err(|e| e.within(format_args!("line {}", i + 1))));
        let (pairs, answers): (Vec<Pair>, Vec<Answers>) =
            read.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        // Lengths are compared before an answer is added to both sides.
        let pairs = Pairs::new(pairs)?;
        let placed = pairs.iter().zip(&answers).map(|(pair, answers)| {
            answers.place(pair, self.positions).map_err(|e| e.within(format_args!("pair {}", pair.id)))
        });
        Pairs::new(placed.collect::<Result<_, _>>()?)
    }

    /// A line's pair as read at its last position, and its whole continuations.
    fn line(&self, line: &str, number: usize) -> Result<(Pair, Answers), Error> {
        let line: Line = serde_json::from_str(line).map_err(Error::input)?;
        let prompt = |text, ids, field: &str| {
            let found = one_of(text, ids, field, |text| self.encode.prompt(text))?;
            found.ok_or_else(|| Error::input(format!("missing `{field}` or `{field}_ids`")))
        };
        let (clean, corrupt) = (
            prompt(line.clean, line.clean_ids, "clean")?,
            prompt(line.corrupt, line.corrupt_ids, "corrupt")?,
        );
        let answer = self.answer(line.answer, line.answer_ids, "answer")?;
        let distractor = self.answer(line.distractor, line.distractor_ids, "distractor")?;
        let id = line.id.map_or_else(|| number.to_string(), |id| id.0);
        let target = match self.positions {
            // The tokens of a whole answer are placed one by one later.
            Positions::Answer => Target::default(),
            _ => Target { answers: answer.clone(), distractors: distractor.clone() },
        };
        Ok((Pair::new(id, clean, corrupt, target), Answers { answer, distractor }))
    }

    fn answer(&self, text: Option<Text>, ids: Option<Vec<u32>>, field: &str) -> Result<Vec<u32>, Error> {
        let is_text = text.is_some();
        let mut found = one_of(text, ids, field, |text| self.encode.continuation(text))?.unwrap_or_default();
        if is_text && found.is_empty() {
            return Err(Error::input(format!("`{field}` is empty, expected at least one token")));
        }
        if is_text && self.positions != Positions::Answer {
            found.truncate(1);
        }
        Ok(found)
    }
}

impl std::fmt::Debug for PairsReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairsReader").field("positions", &self.positions).finish_non_exhaustive()
    }
}

/// The ids given, or those of the text given.
fn one_of(
    text: Option<Text>,
    ids: Option<Vec<u32>>,
    field: &str,
    encode: impl Fn(&str) -> Result<Vec<u32>, Error>,
) -> Result<Option<Vec<u32>>, Error> {
    match (text, ids) {
        (Some(_), Some(_)) => {
            Err(Error::input(format!("both `{field}` and `{field}_ids`, expected one of them")))
        }
        (None, ids) => Ok(ids),
        (Some(text), None) => encode(&text.0).map(Some).map_err(|e| e.within(format_args!("`{field}`"))),
    }
}

/// A pair's continuations: whole where positions of the answer are read.
struct Answers {
    answer: Vec<u32>,
    distractor: Vec<u32>,
}

impl Answers {
    /// `pair` as it is read at `positions`.
    fn place(&self, pair: &Pair, positions: Positions) -> Result<Pair, Error> {
        let one = |answer: Option<&u32>, distractor: Option<&u32>| Target {
            answers: answer.copied().into_iter().collect(),
            distractors: distractor.copied().into_iter().collect(),
        };
        let Answers { answer, distractor } = self;
        let mut pair = pair.clone();
        match positions {
            Positions::Last => {}
            Positions::Answer => {
                let Some((last, before)) = answer.split_last() else {
                    return Err(Error::input("missing `answer`, which the positions of the answer need"));
                };
                if !distractor.is_empty() && distractor.len() != answer.len() {
                    return Err(Error::input(format!(
                        "`distractor` has {} tokens, expected as many as `answer`: {}",
                        distractor.len(),
                        answer.len()
                    )));
                }
                pair.clean.extend_from_slice(before);
                pair.corrupt.extend_from_slice(before);
                pair.earlier =
                    before.iter().enumerate().map(|(i, a)| one(Some(a), distractor.get(i))).collect();
                pair.target = one(Some(last), distractor.last());
            }
            Positions::All => {
                let next = pair.clean.iter().zip(&pair.corrupt).skip(1);
                pair.earlier = next.map(|(clean, corrupt)| one(Some(clean), Some(corrupt))).collect();
            }
        }
        Ok(pair)
    }
}

/// A line of a pairs file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Option<Text>,
    clean: Option<Text>,
    clean_ids: Option<Vec<u32>>,
    corrupt: Option<Text>,
    corrupt_ids: Option<Vec<u32>>,
    answer: Option<Text>,
    answer_ids: Option<Vec<u32>>,
    distractor: Option<Text>,
    distractor_ids: Option<Vec<u32>>,
    #[serde(rename = "text")]
    _text: Option<IgnoredAny>,
}

/// A text, or a number that stands for its digits (`"answer": 46`).
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Text(text)),
            serde_json::Value::Number(number) => Ok(Text(number.to_string())),
            other => Err(serde::de::Error::custom(format!("expected a text or a number, found {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;

    /// A token a byte; prompts begin with a special token, 1.
    struct Letters;

    impl Encode for Letters {
        fn prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
            Ok([vec![1], self.continuation(text)?].concat())
        }
        fn continuation(&self, text: &str) -> Result<Vec<u32>, Error> {
            Ok(text.bytes().map(u32::from).collect())
        }
    }

    fn ids(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    fn refused(text: &str) -> String {
        Pairs::parse(text, &Letters).unwrap_err().to_string()
    }

    #[test]
    fn prompts_get_the_special_token_and_answers_do_not() {
        let text = r#"{"clean":"ab","corrupt_ids":[1,97,99],"answer":"xy","distractor_ids":[1,2]}"#;
        let pairs = Pairs::parse(text, &Letters).unwrap();
        let pair = &pairs.as_slice()[0];
        assert_eq!(
            (&pair.id[..], &pair.clean[..], &pair.corrupt[..]),
            ("1", &[1, 97, 98][..], &[1, 97, 99][..])
        );
        assert_eq!(pair.target, Target { answers: vec![120], distractors: vec![1, 2] });
    }

    #[test]
    fn files_are_read_as_users_have_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pairs.jsonl");
        let text = "\u{feff}{\"id\":7,\"clean\":\"a\",\"corrupt\":\"b\",\"answer\":46}\r\n\r\n\
                    {\"id\":\"NaN\",\"clean\":\"c\",\"corrupt\":\"d\",\"text\":{\"clean\":\"c\"}}";
        std::fs::write(&path, text).unwrap();
        let pairs = Pairs::read(&path, &Letters).unwrap();
        assert_eq!(pairs.iter().map(|p| &p.id[..]).collect::<Vec<_>>(), ["7", "NaN"]);
        assert_eq!(pairs.as_slice()[0].target.answers, ids("4"));
        assert_eq!(pairs.as_slice()[1].clean, [1, 99]);
        assert_eq!(Pairs::parse(text, &Letters).unwrap(), pairs);
        std::fs::write(&path, "\n{\"clean\":\"a\"}\n").unwrap();
        let error = Pairs::read(&path, &Letters).unwrap_err().to_string();
        assert!(error.ends_with("pairs.jsonl: line 2: missing `corrupt` or `corrupt_ids`"), "{error}");
    }

    #[test]
    fn answers_and_prompts_are_read_position_by_position() {
        let text = r#"{"clean_ids":[97,98,99],"corrupt_ids":[97,120,99],"answer":"pq","distractor":"rs"}"#;
        let target = |a: u8, d: u8| Target { answers: vec![a.into()], distractors: vec![d.into()] };
        let read = |positions| {
            let pairs = PairsReader::new(&Letters).positions(positions).parse(text).unwrap();
            pairs.as_slice()[0].clone()
        };
        let answer = read(Positions::Answer);
        assert_eq!((answer.clean, answer.corrupt), (ids("abcp"), ids("axcp")));
        assert_eq!((answer.earlier, answer.target), (vec![target(b'p', b'r')], target(b'q', b's')));
        let all = read(Positions::All);
        assert_eq!(all.rows(), Rows::Tail(3));
        let next = [target(b'b', b'x'), target(b'c', b'c'), target(b'p', b'r')];
        assert_eq!(all.targets().cloned().collect::<Vec<_>>(), next);
        let uneven = PairsReader::new(&Letters).positions(Positions::Answer).parse(&text.replace("rs", "r"));
        let message = uneven.unwrap_err().to_string();
        assert!(message.contains("`distractor` has 1 tokens"), "{message}");
    }

    #[test]
    fn an_answer_may_repeat_a_token_where_it_is_read_whole() {
        let text = r#"{"clean":"a","corrupt":"b","answer":"xx","distractor":"yy"}"#;
        assert!(PairsReader::new(&Letters).positions(Positions::Answer).parse(text).is_ok());
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let unequal = r#"{"id":"p7","clean":"ab","corrupt":"a"}"#;
        assert!(refused(unequal).contains("pair p7: clean has 3 tokens and corrupt 2"));
        assert!(refused("not json").contains("line 1"));
        assert!(refused("").contains("none given"));
        let unknown = refused(r#"{"clean":"a","corrupt":"b","answers":"c"}"#);
        assert!(
            unknown.starts_with("line 1: unknown field `answers`, expected one of `id`, `clean`"),
            "{unknown}"
        );
        let both = refused(r#"{"clean":"a","clean_ids":[1],"corrupt":"b"}"#);
        assert_eq!(both, "line 1: both `clean` and `clean_ids`, expected one of them");
        let list = refused(r#"{"clean":["a"],"corrupt":"b"}"#);
        assert!(list.contains("expected a text or a number"), "{list}");
        let no_text = Pairs::parse(r#"{"clean":"a","corrupt":"b"}"#, &IdsOnly).unwrap_err().to_string();
        assert!(no_text.starts_with("line 1: `clean`: text needs a tokenizer"), "{no_text}");
    }
}
