#!/usr/bin/env bash
# One audit on all cores or hosts that GNU parallel knows: parallel.sh SHARDS FOLDER FILE...
# FOLDER gets the parts and the reports. A second run keeps the parts that are whole. With hosts, say
# PARALLEL='--sshloginfile hosts --workdir .', on a file system that all of them see.
set -euo pipefail
shards=$1 folder=$2
shift 2
mkdir -p "$folder"
seq 0 $((shards - 1)) | parallel --halt soon,fail=1 \
  tcp-window-audit --threads 1 --shard "{}/$shards" --partial "$folder/part-{}" "$@"
tcp-window-audit merge -q -o "$folder/report.json" -o "$folder/report.md" "$folder"/part-* || [ $? -eq 1 ]
