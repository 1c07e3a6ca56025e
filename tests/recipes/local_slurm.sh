#!/usr/bin/env bash
# Runs a command in a Slurm cluster of one node that exists only for it: local_slurm.sh FOLDER COMMAND...
# Needs root and slurm-wlm; the cluster has namespaces of its own and ends with the command.
set -euo pipefail
if [ "${IN_NAMESPACE:-}" != yes ]; then
  IN_NAMESPACE=yes exec unshare --net --mount --uts --pid --fork --kill-child --mount-proc "$0" "$@"
fi
folder=$1
shift
mkdir -p "$folder/state" "$folder/spool"
chmod 755 "$folder"
# glibc finds no address of a node that has loopback only.
hostname node
ip link set lo up
ip link add audit0 type veth peer name audit1
ip addr add 10.255.0.1/24 dev audit0
ip link set audit0 up
ip link set audit1 up
printf '127.0.0.1 localhost\n10.255.0.1 node\n' >"$folder/hosts"
mount --bind "$folder/hosts" /etc/hosts
mount -t tmpfs munge /run
mkdir -p /run/munge && chmod 755 /run/munge
head -c 1024 /dev/urandom >"$folder/munge.key"
chmod 400 "$folder/munge.key"
munged --force --key-file="$folder/munge.key" --socket=/run/munge/munge.socket.2 \
  --pid-file=/run/munge/munged.pid --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
cat >"$folder/slurm.conf" <<CONF
ClusterName=audit
SlurmctldHost=node(10.255.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=/run/munge/munge.socket.2
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
NodeName=node NodeAddr=10.255.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=node Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$folder/slurm.conf"
slurmctld
slurmd -N node
for _ in $(seq 100); do
  sinfo -h -o %T 2>/dev/null | grep -q idle && break
  sleep 0.2
done
"$@"
