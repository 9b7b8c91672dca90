//! Generated arithmetic and word problems with a worked solution in steps, for tests and demonstrations. They are not
//! a benchmark to report.
//!
//! Item `i` of seed `s` does not depend on how many items are made, so disjoint ranges of indices are disjoint
//! training and evaluation sets.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::problem::Problem;

/// Settings of the generator. `Default` is two one-digit terms with `+` and `-`, as a bare expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArithmeticProblems {
    /// How many numbers an expression combines, at least 2; a solution has `terms - 1` steps.
    pub terms: usize,
    /// Decimal digits of the largest number, 1 to 6.
    pub digits: u32,
    /// Which operations occur.
    pub operations: Operations,
    /// Bare expression or a small story around it.
    pub style: Style,
    /// Whether an intermediate result may be below zero (bare expressions only; stories never are).
    pub negative: bool,
}

/// Sets of operations, each containing the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operations {
    /// `+`
    Add,
    /// `+` and `-`
    AddSubtract,
    /// `+`, `-` and `*`, each step applied to the running result (shown with parentheses where needed).
    AddSubtractMultiply,
}

/// Form of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `12 + 7 - 3 = ?`
    Expression,
    /// "Mara has 12 shells. She finds 7 more. …"
    Story,
}

/// A generated problem with its solution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// `arithmetic-<seed>-<index>`
    pub id: String,
    /// The question.
    pub problem: String,
    /// The answer, a decimal integer.
    pub answer: String,
    /// The solution, one calculation a step: `"12 + 7 = 19"`.
    pub steps: Vec<String>,
}

impl Default for ArithmeticProblems {
    fn default() -> Self {
        Self {
            terms: 2,
            digits: 1,
            operations: Operations::AddSubtract,
            style: Style::Expression,
            negative: false,
        }
    }
}

impl Item {
    /// The steps, one a line, and the boxed answer: a completion to train on.
    pub fn solution(&self) -> String {
        format!("{}\nThe answer is \\boxed{{{}}}.", self.steps.join("\n"), self.answer)
    }

    /// The item as a [`Problem`] (source `"arithmetic"`).
    pub fn to_problem(&self) -> Problem {
        Problem {
            id: self.id.clone(),
            problem: self.problem.clone(),
            answer: self.answer.clone(),
            source: Some("arithmetic".into()),
            subject: Some("arithmetic".into()),
            level: None,
        }
    }
}

#[derive(Clone, Copy)]
enum Op {
    Add,
    Subtract,
    Multiply,
}

impl ArithmeticProblems {
    /// Item `index` of stream `seed`.
    ///
    /// # Panics
    /// `terms < 2` or `digits` outside 1..=6.
    pub fn item(&self, seed: u64, index: u64) -> Item {
        assert!(self.terms >= 2, "terms: expected at least 2, got {}", self.terms);
        assert!((1..=6).contains(&self.digits), "digits: expected 1 to 6, got {}", self.digits);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index);
        let (first, chain) = self.draw(&mut rng);
        let mut value = first;
        let mut steps = Vec::with_capacity(chain.len());
        for &(op, n) in &chain {
            let (sign, next) = match op {
                Op::Add => ('+', value + n),
                Op::Subtract => ('-', value - n),
                Op::Multiply => ('*', value * n),
            };
            steps.push(format!("{value} {sign} {n} = {next}"));
            value = next;
        }
        let problem = match self.style {
            Style::Expression => format!("{} = ?", expression(first, &chain)),
            Style::Story => story(first, &chain, &mut rng),
        };
        Item { id: format!("arithmetic-{seed}-{index}"), problem, answer: value.to_string(), steps }
    }

    /// Items `0..n` of stream `seed`.
    pub fn items(&self, seed: u64, n: usize) -> Vec<Item> {
        (0..n as u64).map(|i| self.item(seed, i)).collect()
    }

    /// A first number and the operations applied to it, keeping every intermediate result within `i64` and,
    /// unless asked otherwise, at or above zero.
    fn draw(&self, rng: &mut impl Rng) -> (i64, Vec<(Op, i64)>) {
        let limit = 10_i64.pow(self.digits);
        let positive = self.style == Style::Story || !self.negative;
        let first = rng.random_range(1..limit);
        let mut value = first;
        let mut chain = Vec::with_capacity(self.terms - 1);
        for _ in 1..self.terms {
            let kinds = self.operations as usize + 1;
            let mut op = [Op::Add, Op::Subtract, Op::Multiply][rng.random_range(0..kinds)];
            if matches!(op, Op::Multiply) && value.abs() > 1_000_000_000
                || matches!(op, Op::Subtract) && positive && value == 0
            {
                op = Op::Add;
            }
            let n = match op {
                Op::Add => rng.random_range(1..limit),
                Op::Subtract if positive => rng.random_range(1..=value.min(limit - 1)),
                Op::Subtract => rng.random_range(1..limit),
                Op::Multiply => rng.random_range(2..10),
            };
            value = match op {
                Op::Add => value + n,
                Op::Subtract => value - n,
                Op::Multiply => value * n,
            };
            chain.push((op, n));
        }
        (first, chain)
    }
}

