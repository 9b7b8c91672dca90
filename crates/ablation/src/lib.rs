//! What to put in place of an activation: heads, edges, means.
