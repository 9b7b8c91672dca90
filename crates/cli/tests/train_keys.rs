//! Every key and flag of `sparks sft` and `sparks grpo` changes what `testdata/keys.txt` says, or is refused by name.
#![allow(clippy::unwrap_used)]

mod runs;
#[path = "../../server/tests/vllm/mod.rs"]
mod vllm;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn toy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../toy/assets")
}

/// What a run printed and left.
struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
    files: Vec<(String, Vec<u8>)>,
}

impl Outcome {
    fn metrics(&self) -> Vec<Value> {
        let lines = self.files.iter().find(|(name, _)| name == "run/metrics.jsonl");
        lines.map(|(_, bytes)| serde_json::from_slice(bytes).unwrap()).unwrap_or_default()
    }

    /// The part of the outcome that a row of the table names.
    fn part(&self, what: &str) -> String {
        let bytes_of = |inner: &str| -> Vec<&(String, Vec<u8>)> {
            self.files.iter().filter(|(name, _)| name.contains(inner)).collect()
        };
        match what.split_once(' ').unwrap_or((what, "")) {
            ("metrics", field) => {
                format!("{:?}", self.metrics().iter().map(|l| &l[field]).collect::<Vec<_>>())
            }
            ("memory", _) => {
                let counts = |l: &Value| format!("{} {} {}", l["reward"], l["tokens"], l["length"]);
                format!("{:?}", self.metrics().iter().map(counts).collect::<Vec<_>>())
            }
            ("lines", _) => self.metrics().len().to_string(),
            ("files", _) => format!("{:?}", self.files.iter().map(|(name, _)| name).collect::<Vec<_>>()),
            ("weights", _) => format!("{:?}", bytes_of("model.safetensors")),
            ("circuits", _) => format!("{:?}", bytes_of("run/circuits")),
            ("stderr", _) => self.stderr.clone(),
            ("stdout", _) => self.stdout.clone(),
            _ => panic!("{what}: not a part of an outcome"),
        }
    }
}

/// Models, data and run files. The other model has another base of its rotary angles.
fn files(dir: &Path) {
    let copy = |name: &str| {
        std::fs::create_dir(dir.join(name)).unwrap();
        for file in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
            std::fs::copy(toy().join(file), dir.join(name).join(file)).unwrap();
        }
    };
    copy("chat");
    let template = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}\
                    {% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}{% if enable_thinking %}=={% endif %}";
    let config = serde_json::json!({ "chat_template": template, "eos_token": "<eos>" });
    std::fs::write(dir.join("chat/tokenizer_config.json"), config.to_string()).unwrap();
    copy("other");
    let place = dir.join("other/config.json");
    let text = std::fs::read_to_string(&place).unwrap().replace("10000.0", "20000.0");
    std::fs::write(&place, text).unwrap();

    let write = |name: &str, rows: &dyn Fn(usize) -> Value| {
        let rows: String = (0..8).map(|n| format!("{}\n", rows(n))).collect();
        std::fs::write(dir.join(name), rows).unwrap();
    };
    let sum = |a: usize, b: usize| (format!("{a}+{b}="), (a + b).to_string());
    let problem = |(problem, solution): (String, String)| serde_json::json!({ "problem": problem, "solution": solution });
    write("d.jsonl", &|n| problem(sum(10 + 7 * n, 23 + 5 * n)));
    write("e.jsonl", &|n| problem(sum(81 - 9 * n, 3 + 2 * n)));
    write("weights.jsonl", &|n| {
        let (problem, solution) = sum(10 + n, 20);
        serde_json::json!({ "problem": problem, "solution": solution, "w": n + 1 })
    });
    write("columns.jsonl", &|n| {
        let ((prompt, completion), (p, c)) = (sum(10 + n, 20), sum(1 + n, 3));
        serde_json::json!({ "prompt": prompt, "completion": completion, "answer": completion, "p": p, "c": c, "x": c })
    });
    write(
        "text.jsonl",
        &|n| serde_json::json!({ "text": format!("{}+1={}", n, n + 1), "t": format!("{}+20={}", n, n + 20) }),
    );
    write("alpaca.jsonl", &|n| {
        let (instruction, i, output) = (format!("{n}+20="), format!("{n}+{n}="), format!("{}", n + 20));
        serde_json::json!({ "instruction": instruction, "i": i, "output": output, "text": "1+1=2" })
    });
    let turn = |(user, assistant): (String, String)| {
        [
            serde_json::json!({"role": "user", "content": user}),
            serde_json::json!({"role": "assistant", "content": assistant}),
        ]
    };
    write("chat.jsonl", &|n| {
        let (a, b) = (turn(sum(n, 2)), turn(sum(10 + n, 20)));
        let (all, again) = ([a.clone(), b.clone()].concat(), [b, a].concat());
        serde_json::json!({ "messages": all, "m": again })
    });
    write("pairs.jsonl", &|n| {
        let (clean, corrupt) = (format!("{}+20=", 11 + n), format!("{}+60=", 11 + n));
        serde_json::json!({ "clean": clean, "corrupt": corrupt, "answer": "3", "distractor": "7" })
    });
    let common = format!(
        "model.path = '{}'\ndata.train = 'd.jsonl'\nrun.dir = 'run'\nrun.checkpoint_every = 0\ntrain.steps = 3\n\
         optimizer.lr = 1e-2\n",
        toy().display()
    );
    std::fs::write(dir.join("sft.toml"), format!("{common}train.batch_size = 2\n")).unwrap();
    let grpo = "grpo.group_size = 4\ngrpo.prompts = 2\ngrpo.max_tokens = 3\ngrpo.temperature = 1.5\n";
    std::fs::write(dir.join("grpo.toml"), format!("{common}{grpo}")).unwrap();
}

