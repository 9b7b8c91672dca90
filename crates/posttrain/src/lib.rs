//! What SFT and GRPO share: optimiser, schedule, clipping, run folder, resume.
