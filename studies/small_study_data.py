"""The data of small-study.toml: GSM8K as conversations and as prompts, from its training and test problems.
usage: small_study_data.py gsm8k_train.jsonl.gz gsm8k_test.jsonl   (writes gsm8k-chat.jsonl, gsm8k-prompts.jsonl, gsm8k-short.jsonl)
"""
import gzip, json, re, sys

def short(row):
    return len(row["problem"]) < 240

train = [json.loads(line) for line in gzip.open(sys.argv[1], "rt")]
with open("gsm8k-chat.jsonl", "w") as chat, open("gsm8k-prompts.jsonl", "w") as prompts:
    for row in filter(short, train):
        # Calculator marks are not text that a model should write.
        solution = re.sub(r"<<.*?>>", "", row["solution"])
        if len(solution) > 320:
            continue
        answer = f"{solution}\nThe answer is \\boxed{{{row['answer']}}}."
        messages = [{"role": "user", "content": row["problem"]}, {"role": "assistant", "content": answer}]
        chat.write(json.dumps({"messages": messages}) + "\n")
        prompts.write(json.dumps({"problem": row["problem"], "answer": row["answer"]}) + "\n")
with open("gsm8k-short.jsonl", "w") as test:
    for line in open(sys.argv[2]):
        if short(json.loads(line)):
            test.write(line)
