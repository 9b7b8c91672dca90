//! Fused operations, each with a portable twin in plain burn operations.
