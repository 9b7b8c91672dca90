//! SymPy's `srepr` trees as [`Expr`], so that tests can compare our reading of LaTeX with the recorded one.
