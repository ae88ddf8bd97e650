"""The ``xmem`` engine with weights that know the flow cue: permanent memory, carried mattes and tuning to the shot.

``warp`` carries the annotated mattes to each frame; the network, which has every annotated frame in permanent memory,
decides pixel by pixel how far it believes what was carried; both are then blended by how fresh that is. Before that, a
copy of the network is tuned to the shot from its annotated frames alone. A frame's result depends on the plate and the
annotations, not on other results, so that frames can be made in any order. Decision and measurements:
``docs/decisions/0010``.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rotomem.propagation.engine import Annotations, FrameSource, Image, PropagatedFrame
from rotomem.propagation.flow import PlateFlow, resize_area
from rotomem.propagation.held_out_cues import Floats, cue_of, held_out_cues
from rotomem.propagation.motion_exemplars import Exemplar, exemplars_beside
from rotomem.propagation.network_frames import IMAGENET_MEAN, IMAGENET_STD
from rotomem.propagation.object_groups import group_disjoint
from rotomem.propagation.shot_tuning import ShotTuning
from rotomem.propagation.trail import Belief
from rotomem.propagation.warp_engine import WarpRun
from rotomem.tuning.shot_augmentation import AnnotatedFrames
from rotomem.tuning.shot_tuning import TuningCache, TuningSettings, tuned_network
from rotomem.vos import MemoryConfig, Network
from rotomem.vos.aggregate import aggregate
from rotomem.vos.memory_bank import MemoryBank
from rotomem.vos.padding import Padding
from rotomem.vos.permanent_memory import PermanentEntry, PermanentMemory

MOST_TUNED = 16
"""Annotated frames that tuning learns from; of more, evenly chosen ones."""

SECONDS_ON_CPU, SECONDS_ON_GPU = 85.0, 9.0
"""At which tuning ends at the latest, the time of its last step aside; what flow carries to drawn frames included."""
LEAST_SHARE_OF_TIME = 0.25
"""Left for the steps where flow was slow: propagation needs that flow all the same."""
EVEN_VARIANCE = 10.0
"""In frames of trusted flow: network and carried matte count alike there; fresher, what was carried counts more. Chosen
on six of the ten clips that chose ``warp``'s constants."""
LEAST_PROBABILITY = 1 / 256
"""Nothing is surer than this: a matte of exactly 0 or 1 would let no other opinion in."""

