//! Rows that are tokenised already.

use posttrain::rows::Fields;
use serde_json::Value;

use crate::{Error, Example};

/// The label of a token that is not trained.
const IGNORED: i64 = -100;

/// An example of token ids. Trained is what every given mask trains: `labels` other than -100, 1 in
/// `completion_mask` and `assistant_masks`; everything where there is none. What `attention_mask` leaves out at
/// either end is padding and is removed.
pub(crate) fn example(id: String, input_ids: &Value, fields: &mut Fields) -> Result<Example, Error> {
    let ids: Vec<u32> = list("input_ids", input_ids)?;
    let mut trained = vec![true; ids.len()];
    let mut column = |name: &str| -> Result<Option<Vec<i64>>, Error> {
        let Some(value) = fields.remove(name).filter(|v| !v.is_null()) else { return Ok(None) };
        let values: Vec<i64> = list(name, &value)?;
        if values.len() != ids.len() {
            return Err(Error::input(format!(
                "`{name}` has {} entries, expected {} as input_ids",
                values.len(),
                ids.len()
            )));
        }
        Ok(Some(values))
    };
    let (labels, attention) = (column("labels")?, column("attention_mask")?);
    for name in ["completion_mask", "assistant_masks"] {
        let Some(mask) = column(name)? else { continue };
        for (trained, on) in trained.iter_mut().zip(bits(name, &mask)?) {
            *trained &= on;
        }
    }
    for (at, label) in labels.into_iter().flatten().enumerate() {
        match label {
            IGNORED => trained[at] = false,
            label if label == i64::from(ids[at]) => {}
            label => {
                return Err(Error::input(format!(
                    "`labels`[{at}] is {label}, expected {} as input_ids, or -100",
                    ids[at]
                )));
            }
        }
    }
    let (mut ids, mut trained) = (ids, trained);
    if let Some(mask) = attention {
        let on = bits("attention_mask", &mask)?;
        let first = on.iter().position(|&x| x).unwrap_or(0);
        let end = on.iter().rposition(|&x| x).map_or(0, |last| last + 1);
        if let Some(hole) = on[first..end.max(first)].iter().position(|&x| !x) {
            return Err(Error::input(format!(
                "`attention_mask`[{}] is 0 between tokens, expected 0 at the ends only",
                first + hole
            )));
        }
        ids = ids[first..end.max(first)].to_vec();
        trained = trained[first..end.max(first)].to_vec();
    }
    Ok(Example::masked(id, ids, trained))
}

fn list<T: serde::de::DeserializeOwned>(name: &str, value: &Value) -> Result<Vec<T>, Error> {
    serde_json::from_value(value.clone()).map_err(|e| Error::input(format!("`{name}`: {e}")))
}

fn bits(name: &str, mask: &[i64]) -> Result<Vec<bool>, Error> {
    let bit = |(at, &value): (usize, &i64)| match value {
        0 | 1 => Ok(value == 1),
        other => Err(Error::input(format!("`{name}`[{at}] is {other}, expected 0 or 1"))),
    };
    mask.iter().enumerate().map(bit).collect()
}
