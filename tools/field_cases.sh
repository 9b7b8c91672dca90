#!/usr/bin/env bash
# Runs every case of ../shared/cases on copies and prints what the command says, beside what the case says is right.
# usage: tools/field_cases.sh SPARKS TOY CASES [NAME…]   (python3 with numpy on PATH; a case has 120 s)
set -u
sparks=$(realpath "$1") toy=$(realpath "$2") cases=$(realpath "$3")
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 "$cases/mk_models.py" "$work/models" >/dev/null || exit 2
export SPARKS=$sparks TOY=$toy MODELS=$work/models TMPDIR=$work
[ $# -gt 0 ] || set -- $(cd "$cases" && ls -d model-* train-*)
for name in "$@"; do
  cp -r "$cases/$name" "$work/$name"
  chmod -R u+w "$work/$name"
  # Links lie there as files that hold their targets; a hub cache's blobs are left out.
  for file in "$work/$name"/{hub/*/snapshots/*,local}/*; do
    [ -f "$file" ] && [ "$(stat -c %s "$file")" -lt 100 ] || continue
    target=$(cat "$file")
    case $target in ../*) ln -sf "$target" "$file" ;; *) continue ;; esac
    [ -e "$file" ] || cp "$MODELS/q25b/$(basename "$file")" "$(dirname "$file")/$target"
    [ "$name" != model-03 ] || [ "$(basename "$file")" != config.json ] || cp "$MODELS/q25b/config.json" "$file"
  done
  echo "=== $name"
  (cd "$work/$name" && timeout 120 bash ./cmd.sh 2>&1 | cut -c1-400 | head -40)
  echo "--- right: $(head -c 500 "$work/$name/expect.txt" | tr '\n' ' ')"
done
