#!/bin/sh
#SBATCH --job-name=mlperf-sut
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --no-kill
#SBATCH --time=01:00:00
# One run over all nodes of the job, from a checkout with .venv (make run) on a file
# system that they share:
#   sbatch deploy/slurm.sh scenario=offline model=llama3_1-8b model.path=CHECKPOINT ...
# A node that fails ends its replicas, not the job (--no-kill): the run goes on without it.
# In containers (Pyxis and Enroot), from any folder that the nodes share:
#   CONTAINER=/shared/mlperf-sut.sqsh MOUNTS=/data:/data sbatch deploy/slurm.sh ...
# Nodes and coordinator run in the image of containers/; this folder is mounted.
# A campaign: RUN=campaigns.scaling sbatch deploy/slurm.sh replicas=1,2,4,8,16 ...
set -eu
python=${PYTHON:-.venv/bin/python}
container= first=
if [ -n "${CONTAINER:-}" ]; then
    python=${PYTHON:-/opt/mlperf-sut/bin/python}
    container="--container-image=$CONTAINER --container-workdir=$PWD"
    container="$container --container-mounts=$PWD:$PWD${MOUNTS:+,$MOUNTS}"
    # This script itself is not in the container.
    first="srun --overlap --nodes=1 --ntasks=1 --nodelist=$SLURMD_NODENAME"
    first="$first --cpus-per-task=$SLURM_CPUS_ON_NODE $container"
fi
port=${PORT:-5555}
key=$(mktemp -d "$PWD/.cluster-key.XXXXXX")
nodes= run=
end() {
    trap '' INT TERM
    kill $run $nodes 2>/dev/null || true
    wait || true
    rm -rf "$key"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
$first "$python" -m sut.keys "$key/key"
# Slurm gives a step one core per task by default, and ends it with the first node that
# fails or the first task that exits.
srun --cpus-per-task="$SLURM_CPUS_ON_NODE" --no-kill --kill-on-bad-exit=0 --wait=0 $container \
    "$python" -m sut.node --connect "$(hostname):$port" --key "$key/key" &
nodes=$!
$first "$python" -m "${RUN:-sut.main}" cluster=external "cluster.nodes=$SLURM_JOB_NUM_NODES" \
    "cluster.key=$key/key" "cluster.listen=0.0.0.0:$port" "$@" &
run=$!
code=0
wait "$run" || code=$?
run=
exit "$code"
