//! EAP-IG's `.pt`: a torch zip archive of `cfg`, node names and three tensors.
//!
//! `edges_scores` f32 and `edges_in_graph` bool are `[n_writers, n_readers]` with zeros where there is no
//! edge, `nodes_in_graph` is bool `[n_writers]`, `nodes_scores` f32 `[n_writers]` where nodes are scored. One key
//! more, `sparks`, holds the provenance as JSON text. Neurons and unknown keys are refused by name.

use std::io::{Cursor, Read, Write};

use hooks::{Edge, EdgeMap, KeyValue, Wiring};
use serde_json::Value;
use zip::write::FileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::pickle::{Object, Pickle, PickleWriter};
use super::{Provenance, ScoreFile, check_sizes, unread_of_cfg, wiring_of};
use crate::{Circuit, Error};

impl ScoreFile {
    /// Reads EAP-IG's `.pt`.
    ///
    /// # Errors
    /// Bytes that are not such a file, sizes that do not match, nodes in another order, or a score that is
    /// not a finite number; the message names the field or the edge.
    pub fn from_pt(bytes: &[u8]) -> Result<Self, Error> {
        let mut archive = Archive::open(bytes)?;
        let pickle = Pickle::parse(&archive.member("data.pkl")?)?;
        let top = pickle.root;
        let cfg = match &pickle.arena[top] {
            Object::Dict(entries) => {
                entries.iter().find(|(k, _)| pickle.arena[*k] == Object::Str("cfg".into())).map(|(_, v)| *v)
            }
            _ => None,
        }
        .ok_or_else(|| Error::input("data.pkl: missing `cfg`"))?;
        let size = |key: &str| match pickle.get(cfg, key) {
            Some(Object::Int(n)) => usize::try_from(*n).ok(),
            _ => None,
        };
        let need = |key: &str| {
            size(key).ok_or_else(|| Error::input(format!("`cfg.{key}`: missing or not a number")))
        };
        let optional = |key: &str| match pickle.get(cfg, key) {
            None | Some(Object::None) => Ok(None),
            Some(_) => need(key).map(Some),
        };
        let n_heads = need("n_heads")?;
        let mut wiring = check_sizes(Wiring {
            n_layers: need("n_layers")?,
            n_heads,
            n_kv_heads: optional("n_key_value_heads")?.unwrap_or(n_heads),
            d_model: optional("d_model")?.unwrap_or(0),
            key_value: KeyValue::Ungrouped,
        })?;
        if pickle.get(cfg, "parallel_attn_mlp") == Some(&Object::Bool(true)) {
            return Err(Error::input("`cfg.parallel_attn_mlp`: True, expected False (attention, then MLP)"));
        }
        let mut provenance = None;
        if let Some(Object::Str(text)) = pickle.get(top, "sparks") {
            let mut sparks: serde_json::Map<String, Value> =
                serde_json::from_str(text).map_err(|e| Error::input(format!("`sparks`: {e}")))?;
            if let Some(value) = sparks.shift_remove("wiring") {
                wiring = wiring_of(value)?;
            }
            provenance = Provenance::from_sparks(sparks)?;
        }
        let expect = |key: &str, names: Vec<String>| match pickle.get(top, key) {
            Some(Object::List(found)) => {
                let same = found.len() == names.len()
                    && found
                        .iter()
                        .zip(&names)
                        .all(|(i, name)| pickle.arena[*i] == Object::Str(name.clone()));
                if same {
                    Ok(())
                } else {
                    Err(Error::input(format!("`{key}`: not the nodes of the graph in `cfg`, in order")))
                }
            }
            _ => Err(Error::input(format!("data.pkl: missing `{key}`"))),
        };
        expect("src_nodes", wiring.writers().map(|w| w.to_string()).collect())?;
        expect("dst_nodes", wiring.readers().map(|r| r.to_string()).collect())?;
        for key in pickle.keys(top) {
            match key {
                "cfg" | "src_nodes" | "dst_nodes" | "edges_scores" | "edges_in_graph" | "nodes_in_graph"
                | "nodes_scores" | "sparks" => {}
                "neurons_in_graph" | "neurons_scores" if pickle.get(top, key) == Some(&Object::None) => {}
                "neurons_in_graph" | "neurons_scores" => {
                    return Err(Error::input(format!(
                        "`{key}`: neurons are not supported, expected a graph of edges or nodes"
                    )));
                }
                _ => return Err(Error::input(format!("`{key}`: unknown key of a graph file"))),
            }
        }
        let shape = [wiring.n_writers(), wiring.n_readers()];
        let mut tensor = |key: &str, width: usize, shape: &[usize]| -> Result<Vec<u8>, Error> {
            let object =
                pickle.get(top, key).ok_or_else(|| Error::input(format!("data.pkl: missing `{key}`")))?;
            let name = storage(&pickle, object, shape).ok_or_else(|| {
                Error::input(format!("`{key}`: expected a contiguous tensor of shape {shape:?}"))
            })?;
            let data = archive.member(&format!("data/{name}"))?;
            let expected = width * shape.iter().product::<usize>();
            if data.len() != expected {
                return Err(Error::input(format!("`{key}`: {} bytes, expected {expected}", data.len())));
            }
            Ok(data)
        };
        let (scores, kept) = (tensor("edges_scores", 4, &shape)?, tensor("edges_in_graph", 1, &shape)?);
        let nodes = match pickle.get(top, "nodes_scores") {
            None | Some(Object::None) => None,
            Some(_) => {
                let data = tensor("nodes_scores", 4, &shape[..1])?;
                // NaN is EAP-IG's "not scored".
                let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                let scores: Vec<Option<f32>> =
                    data.chunks_exact(4).map(|b| Some(number(b)).filter(|s| !s.is_nan())).collect();
                super::json::scored(wiring, &scores)?
            }
        };
        let (mut score_map, mut in_graph) = (EdgeMap::filled(wiring, 0.0f32), EdgeMap::filled(wiring, false));
        for (i, Edge { from, to }) in wiring.edges().enumerate() {
            let at = wiring.writer_index(from) * shape[1] + wiring.reader_index(to);
            let score = f32::from_le_bytes([
                scores[4 * at],
                scores[4 * at + 1],
                scores[4 * at + 2],
                scores[4 * at + 3],
            ]);
            if !score.is_finite() {
                return Err(Error::input(format!(
                    "edge {from}->{to}: score is {score}, expected a finite number"
                )));
            }
            (score_map.values_mut()[i], in_graph.values_mut()[i]) = (score, kept[at] != 0);
        }
        let mut file = Self::new(score_map, provenance);
        (file.in_graph, file.nodes, file.unread) = (in_graph, nodes, unread_of_cfg(pickle.keys(cfg)));
        Ok(file)
    }

