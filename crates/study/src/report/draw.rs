//! Figures as files. The scripts in `assets/figures` draw every figure, in the page by the browser and here in
//! QuickJS, by Observable Plot and dagre; linkedom is the document that they draw into.

use rquickjs::{CatchResultExt as _, Context, Ctx, Function, Module, Runtime, Value};
use serde::{Deserialize, Serialize};

use super::assets;
use crate::Error;
use crate::results::Results;

/// Which figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Figure {
    /// Accuracy of the base and of each training's picked checkpoint on one benchmark.
    Accuracy,
    /// Accuracy over the checkpoints of one training (Thinking Sparks, Figure 4).
    Scores,
    /// Size of circuits against accuracy.
    Complexity,
    /// Reward or loss over the steps of one training (Figure 3B).
    Curve,
    /// New heads by the checkpoint of their first circuit (Figures 2A, 3A).
    Cohorts,
    /// Turnover of heads with its noise floor.
    Turnover,
    /// Map of how often each head was in a circuit (Figures 2B, 3C).
    Frequency,
    /// Map of the effect E on each head (Figure 13).
    Effect,
    /// Map of new heads by training (Figure 14).
    Methods,
    /// The circuit of one checkpoint (Figures 15, 16, 18).
    Circuit,
    /// What each head attends to.
    Roles,
    /// Likeness of the circuits of one training's checkpoints.
    Similarity,
    /// Overlap of heads between suites.
    Overlap,
    /// Heads changed, against random heads.
    Interventions,
    /// Heads' activations of one checkpoint put into another.
    Transfers,
    /// pass@k and success@k with thinking on and off (Figure 5).
    Think,
    /// The circuit with thinking on or off (Figure 17).
    ThinkCircuit,
    /// Heads ablated in a post-trained checkpoint (Table 1).
    Table1,
    /// Thinking on and off (Table 2).
    Table2,
    /// Heads in the circuits (Table 3).
    Table3,
    /// Heads ablated in the base (Table 4).
    Table4,
    /// Heads changed in the base (Table 5).
    Table5,
}

/// What of a study a figure shows. What is not picked is the first; of checkpoints the last.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Pick {
    /// Name of the training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<String>,
    /// Name of the suite of pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// Name of the rule that selected the circuits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Name of the benchmark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benchmark: Option<String>,
    /// Place of the checkpoint in its training, from 0; −1 is the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// Label of the checkpoint that was asked to think and not to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Mode of thinking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<crate::results::ThinkMode>,
}

impl Pick {
    /// A training; everything else is the first or last.
    pub fn training(name: &str) -> Self {
        Self { training: Some(name.into()), ..Self::default() }
    }
}

/// Panels below each other in one SVG.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Sheet {
    /// The SVG file.
    pub svg: String,
    /// Words and numbers of each panel.
    pub panels: Vec<Panel>,
}

/// A panel's words, and its numbers as a table.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Panel {
    /// Why there is nothing to draw; all else is empty then.
    pub missing: Option<String>,
    /// What it shows, in a few words.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// What is in it, for those who do not see it.
    pub label: String,
    /// Heads of the table's columns.
    pub columns: Vec<String>,
    /// Its rows: texts and numbers.
    pub rows: Vec<Vec<serde_json::Value>>,
}

impl Panel {
    /// The numbers as CSV (RFC 4180).
    pub fn csv(&self) -> String {
        let quoted = |text: String| match text.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        };
        let cell = |value: &serde_json::Value| {
            quoted(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let head = self.columns.iter().cloned().map(quoted).collect::<Vec<_>>().join(",");
        let rows = self.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(","));
        std::iter::once(head).chain(rows).map(|line| line + "\r\n").collect()
    }
}

/// A circuit of a file, to be drawn alone.
#[derive(Debug, Serialize)]
pub(super) struct CircuitFile<'a> {
    pub(super) title: String,
    pub(super) model: hooks::Wiring,
    pub(super) edges: Vec<crate::results::ScoredEdge>,
    pub(super) metric: &'a str,
    pub(super) heads: Vec<String>,
}

/// Draws the figures of one study.
pub struct Painter {
    context: Context,
}

