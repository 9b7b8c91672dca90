//! Indirect object identification (Wang et al. 2022): "When Mary and John went to the store, John gave a drink to".
//!
//! The answer is the name that was not repeated, the distractor the other one. Half of the pairs name the answer first
//! (ABBA), half second (BABA). Names that are not one token are left out.

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use hooks::Encode;

use crate::Error;
use crate::built::{Built, Candidate, next_token};

/// What the corrupt prompt changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corruption {
    /// The repeated name becomes a third one (Wang et al.'s ABC), so that none is the answer.
    Abc,
    /// The repeated name becomes the other one (MIB's `s2_io_flip_counterfactual`): the answers swap.
    Flip,
}

/// `A` and `B` are the names in the order of the text, `S` the subject, who gives.
const TEMPLATES: [&str; 8] = [
    "When A and B went to the PLACE, S gave a THING to",
    "Then, A and B went to the PLACE. S gave a THING to",
    "After A and B spent some time at the PLACE, S gave a THING to",
    "While A and B were working at the PLACE, S gave a THING to",
    "Then, A and B had a long talk at the PLACE. Afterwards, S gave a THING to",
    "The PLACE that A and B went to had a THING. S gave it to",
    "Friends A and B found a THING at the PLACE. S gave it to",
    "When A and B got a THING at the PLACE, S decided to give it to",
];

const NAMES: [&str; 32] = [
    "Mary", "John", "Tom", "James", "Dan", "Sam", "Martin", "Amy", "Scott", "Emily", "Laura", "Mark", "Anna",
    "Paul", "Peter", "Sarah", "David", "Kate", "Alice", "Jack", "Robert", "Michael", "Jane", "Lisa", "Kevin",
    "Adam", "Eric", "Simon", "Rachel", "Susan", "Alex", "Ben",
];

const PLACES: [&str; 8] =
    ["store", "garden", "restaurant", "school", "hospital", "office", "house", "station"];

const THINGS: [&str; 8] = ["ring", "book", "bone", "basketball", "computer", "necklace", "drink", "snack"];

/// Up to `n` pairs drawn from `seed`, alternately ABBA and BABA.
///
/// # Errors
/// A tokenizer that has fewer than three of the names as one token, or what it refuses.
pub fn ioi(corruption: Corruption, n: usize, seed: u64, encode: &dyn Encode) -> Result<Built, Error> {
    // Names follow a space; the word before it does not matter.
    let before = encode.prompt("to")?;
    let mut names = Vec::new();
    for name in NAMES {
        if next_token(&before, &format!("to {name}"), false, encode)?.is_some() {
            names.push(name);
        }
    }
    if names.len() < 3 {
        return Err(Error::input(format!(
            "ioi: the tokenizer has {} of {} names as one token, expected at least three; use another task",
            names.len(),
            NAMES.len()
        )));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0069_6f69);
    Built::draw(n, encode, |built| {
        names.shuffle(&mut rng);
        let &[io, subject, third, ..] = &names[..] else { return None };
        let (place, thing) = (PLACES.choose(&mut rng)?, THINGS.choose(&mut rng)?);
        let template = TEMPLATES[rng.random_range(0..TEMPLATES.len())];
        let abba = built.pairs.len().is_multiple_of(2);
        let (a, b) = if abba { (io, subject) } else { (subject, io) };
        let text = |repeated: &str| {
            let words = [("A", a), ("B", b), ("S", repeated), ("PLACE", place), ("THING", thing)];
            filled(template, &words)
        };
        let corrupt = match corruption {
            Corruption::Abc => text(third),
            Corruption::Flip => text(io),
        };
        Some(Candidate {
            id: if abba { "ioi-abba" } else { "ioi-baba" },
            clean: text(subject),
            corrupt,
            answers: vec![format!(" {io}")],
            distractors: vec![format!(" {subject}")],
            first: false,
        })
    })
}

/// `template` with each placeholder, which is a word, replaced.
fn filled(template: &str, words: &[(&str, &str)]) -> String {
    let fill = |word: &str| {
        let bare = word.trim_end_matches([',', '.']);
        let found = words.iter().find(|(placeholder, _)| *placeholder == bare);
        found.map_or_else(|| word.to_owned(), |(_, text)| format!("{text}{}", &word[bare.len()..]))
    };
    template.split(' ').map(fill).collect::<Vec<_>>().join(" ")
}
