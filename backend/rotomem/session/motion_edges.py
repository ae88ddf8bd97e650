"""From what motion shows to mattes: segment-anything where its weights are, and edges on the plate's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rotomem.matte.crf import crf_edges, require_crf
from rotomem.propagation.classical_motion import MotionProposal
from rotomem.propagation.engine import Image
from rotomem.propagation.sam import SamPrompter
from rotomem.session.motion_task import MotionTask
from rotomem.session.prompt import kept_prompter

Floats = NDArray[np.float32]

SAME_IOU = 0.5
"""What segment-anything makes of a mask is taken if it is still that object."""


class MatteFinisher:
    """Makes the mattes of a proposal.

    Raises:
        SettingError: a CRF is asked for and its library is not there.
        WeightsError: weights of segment-anything are there and cannot be used.
    """

    def __init__(self, task: MotionTask) -> None:
        self._task = task
        if task.crf:
            require_crf()
        self._prompter: SamPrompter | None = kept_prompter(task.weights_dir, task.device) if task.sam else None

    @property
    def weights_sha256(self) -> str:
        """Of segment-anything; empty without."""
        return "" if self._prompter is None else self._prompter.weights_sha256

    def mattes(self, proposal: MotionProposal, frame: int, image: Image, count: int) -> list[Floats]:
        """Return ``count`` mattes (H, W), the strongest object's first."""
        guided = self._task.refine_edges and not self._task.crf
        found = proposal.mattes(frame, image, count, refine_edges=guided)
        if self._prompter is not None:
            found = [self._prompted(matte, frame, image, guided=guided) for matte in found]
        return [crf_edges(matte, image) for matte in found] if self._task.crf else found

    def _prompted(self, matte: Floats, frame: int, image: Image, *, guided: bool) -> Floats:
        assert self._prompter is not None
        better = self._prompter.refine(image, matte, frame=frame, refine_edges=guided)
        if better is None:
            return matte
        ours, theirs = matte > 0.5, better.matte > 0.5
        same = (ours & theirs).sum() >= SAME_IOU * (ours | theirs).sum()
        return better.matte if same else matte