impl std::fmt::Debug for Painter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Painter").finish_non_exhaustive()
    }
}

/// What Rust calls: `json` is the data as text.
const ENTRIES: &str = "let data;
globalThis.sheet = (title, panels) => drawSheet((data ??= read(json)), title, JSON.parse(panels));
globalThis.series = () => drawSeries(JSON.parse(json));";

impl Painter {
    /// Reads the results in.
    ///
    /// # Errors
    /// None that input causes.
    pub fn new(results: &Results) -> Result<Self, Error> {
        let text = serde_json::to_string(&super::data::with_heads(results)).map_err(Error::internal)?;
        Self::over(&text)
    }

    /// A painter of this JSON.
    fn over(json: &str) -> Result<Self, Error> {
        let runtime = Runtime::new().map_err(Error::internal)?;
        runtime.set_max_stack_size(4 << 20);
        let context = Context::full(&runtime).map_err(Error::internal)?;
        context.with(|ctx| -> Result<(), Error> {
            // QuickJS has no Intl; linkedom asks for it when it loads, and no figure does.
            run::<()>(&ctx, "globalThis.Intl = { NumberFormat: class { format(x) { return String(x); } } };")?;
            let module = Module::declare(ctx.clone(), "linkedom", assets::LINKEDOM);
            let (module, done) = module.and_then(Module::eval).catch(&ctx).map_err(Error::internal)?;
            done.finish::<()>().catch(&ctx).map_err(Error::internal)?;
            let parser: Value<'_> = module.get("DOMParser").catch(&ctx).map_err(Error::internal)?;
            ctx.globals().set("DOMParser", parser).map_err(Error::internal)?;
            run::<()>(
                &ctx,
                "globalThis.self = globalThis; globalThis.document = new DOMParser().parseFromString('<svg/>', 'image/svg+xml');",
            )?;
            for script in [assets::D3, assets::PLOT, assets::DAGRE] {
                run::<Value<'_>>(&ctx, script)?;
            }
            ctx.globals().set("json", json).map_err(Error::internal)?;
            let ours = assets::FIGURES.concat() + assets::FILES;
            run::<()>(&ctx, &format!("{ours};\n{ENTRIES}"))
        })?;
        Ok(Self { context })
    }

    /// Draws panels below each other. A panel that the results do not have says why.
    ///
    /// # Errors
    /// None that input causes.
    pub fn sheet(&self, title: &str, panels: &[(Figure, Pick)]) -> Result<Sheet, Error> {
        let panels: Vec<_> =
            panels.iter().map(|(name, pick)| serde_json::json!({ "name": name, "pick": pick })).collect();
        self.call(title, &serde_json::Value::from(panels))
    }

    fn call(&self, title: &str, panels: &serde_json::Value) -> Result<Sheet, Error> {
        let drawn: String = self.context.with(|ctx| {
            let sheet: Function<'_> = ctx.globals().get("sheet").map_err(Error::internal)?;
            sheet.call((title, panels.to_string())).catch(&ctx).map_err(Error::internal)
        })?;
        serde_json::from_str(&drawn).map_err(Error::internal)
    }

    /// Lines over steps, each a label and points, as SVG texts for a page with the report's style.
    pub(super) fn series(lines: &[serde_json::Value]) -> Result<Vec<String>, Error> {
        let painter = Self::over(&serde_json::Value::from(lines).to_string())?;
        let drawn: String = painter.context.with(|ctx| run(&ctx, "series()"))?;
        serde_json::from_str(&drawn).map_err(Error::internal)
    }

    /// Draws one circuit of a file.
    pub(super) fn circuit(file: &CircuitFile<'_>) -> Result<Sheet, Error> {
        let json = serde_json::to_string(file).map_err(Error::internal)?;
        Self::over(&json)?.call(&file.title, &serde_json::json!([{ "name": "file", "pick": {} }]))
    }
}

fn run<'js, T: rquickjs::FromJs<'js>>(ctx: &Ctx<'js>, script: &str) -> Result<T, Error> {
    ctx.eval(script).catch(ctx).map_err(Error::internal)
}
