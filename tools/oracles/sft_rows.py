"""What oracles of SFT share: the rows of tests/fixtures/sft-trace, their batches, and one step of training."""
import json, os

import torch

TRACE = "sft-trace"


def read(root):
    return [json.loads(line) for line in open(os.path.join(root, TRACE, "data.jsonl"))]


def loss(model, rows, step):
    """The loss over all trained tokens of a step's batch: 4 rows in file order, padded on the right."""
    batch = [rows[(step * 4 + i) % len(rows)] for i in range(4)]
    length = max(len(row["input_ids"]) for row in batch)
    ids = torch.tensor([row["input_ids"] + [0] * (length - len(row["input_ids"])) for row in batch])
    labels = torch.tensor([row["labels"] + [-100] * (length - len(row["labels"])) for row in batch])
    logits = model(input_ids=ids).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def clip_and_step(loss, parameters, optimizer):
    """Clips at 1 and steps; the loss, and the gradients' norm before clipping."""
    norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    return {"loss": loss.item(), "grad_norm": norm.item()}


def write(out, steps):
    os.makedirs(os.path.dirname(out), exist_ok=True)
    json.dump(steps, open(out, "w"), indent=1)
    print(steps[0], steps[-1])
