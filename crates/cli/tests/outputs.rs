//! No command writes over what it reads: each is asked to, and every file stays as it was.
#![allow(clippy::unwrap_used)]

mod runs;

use std::path::Path;

use runs::{root, sparks};

/// A folder with a copy of a model, pairs, ids, scores, a circuit and a run.
fn prepare(dir: &Path) {
    let eap = root("tests/fixtures/eap");
    for (from, to) in [(eap.join("model"), "m"), (root("tests/fixtures/sft-trace/tied"), "t")] {
        std::fs::create_dir(dir.join(to)).unwrap();
        for file in std::fs::read_dir(from).unwrap().map(|file| file.unwrap().path()) {
            std::fs::copy(&file, dir.join(to).join(file.file_name().unwrap())).unwrap();
        }
    }
    std::fs::copy(eap.join("pairs.jsonl"), dir.join("p.jsonl")).unwrap();
    std::fs::write(dir.join("ids.json"), r#"{"input_ids":[[1,2,3]]}"#).unwrap();
    let problem = "{\"id\":\"a\",\"problem\":\"1+2=\",\"answer\":\"3\"}\n";
    std::fs::write(dir.join("q.jsonl"), problem).unwrap();
    std::fs::create_dir(dir.join("run")).unwrap();
    std::fs::write(dir.join("run/config.toml"), "[train]\n").unwrap();
    std::fs::write(dir.join("run/metrics.jsonl"), "{\"step\":0,\"loss\":1.0,\"lr\":0.1}\n").unwrap();
    for args in [
        "attribute m --pairs p.jsonl --method eap --out s.json",
        "circuit s.json --top 20 --out c.json",
        "watch run --html run/page.html",
    ] {
        let (code, said) = sparks(dir, &args.split(' ').collect::<Vec<_>>());
        assert_eq!(code, 0, "{args}: {said}");
    }
}

/// The files in a folder, with their bytes.
fn all(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for path in std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
        if path.is_dir() {
            files.extend(all(&path));
        } else {
            files.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn nothing_that_is_read_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    prepare(dir);
    let before = all(dir);
    let commands: &[(&str, &[&str])] = &[
        ("attribute m --pairs p.jsonl --method eap --out", &["m/model.safetensors", "./p.jsonl"]),
        ("circuit s.json --top 5 --out", &["s.json"]),
        ("circuit s.json --top 5 --out d.json --svg", &["s.json", "d.json"]),
        ("circuit s.json --top 5 --out d.json --dot", &["./d.json"]),
        ("faithfulness m --circuit c.json --pairs p.jsonl --out", &["m/config.json", "c.json", "p.jsonl"]),
        ("forward m --input ids.json --out", &["m/model.safetensors"]),
        (
            "forward m --input ids.json --fill mean --fill-from p.jsonl --ablate L0H0 --out",
            &["m/model.safetensors"],
        ),
        ("grade --in p.jsonl --out", &["p.jsonl"]),
        ("heads m --circuit c.json --pairs p.jsonl --out", &["c.json", "p.jsonl", "m/config.json"]),
        ("lens m --pairs p.jsonl --out", &["m/config.json", "p.jsonl"]),
        ("merge s.json --out", &["s.json"]),
        ("merge-adapter m run --out", &["m", "run"]),
        ("pairs arithmetic t --out", &["t/config.json", "t/model.safetensors"]),
        ("pairs openings t m --problems q.jsonl --out", &["q.jsonl", "t/config.json", "m/config.json"]),
        ("patch m --pairs p.jsonl --out", &["m/config.json", "p.jsonl"]),
        ("sweep m --pairs p.jsonl --fill mean --fill-from ids.json --out", &["m/config.json", "ids.json"]),
        ("watch run --html", &["run/metrics.jsonl", "run/config.toml"]),
        // The adapter is read by whatever runs a model.
        ("lens m --pairs p.jsonl --adapter run --out", &["run/config.toml"]),
    ];
    for (command, outs) in commands {
        for out in *outs {
            let mut args: Vec<&str> = command.split(' ').collect();
            args.push(out);
            let (code, said) = sparks(dir, &args);
            assert_eq!(code, 2, "{command} {out}: {said}");
            let named =
                said.contains(out) && (said.contains("expected another place") || said.contains("two files"));
            assert!(named, "{command} {out}: {said}");
        }
    }
    assert_eq!(all(dir), before);
    // Other files beside them, new ones in them, and a page that was written before.
    for args in [
        "watch run --html run/page.html",
        "lens m --pairs p.jsonl --out m/lens.json",
        "circuit s.json --top 5 --out c.json",
    ] {
        let (code, said) = sparks(dir, &args.split(' ').collect::<Vec<_>>());
        assert_eq!(code, 0, "{args}: {said}");
    }
}
