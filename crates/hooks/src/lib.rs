//! Sites, hooks, wiring and pairs: the vocabulary of looking inside a language model.
