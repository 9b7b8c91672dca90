"""See check.sh. Tolerances: f32 results differ by the order of sums only; TF32 rounds factors to 10 bits of fraction, bf16 to 7."""
import json
import os
import pathlib
import subprocess
import sys
import time

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config

SPARKS, OUT, WORK = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
DEVICE = os.environ.get("DEVICE", "cuda")
RESULTS, FAILED = {"parity": [], "speed": []}, []


def sparks(*args, device=DEVICE, check=True):
    start = time.perf_counter()
    run = subprocess.run([SPARKS, *map(str, args), "--device", device], capture_output=True, text=True)
    print(f"[{time.perf_counter() - start:6.1f} s] {args[0]} {args[1]} {device} {' '.join(map(str, args[-4:]))}", flush=True)
    if check and run.returncode:
        print(run.stdout[-1000:], run.stderr[-3000:])
        raise SystemExit(f"{args[0]}: exit status {run.returncode}")
    return run


def shape(**kw):
    base = dict(vocab_size=151936, rms_norm_eps=1e-6, tie_word_embeddings=True, max_position_embeddings=32768,
                bos_token_id=None, eos_token_id=None, pad_token_id=0,
                rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})
    return Qwen2Config(**{**base, **kw})


SHAPES = {
    "tiny": (shape(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
                   intermediate_size=352, vocab_size=384, tie_word_embeddings=False, initializer_range=0.1),
             torch.float32),
    "0.5B": (shape(hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
                   intermediate_size=4864), torch.bfloat16),
    "1.5B": (shape(hidden_size=1536, num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2,
                   intermediate_size=8960), torch.bfloat16),
}


def make(name):
    """The checkpoint of a shape with random weights, made once."""
    folder = OUT / name
    if not (folder / "config.json").exists():
        config, dtype = SHAPES[name]
        torch.manual_seed(0)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        model.cpu().save_pretrained(folder)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        tokens = ["<|endoftext|>", *alphabet]
        tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    return folder


def parity(name, error, tolerance, why):
    ok = error <= tolerance
    RESULTS["parity"].append({"what": name, "error": error, "tolerance": tolerance, "why": why, "ok": ok})
    print(f"{'ok  ' if ok else 'FAIL'} {name}: {error:.2e} of at most {tolerance:.0e}", flush=True)
    if not ok:
        FAILED.append(name)


def apart(a, b):
    a, b = torch.as_tensor(a).double().flatten(), torch.as_tensor(b).double().flatten()
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))


def check_logits(m, rows):
    ways = [("f32", 2e-5, "order of sums")]
    if DEVICE.startswith("cuda"):
        ways += [("tf32", 1e-2, "2^-11 a factor"), ("bf16", 6e-2, "2^-8 a factor")]

    def logits(device, *more):
        out = OUT / "logits.safetensors"
        sparks("forward", m, "--input", OUT / "rows.json", "--out", out, *more, device=device)
        return load_file(out)["logits"]
    cpu = logits("cpu")
    for compute, tolerance, why in ways:
        parity(f"logits, {compute}", apart(logits(DEVICE, "--compute", compute), cpu), tolerance, why)


def check_tokens(m, rows):
    def generated(device, *more):
        run = sparks("generate", m, "--input", OUT / "rows.json", "--max-tokens", 32, "--json", *more, device=device)
        return json.loads(run.stdout)["completions"]
    for how, tolerance in [((), 0.0), (("--temperature", 1, "--samples", 4, "--seed", 3), 0.0),
                           (("--temperature", 0.7, "--top-p", 0.9, "--seed", 3), 0.0)]:
        cpu, gpu = generated("cpu", *how), generated(DEVICE, *how)
        other = sum(a["ids"] != b["ids"] for a, b in zip(cpu, gpu))
        name = "generated tokens" + "".join(f" {x}" for x in how[:4])
        parity(name, other / len(cpu), tolerance, "the same draws")
        if not other:
            parity(name + ", log-probabilities",
                   max(abs(x - y) for a, b in zip(cpu, gpu) for x, y in zip(a["logprobs"], b["logprobs"])), 1e-4, "nats")


