"""Sweeps: kernels × shapes × inputs, point by point, in many processes; after an interruption they go on."""

from xattn.bench.sweep.log import SweepLog
from xattn.bench.sweep.points import Point, Row, points_of
from xattn.bench.sweep.pools import Pool, dask_pool, local_pool
from xattn.bench.sweep.run import SweepError, run_sweep

__all__ = ["Point", "Pool", "Row", "SweepError", "SweepLog", "dask_pool", "local_pool", "points_of", "run_sweep"]
