//! The command under a real mpirun: the bits of one process, checkpoints that any number of ranks resumes, rows that
//! ranks share out, and how a job ends. With the feature `mpi`.
#![cfg(all(feature = "mpi", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod runs;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use runs::{command, left, root, sparks, unmeasured};

/// Ranks wait for each other in loops, so that jobs beside each other would only be slow: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds until mpirun kills what it has sent SIGTERM; it takes twice that long to end.
const PATIENCE: (&str, &str) = ("OMPI_MCA_odls_base_sigkill_timeout", "15");

/// A job of `n` ranks, each of which runs the shell command `line`; none where there is no mpirun.
fn job(dir: &Path, n: usize, line: &str) -> Option<Command> {
    let has = Command::new("mpirun").arg("--version").output().is_ok_and(|out| out.status.success());
    if !has {
        eprintln!("skipped: there is no mpirun");
        return None;
    }
    let mut job = Command::new("mpirun");
    job.args(["--allow-run-as-root", "--oversubscribe", "-n", &n.to_string(), "sh", "-c"]);
    job.arg(line.replace("sparks", env!("CARGO_BIN_EXE_sparks")));
    // Containers may not let processes read each other's memory.
    job.env("OMPI_MCA_btl_vader_single_copy_mechanism", "none").env("HF_HUB_OFFLINE", "1");
    job.current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(job)
}

/// What the command itself says on stderr.
fn says(out: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    text.lines().filter(|line| line.starts_with("sparks: ")).map(str::to_owned).collect()
}

fn files(dir: &Path, more: &str) {
    let sum = |a: usize| (format!("{a}+{}=", a + 11), 2 * a + 11);
    let rows = (10..40).map(sum);
    let rows: String = rows
        .map(|(p, c)| format!("{{\"prompt\":\"{p}\",\"completion\":\"{c}\",\"answer\":\"{c}\"}}\n"))
        .collect();
    std::fs::write(dir.join("d.jsonl"), rows).unwrap();
    let text = format!(
        "model.path = '{}'\ndata.train = 'd.jsonl'\nrun.dir = 'run'\nrun.checkpoint_every = 2\nrun.keep = 0\n\
         train.steps = 4\ntrain.batch_size = 1\ntrain.groups = 12\noptimizer.lr = 1e-3\n{more}",
        root("crates/toy/assets").display(),
    );
    std::fs::write(dir.join("c.toml"), text).unwrap();
}

const SFT: &str = "train.accumulation = 12\ndata.eval = 'd.jsonl'\nrun.eval_every = 2\n";
const GRPO: &str = "grpo.group_size = 4\ngrpo.prompts = 3\ngrpo.max_tokens = 4\ngrpo.temperature = 1.5\n\
                    grpo.beta = 0.1\ndata.eval = 'd.jsonl'\nrun.eval_every = 4\n";
const LORA: &str = "lora.rank = 2\nlora.dropout = 0.1\n";

#[test]
fn ranks_have_the_bits_of_one_process_and_any_number_resumes() {
    let _one = alone();
    for (kind, more) in [("sft", SFT.to_owned()), ("sft", format!("{SFT}{LORA}")), ("grpo", GRPO.to_owned())]
    {
        let one = tempfile::tempdir().unwrap();
        files(one.path(), &more);
        let args = [kind, "c.toml", "--threads", "1"];
        let (status, message) = sparks(one.path(), &args);
        assert_eq!(status, 0, "{message}");
        let whole = left(one.path());
        assert!(whole.len() > 8);
        for n in [1, 2, 3, 4] {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            files(dir, &more);
            let Some(mut job) = job(dir, n, &format!("sparks {} --json", args.join(" "))) else { return };
            let out = job.output().unwrap();
            let message = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{n} ranks: {message}");
            assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count(), 1);
            assert_eq!(message.lines().filter(|line| line.starts_with("step 0 ")).count(), 1, "{message}");
            let found = left(dir);
            let differ: Vec<&String> =
                whole.iter().zip(&found).filter(|(a, b)| a != b).map(|(a, _)| &a.0).collect();
            assert!(found == whole, "{kind}, {n} ranks: {differ:?} differ");
            if n == 2 {
                for again in [4, 1] {
                    std::fs::remove_dir_all(dir.join("run/checkpoints/step-4")).unwrap();
                    let line = format!("sparks {kind} --resume run --threads 1");
                    let out = self::job(dir, again, &line).unwrap().output().unwrap();
                    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
                    assert!(left(dir) == whole, "{kind}: {again} ranks resume with other bits");
                }
            }
        }
    }
}

