//! The graph of the residual stream: which writer feeds which reader, and values over edges, nodes and heads.

mod maps;
mod wiring;

pub use maps::{EdgeMap, HeadMap, NodeMap};
pub use wiring::{Edge, Head, KeyValue, Port, Reader, Wiring, Writer};
