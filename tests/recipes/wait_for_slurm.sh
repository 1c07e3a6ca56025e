#!/usr/bin/env bash
# Submits with slurm.sh and waits for the merge: wait_for_slurm.sh SHARDS FOLDER FILE...
set -euo pipefail
merge=$("$(dirname "$0")/slurm.sh" "$@")
for _ in $(seq 600); do
  state=$(squeue -h -j "$merge" -t all -o %T 2>/dev/null || true)
  case $state in
    COMPLETED | "") exit 0 ;;
    FAILED | CANCELLED | TIMEOUT | NODE_FAIL) echo "merge: $state" >&2; exit 1 ;;
  esac
  sleep 0.2
done
echo "the merge did not end" >&2
exit 1
