#!/usr/bin/env bash
# The stages of a study as Slurm jobs, one after the other, those with many jobs as arrays of ARRAY tasks (16), and at the
# end the report: studies/submit.sh STUDY.toml [flags of sbatch]
# A job is done once, so after a failed task submit the study again: what is done is read, the rest goes on. One task alone:
# SPARKS_SHARD=3/16 sbatch … --wrap "sparks study STUDY.toml --only STAGE". Prints the id of the last job.
set -euo pipefail
study=$1; shift
array=${ARRAY:-16}
after=()
submit() { # NAME COMMAND [flags of sbatch]
    local name=$1 command=$2 id
    shift 2
    # Once a stage has failed, the later ones are cancelled in place of waiting for ever.
    id=$(sbatch --parsable --job-name "$name" "${after[@]}" "$@" --wrap "$command")
    after=(--dependency "afterok:$id" --kill-on-invalid-dep=yes)
    last=$id
}
for stage in checkpoints pairs attribution circuits heads answers interventions think transfers controls cases; do
    case $stage in checkpoints | pairs | cases) tasks=0-0 ;; *) tasks=0-$((array - 1)) ;; esac
    submit "$stage" "sparks study '$study' --only $stage" --array "$tasks" "$@"
done
submit report "sparks study '$study'" "$@"
echo "$last"