/// What ends well before a minute.
fn ended(child: Child) -> Output {
    let (start, out) = (Instant::now(), child.wait_with_output().unwrap());
    assert!(start.elapsed() < Duration::from_secs(50), "the job took {:?} to end", start.elapsed());
    out
}

fn wait_for_steps(dir: &Path, n: usize) {
    let start = Instant::now();
    let path = dir.join("run/metrics.jsonl");
    while std::fs::read_to_string(&path).map_or(0, |text| text.lines().count()) < n {
        assert!(start.elapsed() < Duration::from_secs(120), "no steps");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_error_is_said_once_and_ends_the_job() {
    let _one = alone();
    let dir = tempfile::tempdir().unwrap();
    files(dir.path(), SFT);
    // One that all ranks meet, and one of a single rank while the others wait for it.
    let all = "sparks sft c.toml --threads 1 --set train.groups=5";
    let one = "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then set -- --set data.train=none.jsonl; fi; \
               sparks sft c.toml --threads 1 \"$@\"";
    for (line, expected) in
        [(all, "train.groups is 5, expected a multiple of the 3 ranks"), (one, "none.jsonl")]
    {
        let Some(mut job) = job(dir.path(), 3, line) else { return };
        let out = ended(job.spawn().unwrap());
        let said = says(&out);
        assert!(said.len() == 1 && said[0].contains(expected), "{said:?}");
        assert_eq!(out.status.code(), Some(2));
    }
}

#[test]
fn a_killed_rank_ends_the_job_and_the_run_resumes() {
    let _one = alone();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    files(dir, SFT);
    let line =
        "echo $$ > pid-$OMPI_COMM_WORLD_RANK; exec sparks sft c.toml --threads 1 --set train.steps=100000";
    let Some(mut job) = job(dir, 3, line) else { return };
    let child = job.spawn().unwrap();
    wait_for_steps(dir, 4);
    let pid = std::fs::read_to_string(dir.join("pid-2")).unwrap();
    assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    let out = ended(child);
    assert!(!out.status.success() && says(&out).is_empty(), "{:?}", says(&out));
    let (status, message) = sparks(dir, &["sft", "--resume", "run", "--set", "train.steps=6"]);
    assert!(status == 0 || message.contains("are done"), "{message}");
}

#[test]
fn sigterm_reaches_a_checkpoint() {
    let _one = alone();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    files(dir, &format!("{SFT}schedule.kind = 'constant'\n"));
    let line = "exec sparks sft c.toml --threads 1 --set train.steps=100000 run.checkpoint_every=0";
    let Some(mut job) = job(dir, 2, line) else { return };
    // A checkpoint may take longer than the second that mpirun waits after SIGTERM.
    let child = job.env(PATIENCE.0, PATIENCE.1).spawn().unwrap();
    wait_for_steps(dir, 3);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let out = ended(child);
    let said = says(&out);
    assert!(said.len() == 1 && said[0].contains("interrupted after"), "{said:?}");
    let done = unmeasured(&dir.join("run/metrics.jsonl")).len();
    let steps = format!("train.steps={}", done + 1);
    let out = command(dir, &["sft", "--resume", "run", "--set", &steps]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(unmeasured(&dir.join("run/metrics.jsonl")).len(), done + 1);
}

/// Commands that loop over rows, with a name for what each writes.
fn row_commands() -> Vec<(String, &'static str)> {
    let (model, pairs) = ("tests/fixtures/eap/model", "tests/fixtures/eap/pairs.jsonl");
    let of = |name: &str, more: &str| {
        let (model, pairs) = (root(model), root(pairs));
        format!("{name} {} --pairs {} --threads 1 --json {more}", model.display(), pairs.display())
    };
    let eval = format!(
        "eval {} --suite d.jsonl --template plain --max-tokens 8 --samples 2 --temperature 1 --threads 1 --json",
        root("crates/toy/assets").display()
    );
    vec![
        (of("attribute", "--per-pair"), "scores.json"),
        (of("attribute", "--level nodes"), "nodes.json"),
        (of("attribute", "--shard 1/2"), "shard.json"),
        (of("patch", ""), "patch.json"),
        (of("sweep", ""), "sweep.json"),
        (eval, "evaluated"),
    ]
}

fn problems(dir: &Path, n: usize) {
    let rows = (0..n)
        .map(|i| format!("{{\"id\":\"{i}\",\"problem\":\"{}+12=\",\"answer\":\"{}\"}}\n", i + 10, i + 22));
    std::fs::write(dir.join("d.jsonl"), rows.collect::<String>()).unwrap();
}

/// The bytes of a file, or of the files of a folder with their names.
fn written(path: &Path) -> Vec<(String, Vec<u8>)> {
    let of =
        |path: &Path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap());
    if path.is_file() {
        return vec![of(path)];
    }
    let mut files: Vec<_> =
        std::fs::read_dir(path).unwrap().map(|entry| of(&entry.unwrap().path())).collect();
    files.sort();
    files
}

#[test]
fn rows_are_shared_out_and_the_first_writes_what_one_process_writes() {
    let _one = alone();
    for (line, out) in row_commands() {
        let one = tempfile::tempdir().unwrap();
        problems(one.path(), 7);
        let args: Vec<&str> = line.split(' ').filter(|arg| !arg.is_empty()).chain(["--out", out]).collect();
        let said = command(one.path(), &args).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        for n in [1, 2, 3, 4] {
            let dir = tempfile::tempdir().unwrap();
            problems(dir.path(), 7);
            let Some(mut job) = job(dir.path(), n, &format!("sparks {} --out {out}", line.trim())) else {
                return;
            };
            let found = job.output().unwrap();
            assert!(found.status.success(), "{line}, {n}: {}", String::from_utf8_lossy(&found.stderr));
            assert_eq!(
                String::from_utf8_lossy(&found.stdout),
                String::from_utf8_lossy(&said.stdout),
                "{line}, {n}"
            );
            assert!(written(&dir.path().join(out)) == written(&one.path().join(out)), "{line}, {n} ranks");
        }
    }
}

#[test]
fn errors_of_rows_are_said_once() {
    let _one = alone();
    let dir = tempfile::tempdir().unwrap();
    problems(dir.path(), 7);
    for (line, out) in row_commands() {
        let (all, one) = (
            format!("sparks {} --out {out} --compute bf16", line.trim()),
            format!(
                "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then set -- --adapter none; fi; sparks {} --out {out} \"$@\"",
                line.trim()
            ),
        );
        for (line, expected) in [(all, "the CPU computes in f32"), (one, "none")] {
            let Some(mut job) = job(dir.path(), 3, &line) else { return };
            let out = ended(job.spawn().unwrap());
            let said = says(&out);
            assert!(said.len() == 1 && said[0].contains(expected), "{line}: {said:?}");
            assert_eq!(out.status.code(), Some(2), "{line}");
        }
    }
    let shards =
        "sparks attribute x --pairs p --out o.json --shard $OMPI_COMM_WORLD_RANK/$OMPI_COMM_WORLD_SIZE";
    let out = job(dir.path(), 2, shards).unwrap().output().unwrap();
    let said = says(&out);
    assert!(said.len() == 1 && said[0].contains("--shard differs between the processes"), "{said:?}");
}

/// The lines of all files of samples in a run folder.
fn samples(run: &Path) -> Vec<String> {
    let files = std::fs::read_dir(run).into_iter().flatten().map(|entry| entry.unwrap().path());
    let files = files
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("samples")));
    let whole = |path: PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned).collect::<Vec<_>>()
    };
    files.flat_map(whole).collect()
}

