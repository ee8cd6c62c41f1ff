"""Run params on a Slurm cluster: python docs/slurm.py cifar100-20 --seed 0 1 2 3 4 (needs dask-jobqueue)."""

import subprocess
import sys

from dask_jobqueue import SLURMCluster

# One training a worker; each gets a core and 6 GB for four hours. A training that is cut off goes on from its
# checkpoint, if the folder of work is on a disk that all machines see.
WORKER = {"cores": 1, "processes": 1, "memory": "6GB", "walltime": "04:00:00"}
# Dask's defaults give memory back to the system so often that small networks are half as fast.
KEEPING = '{"MALLOC_ARENA_MAX": 1, "MALLOC_MMAP_MAX_": 0, "MALLOC_TRIM_THRESHOLD_": 1099511627776}'
QUICK = [
    f"export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON='{KEEPING}'",
    "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False",  # what is kept is no reason to wait
]

if __name__ == "__main__":
    with SLURMCluster(**WORKER, job_script_prologue=QUICK) as cluster:
        cluster.adapt(maximum_jobs=40)
        command = [sys.executable, "-m", "focil", "run", *sys.argv[1:]]
        sys.exit(subprocess.call([*command, "--cluster", cluster.scheduler_address]))
