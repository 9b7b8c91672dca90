"""Loss and trained tokens of the first step of TRL's SFTTrainer for each form of a row.

Usage: python tools/oracles/sft_forms.py tests/fixtures/sft-forms   (torch, transformers 5.24, trl 1.16, peft not needed)

Writes a random model of two layers with a byte-level tokenizer and a chat template that marks what the assistant
says, and cases.json: a row, TRL's options for it, trained tokens and mean loss at a learning rate of 0.
"""
import json, os, sys, tempfile

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import SFTConfig, SFTTrainer

torch.set_num_threads(1)
out = sys.argv[1]
os.makedirs(out, exist_ok=True)

TEMPLATE = (
    "{%- if tools %}{{- '<|s|>tools\\n' }}{%- for t in tools %}{{- t | tojson + '\\n' }}{%- endfor %}{{- '<|e|>\\n' }}{%- endif %}"
    "{%- for m in messages %}{{- '<|s|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' %}{%- generation %}"
    "{%- if m.reasoning_content %}{{- '<think>' + m.reasoning_content + '</think>' }}{%- endif %}"
    "{%- if m.content %}{{- m.content }}{%- endif %}"
    "{%- if m.tool_calls %}{%- for c in m.tool_calls %}{{- c.function | tojson }}{%- endfor %}{%- endif %}"
    "{{- '<|e|>\\n' }}{%- endgeneration %}"
    "{%- else %}{{- m.content + '<|e|>\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|s|>assistant\\n' }}{%- endif %}"
)

text = "Tom has 3 hens and 4 cows. How many animals? two and two is 4. assistant user system tool add numbers think"
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.train_from_iterator(
    [text] * 4,
    trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>", "<|s|>", "<|e|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    ),
)
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>")
fast.chat_template = TEMPLATE
fast.save_pretrained(out)

torch.manual_seed(5)
config = Qwen2Config(
    vocab_size=fast.vocab_size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
    intermediate_size=24, tie_word_embeddings=True, initializer_range=0.4, max_position_embeddings=256,
    eos_token_id=fast.eos_token_id, pad_token_id=None, bos_token_id=None,
)
model = Qwen2ForCausalLM(config).float()
model.save_pretrained(out)

TOOLS = [{"type": "function", "function": {"name": "add", "description": "adds", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}}}]
CALL = [{"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}]
user = {"role": "user", "content": "2+2?"}
CASES = [
    ({"text": "Tom has 3 hens."}, {}),
    ({"text": "Tom has 3 hens.<|end|>"}, {}),
    ({"prompt": "Tom has 3 hens.", "completion": " How many?"}, {}),
    ({"prompt": "Tom has 3 hens.", "completion": " How many?<|end|>"}, {}),
    ({"prompt": [user], "completion": [{"role": "assistant", "content": "4"}]}, {}),
    ({"messages": [user, {"role": "assistant", "content": "4"}]}, {"assistant_only_loss": True}),
    ({"messages": [{"role": "system", "content": "add numbers"}, user, {"role": "assistant", "content": "4"}, {"role": "user", "content": "3+3?"}, {"role": "assistant", "content": "6"}]}, {"assistant_only_loss": True}),
    ({"messages": [user, {"role": "assistant", "content": "4", "reasoning_content": "two and two"}]}, {"assistant_only_loss": True}),
    ({"messages": [user, {"role": "assistant", "content": "4"}], "tools": TOOLS}, {"assistant_only_loss": True}),
    ({"messages": [user, {"role": "assistant", "content": None, "tool_calls": CALL}, {"role": "tool", "content": "4"}, {"role": "assistant", "content": "4"}], "tools": TOOLS}, {"assistant_only_loss": True}),
    ({"input_ids": [5, 14, 5, 18, 6]}, {}),
    ({"input_ids": [5, 14, 5, 18, 6], "completion_mask": [0, 0, 0, 1, 1]}, {"completion_only_loss": True}),
    ({"input_ids": [5, 14, 5, 18, 6], "labels": [-100, -100, 5, -100, 6]}, {}),
    ({"text": "Tom has 3 hens and 4 cows. How many animals?"}, {"max_length": 8}),
]

cases = []
for row, options in CASES:
    with tempfile.TemporaryDirectory() as run:
        args = SFTConfig(
            output_dir=run, max_steps=1, per_device_train_batch_size=1, learning_rate=0.0, report_to="none", bf16=False,
            logging_steps=1, save_strategy="no", gradient_checkpointing=False, use_cpu=True, disable_tqdm=True, **options,
        )
        fresh = Qwen2ForCausalLM.from_pretrained(out, dtype=torch.float32)
        trainer = SFTTrainer(model=fresh, args=args, train_dataset=Dataset.from_list([row]), processing_class=fast)
        batch = next(iter(trainer.get_train_dataloader()))
        trained = int((batch["labels"][:, 1:] != -100).sum())
        with torch.no_grad():
            logits = fresh(input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask")).logits
            labels = batch["labels"][:, 1:]
            direct = torch.nn.functional.cross_entropy(logits[0, :-1].double(), labels[0], ignore_index=-100).item()
        trainer.train()
        loss = next(x["loss"] for x in trainer.state.log_history if "loss" in x)
    assert abs(loss - direct) < 2e-4 * max(1, direct), (row, loss, direct)
    cases.append({"row": row, "options": options, "tokens": trained, "loss": direct})
    print(trained, direct, loss, json.dumps(row)[:90])
with open(os.path.join(out, "cases.json"), "w") as f:
    json.dump(cases, f, indent=1)
for name in ["special_tokens_map.json", "generation_config.json"]:
    path = os.path.join(out, name)
    if os.path.exists(path):
        os.remove(path)