Drawn = frozenset[tuple[int, str, float]]
"""Frame, object and covered area, in pixels, of every annotation."""


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
        self._refine_edges = refine_edges
        self._processing_size = processing_size
        self._tuned: tuple[tuple[ShotTuning, Drawn], Network] | None = None

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
        run.refine = _Refiner(self, run, annotations, cancelled)
        try:
            yield from run.results(frames, focus)
        finally:
            run.refine = None  # each holds the other: flow, memories and all would wait for the garbage collector

    def network_for(
        self, drawn: Drawn, frames: Callable[[], AnnotatedFrames], cancelled: Callable[[], bool]
    ) -> Network:
        """Return the network tuned to the shot: the one of the run before or of the cache where they are of this shot.

        Args:
            drawn: tells annotations apart.
            frames: makes the annotated frames to learn from; asked only if there is something to learn.
        """
        tuning = self.tuning
        if not tuning.enabled:
            return self._network
        if self._tuned is None or self._tuned[0] != (tuning, drawn):
            self._tuned = (tuning, drawn), self._tune(tuning, frames, cancelled)
        return self._tuned[1]

    def _tune(
        self, tuning: ShotTuning, frames: Callable[[], AnnotatedFrames], cancelled: Callable[[], bool]
    ) -> Network:
        start, steps = self._network, tuning.steps
        cache = None
        if tuning.folder is not None and tuning.shot:
            cache = TuningCache(tuning.folder, self.weights_sha256)
            same = cache.find(tuning.shot, tuning.revision, device=self.device)
            if same is not None:
                return same
            latest = cache.latest(tuning.shot, device=self.device)
            if latest is not None:
                start, steps = latest, max(1, steps // 2)
        seconds = tuning.seconds
        if seconds is None:
            seconds = SECONDS_ON_GPU if self.device.type == "cuda" else SECONDS_ON_CPU
        tell = tuning.on_progress or (lambda share: None)
        tell(0.0)
        began = time.monotonic()
        learned_from = frames()
        left = max(seconds - (time.monotonic() - began), LEAST_SHARE_OF_TIME * seconds)
        tuned = tuned_network(
            start,
            learned_from,
            TuningSettings(most_steps=steps, seconds=left),
            on_progress=lambda progress: tell(progress.share),
            cancelled=cancelled,
        )
        if cache is not None and not cancelled():
            cache.keep(tuning.shot, tuning.revision, tuned)
        return tuned


class _Refiner:
    """Refines what was carried by a network that is tuned when the first frame asks for it."""

    def __init__(
        self, engine: CuedEngine, run: WarpRun, annotations: Annotations, cancelled: Callable[[], bool]
    ) -> None:
        self._engine = engine
        self._run = run
        self._annotations = annotations
        self._cancelled = cancelled
        self._network: Network | None = None
        self._memories: list[_GroupMemory] = []

    def __call__(
        self, frame: int, objects: tuple[str, ...], before: Belief | None, after: Belief | None, belief: Belief
    ) -> Belief:
        if self._network is None:
            self._network = self._engine.network_for(self._drawn(), self._frames_to_learn, self._cancelled)
            self._run.check_cancelled()
            self._memories = self._memorise(self._network)
        cue = torch.from_numpy(cue_of(before, after)).to(self._engine.device)
        mattes = np.empty_like(belief.mattes)
        with torch.inference_mode():
            image = _normalised(self._run.plate, frame, self._engine.device)
            for memory in self._memories:
                rows = [row for row, name in enumerate(objects) if name in memory.objects]
                if rows:
                    segmented = _pixels_first(memory.segment(image, [objects[row] for row in rows], cue[rows]))
                    fresh = EVEN_VARIANCE / (EVEN_VARIANCE + belief.variance[..., rows])
                    mine = blended(segmented, belief.mattes[..., rows], fresh)
                    # No pixel belongs to more than one of them; a single object keeps its probability as it is.
                    mattes[..., rows] = mine / np.maximum(mine.sum(axis=-1, keepdims=True), 1)
        return dataclasses.replace(belief, mattes=mattes)

    def _drawn(self) -> Drawn:
        annotated = self._run.annotated
        return frozenset(
            (frame, name, float(self._annotations[frame][name].sum(dtype=np.float64)))
            for name, frames in annotated.items()
            for frame in frames
        )

    def _frames_to_learn(self) -> AnnotatedFrames:
        plate, device = self._run.plate, self._engine.device
        annotated = self._run.annotated
        every = sorted({frame for frames in annotated.values() for frame in frames})
        chosen = sorted({every[round(at)] for at in np.linspace(0, len(every) - 1, min(len(every), MOST_TUNED))})
        cues = held_out_cues(plate, self._annotations, annotated, wanted=chosen, cancelled=self._cancelled)
        names = list(annotated)
        nothing: Floats = np.zeros((4, *plate.size), np.float32)
        priors = [[cues.get((frame, name), nothing) for name in names] for frame in chosen]
        return AnnotatedFrames(
            images=torch.stack([_picture(plate, frame) for frame in chosen]).to(device),
            mattes=torch.stack([self._masks_on(frame, names) for frame in chosen]).to(device),
            known=torch.tensor([[frame in annotated[name] for name in names] for frame in chosen], device=device),
            priors=torch.from_numpy(np.asarray(priors)).to(device) if cues else None,
        )

    def _memorise(self, network: Network) -> list[_GroupMemory]:
        names = list(self._run.annotated)
        memories = []
        for members in group_disjoint(self._annotations, names):
            memory = _GroupMemory(network, [names[index] for index in members])
            for frame in sorted({frame for name in memory.objects for frame in self._run.annotated[name]}):
                known = tuple(frame in self._run.annotated[name] for name in memory.objects)
                image = _normalised(self._run.plate, frame, self._engine.device)
                memory.put(frame, image, self._masks_on(frame, memory.objects).to(self._engine.device), known)
            for exemplar in exemplars_beside(self._engine.exemplars, self._run.annotated):
                known = tuple(name in exemplar.mattes for name in memory.objects)
                if any(known):
                    image = _normalised(self._run.plate, exemplar.frame, self._engine.device)
                    masks = self._masks_of(exemplar.mattes, memory.objects).to(self._engine.device)
                    memory.put(exemplar.frame, image, masks, known, weight=exemplar.weight)
            memories.append(memory)
        return memories

    def _masks_on(self, frame: int, names: Sequence[str]) -> Tensor:
        return self._masks_of(self._annotations.get(frame, {}), names)

    def _masks_of(self, given: Mapping[str, Image], names: Sequence[str]) -> Tensor:
        """Mattes (K, h, w) at the flow's size, zeros where nothing is known."""
        nothing = np.zeros(self._run.plate.size, np.float32)
        masks = [resize_area(given[name], self._run.plate.size) if name in given else nothing for name in names]
        return torch.from_numpy(np.stack(masks)).clamp(0, 1)


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


def _picture(plate: PlateFlow, frame: int) -> Tensor:
    """(3, h, w) in [0, 1]."""
    return torch.from_numpy(plate.colours(frame).astype(np.float32) / np.float32(255)).permute(2, 0, 1)


def _normalised(plate: PlateFlow, frame: int, device: torch.device) -> Tensor:
    mean = torch.tensor(IMAGENET_MEAN, device=device)[:, None, None]
    std = torch.tensor(IMAGENET_STD, device=device)[:, None, None]
    return (_picture(plate, frame).to(device) - mean) / std
