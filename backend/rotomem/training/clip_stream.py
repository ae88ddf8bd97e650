"""Clips in order, made ahead by worker processes on a CPU, or where they are needed on a GPU."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch

from rotomem.training.synthetic import Mosaic, load_photographs

if TYPE_CHECKING:
    from typing_extensions import Self

AHEAD = 3


class Packable(Protocol):
    """A batch that travels between processes in few bytes."""

    def packed(self) -> Self:
        """Return it in 8 and 16 bits."""

    def to(self, device: torch.device) -> Self:
        """Return it in float32 on a device."""


Spec = TypeVar("Spec")
SpecIn = TypeVar("SpecIn", contravariant=True)
Clips = TypeVar("Clips", bound=Packable)
ClipsOut = TypeVar("ClipsOut", bound=Packable, covariant=True)


class MakeClips(Protocol[SpecIn, ClipsOut]):
    """Makes the clips that a specification describes; a function of a module, so that workers find it."""

    def __call__(
        self, spec: SpecIn, *, device: torch.device | str = ..., photographs: Mosaic | None = ...
    ) -> ClipsOut: ...


class ClipStream(Generic[Spec, Clips]):
    """Yields the clips of step after step. The order depends on nothing but the step.

    Args:
        spec_of: what step n is trained on. Asked a few steps ahead.
        make: makes it.
        first_step: where to begin.
        workers: processes; 0 makes clips in this one, on ``device``.
        textures: folder of photographs.
    """

    def __init__(
        self,
        spec_of: Callable[[int], Spec],
        make: MakeClips[Spec, Clips],
        *,
        first_step: int,
        workers: int,
        device: torch.device,
        textures: Path | None = None,
    ) -> None:
        self._spec_of = spec_of
        self._make = make
        self._step = first_step
        self._device = device
        self._ahead: deque[Future[Clips]] = deque()
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

    def __enter__(self) -> ClipStream[Spec, Clips]:
        return self

    def __exit__(self, *raised: Any) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def next(self) -> Clips:
        """The clips of the next step, in float32 on the device."""
        if self._pool is None:
            self._step += 1
            return self._make(self._spec_of(self._step - 1), device=self._device, photographs=self._photographs)
        while len(self._ahead) < AHEAD * self._workers:
            self._ahead.append(self._pool.submit(_make_packed, self._make, self._spec_of(self._step)))
            self._step += 1
        return self._ahead.popleft().result().to(self._device)


_worker_photographs: Mosaic | None = None


def _load(textures: Path | None, device: torch.device) -> Mosaic | None:
    return load_photographs(textures, device=device) if textures else None


def _prepare_worker(textures: Path | None) -> None:
    global _worker_photographs
    torch.set_num_threads(1)
    _worker_photographs = _load(textures, torch.device("cpu"))


def _make_packed(make: MakeClips[Spec, Clips], spec: Spec) -> Clips:
    return make(spec, photographs=_worker_photographs).packed()
