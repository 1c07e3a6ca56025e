#!/usr/bin/env bash
# One audit as a Slurm job array, and a merge that waits for all of it: slurm.sh SHARDS FOLDER FILE...
# FOLDER is on a file system that all nodes see. A job that was killed or requeued is submitted again
# as it is: parts that are whole are kept. Prints the number of the merge job.
set -euo pipefail
shards=$1 folder=$2
shift 2
mkdir -p "$folder"
words=$(printf '%q ' "$@")
array=$(sbatch --parsable --requeue --array="0-$((shards - 1))" --output="$folder/shard-%a.log" \
  --wrap "tcp-window-audit --threads 1 --shard \$SLURM_ARRAY_TASK_ID/$shards \
    --partial $folder/part-\$SLURM_ARRAY_TASK_ID $words")
sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes --output="$folder/merge.log" \
  --wrap "tcp-window-audit merge -q -o $folder/report.json -o $folder/report.md $folder/part-* || [ \$? -eq 1 ]"