fn sparks(dir: &Path, kind: &str, more: &[String]) -> Outcome {
    for run in ["run", "other-run"] {
        let _ = std::fs::remove_dir_all(dir.join(run));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_sparks"));
    command.args([kind, &format!("{kind}.toml")]).args(more).current_dir(dir);
    let out = command.env("HF_HUB_CACHE", dir.join("hub")).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome {
        status: out.status.code().unwrap_or(-1),
        stdout: text(out.stdout),
        stderr: text(out.stderr),
        files: runs::left(dir),
    }
}

/// Flags that `--help` lists.
fn flags(kind: &str) -> BTreeSet<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_sparks")).args([kind, "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let words = help.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")));
    words.filter(|flag| !["--help", "--version"].contains(flag)).map(str::to_owned).collect()
}

fn check(kind: &str) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    files(dir);
    let (mut before, mut wrong, mut listed) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/keys.txt");
    let server = vllm::Vllm::start();
    let table = std::fs::read_to_string(table).unwrap().replace("SERVER ", &format!("{} ", server.url));
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let row: Vec<&str> = line.split('|').map(str::trim).collect();
        let &[kinds, key, value, beside, differs] = &row[..] else { panic!("{line}: expected five columns") };
        listed.insert(key.to_owned());
        if kinds != kind && kinds != "both" {
            continue;
        }
        let key = key.replace(".*", ".any");
        let beside: Vec<String> =
            beside.split_whitespace().flat_map(|set| ["--set".to_owned(), set.to_owned()]).collect();
        let mut more = beside.clone();
        match key.starts_with("--") {
            true => {
                more.extend([key.as_str(), value].iter().filter(|w| !w.is_empty()).map(|w| (*w).to_owned()))
            }
            false => more.extend(["--set".to_owned(), format!("{key}={value}")]),
        }
        let now = sparks(dir, kind, &more);
        let names = key.trim_start_matches("--").split('.').chain([value]).filter(|name| !name.is_empty());
        let names: Vec<&str> = names.collect();
        match differs {
            "refused" => {
                let named = names.iter().any(|name| now.stderr.contains(name));
                if now.status != 2 || !named || now.stderr.lines().count() != 1 {
                    wrong.push(format!("{line}: is not refused by name: {} {}", now.status, now.stderr));
                }
            }
            _ if now.status != 0 => wrong.push(format!("{line}: {}", now.stderr)),
            _ => {
                let before = before.entry(beside.clone()).or_insert_with(|| sparks(dir, kind, &beside));
                if before.status != 0 {
                    wrong.push(format!("{line}: without it: {}", before.stderr));
                    continue;
                }
                let same = before.part(differs) == now.part(differs);
                if same != (differs == "memory") {
                    wrong.push(format!("{line}: {}", if same { "is the same" } else { "differs" }));
                }
            }
        }
    }
    let missing: Vec<String> = flags(kind).into_iter().filter(|flag| !listed.contains(flag)).collect();
    assert!(missing.is_empty(), "testdata/keys.txt lacks {missing:?}");
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_key_of_sft_acts_or_is_refused() {
    check("sft");
}

#[test]
fn every_key_of_grpo_acts_or_is_refused() {
    check("grpo");
}
