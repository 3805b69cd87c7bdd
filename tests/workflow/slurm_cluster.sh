#!/usr/bin/env bash
# A small, real Slurm on this machine, for tests: munge, one controller and the node daemons.
#
#   slurm_cluster.sh install        install Debian's packages if they are missing (needs root)
#   slurm_cluster.sh start FOLDER   start it; its files lie in FOLDER, two are linked from /etc/slurm
#   slurm_cluster.sh stop FOLDER    end its daemons, and no other Slurm's
#
# A machine that has a Slurm of its own is left alone. The cluster has no accounting, and a make-believe
# GPU per node, so that requests for one can be seen.
set -euo pipefail

install_slurm() {
    if command -v slurmctld > /dev/null && command -v slurmd > /dev/null &&
        command -v sbatch > /dev/null && command -v munged > /dev/null; then return; fi
    # Installing must not start daemons of the system's own.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap "rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod +x "$policy"
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurmctld slurmd slurm-client munge > /dev/null
}

# Write slurm.conf for the node names given.
configure() {
    local cpus memory names
    cpus=$(nproc)
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    names=$(IFS=,; echo "$*")
    cat > "$folder/etc/slurm.conf" << END
ClusterName=nfdtest
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$((port))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool.%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=10
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/finished_jobs.txt
GresTypes=gpu
END
    local number=1 name
    for name in "$@"; do
        echo "NodeName=$name NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=$((port + number))" \
            "CPUs=$cpus RealMemory=$memory Gres=gpu:1" >> "$folder/etc/slurm.conf"
        number=$((number + 1))
    done
    echo "PartitionName=test Nodes=$names Default=YES MaxTime=INFINITE State=UP" \
        >> "$folder/etc/slurm.conf"
    echo "Name=gpu File=/dev/null" > "$folder/etc/gres.conf"
}

# Whether the nodes come up within some seconds.
nodes_answer() {
    local wanted=$1
    for _ in $(seq 60); do
        if [ "$(sinfo --noheader --Node --states=idle 2> /dev/null | wc -l)" -ge "$wanted" ]; then
            return 0
        fi
        sleep 0.5
    done
    return 1
}

start_daemons() {
    configure "$@"
    slurmctld -c
    local name
    for name in "$@"; do
        mkdir -p "$folder/spool.$name"
        slurmd -N "$name" || return 1
    done
    nodes_answer $#
}

start() {
    if [ -e /etc/slurm/slurm.conf ]; then
        echo "error: this machine has a Slurm of its own (/etc/slurm/slurm.conf)" >&2
        exit 1
    fi
    mkdir -p "$folder/state" "$folder/etc"
    touch "$folder/etc/slurm.conf" "$folder/etc/gres.conf"
    # srun finds its cluster here: Snakemake's plugin takes SLURM_CONF out of a job's environment.
    mkdir -p /etc/slurm
    ln -s "$folder"/etc/*.conf /etc/slurm/
    chmod 755 "$folder"
    dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none
    chmod 600 "$folder/munge.key"
    munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" \
        --seed-file="$folder/munged.seed"
    # Several node daemons on one host work only if Slurm was built for it.
    if start_daemons node1 node2; then return; fi
    stop_slurm
    if ! start_daemons "$(hostname)"; then
        tail -n 20 "$folder"/slurm*.log >&2
        stop
        echo "error: Slurm did not come up; its logs are in $folder" >&2
        exit 1
    fi
}

end_process() {
    local pid
    if [ ! -s "$1" ]; then return; fi
    pid=$(cat "$1")
    kill "$pid" 2> /dev/null || true
    for _ in $(seq 50); do
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.1
    done
    rm -f "$1"
}

stop_slurm() {
    local file
    for file in "$folder"/slurmd.*.pid "$folder"/slurmctld.pid; do
        if [ -e "$file" ]; then end_process "$file"; fi
    done
    rm -rf "$folder"/state "$folder"/spool.*
    mkdir -p "$folder/state"
}

stop() {
    stop_slurm
    end_process "$folder/munged.pid"
    local file
    for file in "$folder"/etc/*.conf; do
        if [ "$(readlink "/etc/slurm/${file##*/}")" = "$file" ]; then rm "/etc/slurm/${file##*/}"; fi
    done
}

port=${NFD_SLURM_PORT:-46817}
case ${1:-} in
    install) install_slurm ;;
    start | stop) folder=$(realpath -m "$2"); "$1" ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
