"""Rows and loss of TRL's packing, from SFTTrainer's own preparation and collator.

Usage: python tools/oracles/sft_packing.py tests/fixtures/sft-forms tests/fixtures/sft-packing   (torch, transformers 5.24, trl 1.16)

The first folder is the model of sft_forms.py. Writes cases.json: rows, TRL's options, the packed rows (token ids and
lengths of documents), trained tokens and mean loss of a step on all of them. The loss is that of the collator's batch
with its position_ids, and the same as that of each document alone.
"""
import json, os, sys, tempfile

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM
from trl import SFTConfig, SFTTrainer

torch.set_num_threads(1)
model_dir, out = sys.argv[1:3]
os.makedirs(out, exist_ok=True)
# AutoTokenizer would take Qwen2's pre-tokenizer in place of the file's.
fast = PreTrainedTokenizerFast.from_pretrained(model_dir)

words = "Tom has 3 hens and 4 cows. How many animals? two and two is 4.".split()
texts = [{"text": " ".join(words[i % 5 : i % 5 + 1 + (i * 7) % 9])} for i in range(14)]
pairs = [
    {"prompt": " ".join(words[: 2 + i % 6]), "completion": " " + " ".join(words[i % 4 : i % 4 + 1 + (i * 5) % 8])}
    for i in range(14)
]
# Beyond one batch of datasets.map, 1000 rows; the first two tokens of a row are its number.
many = [{"input_ids": [4 + i // 250, 4 + i % 250] + [4] * ((i * 7919) % 23)} for i in range(1100)]
CASES = [
    (texts, "bfd", 24),
    (texts, "bfd_split", 9),
    (pairs, "bfd", 40),
    (pairs, "bfd_split", 64),
    (many, "bfd", 32),
]

cases = []
for rows, strategy, max_length in CASES:
    with tempfile.TemporaryDirectory() as run:
        model = Qwen2ForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager")

        def trainer(batch):
            args = SFTConfig(
                output_dir=run, max_steps=1, per_device_train_batch_size=batch, learning_rate=0.0, report_to="none",
                bf16=False, logging_steps=1, save_strategy="no", gradient_checkpointing=False, use_cpu=True,
                disable_tqdm=True, packing=True, packing_strategy=strategy, max_length=max_length,
            )
            return SFTTrainer(model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=fast)

        packed = trainer(1).train_dataset
        whole = trainer(len(packed))
        batch = whole.data_collator(list(whole.train_dataset))
        trained = int((batch["labels"][:, 1:] != -100).sum())
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits
            direct = torch.nn.functional.cross_entropy(
                logits[0, :-1].double(), batch["labels"][0, 1:], ignore_index=-100
            ).item()
            alone = 0.0
            for row in whole.train_dataset:
                start = 0
                for n in row["seq_lengths"]:
                    ids, labels = (torch.tensor(row[c][start : start + n])[None] for c in ["input_ids", "labels"])
                    start += n
                    if n > 1:
                        one = model(input_ids=ids).logits[0, :-1].double()
                        alone += torch.nn.functional.cross_entropy(
                            one, labels[0, 1:], ignore_index=-100, reduction="sum"
                        ).item()
        loss = direct
        if rows is not many:  # a square of attention over all of its tokens
            whole.train()
            loss = next(x["loss"] for x in whole.state.log_history if "loss" in x)
    assert abs(alone / trained - direct) < 1e-6 * direct, (alone / trained, direct)
    assert abs(loss - direct) < 2e-4 * direct, (loss, direct)
    case = {"packing": strategy, "max_length": max_length, "tokens": trained, "loss": direct}
    if rows is many:
        number = lambda ids: (ids[0] - 4) * 250 + ids[1] - 4
        numbers = []
        for row in packed:
            starts = [sum(row["seq_lengths"][:i]) for i in range(len(row["seq_lengths"]))]
            numbers.append([number(row["input_ids"][s:]) for s in starts])
        case |= {"many": len(many), "numbers": numbers}
    else:
        case |= {"rows": rows, "packed": [[r["input_ids"], r["seq_lengths"]] for r in packed]}
    cases.append(case)
    print(strategy, max_length, len(rows), len(packed), trained, direct, alone / trained, loss)
with open(os.path.join(out, "cases.json"), "w") as f:
    f.write("[" + ",\n".join(json.dumps(case) for case in cases) + "]\n")
