//! MPI's ranks under a real mpirun, which starts this test again: what they exchange, and a rank that panics.
#![cfg(feature = "mpi")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::process::Command;
use std::time::{Duration, Instant};

use ranks::Job;

/// Runs an ignored test below on `n` ranks: whether it succeeded, and what it wrote on stderr.
fn under_mpirun(n: usize, test: &str) -> Option<(bool, String)> {
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--allow-run-as-root", "--oversubscribe", "-n", &n.to_string()]);
    mpirun.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--ignored", "--nocapture"]);
    let Ok(out) = mpirun.env("OMPI_MCA_btl_vader_single_copy_mechanism", "none").output() else {
        eprintln!("skipped: there is no mpirun");
        return None;
    };
    Some((out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned()))
}

#[test]
fn parts_of_any_length_arrive_in_rank_order() {
    for n in [2, 4] {
        let Some((success, message)) = under_mpirun(n, "exchange") else { return };
        assert!(success, "{message}");
    }
}

#[test]
fn a_panic_on_one_rank_ends_the_job() {
    let start = Instant::now();
    let Some((success, message)) = under_mpirun(3, "panic") else { return };
    assert!(!success && message.matches("this rank cannot go on").count() == 1, "{message}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
#[ignore = "started by the tests above, under mpirun"]
fn exchange() {
    let job = Job::start(|| 0).unwrap();
    let ranks = job.ranks();
    let (me, n) = (ranks.rank(), ranks.count());
    let value = |from: usize, to: usize| vec![(10 * from + to) as f32; from + 2 * to];
    let got = ranks.exchange((0..n).map(|to| value(me, to)).collect());
    assert_eq!(got, (0..n).map(|from| value(from, me)).collect::<Vec<_>>());
    let all = ranks.all_gather(vec![me as u8; 3 * me]);
    assert_eq!(all, (0..n).map(|from| vec![from as u8; 3 * from]).collect::<Vec<_>>());
    assert_eq!(ranks.all_gather(Vec::new()), vec![Vec::<u8>::new(); n]);
    assert!(ranks.any(me == n - 1) && !ranks.any(false));
    job.end();
}

#[test]
#[ignore = "started by the tests above, under mpirun"]
fn panic() {
    let job = Job::start(|| 0).unwrap();
    assert!(job.ranks().rank() != 1, "this rank cannot go on");
    // The others wait for it.
    job.ranks().any(false);
}
