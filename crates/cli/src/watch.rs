//! `sparks watch`: a training run as far as it is, in the terminal or as a page.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Error, write_whole};
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Row, Table};
use study::live::{LiveCircuit, LiveRun};

use crate::options::{Common, Result};
use crate::output::{print_json, ready, say, to_json};

/// Time between two looks at the run folder.
const EVERY: Duration = Duration::from_secs(1);

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Run folder of sparks sft or sparks grpo.
    run: PathBuf,
    /// Write a page of the run as far as it is, and end.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the run as far as it is as one JSON object, and end.
    #[arg(long, conflicts_with = "html")]
    json: bool,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    let live = LiveRun::read(&args.run)?;
    if let Some(path) = &args.html {
        common.files.keep("RUN", &args.run)?;
        ready(path)?;
        write_whole(path, study::live_page(&live, &name(&args.run))?.as_bytes())?;
        common.note(path.display());
    } else if args.json {
        print_json(&to_json(&live)?);
    } else if std::io::stdout().is_terminal() {
        terminal(&args.run)?;
    } else {
        print(&args.run, &live);
    }
    Ok(())
}

fn name(run: &Path) -> String {
    run.display().to_string()
}

/// Steps done, and all of them where that is known.
fn steps(live: &LiveRun) -> String {
    live.steps.map_or_else(|| format!("{} steps", live.done), |all| format!("{} of {all} steps", live.done))
}

/// The last value of the curve.
fn value(live: &LiveRun) -> String {
    live.values().last().map_or_else(String::new, |(_, v)| format!("{} {v:.4}", live.value_name()))
}

fn correlation(live: &LiveRun) -> String {
    let Some(found) = &live.dynamics else {
        return format!("turnover and {}: too few circuits", live.value_name());
    };
    let lags = found.lags.iter().map(|l| format!("{:+.2} at lag {}", l.coefficient, l.lag));
    let lags: Vec<String> = lags.collect();
    format!(
        "turnover less its noise floor with |change of reward or loss|: {}; p = {:.3}",
        lags.join(", "),
        found.p_value
    )
}

const COLUMNS: [&str; 7] = ["step", "heads", "born", "died", "turnover", "floor", "survival"];

fn cells(c: &LiveCircuit) -> [String; 7] {
    let share = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.2}"));
    [
        c.step.to_string(),
        c.heads.to_string(),
        c.born.len().to_string(),
        c.died.len().to_string(),
        share(c.turnover),
        share(c.noise_floor),
        share(c.survival),
    ]
}

/// The run as lines of text, where the output is no terminal.
fn print(run: &Path, live: &LiveRun) {
    say!("{}: {}, {}", run.display(), steps(live), value(live));
    if !live.circuits.is_empty() {
        say!("{}", COLUMNS.join("\t"));
    }
    for circuit in &live.circuits {
        say!("{}", cells(circuit).join("\t"));
    }
    say!("{}", correlation(live));
}

/// Shows the run until `q`, Escape or Ctrl-C.
fn terminal(run: &Path) -> Result {
    let failed = |e: std::io::Error| Error::internal(format!("terminal: {e}"));
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let shown = (|| loop {
        let live = LiveRun::read(run)?;
        terminal.draw(|frame| draw(frame, run, &live)).map_err(failed)?;
        if event::poll(EVERY).map_err(failed)?
            && let Event::Key(key) = event::read().map_err(failed)?
            && key.kind == KeyEventKind::Press
        {
            let control = key.modifiers.contains(event::KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if control => return Ok(()),
                _ => {}
            }
        }
    })();
    ratatui::try_restore().map_err(failed)?;
    shown
}

fn draw(frame: &mut Frame<'_>, run: &Path, live: &LiveRun) {
    let rows = [Constraint::Length(3), Constraint::Min(8), Constraint::Min(6), Constraint::Length(2)];
    let [top, curves, heads, bottom] = Layout::vertical(rows).areas(frame.area());
    let done = live.steps.map_or(0.0, |all| (live.done as f64 / all.max(1) as f64).min(1.0));
    let gauge = Gauge::default().block(Block::bordered().title(name(run))).ratio(done).label(steps(live));
    frame.render_widget(gauge, top);
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(curves);
    chart(frame, left, &value(live), &live.values());
    let sizes: Vec<(f64, f64)> = live.circuits.iter().map(|c| (c.step as f64, c.heads as f64)).collect();
    let lengths: Vec<(f64, f64)> =
        live.curve.iter().filter_map(|p| Some((p.step as f64, p.length?))).collect();
    if lengths.is_empty() {
        chart(frame, right, "heads in the circuit", &sizes);
    } else {
        let [length, size] = Layout::vertical([Constraint::Percentage(50); 2]).areas(right);
        chart(frame, length, "length, tokens", &lengths);
        chart(frame, size, "heads in the circuit", &sizes);
    }
    let room = usize::from(heads.height).saturating_sub(3);
    let last = live.circuits.len().saturating_sub(room);
    let table =
        Table::new(live.circuits[last..].iter().map(|c| Row::new(cells(c))), [Constraint::Length(10); 7])
            .header(Row::new(COLUMNS).style(Style::new().add_modifier(Modifier::BOLD)))
            .block(Block::bordered().title("circuits"));
    frame.render_widget(table, heads);
    let text = vec![Line::from(correlation(live)), Line::from("q: quit")];
    frame.render_widget(Paragraph::new(text), bottom);
}

fn chart(frame: &mut Frame<'_>, area: Rect, title: &str, points: &[(f64, f64)]) {
    let bounds = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        if low < high { [low, high] } else { [low.min(0.0) - 0.5, high.max(0.0) + 0.5] }
    };
    let block = Block::bordered().title(title.to_owned());
    if points.is_empty() {
        return frame.render_widget(block, area);
    }
    let (x, y) = (bounds(&mut points.iter().map(|p| p.0)), bounds(&mut points.iter().map(|p| p.1)));
    let label = |bounds: [f64; 2], digits: usize| bounds.map(|v| format!("{v:.digits$}"));
    let data = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).data(points);
    let chart = Chart::new(vec![data])
        .block(block)
        .x_axis(Axis::default().bounds(x).labels(label(x, 0)))
        .y_axis(Axis::default().bounds(y).labels(label(y, 2)));
    frame.render_widget(chart, area);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn the_screen_shows_the_run() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), "[grpo]\ngroup_size = 2\n").unwrap();
        let metrics: String = (0..6)
            .map(|k| {
                format!(
                    "{{\"step\":{k},\"lr\":0.1,\"reward\":{},\"length\":{},\"steps\":8}}\n",
                    0.1 * f64::from(k),
                    9 + k
                )
            })
            .collect();
        std::fs::write(dir.path().join("metrics.jsonl"), metrics).unwrap();
        let heads = "{\"step\":0,\"heads\":[\"L0H0\"]}\n{\"step\":4,\"heads\":[\"L0H0\",\"L1H1\"],\"noise_floor\":0.25}\n";
        std::fs::write(dir.path().join("heads.jsonl"), heads).unwrap();
        let live = LiveRun::read(dir.path()).unwrap();
        for (width, height) in [(100, 30), (20, 8)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, Path::new("a-run"), &live)).unwrap();
            let screen = terminal.backend().to_string();
            // A small terminal shows what fits.
            if width == 100 {
                let wanted = [
                    "a-run",
                    "6 of 8 steps",
                    "mean reward 0.5000",
                    "length, tokens",
                    "0.50",
                    "0.25",
                    "1.00",
                    "q: quit",
                ];
                assert!(wanted.iter().all(|text| screen.contains(text)), "{screen}");
            }
        }
    }
}