    /// Writes EAP-IG's `.pt`. Per-pair scores have no place in it and are left out.
    ///
    /// # Errors
    /// Metadata that is not JSON.
    pub fn to_pt(&self) -> Result<Vec<u8>, Error> {
        let w = self.wiring;
        let shape = [w.n_writers(), w.n_readers()];
        let (mut scores, mut kept) = (vec![0u8; 4 * shape[0] * shape[1]], vec![0u8; shape[0] * shape[1]]);
        for ((i, Edge { from, to }), &score) in w.edges().enumerate().zip(self.scores.values()) {
            let at = w.writer_index(from) * shape[1] + w.reader_index(to);
            scores[4 * at..4 * at + 4].copy_from_slice(&score.to_le_bytes());
            kept[at] = u8::from(self.in_graph.values()[i]);
        }
        let inside = Circuit::new(self.in_graph.clone()).nodes();
        let nodes: Vec<u8> = w.writers().map(|writer| u8::from(inside.contains(&writer))).collect();
        let sparks =
            serde_json::to_string(&self.sparks()).map_err(|e| Error::input(format!("`sparks`: {e}")))?;

        let mut pickle = PickleWriter::dict();
        pickle.text("cfg").raw(b"}(");
        pickle.text("n_layers").int(w.n_layers).text("n_heads").int(w.n_heads);
        pickle.text("parallel_attn_mlp").raw(b"\x89").text("d_model").int(w.d_model).raw(b"u");
        pickle.text("src_nodes").list(w.writers().map(|u| u.to_string()));
        pickle.text("dst_nodes").list(w.readers().map(|v| v.to_string()));
        pickle.text("edges_scores").tensor("FloatStorage", "0", &shape);
        pickle.text("edges_in_graph").tensor("BoolStorage", "1", &shape);
        pickle.text("nodes_in_graph").tensor("BoolStorage", "2", &shape[..1]);
        let node_scores: Vec<u8> =
            self.nodes.iter().flat_map(|n| n.values()).flat_map(|s| s.to_le_bytes()).collect();
        if self.nodes.is_some() {
            pickle.text("nodes_scores").tensor("FloatStorage", "3", &shape[..1]);
        }
        pickle.text("sparks").text(&sparks);

        let failed = |e: &dyn std::fmt::Display| Error::input(format!("writing the archive: {e}"));
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = FileOptions::default().compression_method(CompressionMethod::Stored);
        let pickle = pickle.finish();
        let mut members: Vec<(&str, &[u8])> = vec![
            ("data.pkl", &pickle),
            ("byteorder", b"little"),
            ("data/0", &scores),
            ("data/1", &kept),
            ("data/2", &nodes),
            ("version", b"3\n"),
        ];
        if self.nodes.is_some() {
            members.push(("data/3", &node_scores));
        }
        for (name, data) in members {
            archive.start_file(format!("archive/{name}"), options).map_err(|e| failed(&e))?;
            archive.write_all(data).map_err(|e| failed(&e))?;
        }
        Ok(archive.finish().map_err(|e| failed(&e))?.into_inner())
    }
}

