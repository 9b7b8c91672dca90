"""Loss, mean token accuracy and entropy of 20 steps of TRL's SFTTrainer over the rows of tests/fixtures/sft-trace.

Usage: python tools/oracles/sft_stats.py tests/fixtures   (torch, transformers 5.24, trl 1.16)

Writes sft-stats/{plain,smoothed,dft}.json, a line a step. Batches of 4 in file order, AdamW at a constant 3e-3 without
decay, clipping at 1; `smoothed` has label_smoothing_factor 0.1, `dft` loss_type dft. Losses are those that SFTTrainer.compute_loss returns,
the other two what it logs.
"""
import json, os, sys, tempfile

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM
from trl import SFTConfig, SFTTrainer

torch.set_num_threads(1)
root = sys.argv[1]
rows = [json.loads(line) for line in open(os.path.join(root, "sft-trace/data.jsonl"))]
tokenizer = PreTrainedTokenizerFast.from_pretrained(os.path.join(root, "sft-forms"))
losses = []


class Recorded(SFTTrainer):
    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        losses.append((loss[0] if isinstance(loss, tuple) else loss).item())
        return loss


os.makedirs(os.path.join(root, "sft-stats"), exist_ok=True)
for name, options in [
    ("plain", {}), ("smoothed", {"label_smoothing_factor": 0.1}), ("dft", {"loss_type": "dft"}),
]:
    model = Qwen2ForCausalLM.from_pretrained(os.path.join(root, "sft-trace/tied"), dtype=torch.float32)
    losses.clear()
    with tempfile.TemporaryDirectory() as run:
        args = SFTConfig(
            output_dir=run, max_steps=20, per_device_train_batch_size=4, learning_rate=3e-3, lr_scheduler_type="constant",
            report_to="none", bf16=False, logging_steps=1, save_strategy="no", gradient_checkpointing=False, use_cpu=True,
            disable_tqdm=True, shuffle_dataset=False, train_sampling_strategy="sequential",
            **options,
        )
        trainer = Recorded(model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "entropy" in entry]
    assert len(logged) == len(losses) == 20
    with open(os.path.join(root, "sft-stats", name + ".json"), "w") as f:
        for loss, entry in zip(losses, logged):
            line = {"loss": loss, "token_accuracy": entry["mean_token_accuracy"], "entropy": entry["entropy"]}
            f.write(json.dumps(line) + "\n")
    print(name, line)
