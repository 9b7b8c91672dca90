"""Twenty steps of PEFT's LoRA with torch's AdamW over the rows of tests/fixtures/sft-trace.

Usage: python tools/oracles/sft_lora.py tests/fixtures   (torch, transformers 5.24, peft)

Writes sft-lora/{name}/{start,end}: the adapter before and after, and sft-lora/{name}.json: loss and gradient norm of
each step. Batches of 4 in file order, the loss over all trained tokens of a batch, clipping at 1, learning rate 1e-2.
"""
import json, os, sys

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
root = sys.argv[1]
rows = [json.loads(line) for line in open(os.path.join(root, "sft-trace/data.jsonl"))]
CASES = {
    "plain": dict(model="tied", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"]),
    "all-linear": dict(model="untied", r=2, lora_alpha=4, use_rslora=True, target_modules="all-linear"),
}
for name, options in CASES.items():
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(os.path.join(root, "sft-trace", options.pop("model")), dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(lora_dropout=0.0, task_type="CAUSAL_LM", **options))
    out = os.path.join(root, "sft-lora", name)
    model.peft_config["default"].base_model_name_or_path = None
    model.save_pretrained(os.path.join(out, "start"))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    steps = []
    for step in range(20):
        batch = [rows[(step * 4 + i) % len(rows)] for i in range(4)]
        length = max(len(row["input_ids"]) for row in batch)
        ids = torch.tensor([row["input_ids"] + [0] * (length - len(row["input_ids"])) for row in batch])
        labels = torch.tensor([row["labels"] + [-100] * (length - len(row["labels"])) for row in batch])
        logits = model(input_ids=ids).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        steps.append({"loss": loss.item(), "grad_norm": norm.item()})
    model.save_pretrained(os.path.join(out, "end"))
    json.dump(steps, open(out + ".json", "w"), indent=1)
    for part in ["start", "end"]:
        readme = os.path.join(out, part, "README.md")
        if os.path.exists(readme):
            os.remove(readme)
    print(name, steps[0], steps[-1])
