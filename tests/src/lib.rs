//! Nothing here: see `it/`, the tests across crates, and `fixtures/`, the numbers of the peers.
