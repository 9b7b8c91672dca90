//! Answers made to fool or to hang the grader: none is accepted, none takes long, none panics.
#![allow(clippy::expect_used)]

use std::time::{Duration, Instant};

use math_grade::{extract, grade};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Longest time of the processor for one case in the development profile; `examples/throughput` measures the 50 ms
/// that a release build keeps.
const LIMIT: Duration = Duration::from_millis(400);

/// Time of the processor that this thread has had, so that other work on the machine does not count; wall-clock time
/// where the system does not say.
fn clock(start: Instant) -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = stat.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

#[derive(serde::Deserialize)]
struct Attacks {
    /// Every one of these must be rejected for every one of `golds`.
    golds: Vec<String>,
    preds: Vec<String>,
    /// Reference, then a wrong answer.
    pairs: Vec<(String, String)>,
}

fn timed(gold: &str, pred: &str) -> bool {
    let start = Instant::now();
    let before = clock(start);
    let verdict = grade(gold, pred);
    let taken = clock(start) - before;
    assert!(taken < LIMIT, "{taken:?} for {:?} | {:?}", cut(gold), cut(pred));
    verdict.correct
}

fn cut(s: &str) -> String {
    s.chars().take(80).collect()
}

#[test]
fn attacks_are_rejected() {
    let text = include_str!("../testdata/attacks.toml");
    let attacks: Attacks = toml::from_str(text).expect("TOML");
    let mut accepted = Vec::new();
    for gold in &attacks.golds {
        for pred in &attacks.preds {
            for pred in [
                pred.clone(),
                format!("\\boxed{{{pred}}}"),
                format!("The final answer is ${pred}$. I hope it is correct."),
            ] {
                if timed(gold, &pred) {
                    accepted.push(format!("{gold} | {pred}"));
                }
            }
        }
    }
    for (gold, pred) in &attacks.pairs {
        if timed(gold, pred) {
            accepted.push(format!("{gold} | {pred}"));
        }
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
}

#[test]
fn boxing_every_candidate_is_rejected() {
    for sep in [" ", ", ", " or ", " and ", "; ", " maybe "] {
        let all: Vec<String> = (0..30).map(|i| format!("$\\boxed{{{i}}}$")).collect();
        assert!(!timed("7", &all.join(sep)), "{sep}");
        let one_box: Vec<String> = (0..30).map(|i| i.to_string()).collect();
        assert!(!timed("7", &format!("\\boxed{{{}}}", one_box.join(sep))), "{sep}");
    }
}

#[test]
fn bombs_are_defused() {
    let million = 1_000_000;
    let bombs = [
        "{".repeat(million),
        format!("\\boxed{}5{}", "{".repeat(million / 2), "}".repeat(million / 2)),
        format!("\\boxed{{{}}}", "(".repeat(4000)),
        "\\boxed{".repeat(million / 7),
        format!("{}5{}", "\\boxed{".repeat(million / 14), "}".repeat(million / 14)),
        "$".repeat(million),
        "$1".repeat(million / 2),
        "\\(".repeat(million / 2),
        "answer".repeat(million / 6),
        "answer: 1 ".repeat(million / 10),
        "final answer is ".repeat(million / 16),
        "1 ".repeat(million / 2),
        "1".repeat(million),
        "-".repeat(million),
        "1+".repeat(million / 2),
        "\\frac{1}{2}".repeat(million / 11),
        format!("${}x$", "\\frac{1}{".repeat(800)),
        format!("${}x{}$", "\\frac{1}{1+".repeat(60), "}".repeat(60)),
        format!("${}$", "x^".repeat(900)),
        format!("$2{}$", "!".repeat(1500)),
        "$9^{9^{9^{9^{9}}}}$".into(),
        "$10^{10^{10}}$".into(),
        "$(1+x)^{500}$".into(),
        "$(a+b+c+d+e+f+g)^{40}$".into(),
        "$\\sqrt[64]{(x+y+z)^{63}+(x-y)^{61}}$".into(),
        "$2^{100000}-2^{99999}+5$".into(),
        "$1E999999$".into(),
        "$\\sin(10^{1000})$".into(),
        "$\\sin(10^{70}) + \\tan(10^{60})$".into(),
        "$100000!$".into(),
        "$300!^{300!}$".into(),
        "$\\binom{10^{9}}{300}$".into(),
        "$\\sum_{k=1}^{99}\\sum_{j=1}^{99}\\sum_{i=1}^{99} \\sin(ijk)$".into(),
        "$\\prod_{k=1}^{99} (x+k)$".into(),
        format!("$1{}$", "\\pm(1".repeat(60)),
        format!("$1{}$", "\\pm 1,(1".repeat(40)),
        format!("${}$", "1\\pm1,".repeat(400)),
        format!("${}$", "(x+1)(y-1)".repeat(100)),
        format!("${}$", "|x|".repeat(300)),
        format!("${}$", "|".repeat(600)),
        format!("$\\{{{}\\}}$", (0..900).map(|i| format!("\\sqrt{{{i}}}")).collect::<Vec<_>>().join(",")),
        format!("$\\{{{}\\}}$", (0..400).map(|i| format!("x^{i}")).collect::<Vec<_>>().join(",")),
        format!("$\\begin{{pmatrix}}{}\\end{{pmatrix}}$", "1&2\\\\".repeat(400)),
        "\u{0}\u{1}\u{feff}\u{202e}5".into(),
    ];
    for (i, bomb) in bombs.iter().enumerate() {
        assert!(!timed("5", bomb), "bomb {i} {:?}", cut(bomb));
        timed(bomb, "5");
        let start = Instant::now();
        let before = clock(start);
        timed(bomb, bomb);
        extract(bomb);
        let taken = clock(start) - before;
        assert!(taken < LIMIT * 2, "bomb {i} {:?}: {taken:?}", cut(bomb));
    }
}

#[test]
fn a_cut_off_answer_is_no_answer() {
    for text in ["The answer should be \\boxed{42", "so \\boxed{\\frac{1}{2", "\\boxed{"] {
        assert!(extract(text).truncated, "{text}");
    }
    assert!(!extract("\\boxed{42}").truncated);
    assert!(!grade("\\frac{1}{2}", "so \\boxed{\\frac{1}{2").correct);
}

#[test]
fn random_strings_neither_panic_nor_hang() {
    const PIECES: &[&str] = &[
        "\\frac",
        "\\sqrt",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "\\{",
        "\\}",
        "|",
        "^",
        "_",
        "+",
        "-",
        "*",
        "/",
        "=",
        "<",
        ">",
        ",",
        ";",
        ":",
        "!",
        "%",
        "$",
        "$$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "\\boxed{",
        "\\text{",
        "\\left",
        "\\right",
        "\\pm",
        "\\cup",
        "\\cap",
        "\\in",
        "\\infty",
        "\\pi",
        "\\sum_{k=1}^{5}",
        "\\int",
        "\\lim_{x\\to 0}",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "&",
        "\\\\",
        "x",
        "y",
        "f(",
        "e",
        "i",
        "d",
        "0",
        "1",
        "2",
        "10",
        "3.5",
        "007",
        "9E9",
        "\\sin",
        "\\ln",
        "\\log_2",
        "\\overline{",
        " and ",
        " or ",
        "answer",
        "final answer is ",
        ". I hope",
        "\\cdot",
        "\\mod",
        "\\gcd(",
        "\u{e9}",
        "√",
        "π",
        "°",
        "\n",
        " ",
        "\\%",
        "\\circ",
        "\\underbrace",
        "\\",
        "'",
        "\"",
        "~",
        "#",
        "@",
        "日本",
        "\u{1d7d9}",
    ];
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..20_000 {
        let mut make = || {
            (0..rng.random_range(1..24))
                .map(|_| *PIECES.choose(&mut rng).expect("pieces"))
                .collect::<String>()
        };
        let (a, b) = (make(), make());
        timed(&a, &b);
        extract(&a);
    }
}
