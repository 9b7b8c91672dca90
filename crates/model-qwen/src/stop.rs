//! Stop strings: a row ends as soon as its text contains one of them.

use crate::{Completion, Error, Finish, Next, Text};

/// Finds stop strings in the text of rows that are being generated, token by token.
///
/// A row ends with the token that completes a stop string. That token is kept, so ids and text agree; where it
/// holds more characters than the stop string needs, they are kept too.
#[derive(Debug)]
pub struct StopStrings<'a> {
    text: &'a Text,
    stops: &'a [&'a str],
    /// Tokens of each row so far.
    rows: Vec<Vec<u32>>,
    /// Last tokens of a row in which a stop string is looked for.
    window: usize,
    failed: Option<Error>,
}

impl<'a> StopStrings<'a> {
    /// For `n_rows` rows that end at any of `stops`.
    pub fn new(text: &'a Text, stops: &'a [&'a str], n_rows: usize) -> Self {
        // A token of text has at least one byte; a few have none (special tokens).
        let longest = stops.iter().map(|stop| stop.len()).max().unwrap_or(0);
        Self { text, stops, rows: vec![Vec::new(); n_rows], window: longest + 8, failed: None }
    }

    /// Takes the next token of a row: [`Next::EndRow`] where it completes a stop string, [`Next::EndAll`] where
    /// the tokenizer cannot decode the row, which [`into_result`](Self::into_result) then says.
    ///
    /// # Panics
    /// If `row` is not one of the rows.
    pub fn push(&mut self, row: usize, token: u32) -> Next {
        if self.stops.is_empty() {
            return Next::Go;
        }
        let ids = &mut self.rows[row];
        ids.push(token);
        match self.text.decode(&ids[ids.len().saturating_sub(self.window)..]) {
            Ok(tail) if self.stops.iter().any(|stop| tail.contains(stop)) => Next::EndRow,
            Ok(_) => Next::Go,
            Err(e) => {
                self.failed = Some(e);
                Next::EndAll
            }
        }
    }

    /// Cuts a completion that another program made after the token that completes a stop string.
    ///
    /// # Errors
    /// Ids that the tokenizer cannot decode.
    pub fn trim(text: &Text, stops: &[&str], completion: &mut Completion) -> Result<(), Error> {
        let mut watch = StopStrings::new(text, stops, 1);
        let end = completion.ids.iter().position(|&id| watch.push(0, id) != Next::Go);
        watch.into_result()?;
        let Some(n) = end.map(|at| at + 1) else { return Ok(()) };
        if n < completion.ids.len() || completion.finish != Finish::Eos {
            completion.finish = Finish::Stop;
        }
        for logprobs in [&mut completion.logprobs, &mut completion.sampling_logprobs] {
            logprobs.truncate(n);
        }
        completion.ids.truncate(n);
        Ok(())
    }

    /// Whether every row could be decoded.
    ///
    /// # Errors
    /// The tokenizer's, where one could not.
    pub fn into_result(self) -> Result<(), Error> {
        self.failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_ends_with_the_token_that_completes_a_stop_string() {
        let vocab: serde_json::Map<String, serde_json::Value> =
            ["a", "b", "c", "bc"].iter().enumerate().map(|(i, t)| ((*t).to_owned(), i.into())).collect();
        let json = serde_json::json!({
            "version": "1.0", "added_tokens": [], "decoder": { "type": "Fuse" },
            "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "a" },
        });
        let text = Text::from_bytes(json.to_string().as_bytes()).expect("a tokenizer");
        let stops = ["abc", "cc"];
        let mut watch = StopStrings::new(&text, &stops, 2);
        let mut push = |row, token| watch.push(row, token);
        for token in [0, 1, 1, 2, 0] {
            assert_eq!(push(0, token), Next::Go);
        }
        assert_eq!([push(1, 2), push(0, 3), push(1, 2)], [Next::Go, Next::EndRow, Next::EndRow]);
        watch.into_result().expect("decodes");

        let (logprobs, finish) = (vec![-0.1, -0.2, -0.3, -0.4], Finish::Length);
        let mut whole =
            Completion { ids: vec![1, 0, 3, 2], sampling_logprobs: logprobs.clone(), logprobs, finish };
        StopStrings::trim(&text, &["xyz"], &mut whole).expect("decodes");
        assert_eq!((whole.ids.len(), whole.finish), (4, Finish::Length));
        StopStrings::trim(&text, &stops, &mut whole).expect("decodes");
        assert_eq!((whole.ids, whole.finish), (vec![1, 0, 3], Finish::Stop));
        assert_eq!((whole.logprobs.len(), whole.sampling_logprobs), (3, vec![-0.1, -0.2, -0.3]));
    }
}
