//! A subgraph, and how faithful it is.
