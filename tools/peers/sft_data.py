"""Tokenising and packing training rows with datasets and TRL, timed inside the process; prints one JSON line a way.

Usage: python tools/peers/sft_data.py rows FILE.jsonl.gz N OUT.jsonl         writes N rows {"prompt", "completion"}, over again where FILE is short
       python tools/peers/sft_data.py TOKENIZER_FOLDER ROWS.jsonl [MAX_LENGTH [REPS]]

Ours beside it: `MIMALLOC_PURGE_DELAY=-1 target/debug/sft-data TOKENIZER_FOLDER/tokenizer.json ROWS.jsonl`.
`trainer`: SFTTrainer's own preparation (add the end token, tokenise, labels, pack) in one process; `trainer-2`: in two.
`batched`: the same ids by the shortest way there is: prompts and completions through the fast tokenizer in batches of 1000
on all cores, then trl.pack_dataset. Nothing is cached, and the tokenizer is loaded before the clock starts.
"""
import gzip, json, os, resource, statistics, sys, time

if sys.argv[1] == "rows":
    rows = [json.loads(line) for line in gzip.open(sys.argv[2])]
    with open(sys.argv[4], "w") as f:
        for i in range(int(sys.argv[3])):
            row = rows[i % len(rows)]
            f.write(json.dumps({"prompt": row["problem"] + "\n", "completion": row["solution"]}) + "\n")
    sys.exit()

os.environ |= {"TOKENIZERS_PARALLELISM": "true", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
import datasets
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
from trl import SFTConfig, SFTTrainer, pack_dataset

datasets.disable_caching()
datasets.disable_progress_bars()
folder, path = sys.argv[1:3]
max_length, reps = (int(x) for x in (sys.argv[3:] + ["1024", "3"][len(sys.argv) - 3 :])[:2])


def cpu():
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(t.ru_utime + t.ru_stime for t in times)


def load():
    return datasets.Dataset.from_list([json.loads(line) for line in open(path)])


def trainer(processes):
    def run(tokenizer):
        args = SFTConfig(
            output_dir="/tmp/sft-data", packing=True, max_length=max_length, dataset_num_proc=processes, report_to="none",
            bf16=False, use_cpu=True, eos_token="<|endoftext|>",
        )
        return SFTTrainer(model=model, args=args, train_dataset=load(), processing_class=tokenizer).train_dataset

    return run


def batched(tokenizer):
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")

    def encode(rows):
        prompts = tokenizer(rows["prompt"], add_special_tokens=False, return_attention_mask=False)["input_ids"]
        answers = tokenizer(rows["completion"], add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return {
            "input_ids": [p + a + [end] for p, a in zip(prompts, answers)],
            "labels": [[-100] * len(p) + a + [end] for p, a in zip(prompts, answers)],
        }

    rows = load()
    return pack_dataset(rows.map(encode, batched=True, remove_columns=rows.column_names), max_length, "bfd")


model = Qwen2ForCausalLM(Qwen2Config(
    vocab_size=152000, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, intermediate_size=8,
))
for name, way in [("batched", batched), ("trainer", trainer(None)), ("trainer-2", trainer(2))]:
    wall, busy = [], []
    for _ in range(reps):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        start, before = time.perf_counter(), cpu()
        packed = way(tokenizer)
        wall.append(time.perf_counter() - start)
        busy.append(cpu() - before)
    print(json.dumps({
        "way": name, "median_s": round(statistics.median(wall), 3), "cpu_median_s": round(statistics.median(busy), 3),
        "examples": sum(len(x) for x in packed["seq_lengths"]), "packed_rows": len(packed),
        "tokens": sum(sum(x) for x in packed["seq_lengths"]),
        "trained_tokens": sum(x != -100 for row in packed["labels"] for x in row),
    }), flush=True)
