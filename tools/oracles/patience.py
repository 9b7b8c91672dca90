"""Best value and patience counter of transformers' EarlyStoppingCallback over sequences of evaluations.

    python tools/oracles/patience.py > crates/cli/testdata/patience.json

transformers 5.24. The trainer calls `on_evaluate` first and then notes the best (`_determine_best_metric`).
"""

import json
from types import SimpleNamespace

import numpy as np
from transformers import EarlyStoppingCallback, Trainer, TrainerControl, TrainerState, TrainingArguments


def sequence(metric, falls, min_delta, values):
    args = TrainingArguments(
        output_dir="/tmp/patience", eval_strategy="steps", eval_steps=1, save_strategy="best",
        metric_for_best_model=metric, greater_is_better=not falls, report_to=[], use_cpu=True,
    )
    callback = EarlyStoppingCallback(early_stopping_patience=2, early_stopping_threshold=min_delta)
    state, rows = TrainerState(), []
    trainer = SimpleNamespace(args=args, state=state)
    trainer._get_output_dir = lambda trial: args.output_dir
    for step, value in enumerate(values, 1):
        state.global_step, control = step, TrainerControl()
        metrics = {metric: float("nan") if value is None else value}
        callback.on_evaluate(args, state, control, metrics)
        Trainer._determine_best_metric(trainer, metrics, None)
        best = state.best_metric
        rows.append({
            "value": value,
            "best": None if best is None or np.isinf(best) or np.isnan(best) else best,
            "waited": callback.early_stopping_patience_counter,
            "stop": control.should_training_stop,
        })
    return {"metric": metric, "min_delta": min_delta, "rows": rows}


print(json.dumps([
    sequence("eval_loss", True, 0.0, [2.0, 1.5, 1.5, 1.4, 1.6, 1.7, 1.3]),
    sequence("eval_loss", True, 0.25, [2.0, 1.9, 1.8, 1.7, 1.2, 1.19, 1.0]),
    sequence("eval_loss", True, 0.0, [2.0, None, 1.5, None, None]),
    sequence("eval_accuracy", False, 0.0, [0.1, 0.3, 0.2, 0.3, 0.5, 0.4, 0.4]),
    sequence("eval_accuracy", False, 0.125, [0.0, 0.125, 0.5, 0.5625, 0.75, 0.625]),
]))