def check_scores(m, rows):
    pairs = [{"id": str(i), "clean_ids": rows[i][:12], "corrupt_ids": rows[i + 1][:12], "answer_ids": [70 + i],
              "distractor_ids": [90 + i]} for i in range(2)]
    (OUT / "pairs.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs))

    def scores(device, *more):
        out = OUT / "scores.json"
        sparks("attribute", m, "--pairs", OUT / "pairs.jsonl", "--steps", 5, "--out", out, *more, device=device)
        edges = json.loads(out.read_text())["edges"]
        return [edges[k]["score"] for k in sorted(edges)]
    cpu = scores("cpu")
    # Weights moved by a unit in the last place move the scores by up to 4e-6 on the CPU (rounding.py).
    parity("EAP-IG scores, f32", apart(scores(DEVICE), cpu), 4e-5, "order of sums, ten times the effect of one rounding of the weights")
    if DEVICE.startswith("cuda"):
        parity("EAP-IG scores, bf16", apart(scores(DEVICE, "--compute", "bf16"), cpu), 0.3, "differences of rounded runs")


def check_sft(m, rows):
    data = [{"input_ids": r, "labels": [-100] * 5 + r[5:]} for r in rows]
    (OUT / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in data))
    for lora in (False, True):
        run = {}
        for device in ("cpu", DEVICE):
            folder = OUT / f"sft-{device.replace(':', '')}-{lora}"
            subprocess.run(["rm", "-rf", folder], check=True)
            text = f"""
[model]
path = "{m}"
[data]
train = "{OUT / 'rows.jsonl'}"
shuffle = false
[run]
dir = "{folder}"
checkpoint_every = 3
[train]
steps = 3
batch_size = 3
[optimizer]
lr = 1e-3
"""
            (OUT / "sft.toml").write_text(text + ("[lora]\nrank = 4\nalpha = 8\n" if lora else ""))
            sparks("sft", OUT / "sft.toml", device=device)
            lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
            weights = load_file(folder / "checkpoints/step-3" / ("adapter_model.safetensors" if lora else "model.safetensors"))
            run[device] = ([x["loss"] for x in lines], [x["grad_norm"] for x in lines], weights)
        a, b = run[DEVICE], run["cpu"]
        what = "LoRA" if lora else "full"
        parity(f"SFT {what}: losses of 3 steps", apart(a[0], b[0]), 1e-5, "order of sums")
        parity(f"SFT {what}: gradient norms", apart(a[1], b[1]), 1e-4, "order of sums")
        # Adam divides by the root of the second moment: where a gradient is near rounding its sign can turn.
        error = max(float((a[2][k] - b[2][k]).abs().mean()) for k in b[2])
        parity(f"SFT {what}: weights, mean absolute difference", error, 1e-5, "1 % of a step of 1e-3")


def check_grpo(m, rows):
    problems = [{"problem": f"{i}+{i}=", "answer": str(2 * i)} for i in range(1, 5)]
    (OUT / "problems.jsonl").write_text("".join(json.dumps(p) + "\n" for p in problems))
    run = {}
    for device in ("cpu", DEVICE):
        folder = OUT / f"grpo-{device.replace(':', '')}"
        subprocess.run(["rm", "-rf", folder], check=True)
        (OUT / "grpo.toml").write_text(f"""
[model]
path = "{m}"
[data]
train = "{OUT / 'problems.jsonl'}"
[prompt]
template = "plain"
[run]
dir = "{folder}"
[train]
steps = 2
batch_size = 8
[optimizer]
lr = 1e-4
[grpo]
prompts = 2
group_size = 4
max_tokens = 16
beta = 0.04
[[reward]]
kind = "repetition"
""")
        done = sparks("grpo", OUT / "grpo.toml", device=device, check=False)
        if done.returncode:
            print(done.stderr[-2000:])
            FAILED.append("GRPO ran")
            return
        run[device] = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    for key in ("reward", "length", "loss", "grad_norm", "kl"):
        a, b = ([x[key] or 0.0 for x in run[d]] for d in (DEVICE, "cpu"))
        parity(f"GRPO: {key} of 2 steps", max(abs(x - y) for x, y in zip(a, b)) / max(1.0, max(map(abs, b))), 1e-4, "order of sums")


def check_parity():
    m = make("tiny")
    rows = torch.randint(3, 256, (3, 40), generator=torch.Generator().manual_seed(1)).tolist()
    (OUT / "rows.json").write_text(json.dumps({"input_ids": rows}))
    checks = {"logits": check_logits, "tokens": check_tokens, "scores": check_scores, "sft": check_sft, "grpo": check_grpo}
    for name in os.environ.get("PARITY", ",".join(checks)).split(","):
        checks[name](m, rows)


def timed(f, repeats=5):
    f()
    seconds = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        f()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