/// The name of the storage of a contiguous tensor of `shape` that starts at its beginning.
fn storage(pickle: &Pickle, object: &Object, shape: &[usize]) -> Option<String> {
    let items = |index: usize| match &pickle.arena[index] {
        Object::Tuple(items) => Some(items.clone()),
        _ => None,
    };
    let sizes = |index: usize| -> Option<Vec<usize>> {
        items(index)?
            .iter()
            .map(|&i| if let Object::Int(n) = pickle.arena[i] { Some(n as usize) } else { None })
            .collect()
    };
    let Object::Call(_, arguments) = object else { return None };
    let arguments = items(*arguments)?;
    let Object::Persistent(id) = pickle.arena[*arguments.first()?] else { return None };
    let strides: Vec<usize> = (0..shape.len()).map(|i| shape[i + 1..].iter().product()).collect();
    let fits = pickle.arena[*arguments.get(1)?] == Object::Int(0)
        && sizes(*arguments.get(2)?)? == shape
        && sizes(*arguments.get(3)?)? == strides;
    match &pickle.arena[*items(id)?.get(2)?] {
        Object::Str(name) if fits => Some(name.clone()),
        _ => None,
    }
}

struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    folder: String,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|e| Error::input(format!("not a torch archive (zip): {e}")))?;
        let folder = zip.file_names().find_map(|name| name.strip_suffix("data.pkl")).map(str::to_string);
        let folder = folder.ok_or_else(|| Error::input("not a torch archive: no data.pkl in it"))?;
        Ok(Self { zip, folder })
    }

    fn member(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::input(format!("{name}: {e}"));
        let mut file = self.zip.by_name(&format!("{}{name}", self.folder)).map_err(|e| failed(&e))?;
        let mut data = Vec::new();
        file.read_to_end(&mut data).map_err(|e| failed(&e))?;
        Ok(data)
    }
}