/// The chain in infix; a sum is put in parentheses before it is multiplied.
fn expression(first: i64, chain: &[(Op, i64)]) -> String {
    let mut text = first.to_string();
    let mut is_sum = false;
    for &(op, n) in chain {
        text = match op {
            Op::Add => format!("{text} + {n}"),
            Op::Subtract => format!("{text} - {n}"),
            Op::Multiply if is_sum => format!("({text}) * {n}"),
            Op::Multiply => format!("{text} * {n}"),
        };
        is_sum = !matches!(op, Op::Multiply);
    }
    text
}

/// The chain told as a story about one person and one kind of thing.
fn story(first: i64, chain: &[(Op, i64)], rng: &mut impl Rng) -> String {
    const PEOPLE: [(&str, &str); 6] =
        [("Mara", "She"), ("Tomás", "He"), ("Aiko", "She"), ("Kwame", "He"), ("Lena", "She"), ("Ravi", "He")];
    const THINGS: [&str; 6] = ["shells", "stamps", "marbles", "beads", "cards", "buttons"];
    let (name, pronoun) = PEOPLE[rng.random_range(0..PEOPLE.len())];
    let things = THINGS[rng.random_range(0..THINGS.len())];
    let mut text = format!("{name} starts with {first} {things}.");
    for &(op, n) in chain {
        let variants = match op {
            Op::Add => [format!("{pronoun} finds {n} more."), format!("A friend gives {name} {n} more.")],
            Op::Subtract => {
                [format!("{pronoun} loses {n} of them."), format!("{pronoun} gives {n} of them away.")]
            }
            Op::Multiply => [
                format!("Then the number of {things} grows to {n} times what it was."),
                format!("{pronoun} trades them for {n} times as many."),
            ],
        };
        text.push(' ');
        text.push_str(&variants[rng.random_range(0..2)]);
    }
    format!("{text} How many {things} does {name} have now?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_do_not_depend_on_how_many_are_drawn() {
        let spec = ArithmeticProblems {
            terms: 4,
            digits: 2,
            operations: Operations::AddSubtractMultiply,
            ..Default::default()
        };
        assert_eq!(spec.items(3, 50)[17], spec.item(3, 17));
        assert_ne!(spec.item(3, 17), spec.item(4, 17));
    }

    #[test]
    fn steps_chain_to_the_answer_and_the_grader_agrees_with_the_expression() {
        for negative in [false, true] {
            let spec = ArithmeticProblems {
                terms: 5,
                digits: 3,
                operations: Operations::AddSubtractMultiply,
                negative,
                ..Default::default()
            };
            for item in spec.items(0, 200) {
                assert_eq!(item.steps.len(), 4);
                assert!(item.steps[3].ends_with(&format!(" = {}", item.answer)), "{item:?}");
                let expression = item.problem.trim_end_matches(" = ?");
                let verdict = math_grade::grade(&item.answer, expression);
                assert!(verdict.correct, "{item:?} {verdict:?}");
                assert!(math_grade::grade(&item.answer, &item.solution()).correct);
                assert!(negative || !item.steps.iter().any(|s| s.contains("= -")));
            }
        }
    }

    #[test]
    fn stories_name_every_number() {
        let spec = ArithmeticProblems { terms: 3, digits: 2, style: Style::Story, ..Default::default() };
        for item in spec.items(1, 50) {
            assert!(
                item.problem.ends_with('?') && item.answer.parse::<i64>().is_ok_and(|a| a >= 0),
                "{item:?}"
            );
        }
    }
}