def peer(name, tokens, new):
    """torch + transformers in bf16: seconds of the kinds of work of `sparks bench`."""
    folder = OUT / name
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).cuda().eval()
    ids = torch.randint(3, 1000, (1, tokens)).cuda()
    times = {}
    with torch.no_grad():
        times["prefill"] = timed(lambda: model(ids).logits[0, 0, 0].item())
        for rows in (1, 8, 64):
            prompt = torch.randint(3, 1000, (1, 32)).cuda().expand(rows, 32)
            mask = torch.ones_like(prompt)

            def complete(n):
                model.generate(prompt, attention_mask=mask, max_new_tokens=n, min_new_tokens=n, do_sample=False)
            times[f"decode-{rows}"] = timed(lambda: complete(new), 3) - timed(lambda: complete(1), 3)
    from peft import LoraConfig, get_peft_model
    base = model.train()
    adapted = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))

    def trainer(net, autocast):
        weights = [p for p in net.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=1e-5, fused=True)

        def step():
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
                loss = net(input_ids=ids, labels=ids).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()
        return step
    times["lora"] = timed(trainer(adapted, True))
    del adapted, base, model
    torch.cuda.empty_cache()
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).cuda().train()
    times["sft"] = timed(trainer(whole, True))
    del whole
    torch.cuda.empty_cache()
    print(json.dumps(times), flush=True)
    return times


def check_speed():
    names = os.environ.get("MODELS", "0.5B,1.5B").split(",")
    tokens, new = int(os.environ.get("TOKENS", 2048)), 64
    for name in names:
        folder = make(name)
        theirs = peer(name, tokens, new) if not os.environ.get("NO_PEER") else {}
        ours = {}
        for dtype, compute in [x.split("/") for x in os.environ.get("WAYS", "bf16/bf16,f32/f32").split(",")]:
            for work, n in [("memory,product,prefill,decode-1,decode-8,decode-64,lora,sft", tokens), ("eap-ig", 128)]:
                if os.environ.get("ONLY"):
                    work = ",".join(w for w in work.split(",") if w in os.environ["ONLY"].split(","))
                if not work:
                    continue
                run = sparks("bench", folder, "--work", work, "--tokens", n, "--new-tokens", new, "--repeats", 3, "--json",
                             "--dtype", dtype, "--compute", compute, check=False)
                if run.returncode:
                    print(run.stdout[-500:], run.stderr[-2000:])
                    FAILED.append(f"bench {name} {dtype} {work}")
                    continue
                for line in json.loads(run.stdout)["work"]:
                    ours[f"{line['work']} {dtype}/{compute}"] = line
                    print(json.dumps(line), flush=True)
        for key, line in ours.items():
            work = key.split()[0]
            RESULTS["speed"].append({"model": name, "work": key, "tokens": tokens, **{k: line[k] for k in line if k != "work"},
                                     "torch_seconds": theirs.get(work)})


def table():
    lines = ["| what | error | at most | |", "|---|---|---|---|"]
    lines += [f"| {r['what']} | {r['error']:.1e} | {r['tolerance']:.0e} | {'' if r['ok'] else '**outside**'} |" for r in RESULTS["parity"]]
    lines += ["", "| model, work | here | torch | ratio | limit | of it |", "|---|---|---|---|---|---|"]
    ms = lambda s: "—" if s is None else f"{s * 1e3:.2f} ms"
    for r in RESULTS["speed"]:
        seconds, t, limit = r["seconds"], r["torch_seconds"], r["limit_seconds"]
        ratio = "—" if t is None else f"{t / seconds:.2f}×"
        allowed = ms(limit) if r["rate"] is None else f"{r['rate'] / 1e9:.0f} G/s"
        share = "—" if limit is None else f"{100 * limit / seconds:.0f} %"
        lines.append(f"| {r['model']}, {r['work']} | {ms(seconds)} | {ms(t)} | {ratio} | {allowed} | {share} |")
    return "\n".join(lines) + "\n"


if torch.cuda.is_available():
    RESULTS["gpu"] = torch.cuda.get_device_name(0)
try:
    if WORK in ("parity", "all"):
        check_parity()
    if WORK in ("speed", "all"):
        check_speed()
finally:
    RESULTS["failed"] = FAILED
    (OUT / "check.json").write_text(json.dumps(RESULTS, indent=1))
    (OUT / "check.md").write_text(table())
    print(table())
sys.exit(1 if FAILED else 0)
