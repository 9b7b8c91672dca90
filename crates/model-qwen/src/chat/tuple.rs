//! Tuples: lists that print with round brackets, as literals and from `items()`, `dictsort` and `partition`.

use std::sync::Arc;

use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Rest, Value};
use minijinja::{Environment, Error};

use super::environment::bad;
use super::repr;
use super::rewrite::TUPLE;

/// A tuple.
#[derive(Debug)]
pub(super) struct Tuple(Vec<Value>);

impl Object for Tuple {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }
}

/// A tuple of these values.
pub(super) fn of(items: impl IntoIterator<Item = Value>) -> Value {
    Value::from_object(Tuple(items.into_iter().collect()))
}

/// A list of lists as a list of tuples.
pub(super) fn each(pairs: &Value) -> Result<Value, Error> {
    pairs
        .try_iter()?
        .map(|pair| Ok(of(pair.try_iter()?)))
        .collect::<Result<Vec<Value>, Error>>()
        .map(Value::from)
}

pub(super) fn is(value: &Value) -> bool {
    value.downcast_object_ref::<Tuple>().is_some()
}

pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_function(TUPLE, |items: Rest<Value>| of(items.0));
    environment.add_filter("dictsort", |value: &Value, kwargs: Kwargs| {
        each(&minijinja::filters::dictsort(value, kwargs)?)
    });
    environment.add_filter("items", |value: &Value| each(&minijinja::filters::items(value)?));
    environment.add_filter("pprint", pprint);
}

/// Widest value that Python's `pprint` writes on one line.
const WIDTH: usize = 80;

/// Python's `pprint` of what fits on one line: dicts sorted by key.
fn pprint(value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    repr::sorted(value, &mut out);
    if out.chars().count() > WIDTH {
        return Err(bad("pprint of more than one line is not implemented"));
    }
    Ok(out)
}
