//! `sparks sft` and `sparks grpo` under a real mpirun: the bits of one process, checkpoints that any number of ranks
//! resumes, and how a job ends. With the feature `mpi`.
#![cfg(all(feature = "mpi", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod runs;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use runs::{command, left, root, sparks, unmeasured};

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
    assert!(start.elapsed() < Duration::from_secs(30), "the job took {:?} to end", start.elapsed());
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
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    files(dir, &format!("{SFT}schedule.kind = 'constant'\n"));
    let line = "exec sparks sft c.toml --threads 1 --set train.steps=100000 run.checkpoint_every=0";
    let Some(mut job) = job(dir, 2, line) else { return };
    // A checkpoint may take longer than the second that mpirun waits after SIGTERM.
    let child = job.env("OMPI_MCA_odls_base_sigkill_timeout", "60").spawn().unwrap();
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
