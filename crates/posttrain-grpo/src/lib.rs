//! Group-relative policy optimisation with verifiable rewards.
