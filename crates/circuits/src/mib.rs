//! MIB's submission folders (Mueller et al. 2025, circuit localisation track): one folder `{task}_{model}` with
//! either one file of importances or nine circuits. Functions return paths with bytes; the command writes them.

use std::path::{Path, PathBuf};

use crate::{Circuit, Error, PruneRule, Rank, ScoreFile, Selection};

/// The sizes of a submission of circuits, in percent of all edges: each file has at most so many.
pub const MIB_PERCENTS: [f64; 9] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0];

const TASKS: [&str; 6] =
    ["ioi", "mcqa", "arithmetic-addition", "arithmetic-subtraction", "arc-easy", "arc-challenge"];
const MODELS: [&str; 5] = ["gpt2", "qwen2.5", "gemma2", "llama3", "interpbench"];

/// The contents of a submission folder.
#[derive(Debug, Clone, PartialEq)]
pub enum Submission {
    /// A score for each edge, in the loss convention: MIB takes signed scores for CPR, absolute ones for CMD.
    Importances(Box<ScoreFile>),
    /// Nine circuits, smallest first, with the share of all edges that each has.
    Circuits(Vec<(f64, Circuit)>),
}

/// Refuses folder names that MIB's evaluation would not find.
///
/// # Errors
/// A name that is not `{task}_{model}` of MIB.
pub fn check_mib_name(name: &str) -> Result<(), Error> {
    let known = name.split_once('_').is_some_and(|(t, m)| TASKS.contains(&t) && MODELS.contains(&m));
    if known {
        return Ok(());
    }
    Err(Error::input(format!(
        "{name}: not a submission's folder, expected TASK_MODEL with a task of {} and a model of {}",
        TASKS.join(", "),
        MODELS.join(", ")
    )))
}

/// The files of a submission of importances, of edges or of nodes: `importances.json` with scores in the loss
/// convention, which is how MIB ranks them. Selection and metadata stay out.
///
/// # Errors
/// A score that is not a finite number.
pub fn mib_importances(scores: &ScoreFile) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let path = PathBuf::from("importances.json");
    let mut file = ScoreFile::new(scores.loss_scores()?, None);
    let sign = scores.loss_sign()?;
    file.nodes = scores.nodes.as_ref().map(|nodes| nodes.map(|s| sign * s));
    Ok(vec![(path.clone(), file.to_bytes(&path)?)])
}

/// The files of a submission of circuits: the top edges at each of [`MIB_PERCENTS`], pruned as MIB prunes.
///
/// # Errors
/// A score that is not a number.
pub fn mib_circuits(scores: &ScoreFile, rank: Rank) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let (ranked, n_edges) = (scores.loss_scores()?, scores.wiring.n_edges());
    let file = |percent: &f64| {
        let n = (percent / 100.0 * n_edges as f64) as usize;
        let circuit = Circuit::select(&ranked, Selection::Top(n), rank)?
            .pruned_by(PruneRule::Before2025July { greedy: false });
        let path = PathBuf::from(format!("{percent}.json"));
        let binary = circuit.selection().map(|&kept| f32::from(u8::from(kept)));
        let file = ScoreFile::new(binary, None).with_circuit(&circuit)?;
        Ok((path.clone(), file.to_bytes(&path)?))
    };
    MIB_PERCENTS.iter().map(file).collect()
}

