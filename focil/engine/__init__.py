"""Where trainings are computed: each one is a task of Dask, on the cores of this machine or on a cluster.

A training is a run of a benchmark with one seed, or a job of a study. Its results come back through Dask and
are written by whoever asked for them, so nobody needs a folder in common; where there is one, an interrupted
training goes on from its checkpoint. `compute` is all that the rest of focil calls; `cluster` connects, and
`worker` is what happens at the other end. See docs/cluster.md.
"""
