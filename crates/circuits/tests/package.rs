//! Against files and selections that the EAP-IG package made.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use circuits::{Circuit, PerPair, Provenance, PruneRule, Rank, ScoreFile, ScoreLevel, Selection};
use hooks::{Edge, EdgeMap, KeyValue, Wiring};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/eap").join(name)
}

fn json_of(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn sorted(edges: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut edges: Vec<String> = edges.into_iter().collect();
    edges.sort();
    edges
}

#[test]
fn selections_are_the_packages_own() {
    for name in ["circuits.json", "circuits-equal.json"] {
        let expected = json_of(name);
        let scores =
            ScoreFile::read(&fixture(expected["scores"].as_str().unwrap())).unwrap().loss_scores().unwrap();
        for (label, case) in expected["selections"].as_object().unwrap() {
            let rank = if label.ends_with("-signed") { Rank::Signed } else { Rank::Absolute };
            let mut parts = label.split('-');
            let how = match (parts.next().unwrap(), parts.next().unwrap().parse().unwrap()) {
                ("topn", n) => Selection::Top(n),
                (_, n) => Selection::Greedy(n),
            };
            let circuit = Circuit::select(&scores, how, rank).unwrap();
            let list = |key: &str| {
                sorted(case[key].as_array().unwrap().iter().map(|e| e.as_str().unwrap().to_string()))
            };
            assert_eq!(sorted(circuit.edges().map(|e| e.to_string())), list("selected"), "{name} {label}");
            let pruned = circuit.pruned();
            assert_eq!(sorted(pruned.edges().map(|e| e.to_string())), list("pruned"), "{name} {label}");
            let nodes = pruned.nodes().into_iter().map(|n| n.to_string()).chain(["logits".to_string()]);
            assert_eq!(
                nodes.count(),
                case["nodes"].as_u64().map_or_else(|| list("nodes").len(), |n| n as usize)
            );
        }
    }
}

#[test]
fn pt_and_json_of_the_package_hold_the_same() {
    let json = ScoreFile::read(&fixture("eap-ig-inputs-5-logit-diff.json")).unwrap();
    let pt = ScoreFile::read(&fixture("eap-ig-inputs-5-logit-diff.pt")).unwrap();
    assert_eq!(json, pt);
    assert_eq!((json.wiring.n_layers, json.wiring.n_heads, json.wiring.d_model), (2, 4, 32));
    assert!(json.metric().is_none());
}

#[test]
fn edges_are_written_in_the_packages_order() {
    let names = |value: &Value| value["edges"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let path = fixture("eap-logit-diff.json");
    let file = ScoreFile::read(&path).unwrap();
    let written: Value = serde_json::from_slice(&file.to_json().unwrap()).unwrap();
    let original = json_of("eap-logit-diff.json");
    assert_eq!(names(&written), names(&original));
    assert_eq!(written["edges"], original["edges"], "scores keep every digit");
}

fn provenance(method: &str, level: ScoreLevel) -> Provenance {
    Provenance {
        method: Some(method.into()),
        metric: Some("logit-diff".into()),
        level: Some(level),
        ..Provenance::default()
    }
}

fn sample(key_value: KeyValue) -> ScoreFile {
    let wiring = Wiring { n_layers: 3, n_heads: 4, n_kv_heads: 2, d_model: 8, key_value };
    let values: Vec<f32> = (0..wiring.n_edges()).map(|i| ((i * 7919 % 1000) as f32 - 500.0) * 1e-7).collect();
    let scores = EdgeMap::from_values(wiring, values.clone());
    let circuit = Circuit::top(&scores, 40).unwrap().pruned();
    let mut file =
        ScoreFile::new(scores, Some(provenance("eap", ScoreLevel::Edges))).with_circuit(&circuit).unwrap();
    file.per_pair =
        Some(PerPair { ids: vec!["a".into(), "b".into()], values: [values.clone(), values].concat() });
    file
}

#[test]
fn every_form_reads_back_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    for key_value in [KeyValue::Ungrouped, KeyValue::Grouped] {
        let file = sample(key_value);
        for form in ["json", "safetensors", "pt"] {
            let path = folder.path().join(format!("scores.{form}"));
            file.write(&path).unwrap();
            let mut back = ScoreFile::read(&path).unwrap();
            if form == "pt" {
                back.per_pair = file.per_pair.clone();
            }
            assert_eq!(back, file, "{form}");
            assert_eq!(back.loss_scores().unwrap().values()[3], -file.scores.values()[3]);
        }
    }
    assert!(sample(KeyValue::Grouped).to_bytes(Path::new("x.txt")).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no temporary file stays");
}

#[test]
fn bad_files_say_what_is_wrong() {
    let good =
        String::from_utf8(ScoreFile { per_pair: None, ..sample(KeyValue::Ungrouped) }.to_json().unwrap())
            .unwrap();
    let first = "\"input->a0.h0<q>\": {\"score\": ";
    let score_end = good.find(first).unwrap() + first.len();
    let digits = good[score_end..].find(',').unwrap();
    let with = |score: &str| format!("{}{score}{}", &good[..score_end], &good[score_end + digits..]);
    let node = good.replacen("\"m2\": {\"in_graph\"", "\"m7\": {\"in_graph\"", 1);
    let cases = [
        (with("NaN"), "edge input->a0.h0<q>: score is NaN"),
        (with("-Infinity"), "edge input->a0.h0<q>: score is -Infinity"),
        (with("1e60"), "edge input->a0.h0<q>: score is inf"),
        (
            good.replacen("input->a0.h0<q>", "input->a9.h0<q>", 1),
            "edge input->a9.h0<q>: not in a graph of 3 layers of 4 heads",
        ),
        (good.replacen("input->a0.h0<q>", "input=>a0", 1), "edge input=>a0: not in a graph"),
        (good.replacen("input->a0.h0<q>", "input->a0.h0<k>", 1), "edge input->a0.h0<k>: given twice"),
        (good.replacen("\"n_layers\": 3", "\"n_layers\": 4", 1), "different sizes"),
        (node, "node m7"),
        (
            good.replacen(
                "\"n_heads\": 4, \"parallel_attn_mlp\": false",
                "\"n_heads\": 0, \"parallel_attn_mlp\": false",
                1,
            ),
            "expected 1 to 4096",
        ),
        (good[..good.len() / 2].to_string(), "EOF"),
    ];
    for (text, expected) in cases {
        let error = ScoreFile::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error:?}, expected {expected:?}");
    }
    let missing = ScoreFile::read(Path::new("/nowhere/scores.json")).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/scores.json: "), "{missing}");
    let pt = sample(KeyValue::Ungrouped).to_pt().unwrap();
    assert!(ScoreFile::from_pt(&pt[..pt.len() / 2]).is_err());
    assert!(ScoreFile::from_pt(b"PK").is_err());
    for end in (0..pt.len()).step_by(97) {
        let _ = ScoreFile::from_pt(&pt[..end]); // never a panic
    }
    let st = sample(KeyValue::Ungrouped).to_safetensors().unwrap();
    assert!(ScoreFile::from_safetensors(&st[..st.len() - 1]).is_err());
    let mut bad = sample(KeyValue::Ungrouped);
    bad.scores.values_mut()[0] = f32::NAN;
    assert!(bad.to_bytes(Path::new("a.json")).unwrap_err().to_string().contains("input->a0.h0<q>"));
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn published_graphs_are_read() {
    let shared = std::env::var_os("SPARKS_SHARED").map(std::path::PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let folder = shared.join("data/graphs");
    for (name, older) in [
        ("ioi-eap-ig", false),
        ("greater-than_eap", true),
        ("greater-than_eap-ig", true),
        ("greater-than_real", true),
    ] {
        let mut text = Vec::new();
        let file = std::fs::File::open(folder.join(format!("{name}.json.gz"))).unwrap();
        flate2::read::GzDecoder::new(file).read_to_end(&mut text).unwrap();
        let file = ScoreFile::from_json(&text).unwrap();
        assert_eq!(file.wiring.n_edges(), 32_491, "{name}");
        if !older {
            let circuit = file.circuit();
            assert!(circuit.n_edges() > 0 && circuit.n_edges() < 32_491);
            let stored: Value = serde_json::from_slice(&text).unwrap();
            let n_nodes =
                stored["nodes"].as_object().unwrap().values().filter(|v| v["in_graph"] == true).count();
            let legacy = circuit.pruned_by(PruneRule::Before2025July { greedy: false });
            println!(
                "{name}: {} edges, {} after pruning, {} nodes, {n_nodes} stored",
                circuit.n_edges(),
                circuit.pruned().n_edges(),
                circuit.nodes().len()
            );
            assert!(circuit.pruned().n_edges() <= legacy.n_edges());
        }
        let again = ScoreFile::from_json(&file.to_json().unwrap()).unwrap();
        assert_eq!(again.scores, file.scores);
    }
}

#[test]
fn large_graphs_are_quick() {
    // The 0.5B shape: 179,749 edges. Bounds are loose, for a busy machine and unoptimised test code.
    let wiring =
        Wiring { n_layers: 24, n_heads: 14, n_kv_heads: 2, d_model: 896, key_value: KeyValue::Ungrouped };
    let value = |i: usize| ((i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / 1e7 - 0.8;
    let scores = EdgeMap::from_values(wiring, (0..wiring.n_edges()).map(value).collect());
    let timed = |what: &str, limit: f64, f: &mut dyn FnMut()| {
        let start = Instant::now();
        f();
        let taken = start.elapsed().as_secs_f64();
        println!("{what}: {taken:.3} s");
        assert!(taken < limit, "{what} took {taken} s");
    };
    let mut circuit = Circuit::empty(wiring);
    timed("select 4,000 of 179,749", 0.5, &mut || circuit = Circuit::top(&scores, 4000).unwrap());
    timed("greedy", 0.5, &mut || {
        drop(Circuit::select(&scores, Selection::Greedy(4000), Rank::Absolute).unwrap())
    });
    timed("prune", 0.5, &mut || drop(circuit.pruned()));
    let file = ScoreFile::new(scores.clone(), None);
    let mut text = Vec::new();
    timed("write json", 2.0, &mut || text = file.to_json().unwrap());
    timed("read json", 2.0, &mut || drop(ScoreFile::from_json(&text).unwrap()));
    timed("pt there and back", 2.0, &mut || drop(ScoreFile::from_pt(&file.to_pt().unwrap()).unwrap()));
    let edge: Edge = "a23.h13->logits".parse().unwrap();
    assert!(scores.get(edge).is_some());
}

#[test]
fn node_scores_go_through_every_form() {
    // The package's own file, and ours; its JSON writer fails on node scores, so .pt alone is from there.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/eap-nodes/eap-logit-diff.pt");
    let peer = ScoreFile::read(&path).unwrap();
    let nodes = peer.nodes.clone().unwrap();
    assert_eq!(nodes.values().len(), peer.wiring.n_writers());
    assert!(nodes.values().iter().all(|s| *s != 0.0));
    let folder = tempfile::tempdir().unwrap();
    let file = ScoreFile::of_nodes(nodes.clone(), Some(provenance("eap", ScoreLevel::Nodes)));
    for form in ["json", "safetensors", "pt"] {
        let path = folder.path().join(format!("nodes.{form}"));
        file.write(&path).unwrap();
        assert_eq!(ScoreFile::read(&path).unwrap(), file, "{form}");
    }
    let written: Value = serde_json::from_slice(&file.to_json().unwrap()).unwrap();
    assert_eq!(written["nodes"]["m0"]["score"].as_f64().unwrap() as f32, nodes.values()[5]);
    assert!(written["nodes"]["logits"].get("score").is_none());
    let broken = String::from_utf8(file.to_json().unwrap()).unwrap();
    let broken = broken.replacen(
        "\"input\": {\"in_graph\": false, \"score\": ",
        "\"input\": {\"in_graph\": false, \"x\": ",
        1,
    );
    let error = ScoreFile::from_json(broken.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("node input: no score"), "{error}");

    // Nodes to a circuit: all edges of the chosen ones.
    let chosen = Circuit::top_nodes(&nodes, 6, Rank::Absolute).unwrap();
    let mut sizes: Vec<f32> = nodes.values().iter().map(|s| s.abs()).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    for edge in peer.wiring.edges() {
        assert_eq!(chosen.contains(edge), nodes.get(edge.from).abs() >= sizes[5], "{edge}");
    }
    assert!(chosen.pruned().nodes().len() <= 6);
    assert_eq!(
        Circuit::top_nodes(&nodes, nodes.values().len(), Rank::Signed).unwrap(),
        Circuit::full(peer.wiring)
    );
    assert!(Circuit::top_nodes(&nodes, 99, Rank::Absolute).is_err());
}

/// A graph of EAP-IG with one layer of one head: 8 edges.
fn small(nodes: &str, edges: &str, more: &str) -> Result<ScoreFile, common::Error> {
    let cfg = r#"{"n_layers": 1, "n_heads": 1, "parallel_attn_mlp": false, "d_model": 2}"#;
    ScoreFile::from_json(
        format!(r#"{{"cfg": {cfg}, "nodes": {{{nodes}}}, "edges": {{{edges}}}{more}}}"#).as_bytes(),
    )
}

#[test]
fn edges_that_are_not_listed_are_out() {
    // What Graph.from_json of the package gives: score 0, not in the graph.
    let file = small("", r#""a0.h0->logits": {"score": -2.5, "in_graph": true}"#, "").unwrap();
    let kept: Vec<String> = file.circuit().edges().map(|e| e.to_string()).collect();
    assert_eq!(kept, ["a0.h0->logits"]);
    assert_eq!(file.scores.values().iter().filter(|s| **s != 0.0).count(), 1);
    assert!(file.notes[0].contains("1 of 8 edges"), "{:?}", file.notes);
    let empty = small("", "", "").unwrap();
    assert_eq!(empty.circuit().n_edges(), 0);
    let null = small("", r#""a0.h0->logits": {"score": null, "in_graph": true}"#, "").unwrap();
    assert!(null.notes[1].contains("1 edges have no score"), "{:?}", null.notes);
}

#[test]
fn neurons_and_unknown_keys_are_named() {
    let edge = r#""a0.h0->logits": {"score": 1.0, "in_graph": true}"#;
    let whole = r#""m0": {"in_graph": true, "neurons": [true, true], "neurons_scores": [NaN, NaN]}"#;
    assert!(small(whole, edge, "").is_ok(), "all in and none scored: nothing is left out");
    for (nodes, edges, more, expected) in [
        (r#""m0": {"in_graph": true, "neurons": [true, false]}"#, edge, "", "node m0: `neurons`"),
        (r#""m0": {"in_graph": true, "neurons_scores": [0.5, NaN]}"#, edge, "", "node m0: `neurons_scores`"),
        (r#""m0": {"in_graph": true, "neurons": []}"#, edge, "", "node m0: `neurons`"),
        (r#""m0": {"in_graph": true, "neurons": [true]}"#, edge, "", "node m0: `neurons`"),
        (r#""input": {"in_graph": true, "neurons_scores": []}"#, edge, "", "node input: `neurons_scores`"),
        (r#""logits": {"in_graph": true, "neurons": [true, false]}"#, edge, "", "node logits: `neurons`"),
        ("", edge, r#", "neurons": {}"#, "`neurons`: neurons are not supported"),
        ("", edge, r#", "weights": {}"#, "`weights`: unknown key"),
        (r#""m0": {"in_graph": true, "bias": 1}"#, edge, "", "node m0: unknown key `bias`"),
        ("", r#""a0.h0->logits": {"score": 1.0, "weight": 2}"#, "", "unknown field `weight`"),
        ("", edge, r#", "sparks": {"level": "rows"}"#, "`sparks.level`"),
    ] {
        let error = small(nodes, edges, more).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error:?}, expected {expected:?}");
    }
    let odd = small("", edge, r#", "sparks": {"metric": "margin"}"#).unwrap();
    assert!(odd.loss_scores().unwrap_err().to_string().contains("margin"));
}

#[test]
fn sizes_in_cfg_are_checked_and_other_keys_named() {
    let of = |cfg: &str, more: &str| {
        let edges = r#""input->logits": {"score": 1.0, "in_graph": true}"#;
        ScoreFile::from_json(format!(r#"{{"cfg": {{{cfg}}}, "edges": {{{edges}}}{more}}}"#).as_bytes())
    };
    let cfg = r#""n_layers": 1, "n_heads": 4, "n_key_value_heads": 2, "d_model": 64, "d_mlp": 9, "model_name": "q""#;
    let file = of(cfg, "").unwrap();
    assert_eq!((file.wiring.n_kv_heads, file.wiring.d_model), (2, 64));
    assert_eq!(file.unread, ["cfg.d_mlp", "cfg.model_name"]);
    let model = file.wiring;
    assert_eq!(file.on(model).unwrap(), file);
    for other in [Wiring { d_model: 32, ..model }, Wiring { n_kv_heads: 1, ..model }] {
        assert!(file.on(other).is_err(), "{other:?}");
    }
    // Without these keys nothing is known of them.
    assert!(of(r#""n_layers": 1, "n_heads": 4"#, "").unwrap().on(model).is_ok());
    let sparks = r#", "sparks": {"wiring": {"n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "d_model": 65, "key_value": "ungrouped"}}"#;
    let error = of(cfg, sparks).unwrap_err().to_string();
    assert!(error.contains("different sizes"), "{error}");
    assert!(of(r#""n_layers": 1, "n_heads": 4, "n_key_value_heads": 3"#, "").is_err());
}

#[test]
fn files_of_scores_may_be_compressed_or_have_a_mark() {
    let dir = tempfile::tempdir().unwrap();
    let file = sample(KeyValue::Ungrouped);
    let plain = file.to_json().unwrap();
    let marked = [b"\xef\xbb\xbf", &plain[..]].concat();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&marked).unwrap();
    let lines = String::from_utf8(plain).unwrap().replace(", ", ",\r\n").into_bytes();
    // Compression is known by the content: the name stays that of JSON.
    for (name, bytes) in [("bom.json", marked), ("gz.json", packed.finish().unwrap()), ("crlf.json", lines)] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(ScoreFile::read(&path).unwrap(), file, "{name}");
    }
}

#[test]
fn ids_of_pairs_may_be_any_text() {
    let mut file = sample(KeyValue::Grouped);
    let ids = ["NaN", "x -> \"NaN\" -Infinity"].map(String::from);
    file.per_pair.as_mut().unwrap().ids = ids.to_vec();
    let text = String::from_utf8(file.to_json().unwrap()).unwrap();
    assert_eq!(ScoreFile::from_json(text.as_bytes()).unwrap(), file);
    let bad = text.replacen("\"score\": ", "\"score\": NaN, \"was\": ", 1);
    assert!(ScoreFile::from_json(bad.as_bytes()).is_err());
}
