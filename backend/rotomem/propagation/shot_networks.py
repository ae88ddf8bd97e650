"""The networks of a shot: as shipped, of the last round, and tuned to the present one."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from rotomem.propagation.shot_tuning import ShotTuning
from rotomem.tuning.shot_augmentation import AnnotatedFrames
from rotomem.tuning.shot_tuning import TunedNetwork, TuningCache, TuningProgress, TuningSettings, tuned_network
from rotomem.vos import Network

SECONDS_ON_CPU, SECONDS_ON_GPU = 85.0, 9.0
"""At which tuning ends at the latest, the time of its last step aside; what flow carries to drawn frames included."""
LEAST_SHARE_OF_TIME = 0.25
"""Left for the steps where flow was slow: propagation needs that flow all the same."""

Drawn = frozenset[tuple[int, str, float]]
"""Frame, object and covered area, in pixels, of every annotation: tells rounds apart."""


class ShotNetworks:
    """Finds or makes the network for a round.

    Args:
        network: as shipped, on ``device``; it is never changed.
        weights_sha256: of the file that it came from.
    """

    def __init__(self, network: Network, *, weights_sha256: str, device: torch.device) -> None:
        self._shipped = TunedNetwork(network)
        self._weights_sha256 = weights_sha256
        self._device = device
        self._present: tuple[tuple[ShotTuning, Drawn], TunedNetwork] | None = None

    def present(self, tuning: ShotTuning, drawn: Drawn) -> TunedNetwork | None:
        """Return the network of this very round if nothing is left to learn for it.

        Where tuning is off it is the shipped one; else that of the run before, or of the cache.
        """
        if not tuning.enabled:
            return self._shipped
        if self._present is not None and self._present[0] == (tuning, drawn):
            return self._present[1]
        cache = self._cache(tuning)
        kept = None if cache is None else cache.find(tuning.shot, tuning.revision, device=self._device)
        if kept is not None:
            self._present = (tuning, drawn), kept
        return kept

    def latest(self, tuning: ShotTuning) -> TunedNetwork | None:
        """Return the network of the shot's last round that is kept."""
        cache = self._cache(tuning)
        return None if cache is None else cache.latest(tuning.shot, device=self._device)

    def tuned(
        self,
        tuning: ShotTuning,
        drawn: Drawn,
        frames: Callable[[], AnnotatedFrames],
        cancelled: Callable[[], bool],
    ) -> TunedNetwork:
        """Return the network of this round, tuned now if it must be.

        Args:
            frames: makes the annotated frames to learn from; asked only if there is something to learn.
            cancelled: what was learned until then is returned, and not kept.
        """
        present = self.present(tuning, drawn)
        if present is not None:
            return present
        tuned = self._tune(tuning, frames, cancelled)
        if not cancelled():
            self._present = (tuning, drawn), tuned
            cache = self._cache(tuning)
            if cache is not None:
                cache.keep(tuning.shot, tuning.revision, tuned)
        return tuned

    def _tune(
        self, tuning: ShotTuning, frames: Callable[[], AnnotatedFrames], cancelled: Callable[[], bool]
    ) -> TunedNetwork:
        latest = self.latest(tuning)
        start, steps, learned = self._shipped.network, tuning.steps, 0.0
        if latest is not None:
            start, steps, learned = latest.network, max(1, tuning.steps // 2), latest.share
        seconds = tuning.seconds
        if seconds is None:
            seconds = SECONDS_ON_GPU if self._device.type == "cuda" else SECONDS_ON_CPU
        tell = tuning.on_progress or (lambda share: None)
        taken = 0

        def on_progress(progress: TuningProgress) -> None:
            nonlocal taken
            taken = progress.steps
            tell(progress.share)

        tell(0.0)
        began = time.monotonic()
        learned_from = frames()
        left = max(seconds - (time.monotonic() - began), LEAST_SHARE_OF_TIME * seconds)
        network = tuned_network(
            start,
            learned_from,
            TuningSettings(most_steps=steps, seconds=left),
            on_progress=on_progress,
            cancelled=cancelled,
        )
        return TunedNetwork(network, min(1.0, learned + taken / tuning.steps))

    def _cache(self, tuning: ShotTuning) -> TuningCache | None:
        if tuning.folder is None or not tuning.shot:
            return None
        return TuningCache(tuning.folder, self._weights_sha256)
