#!/bin/sh
# SFT and GRPO on the embedded model, each killed with SIGKILL at N random moments (default 100), checkpoint writing and
# rotation included, and resumed: final weights, optimiser state and metrics are those of an unbroken run, bit for bit.
#   tools/kills.sh [N]
set -eu
SPARKS_KILLS=${1:-100} cargo test -p sparks --test train_kill -- --nocapture --test-threads 1
