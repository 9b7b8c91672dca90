//! The graph of the residual stream: writers, readers and edges, and values over edges, nodes and heads.

mod maps;
mod names;
mod wiring;

pub use maps::{EdgeMap, HeadMap, NodeMap};
pub use wiring::{Edge, Head, KeyValue, Port, Reader, Wiring, Writer};
