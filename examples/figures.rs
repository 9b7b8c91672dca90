//! What the programs `figure_…` and `table_…` share: a study's folder in, SVG, PNG and CSV files out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Error, write_whole};
use study::Results;
use study::report::{Figure, Painter, Pick};
use study::results::TrainingMethod;

/// Pixels of a PNG for each unit of the drawing.
const SCALE: &str = "1.5";

/// A study, and where its figures go.
#[derive(Debug)]
pub struct Shown {
    /// Everything that it found.
    pub results: Results,
    out: PathBuf,
}

impl Shown {
    /// The study of the program's first argument, or that of `sparks demo` in `runs/demo`, which is made if absent. Figures
    /// go into the folder of the second argument, or into the study's `figures`.
    ///
    /// # Errors
    /// A folder without a results file.
    pub fn open() -> Result<Self, Error> {
        let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
        let (study, out) = (arguments.next(), arguments.next());
        let folder = match study {
            Some(folder) => folder,
            None => demo()?,
        };
        let results = Results::read(&folder.join("results.json"))?;
        Ok(Self { results, out: out.unwrap_or_else(|| folder.join("figures")) })
    }

    /// The model's name and family.
    pub fn model(&self) -> String {
        format!("{} ({})", self.results.model.name, self.results.model.family)
    }

    /// The first training, or checkpoint that was given.
    pub fn first(&self) -> Pick {
        self.results.trainings.first().map_or_else(Pick::default, |t| Pick::training(&t.name))
    }

    /// The training by this method with the place `run`, on the suite of pairs with the place `suite`. A place that the
    /// study does not have is named so, and its panel says that it is missing.
    pub fn pick(&self, method: TrainingMethod, run: usize, suite: usize) -> Pick {
        let of_method = self.results.trainings.iter().filter(|t| t.method == Some(method)).nth(run);
        let training = of_method.map_or_else(
            || format!("{} run number {}", format!("{method:?}").to_uppercase(), run + 1),
            |t| t.name.clone(),
        );
        let mut suites: Vec<&str> = Vec::new();
        for study in &self.results.heads {
            if !suites.contains(&study.suite.as_str()) {
                suites.push(&study.suite);
            }
        }
        let suite = match suites.get(suite) {
            Some(name) => Some((*name).to_owned()),
            None if suite == 0 => None,
            None => Some(format!("suite {}", suite + 1)),
        };
        Pick { suite, ..Pick::training(&training) }
    }

    /// Writes a figure of panels as `NAME.svg` and `NAME.png`, and the numbers of each panel as CSV.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn draw(&self, name: &str, title: &str, panels: &[(Figure, Pick)]) -> Result<(), Error> {
        let sheet = Painter::new(&self.results)?.sheet(title, panels)?;
        std::fs::create_dir_all(&self.out).map_err(|e| Error::io(&self.out, e))?;
        let file = |end: &str| self.out.join(format!("{name}{end}"));
        write_whole(file(".svg"), sheet.svg.as_bytes())?;
        png(&file(".svg"))?;
        for (panel, letter) in sheet.panels.iter().zip('a'..) {
            match &panel.missing {
                Some(why) => println!("{name} ({letter}): not in this study: {why}"),
                None => {
                    let end = if sheet.panels.len() > 1 { format!("-{letter}.csv") } else { ".csv".into() };
                    write_whole(file(&end), panel.csv().as_bytes())?;
                    println!("{name} ({letter}): {}", panel.title);
                }
            }
        }
        println!("{}", file(".png").display());
        Ok(())
    }
}

/// The demo's folder; the demo is run where it has no results.
fn demo() -> Result<PathBuf, Error> {
    let folder = Path::new("runs/demo").to_owned();
    if folder.join("results.json").exists() {
        return Ok(folder);
    }
    println!("no study was named, and runs/demo has none: cargo run -p sparks -- demo, some minutes");
    let demo = ["run", "--quiet", "-p", "sparks", "--", "demo", "--out", "runs/demo"];
    let status = Command::new(cargo()).args(demo).status().map_err(Error::internal)?;
    if status.success() { Ok(folder) } else { Err(Error::internal("the demo failed")) }
}

/// Writes the PNG of an SVG file beside it, by `tools/svg2png`.
fn png(svg: &Path) -> Result<(), Error> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/svg2png/Cargo.toml");
    let arguments = ["run", "--quiet", "--locked", "--manifest-path"];
    let mut command = Command::new(cargo());
    let status = command.args(arguments).arg(manifest).args(["--", SCALE]).arg(svg).status();
    match status.map_err(Error::internal)?.success() {
        true => Ok(()),
        false => Err(Error::at(svg, "no PNG was made of it")),
    }
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