/// Reads a submission folder and makes the checks of MIB's checker.
///
/// # Errors
/// A folder of another name, files that are neither one of importances nor nine of circuits, an unreadable
/// file, or a circuit beyond its size; the message names the file.
pub fn read_mib(folder: &Path) -> Result<Submission, Error> {
    let place = |what: &dyn std::fmt::Display| Error::input(format!("{}: {what}", folder.display()));
    check_mib_name(folder.file_name().and_then(|n| n.to_str()).unwrap_or_default())?;
    let entries = std::fs::read_dir(folder).map_err(|e| place(&e))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "json" || e == "pt"))
        .collect();
    paths.sort();
    let mut files =
        paths.iter().map(|path| Ok((path, ScoreFile::read(path)?))).collect::<Result<Vec<_>, Error>>()?;
    match files.len() {
        1 => Ok(Submission::Importances(Box::new(files.remove(0).1))),
        9 => {
            files.sort_by_key(|(_, file)| file.circuit().n_edges());
            let circuits = files.into_iter().zip(MIB_PERCENTS).map(|((path, file), percent)| {
                let (found, most) =
                    (file.circuit().n_edges(), percent / 100.0 * file.wiring.n_edges() as f64);
                if found as f64 > most {
                    return Err(Error::input(format!(
                        "{}: {found} edges, expected at most {percent} % of {}",
                        path.display(),
                        file.wiring.n_edges()
                    )));
                }
                Ok((found as f64 / file.wiring.n_edges() as f64, file.circuit()))
            });
            Ok(Submission::Circuits(circuits.collect::<Result<_, _>>()?))
        }
        n => Err(place(&format!("{n} .json or .pt files, expected one of importances or nine circuits"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hooks::{EdgeMap, KeyValue, Metric, Wiring};

    use super::*;

    fn scores() -> ScoreFile {
        let w = Wiring { n_layers: 4, n_heads: 6, n_kv_heads: 6, d_model: 8, key_value: KeyValue::Ungrouped };
        let values = (0..w.n_edges()).map(|i| (i as f32 * 1.7).sin()).collect();
        let of = crate::Provenance { metric: Some(Metric::LogitDiff.to_string()), ..Default::default() };
        ScoreFile::new(EdgeMap::from_values(w, values), Some(of))
    }

    fn write(name: &str, files: &[(PathBuf, Vec<u8>)]) -> (tempfile::TempDir, PathBuf) {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        files.iter().for_each(|(path, bytes)| std::fs::write(folder.join(path), bytes).unwrap());
        (top, folder)
    }

    #[test]
    fn both_kinds_read_back() {
        let file = scores();
        let (_keep, folder) = write("ioi_qwen2.5", &mib_importances(&file).unwrap());
        let Submission::Importances(back) = read_mib(&folder).unwrap() else { panic!("one file") };
        assert_eq!(back.scores, file.loss_scores().unwrap(), "in the loss convention");
        assert_eq!(back.scores.values()[7], -file.scores.values()[7]);

        let (_keep, folder) = write("arc-easy_llama3", &mib_circuits(&file, Rank::Signed).unwrap());
        let Submission::Circuits(circuits) = read_mib(&folder).unwrap() else { panic!("nine files") };
        for ((share, circuit), percent) in circuits.iter().zip(MIB_PERCENTS) {
            let n = (percent / 100.0 * file.wiring.n_edges() as f64) as usize;
            let expected = Circuit::select(&file.loss_scores().unwrap(), Selection::Top(n), Rank::Signed)
                .unwrap()
                .pruned_by(PruneRule::Before2025July { greedy: false });
            assert_eq!(*circuit, expected);
            assert!(*share <= percent / 100.0);
        }
    }

    #[test]
    fn what_the_checker_would_refuse_is_an_error() {
        let file = scores();
        let says = |name: &str, files: &[(PathBuf, Vec<u8>)]| {
            let (_keep, folder) = write(name, files);
            read_mib(&folder).unwrap_err().to_string()
        };
        let circuits = mib_circuits(&file, Rank::Absolute).unwrap();
        assert!(says("ioi_gpt5", &circuits).contains("expected TASK_MODEL"));
        assert!(says("ioi_gpt2", &circuits[..8]).contains("8 .json or .pt files"));
        let mut swollen = circuits.clone();
        let full = file.clone().with_circuit(&Circuit::full(file.wiring)).unwrap();
        swollen[3].1 = full.to_json().unwrap();
        // The others then fill the places of smaller ones: the first that is too large is named.
        assert!(says("ioi_gpt2", &swollen).contains("edges, expected at most "));
    }
}
