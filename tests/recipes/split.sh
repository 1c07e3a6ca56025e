#!/usr/bin/env bash
# The same for many shards: each input is read once, and each job reads its pieces only:
# split.sh SHARDS FOLDER FILE...
# The files are those of rotated captures, which follow one another in time: each is split by a job of
# its own. Files that overlap in time are to be given to one `split`.
set -euo pipefail
shards=$1 folder=$2
shift 2
mkdir -p "$folder"
parallel --halt soon,fail=1 tcp-window-audit split -n "$shards" -o "$folder/pieces" ::: "$@"
# Pieces are given in the order of the files.
job() {
  shard=$1 shards=$2 folder=$3
  shift 3
  pieces=()
  for file in "$@"; do pieces+=("$folder/pieces/${file##*/}.$shard-of-$shards.pcapng"); done
  tcp-window-audit --threads 1 --shard "$shard/$shards" --partial "$folder/part-$shard" "${pieces[@]}"
}
export -f job
seq 0 $((shards - 1)) | SHELL=/bin/bash parallel --halt soon,fail=1 job {} "$shards" "$folder" "$@"
tcp-window-audit merge -q -o "$folder/report.json" -o "$folder/report.md" "$folder"/part-* || [ $? -eq 1 ]
