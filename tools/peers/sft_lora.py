"""One SFT step of a LoRA adapter (PEFT, beside every projection): forward + cross-entropy + backward + clip + AdamW; weights frozen in --dtype. `cd PEERS && python REPO/tools/peers/sft_lora.py --shape qwen05b --seq 512`"""
import os
import sys

sys.path.insert(0, os.getcwd())
import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402

from common_bench import args, model, report, timed, tokens  # noqa: E402

a = args(batch=1, seq=512, rank=16)
m = get_peft_model(model(a), LoraConfig(r=a.rank, lora_alpha=2 * a.rank, target_modules="all-linear", task_type="CAUSAL_LM"))
m, x = m.train(), tokens(a, a.batch, a.seq)
trained = [p for p in m.parameters() if p.requires_grad]
opt = torch.optim.AdamW(trained, lr=1e-5, weight_decay=0.01)


def step():
    opt.zero_grad(set_to_none=True)
    m(input_ids=x, labels=x, use_cache=False).loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    opt.step()


report("sft_lora_step", a, timed(step, a), tokens_per_s=lambda s: round(a.batch * a.seq / s, 1))
