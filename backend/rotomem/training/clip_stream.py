"""Clips in order, made ahead by worker processes on a CPU, or where they are needed on a GPU."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from types import TracebackType

import torch

from rotomem.training.clips import ClipSpec, make_clips
from rotomem.training.synthetic import Mosaic, load_photographs
from rotomem.tuning.clip_batch import ClipBatch

AHEAD = 3


class ClipStream:
    """Yields the clips of step after step. The order depends on nothing but the step.

    Args:
        spec_of: what step n is trained on. Asked a few steps ahead.
        first_step: where to begin.
        workers: processes; 0 makes clips in this one, on ``device``.
        textures: folder of photographs.
    """

    def __init__(
        self,
        spec_of: Callable[[int], ClipSpec],
        *,
        first_step: int,
        workers: int,
        device: torch.device,
        textures: Path | None = None,
    ) -> None:
        self._spec_of = spec_of
        self._step = first_step
        self._device = device
        self._ahead: deque[Future[ClipBatch]] = deque()
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            # Spawned: forking a process in which torch runs threads can hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                workers, mp_context=context, initializer=_prepare_worker, initargs=(textures,)
            )
        else:
            self._photographs = _load(textures, device)

    def __enter__(self) -> ClipStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def next(self) -> ClipBatch:
        """The clips of the next step, in float32 on the device."""
        if self._pool is None:
            self._step += 1
            return make_clips(self._spec_of(self._step - 1), device=self._device, photographs=self._photographs)
        while len(self._ahead) < AHEAD * self._workers:
            self._ahead.append(self._pool.submit(_make_packed, self._spec_of(self._step)))
            self._step += 1
        return self._ahead.popleft().result().to(self._device)


_worker_photographs: Mosaic | None = None


def _load(textures: Path | None, device: torch.device) -> Mosaic | None:
    return load_photographs(textures, device=device) if textures else None


def _prepare_worker(textures: Path | None) -> None:
    global _worker_photographs
    torch.set_num_threads(1)
    _worker_photographs = _load(textures, torch.device("cpu"))


def _make_packed(spec: ClipSpec) -> ClipBatch:
    return make_clips(spec, photographs=_worker_photographs).packed()
