"""One audit as a Spark job: spark-submit spark.py SHARDS FOLDER FILE..., or python3 in its place.

Each shard is a partition that is piped through the program; the driver merges. FOLDER and FILE are
on a file system that all executors see. A task that is tried again keeps a part that is whole.
"""

import os
import shlex
import subprocess
import sys

from pyspark.sql import SparkSession

# Reads the numbers of shards, one a line.
JOB = """
while read -r shard; do
  tcp-window-audit --threads 1 --shard "$shard/{shards}" --partial {folder}/part-"$shard" {files} &&
    echo {folder}/part-"$shard" || exit 2
done
"""


def main(shards: int, folder: str, files: list[str]) -> None:
    os.makedirs(folder, exist_ok=True)
    words = {"folder": shlex.quote(folder), "files": shlex.join(files), "shards": shards}
    command = shlex.join(["sh", "-c", JOB.format(**words)])
    spark = SparkSession.builder.appName("tcp-window-audit").getOrCreate()
    numbers = spark.sparkContext.parallelize(range(shards), shards)
    # The environment holds where programs are.
    parts = numbers.pipe(command, env=dict(os.environ), checkCode=True).collect()
    spark.stop()
    reports = ["-o", f"{folder}/report.json", "-o", f"{folder}/report.md"]
    merged = subprocess.run(["tcp-window-audit", "merge", "-q", *reports, *parts])
    # 1: something is INVALID.
    sys.exit(0 if merged.returncode == 1 else merged.returncode)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
