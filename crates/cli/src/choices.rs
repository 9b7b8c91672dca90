//! Value parsers for flags with a fixed set of choices: `--help` lists them, another value is a usage error.

use std::str::FromStr;

use bench_math::Template;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use kernels::Compute;

/// Names of `hooks::Metric` that a command takes.
pub(crate) const METRICS: [&str; 4] = ["logit-diff", "prob-diff", "kl", "nll"];
/// Names of `hooks::Positions`.
pub(crate) const POSITIONS: [&str; 3] = ["last", "answer", "all"];
/// Names of `model_qwen::Dtype`.
pub(crate) const DTYPES: [&str; 3] = ["f32", "bf16", "f16"];
/// The arithmetic of products of matrices on a GPU, by name.
pub(crate) const COMPUTES: [(&str, Compute); 3] =
    [("f32", Compute::F32), ("tf32", Compute::Tf32), ("bf16", Compute::Bf16)];
/// Names of `bench_math::Template`.
pub(crate) const TEMPLATES: [&str; Template::ALL.len()] = {
    let mut names = [""; Template::ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = Template::ALL[i].name();
        i += 1;
    }
    names
};

/// A parser of one of `names`, each of which `T::from_str` reads.
pub(crate) fn named<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = common::Error> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// A parser of the names in `table`, with the value of each.
pub(crate) fn table<T: Copy + Send + Sync + 'static>(
    table: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(table.iter().map(|(name, _)| *name)).try_map(|name| {
        let found = table.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        found.ok_or_else(|| common::Error::input(format!("`{name}`: unknown")))
    })
}

/// A choice's name on the command line.
pub(crate) fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_that_the_library_reads() {
        for name in METRICS {
            assert!(name.parse::<hooks::Metric>().is_ok(), "{name}");
        }
        for name in POSITIONS {
            assert!(name.parse::<hooks::Positions>().is_ok(), "{name}");
        }
        for name in DTYPES {
            assert!(name.parse::<model_qwen::Dtype>().is_ok(), "{name}");
        }
    }
}
