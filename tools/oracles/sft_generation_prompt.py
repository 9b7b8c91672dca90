"""Tokens and mask of TRL for a template whose generation prompt goes on beyond the answer's beginning, as that of
DeepSeek-R1-Distill does; printed for `crates/posttrain-sft/tests/reasoning.rs`.

    python tools/oracles/sft_generation_prompt.py
"""

import json
from pathlib import Path

from transformers import PreTrainedTokenizerFast
from trl.data_utils import common_prefix_length

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}<|s|>User: {{ m.content }}{% endif %}"
    "{% if m.role == 'assistant' %}{% set content = m.content %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "<|s|>Assistant: {{ content }}<|e|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|s|>Assistant: <think>\n{% endif %}"
)
ROWS = [
    [("user", "2+2?"), ("assistant", "4")],
    [("user", "2+2?"), ("assistant", "4"), ("user", "3+3?"), ("assistant", "<b>6</b>")],
]

folder = Path(__file__).parents[2] / "tests/fixtures/sft-forms"
tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), eos_token="<|end|>")
for turns in ROWS:
    messages = [{"role": role, "content": content} for role, content in turns]
    common = {"chat_template": TEMPLATE, "tokenize": True, "return_dict": True}
    prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, **common)["input_ids"]
    whole = tokenizer.apply_chat_template(messages, **common)["input_ids"]
    # SFTTrainer.tokenize_fn
    print(json.dumps({"messages": messages, "ids": whole, "prompt": common_prefix_length(prompt, whole)}))
