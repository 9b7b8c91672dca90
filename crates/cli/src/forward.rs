//! `sparks forward`: run a model and write logits and activations to a safetensors file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Tensor;
use common::{Error, write_whole};
use hooks::{Heads, Recorder, Site, Stream};
use model_qwen::Pass;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

use crate::input::Input;
use crate::interventions;
use crate::options::{Common, Result};
use crate::output::{print_json, ready};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id org/name or org/name@revision.
    model: String,
    /// Token ids (JSON or safetensors) or texts (JSONL).
    #[arg(long, value_name = "IN")]
    input: PathBuf,
    /// Output file.
    #[arg(long, value_name = "OUT.safetensors")]
    out: PathBuf,
    /// Activations to write beside the logits, separated by commas: hidden, attn, resid_pre, resid_mid,
    /// resid_post, q, k, v, z, attn_out, mlp_in, mlp_out (each for every layer), all (all of these), or
    /// TransformerLens names such as blocks.0.attn.hook_pattern.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    sites: Vec<String>,
    #[command(flatten)]
    heads: interventions::Heads,
    /// Print the file and the shapes of its tensors as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Ends of names that promise another format than that of the file.
const NOT_WRITTEN: [&str; 9] = ["json", "jsonl", "pt", "pth", "npz", "npy", "csv", "parquet", "bin"];

const SITES: [&str; 12] = [
    "hidden",
    "attn",
    "resid_pre",
    "resid_mid",
    "resid_post",
    "q",
    "k",
    "v",
    "z",
    "attn_out",
    "mlp_in",
    "mlp_out",
];

/// The site of that name in layer `l`.
fn site(name: &str, l: usize) -> Option<Site> {
    Some(match name {
        "attn" => Heads::Pattern(l).into(),
        "resid_pre" => Stream::ResidPre(l).into(),
        "resid_mid" => Stream::ResidMid(l).into(),
        "resid_post" => Stream::ResidPost(l).into(),
        "q" => Heads::Query(l).into(),
        "k" => Heads::Key(l).into(),
        "v" => Heads::Value(l).into(),
        "z" => Heads::Z(l).into(),
        "attn_out" => Stream::AttnOut(l).into(),
        "mlp_in" => Stream::MlpIn(l).into(),
        "mlp_out" => Stream::MlpOut(l).into(),
        _ => return None,
    })
}

/// The tensors that `--sites` asks for, with their sites. `hidden.l` for l below L is the input of block l;
/// `hidden.L` is the output of the final norm.
fn wanted(sites: &[String], n_layers: usize) -> Result<Vec<(String, Site)>> {
    let mut names: Vec<&str> = sites.iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
    if let Some(at) = names.iter().position(|n| *n == "all") {
        names.splice(at..=at, SITES);
    }
    if names.is_empty() && !sites.is_empty() {
        return Err(Error::input("--sites: no name is given; leave it out for the logits alone"));
    }
    let mut all = Vec::new();
    for name in names {
        if name == "hidden" {
            all.extend((0..n_layers).map(|l| (format!("hidden.{l}"), Stream::ResidPre(l).into())));
            all.push((format!("hidden.{n_layers}"), Stream::FinalNorm.into()));
        } else if SITES.contains(&name) {
            all.extend((0..n_layers).filter_map(|l| Some((format!("{name}.{l}"), site(name, l)?))));
        } else {
            let site: Site = name.parse().map_err(|_| {
                Error::input(format!(
                    "--sites {name}: expected {}, all, or a TransformerLens name such as blocks.0.attn.hook_z",
                    SITES.join(", ")
                ))
            })?;
            if site.layer().is_some_and(|layer| layer >= n_layers) {
                return Err(Error::input(format!("--sites {name}: the model has {n_layers} layers")));
            }
            all.push((name.to_owned(), site));
        }
    }
    Ok(all)
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    args.heads.check()?;
    if args.out.extension().is_some_and(|e| NOT_WRITTEN.iter().any(|other| e.eq_ignore_ascii_case(other))) {
        return Err(Error::at(&args.out, "the file is written as safetensors, expected OUT.safetensors"));
    }
    ready(&args.out)?;
    let checkpoint = common.open(&args.model)?;
    let wanted = wanted(&args.sites, checkpoint.config.n_layers)?;
    let batch = Input::read(common, &args.input, &checkpoint)?.batch()?;
    let model = common.load(&checkpoint)?;
    model.check(&batch).map_err(|e| e.within(args.input.display()))?;

    let mut seen = Recorder::new(wanted.iter().map(|(_, site)| *site));
    let mut intervention = args.heads.hook(common, &model, &checkpoint)?;
    let mut hook = (&mut *intervention, &mut seen);
    let logits = model.forward(&batch, Pass::new(&mut hook));

    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
    tensors.insert("logits".into(), bytes(logits)?);
    for (name, site) in wanted {
        if !seen.has(site) {
            return Err(Error::input(format!(
                "--sites {name}: one run records keys and values either grouped or per query head; ask in two runs"
            )));
        }
        let tensor = match site {
            Site::Stream(s) => bytes(seen.stream(s))?,
            Site::Heads(s @ (Heads::Pattern(_) | Heads::Scores(_))) => bytes(seen.heads(s))?,
            // TransformerLens' order: [batch, seq, heads, d_head].
            Site::Heads(s) => bytes(seen.heads(s).swap_dims(1, 2))?,
        };
        tensors.insert(name, tensor);
    }
    let views: std::result::Result<Vec<_>, _> = tensors
        .iter()
        .map(|(name, (shape, bytes))| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view))
        })
        .collect();
    let file = views.and_then(|views| safetensors::serialize(views, None)).map_err(Error::internal)?;
    write_whole(&args.out, &file)?;
    if args.json {
        let shapes: BTreeMap<&str, &[usize]> =
            tensors.iter().map(|(name, (shape, _))| (name.as_str(), shape.as_slice())).collect();
        print_json(&json!({ "out": args.out, "tensors": shapes }));
    }
    Ok(())
}

/// Shape and little-endian f32 values of a tensor.
fn bytes<const D: usize>(x: Tensor<D>) -> Result<(Vec<usize>, Vec<u8>)> {
    let shape = x.dims().to_vec();
    let values: Vec<f32> = x.into_data().try_to_vec().map_err(Error::internal)?;
    Ok((shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
}
