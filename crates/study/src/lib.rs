//! The paper, end to end: checkpoints, circuits, emergent heads, interventions, report.
