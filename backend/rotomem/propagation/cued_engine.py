"""The ``xmem`` engine with weights that know the flow cue: permanent memory, carried mattes and tuning to the shot.

``warp`` carries the annotated mattes to each frame; the network, which has every annotated frame in permanent memory,
decides pixel by pixel how far it believes what was carried; both are then blended by how fresh that is. Before that, a
copy of the network is tuned to the shot from its annotated frames alone. A frame's result depends on the plate and the
annotations, not on other results, so that frames can be made in any order. Decision and measurements:
``docs/decisions/0010``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from rotomem.propagation.annotated_frames import frames_to_learn, masks_of, normalised
from rotomem.propagation.engine import Annotations, FrameSource, PropagatedFrame
from rotomem.propagation.gaps import frames_passed
from rotomem.propagation.held_out_cues import Floats, cue_of
from rotomem.propagation.motion_exemplars import Exemplar, exemplars_beside
from rotomem.propagation.object_groups import group_disjoint
from rotomem.propagation.shot_networks import Drawn, ShotNetworks
from rotomem.propagation.shot_tuning import Previews, ShotTuning
from rotomem.propagation.trail import Belief
from rotomem.propagation.warp_engine import WarpRun
from rotomem.tuning.shot_augmentation import AnnotatedFrames
from rotomem.tuning.shot_tuning import TunedNetwork
from rotomem.vos import MemoryConfig, Network
from rotomem.vos.aggregate import aggregate
from rotomem.vos.memory_bank import MemoryBank
from rotomem.vos.padding import Padding
from rotomem.vos.permanent_memory import PermanentEntry, PermanentMemory

EVEN_VARIANCE = 10.0
"""In frames of trusted flow: network and carried matte count alike there; fresher, what was carried counts more. Chosen
on six of the ten clips that chose ``warp``'s constants, with tuning to its end; a network that has had only a share of
its steps is believed by that share: it counts as much as flow over so many more frames."""
MOST_PREVIEWED = 8
"""Frames shown before tuning. Those around a playhead, and few next to what tuning takes."""
LEAST_PROBABILITY = 1 / 256
"""Nothing is surer than this: a matte of exactly 0 or 1 would let no other opinion in."""


class CuedEngine:
    """Satisfies ``Engine``.

    Args:
        network: with ``prior_channels``; moved to ``device``.
        weights_sha256: of the file that they came from.
        refine_edges: snap the mattes' edges to the plate.
        processing_size: shorter side at which flow and network work, pixels; 0 is 640 on the longer side.

    Attributes:
        tuning: of the next shot that is propagated; the network tuned by it serves until another one is set.
        exemplars: of the next shot: entries of lower rank beside what is annotated.
    """

    name = "xmem"

    def __init__(
        self,
        network: Network,
        *,
        weights_sha256: str,
        device: torch.device,
        refine_edges: bool = True,
        processing_size: int = 0,
        tuning: ShotTuning | None = None,
    ) -> None:
        self.weights_sha256 = weights_sha256
        self.device = device
        self.tuning = tuning or ShotTuning()
        self.exemplars: Sequence[Exemplar] = ()
        self._network = network.to(device).eval()
        self._networks = ShotNetworks(self._network, weights_sha256=weights_sha256, device=device)
        self._refine_edges = refine_edges
        self._processing_size = processing_size

    def propagate(
        self,
        source: FrameSource,
        annotations: Annotations,
        objects: Sequence[str],
        frames: Sequence[int],
        *,
        cancelled: Callable[[], bool],
        focus: int | None = None,
    ) -> Iterator[PropagatedFrame]:
        """Yield annotated frames, tune to the shot, then yield gap by gap; see ``WarpEngine.propagate``.

        Where ``tuning.previews`` asks for it and there is a ``focus``, the frames next to that come twice: as previews
        before tuning, and in their turn. Previews change no other result.

        Raises:
            AnnotationError: an object is annotated nowhere, or a matte has another size than the plate.
            PlateError: a frame cannot be read.
        """
        run = WarpRun(
            source,
            annotations,
            objects,
            refine_edges=self._refine_edges,
            cancelled=cancelled,
            processing_size=self._processing_size,
        )
        drawn = _drawn(annotations, run.annotated)
        try:
            if focus is not None and self.tuning.previews is not None:
                if self._networks.present(self.tuning, drawn) is None:
                    yield from self._previews(run, annotations, frames, focus, self.tuning.previews)
            run.refine = _Refiner(self, run, annotations, lambda: self._tuned(run, annotations, drawn, cancelled))
            yield from run.results(frames, focus)
        finally:
            run.refine = None  # each holds the other: flow, memories and all would wait for the garbage collector

    def _previews(
        self, run: WarpRun, annotations: Annotations, frames: Sequence[int], focus: int, previews: Previews
    ) -> Iterator[PropagatedFrame]:
        """Yield frames next to ``focus`` by what is there at once: the last round's network, or flow alone.

        Measured before the first tuning, flow alone is better than the network as shipped. Flow is kept for later, and
        where a gap is too long for that, there is no preview.
        """
        latest = self._networks.latest(self.tuning)
        nearest = sorted(frames, key=lambda frame: (abs(frame - focus), frame))
        in_reach = (frame for frame in nearest if 0 < frames_passed(run.annotated, frame) <= run.plate.frames_held)
        chosen = list(islice(in_reach, MOST_PREVIEWED))
        if latest is None:
            chosen = [frame for frame in chosen if not previews.is_better_known(frame)]
        if not chosen:
            return
        previews.on_start()
        if latest is not None:
            run.refine = _Refiner(self, run, annotations, lambda: latest)
        for result in run.results(range(min(chosen), max(chosen) + 1), focus):
            if result.frame in chosen:
                yield dataclasses.replace(result, preview_by="warp" if latest is None else self.name)

    def _tuned(
        self, run: WarpRun, annotations: Annotations, drawn: Drawn, cancelled: Callable[[], bool]
    ) -> TunedNetwork:
        def learned_from() -> AnnotatedFrames:
            return frames_to_learn(run.plate, annotations, run.annotated, device=self.device, cancelled=cancelled)

        tuned = self._networks.tuned(self.tuning, drawn, learned_from, cancelled)
        run.check_cancelled()
        return tuned


def _drawn(annotations: Annotations, annotated: Mapping[str, Sequence[int]]) -> Drawn:
    return frozenset(
        (frame, name, float(annotations[frame][name].sum(dtype=np.float64)))
        for name, frames in annotated.items()
        for frame in frames
    )


class _Refiner:
    """Refines what was carried by a network, which is asked for when the first frame is refined."""

    def __init__(
        self, engine: CuedEngine, run: WarpRun, annotations: Annotations, network: Callable[[], TunedNetwork]
    ) -> None:
        self._engine = engine
        self._run = run
        self._annotations = annotations
        self._network = network
        self._memories: list[_GroupMemory] | None = None
        self._even_variance = EVEN_VARIANCE

    def __call__(
        self, frame: int, objects: tuple[str, ...], before: Belief | None, after: Belief | None, belief: Belief
    ) -> Belief:
        if self._memories is None:
            tuned = self._network()
            self._even_variance = EVEN_VARIANCE / tuned.share
            self._memories = self._memorise(tuned.network)
        cue = torch.from_numpy(cue_of(before, after)).to(self._engine.device)
        mattes = np.empty_like(belief.mattes)
        with torch.inference_mode():
            image = normalised(self._run.plate, frame, self._engine.device)
            for memory in self._memories:
                rows = [row for row, name in enumerate(objects) if name in memory.objects]
                if rows:
                    segmented = _pixels_first(memory.segment(image, [objects[row] for row in rows], cue[rows]))
                    fresh = self._even_variance / (self._even_variance + belief.variance[..., rows])
                    mine = blended(segmented, belief.mattes[..., rows], fresh)
                    # No pixel belongs to more than one of them; a single object keeps its probability as it is.
                    mattes[..., rows] = mine / np.maximum(mine.sum(axis=-1, keepdims=True), 1)
        return dataclasses.replace(belief, mattes=mattes)

    def _memorise(self, network: Network) -> list[_GroupMemory]:
        plate, device, annotated = self._run.plate, self._engine.device, self._run.annotated
        names = list(annotated)
        memories = []
        for members in group_disjoint(self._annotations, names):
            memory = _GroupMemory(network, [names[index] for index in members])
            for frame in sorted({frame for name in memory.objects for frame in annotated[name]}):
                known = tuple(frame in annotated[name] for name in memory.objects)
                masks = masks_of(self._annotations.get(frame, {}), memory.objects, plate.size).to(device)
                memory.put(frame, normalised(plate, frame, device), masks, known)
            for exemplar in exemplars_beside(self._engine.exemplars, annotated):
                known = tuple(name in exemplar.mattes for name in memory.objects)
                if any(known):
                    masks = masks_of(exemplar.mattes, memory.objects, plate.size).to(device)
                    image = normalised(plate, exemplar.frame, device)
                    memory.put(exemplar.frame, image, masks, known, weight=exemplar.weight)
            memories.append(memory)
        return memories


def _pixels_first(mattes: Tensor) -> Floats:
    """(K, h, w) to (h, w, K)."""
    return np.asarray(mattes.float().cpu().numpy().transpose(1, 2, 0), dtype=np.float32)


def blended(segmented: Floats, carried: Floats, share: Floats) -> Floats:
    """Return ``segmented`` with ``share`` of ``carried`` in it, in log odds; all (h, w, K) in [0, 1].

    Where both are 0, or both are 1, so is the result.
    """
    odds = _log_odds(segmented)
    odds += share * (_log_odds(carried) - odds)
    mattes = (1 / (1 + np.exp(-odds)) - LEAST_PROBABILITY) / (1 - 2 * LEAST_PROBABILITY)
    return np.asarray(np.clip(mattes, 0, 1), dtype=np.float32)


def _log_odds(mattes: Floats) -> Floats:
    sure = LEAST_PROBABILITY + (1 - 2 * LEAST_PROBABILITY) * mattes
    return np.asarray(np.log(sure / (1 - sure)), dtype=np.float32)


class _GroupMemory:
    """Annotated frames of objects that compete for pixels."""

    def __init__(self, network: Network, objects: Sequence[str]) -> None:
        self.objects = list(objects)
        self._network = network
        self._permanent = PermanentMemory(len(objects))
        self._bank = MemoryBank(MemoryConfig(), self._permanent)

    @torch.inference_mode()
    def put(self, frame: int, image: Tensor, masks: Tensor, known: tuple[bool, ...], weight: float = 1.0) -> None:
        """Memorise ``masks`` (K, h, w) of an image (3, h, w), normalised."""
        padding = Padding.to_stride(*image.shape[-2:])
        padded = padding.add(image)[None]
        features = self._network.encode_key(padded)
        shares = aggregate(padding.add(masks)[None])[:, 1:]
        value = self._network.encode_value(padded, features, shares, shares.sum(dim=1, keepdim=True) - shares)
        self._permanent.put(frame, PermanentEntry(masks, known, weight), features, value)

    def segment(self, image: Tensor, objects: Sequence[str], cue: Tensor) -> Tensor:
        """Return mattes (k, h, w) of ``objects``, of this group, from their cues (k, 4, h, w)."""
        padding = Padding.to_stride(*image.shape[-2:])
        padded = padding.add(image)[None]
        features = self._network.encode_key(padded)
        readout = self._bank.read(features, [self.objects.index(name) for name in objects])
        hidden = readout.new_zeros(1, len(objects), self._network.config.hidden_dim, *readout.shape[-2:])
        priors = torch.unflatten(padding.add(cue.flatten(0, 1)), 0, cue.shape[:2])
        prior = self._network.encode_prior(padded, priors[None])
        logits, _ = self._network.decode(features, readout, hidden, update_hidden=False, cue=prior)
        mattes = padding.remove(logits.sigmoid())[0]
        return mattes / mattes.sum(dim=0, keepdim=True).clamp_min(1)
