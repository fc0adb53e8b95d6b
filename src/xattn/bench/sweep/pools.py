"""Where the points of a sweep run: processes of this machine, or a dask cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager

from xattn.bench.provenance import source_commit
from xattn.errors import InputError

Pool = Callable[[], AbstractContextManager[Executor]]
"""Opens a pool; one that broke is opened anew."""

_DASK_TIMEOUT_S = 15
_DASK_RETRIES = 3


def local_pool(jobs: int) -> Pool:
    """`jobs` processes of this machine. InputError for less than one."""
    if jobs < 1:
        raise InputError(f"{jobs} processes; expected at least 1")

    @contextmanager
    def opened() -> Iterator[Executor]:
        # started anew, not forked: a fork of a process with threads can hang
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(jobs, context, initializer=_end_with_parent)
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    return opened


def _end_with_parent() -> None:
    """Let no process outlive the one that started it, even if that is killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def dask_pool(address: str) -> Pool:
    """The workers of the dask cluster whose scheduler is at `address`, such as tcp://host:8786.

    InputError without dask.distributed, when nobody answers there, or for a worker with another xattn.
    """
    try:
        from distributed import Client
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise InputError('--dask needs dask.distributed: pip install "xattn[dist]"') from None

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is said by errors

    @contextmanager
    def opened() -> Iterator[Executor]:
        try:
            client = Client(address, timeout=_DASK_TIMEOUT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(f"--dask {address}: no scheduler answers there ({error})") from None
        try:
            _require_same_program(client.run(source_commit), address)
            yield client.get_executor(pure=False, retries=_DASK_RETRIES)
        except (KilledWorker, CommClosedError, CancelledError) as error:
            raise BrokenExecutor(f"dask: {error}") from error
        finally:
            client.close()

    return opened


def _require_same_program(commits: dict[str, tuple[str | None, bool | None]], address: str) -> None:
    own = source_commit()
    if not commits:
        raise InputError(f"--dask {address}: the cluster has no workers")
    if other := [worker for worker, commit in commits.items() if tuple(commit) != own]:
        raise InputError(f"--dask {address}: {other[0]} has another commit of xattn than this process")
