#!/usr/bin/env bash
# Arrays under a real Slurm on this machine: a cluster of two simulated nodes in a temporary folder, arrays of each command
# with one task that fails, the merge that then must not run, the task submitted again, and the result beside that of one
# process.
# apt-get install -y --no-install-recommends slurm-wlm munge; as root: tools/slurm/check.sh SPARKS, from the repository.
# A SPARKS with MPI also runs under srun --mpi=pmix, where this Slurm has it: its ranks on one node, and on both.
set -euo pipefail
sparks=$(realpath "$1")
root=$(pwd)
S=$(mktemp -d)
mkdir -p "$S"/{state,log,run,bin,work,tmp-node1,tmp-node2}
ln -s "$sparks" "$S/bin/sparks"
export PATH="$S/bin:$PATH" HF_HUB_OFFLINE=1
host=$(hostname -s) cores=$(nproc)
sed -e "s|@S@|$S|g" -e "s|@HOST@|$host|g" -e "s|@CORES@|$cores|g" "$root/tools/slurm/slurm.conf" > "$S/slurm.conf"
export SLURM_CONF=$S/slurm.conf
stop() {
    local status=$?
    [ $status = 0 ] || tail -n 5 "$S"/work/*.log "$S"/log/slurm*.log
    for file in "$S"/run/{slurmd-node1,slurmd-node2,slurmctld,munged}.pid; do
        if [ -f "$file" ]; then kill "$(cat "$file")" 2>/dev/null || true; fi
    done
    sleep 1
    rm -rf "$S"
}
trap stop EXIT
dd if=/dev/urandom of="$S/munge.key" bs=1 count=1024 status=none
chmod 600 "$S/munge.key"
chmod 755 "$S" "$S/run"
munged --force --key-file="$S/munge.key" --socket="$S/run/munge.socket" --pid-file="$S/run/munged.pid" \
    --log-file="$S/log/munged.log" --seed-file="$S/run/seed"
slurmctld -c
sleep 2
slurmd -N node1
slurmd -N node2
sleep 2
sinfo --noheader
cd "$S/work"

# Waits for a job and all its tasks to leave the queue.
finished() { # JOB
    local start=$SECONDS
    while [ -n "$(squeue --noheader --jobs "$1" 2>/dev/null)" ]; do
        [ $((SECONDS - start)) -lt 600 ] || { squeue; tail -5 "$S"/log/*.log; exit 1; }
        sleep 0.5
    done
}
flags=(--parsable --cpus-per-task 1 --mem 500M --time 10)
# An array of N tasks of a command, task 2 of which fails the first time, then what joins them.
array() { # NAME N COMMAND MERGE
    local name=$1 n=$2 command=$3 merge=$4 first joined again
    local fails="[ \$SLURM_ARRAY_TASK_ID != 2 ] || [ -n \"\$SPARKS_SHARD\" ] || exit 1; $command"
    command=${command//@I@/\$SLURM_ARRAY_TASK_ID} fails=${fails//@I@/\$SLURM_ARRAY_TASK_ID}
    first=$(sbatch "${flags[@]}" --array "0-$((n - 1))" -o "$name-%a.log" --wrap "$fails")
    joined=$(sbatch "${flags[@]}" -d "afterok:$first" --kill-on-invalid-dep=yes -o "$name-merge.log" --wrap "$merge")
    finished "$first"
    finished "$joined"
    [ ! -e "$name-merge.log" ] || { echo "$name: the merge ran after a failed task"; exit 1; }
    # Alone, the task does not name its shard, and is refused.
    finished "$(sbatch "${flags[@]}" --array 2 -o "$name-refused.log" --wrap "$command")"
    grep -q "task 2 of the Slurm array with ids 2 to 2.*does not name its shard" "$name-refused.log"
    again=$(SPARKS_SHARD=2/$n sbatch "${flags[@]}" --array 2 -o "$name-again.log" --wrap "$fails")
    joined=$(sbatch "${flags[@]}" -d "afterok:$again" --kill-on-invalid-dep=yes -o "$name-merge.log" --wrap "$merge")
    finished "$again"
    finished "$joined"
    echo "$name: $n tasks, task 2 failed, the merge was cancelled, the task alone refused and with SPARKS_SHARD=2/$n done, merged"
}
model=$root/tests/fixtures/eap/model toy=$root/crates/toy/assets
for i in 0 1 2; do cat "$root/tests/fixtures/eap/pairs.jsonl"; done | sed '/"id"/!b' | awk '{ sub(/"id": *"[^"]*"/, "\"id\":\"p" NR "\""); print }' > p.jsonl
sparks attribute "$model" --pairs p.jsonl --out s.json --quiet
sparks circuit s.json --top 30 --out c.json --quiet
for command in "attribute MODEL --pairs p.jsonl" "patch MODEL --pairs p.jsonl" "sweep MODEL --pairs p.jsonl" \
    "faithfulness MODEL --circuit c.json --pairs p.jsonl --batch 2"; do
    name=${command%% *}
    command="sparks ${command/MODEL/$model} --threads 1"
    array "$name" 4 "$command --out $name-@I@.json" "sparks merge $name-[0-3].json --out $name.json"
    $command --out whole.json --quiet
    cmp whole.json "$name.json"
done
for i in $(seq 10 29); do echo "{\"id\":\"$i\",\"problem\":\"$i+12=\",\"answer\":\"$((i + 12))\"}"; done > problems.jsonl
eval="sparks eval $toy --suite problems.jsonl --template plain --max-tokens 8 --samples 4 --temperature 1 --threads 1"
# In one folder, where the command without a shard ends the run; and in folders of their own.
array shared 4 "$eval --out shared" "SPARKS_SHARD=0/1 $eval --out shared"
array folders 4 "$eval --out folder-@I@" "sparks merge folder-[0-3] --out folders"
$eval --out whole --quiet > /dev/null
diff -r whole shared
diff -r whole folders

# A study: its stages as arrays, one task of which fails; submitted again, it goes on.
cat > study.toml <<TOML
study.dir = "study"
study.title = "Arrays"
[[checkpoint]]
name = "base"
path = "$model"
[[checkpoint]]
name = "other"
path = "$S/work/other"
[[suite]]
name = "ids"
pairs = "p.jsonl"
[attribution]
parts = 2
[[circuit]]
name = "top"
top = 20
[controls]
draws = 20
nulls = 1
TOML
last=$(ARRAY=3 "$root/studies/submit.sh" study.toml --cpus-per-task 1 --mem 500M --time 10 -o study-%x-%a.log)
finished "$last"
[ ! -e study/results.json ] || { echo "a study without one of its checkpoints has results"; exit 1; }
cp -r "$model" other
last=$(ARRAY=3 "$root/studies/submit.sh" study.toml --cpus-per-task 1 --mem 500M --time 10 -o study-%x-%a.log)
finished "$last"
sed 's/"study"/"alone"/' study.toml > alone.toml
sparks study alone.toml --quiet
cmp <(sed 's/"alone"/"study"/' alone/results.json) study/results.json
echo "study: failed without one of its checkpoints, later stages were cancelled; submitted again: the results of one process"

if ldd "$sparks" | grep -q libmpi && srun --mpi=list 2>&1 | grep -q pmix; then
    # Nodes that share a machine share its memory too, which Open MPI would use between them: as on real ones, TCP.
    export OMPI_MCA_btl=self,tcp
    sparks attribute "$model" --pairs p.jsonl --threads 1 --out whole.json --quiet
    cat > sft.toml <<TOML
model.path = "$root/tests/fixtures/sft-trace/tied"
data.train = "$root/tests/fixtures/sft-trace/data.jsonl"
train = { steps = 4, batch_size = 2, accumulation = 2, groups = 2 }
TOML
    cat > grpo.toml <<TOML
model.path = "$root/crates/toy/assets"
data.train = "sums.jsonl"
train = { steps = 2, batch_size = 2, groups = 2 }
grpo = { prompts = 2, group_size = 4, max_tokens = 6 }
TOML
    printf '{"problem":"%s=","answer":%s}\n' 12+34 46 20+31 51 44+17 61 > sums.jsonl
    for kind in sft grpo; do
        sparks $kind $kind.toml --threads 1 --quiet --set run.dir=one-$kind
    done
    for nodes in 1 2; do
        ranks=(srun -K --mpi=pmix -N $nodes -n 2 --overcommit)
        "${ranks[@]}" sparks attribute "$model" --pairs p.jsonl --threads 1 --out ranks.json --quiet
        cmp ranks.json whole.json
        echo "srun --mpi=pmix -N $nodes -n 2 sparks attribute: the bytes of one process"
        for kind in sft grpo; do
            "${ranks[@]}" sparks $kind $kind.toml --threads 1 --quiet --set run.dir=$nodes-$kind
            for file in model optimizer; do
                cmp {$nodes,one}-$kind/checkpoints/step-$([ $kind = sft ] && echo 4 || echo 2)/$file.safetensors
            done
            echo "srun --mpi=pmix -N $nodes -n 2 sparks $kind: the weights of one process"
        done
    done
    # A rank is killed: -K ends the job, which goes on from its checkpoint to the weights of an unbroken run.
    long=(sft.toml --threads 1 --quiet --set train.steps=1000 --set run.checkpoint_every=100)
    sparks sft "${long[@]}" --set run.dir=unbroken
    "${ranks[@]}" sparks sft "${long[@]}" --set run.dir=killed > killed.log 2>&1 &
    job=$!
    until [ -d killed/checkpoints/step-100 ]; do kill -0 $job; sleep 0.1; done
    begun=$SECONDS
    kill -9 "$(pgrep -f 'sparks sft sft.toml.*run.dir=killed' | tail -1)"
    ! wait $job
    [ $((SECONDS - begun)) -lt 60 ] || { echo "a killed rank: the job ended after $((SECONDS - begun)) s"; exit 1; }
    ended=$((SECONDS - begun))
    [ ! -d killed/checkpoints/step-1000 ]
    "${ranks[@]}" sparks sft --resume killed --threads 1 --quiet
    cmp {killed,unbroken}/checkpoints/step-1000/model.safetensors
    echo "srun -K -N 2: a killed rank ended the job after $ended s; resumed, its weights are those of an unbroken run"
else
    echo "not run: srun --mpi=pmix"
fi
echo "all as documented, $(slurmd -V)"