fn wait_for_samples(run: &Path, n: usize) {
    let start = Instant::now();
    while samples(run).len() < n {
        assert!(start.elapsed() < Duration::from_secs(120), "no samples");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_evaluation_that_is_killed_or_interrupted_loses_no_sample() {
    let _one = alone();
    for signal in ["-9", "-15"] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        problems(dir, 9);
        let eval = format!(
            "eval {} --suite d.jsonl --template plain --max-tokens 8 --temperature 1 --threads 1 --out run",
            root("crates/toy/assets").display()
        );
        let line =
            format!("echo $$ > pid-$OMPI_COMM_WORLD_RANK; exec sparks {eval} --samples 100000 --quiet");
        let Some(mut job) = job(dir, 3, &line) else { return };
        if signal == "-15" {
            job.env(PATIENCE.0, PATIENCE.1);
        }
        let child = job.spawn().unwrap();
        wait_for_samples(&dir.join("run"), 30);
        let pid = match signal {
            "-9" => std::fs::read_to_string(dir.join("pid-2")).unwrap().trim().to_owned(),
            _ => child.id().to_string(),
        };
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let out = ended(child);
        let said = says(&out);
        assert!(!out.status.success());
        match signal {
            "-9" => assert!(said.is_empty(), "{said:?}"),
            _ => assert!(said.len() == 1 && said[0].contains("run the same command to resume"), "{said:?}"),
        }
        let before = samples(&dir.join("run"));
        // One process goes on, with fewer samples of each problem.
        let args: Vec<&str> = eval.split(' ').chain(["--samples", "2"]).collect();
        let (status, message) = sparks(dir, &args);
        assert_eq!(status, 0, "{message}");
        let after = std::fs::read_to_string(dir.join("run/samples.jsonl")).unwrap();
        let after: HashSet<&str> = after.split_inclusive('\n').collect();
        assert!(before.len() >= 30 && before.iter().all(|line| after.contains(line.as_str())));
        assert!(!dir.join("run/samples-0-of-3.jsonl").exists());
    }
}

#[test]
fn an_attribution_that_is_killed_or_interrupted_ends_and_leaves_nothing() {
    let _one = alone();
    for signal in ["-9", "-15"] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let pairs = std::fs::read_to_string(root("tests/fixtures/eap/pairs.jsonl")).unwrap();
        std::fs::write(dir.join("p.jsonl"), pairs.repeat(500)).unwrap();
        let model = root("tests/fixtures/eap/model");
        let line = format!(
            "echo $$ > pid-$OMPI_COMM_WORLD_RANK; \
             exec sparks attribute {} --pairs p.jsonl --threads 1 --steps 1000 --quiet --out scores.json",
            model.display()
        );
        let Some(mut job) = job(dir, 3, &line) else { return };
        if signal == "-15" {
            job.env(PATIENCE.0, PATIENCE.1);
        }
        let child = job.spawn().unwrap();
        let start = Instant::now();
        while !dir.join("pid-2").exists() {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        }
        // It computes by then, or begins to.
        std::thread::sleep(Duration::from_secs(3));
        let pid = match signal {
            "-9" => std::fs::read_to_string(dir.join("pid-2")).unwrap().trim().to_owned(),
            _ => child.id().to_string(),
        };
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let out = ended(child);
        let said = says(&out);
        assert!(!out.status.success() && said.len() == usize::from(signal == "-15"), "{said:?}");
        let left: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            left.iter()
                .all(|name| ["p.jsonl", "pid-0", "pid-1", "pid-2"].contains(&&*name.to_string_lossy())),
            "{left:?}"
        );
    }
}
