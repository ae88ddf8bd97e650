"""Telling a disagreement with the published numbers from a coin toss.

With the conformance weights nearly all keys are alike: similarities around a query's 30th neighbour are about 1e-4, and
the published float32 arithmetic forms them from terms of about 1, whose rounding is 1e-7. Where the 30th and the 31st
are closer than that, the published numbers hold whichever of the two rounding preferred on the machine that made them;
float64 often orders them the other way round, and so does another processor. One such swap moves a probability by up
to 1e-3. So a frame that differs is stepped again with near ties swapped. Only the swap of two elements that float32
cannot tell apart may explain a difference, and it has to explain it to within the tolerance.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from rotomem.vos import InferenceCore, memory_bank
from rotomem.vos.similarity import top_k_softmax

INDISTINGUISHABLE = 2e-7
"""Difference of similarities that the published arithmetic's rounding can turn round."""
NEGLIGIBLE = 2.5e-5
MOST_SWAPS = 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The published numbers were made with one; another number of threads rounds, and so breaks ties, otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class NearTies:
    """Stands where memory is read, and swaps the last element kept with the first one dropped for chosen queries."""

    def __init__(self) -> None:
        self.swap_count = 0
        self._queries: list[int] = []
        self._swapped: frozenset[int] = frozenset()

    def __call__(self, similarity: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
        if similarity.shape[1] <= top_k:
            return top_k_softmax(similarity, top_k)
        scores, indices = similarity.topk(top_k + 1, dim=1)
        gaps = scores[:, top_k - 1] - scores[:, top_k]
        self._queries = torch.nonzero(gaps < INDISTINGUISHABLE).flatten().tolist()
        kept = similarity.clone()
        for query in self._swapped:
            kept[query, indices[query, top_k - 1]] = -torch.inf
        return top_k_softmax(kept, top_k)

    def step(
        self, core: InferenceCore, step: Callable[[InferenceCore], Tensor], expected: Tensor
    ) -> tuple[InferenceCore, float]:
        """Return the core after ``step``, and its difference from ``expected`` (K+1, H, W) with near ties swapped.

        ``swap_count`` grows by the swaps that it took.
        """
        self._queries = []
        swapped: frozenset[int] = frozenset()
        probability, best = self._attempt(core, step, swapped)
        difference = (probability - expected).abs().amax(dim=0)
        candidates = list(self._queries)
        while difference.max() > NEGLIGIBLE and len(swapped) < MOST_SWAPS:
            for query in sorted(candidates, key=lambda query: _distance(query, difference)):
                probability, trial = self._attempt(core, step, swapped | {query})
                after = (probability - expected).abs().amax(dim=0)
                if after.square().sum() < 0.9 * difference.square().sum():
                    swapped |= {query}
                    candidates.remove(query)
                    difference, best = after, trial
                    break
            else:
                break
        self.swap_count += len(swapped)
        return best, float(difference.max())

    def _attempt(
        self, core: InferenceCore, step: Callable[[InferenceCore], Tensor], swapped: frozenset[int]
    ) -> tuple[Tensor, InferenceCore]:
        trial = copy.deepcopy(core, {id(core.network): core.network})
        self._swapped = swapped
        probability = step(trial)
        self._swapped = frozenset()
        return probability, trial


@pytest.fixture
def near_ties(monkeypatch: pytest.MonkeyPatch) -> NearTies:
    ties = NearTies()
    monkeypatch.setattr(memory_bank, "top_k_softmax", ties)
    return ties


def _distance(query: int, difference: Tensor) -> int:
    """Return how far a query at stride 16 lies from the largest difference (H, W), pixels; padding is neglected."""
    width = difference.shape[1]
    row, column = divmod(query, -(-width // 16))
    peak_row, peak_column = divmod(int(difference.argmax()), width)
    return abs(16 * row + 8 - peak_row) + abs(16 * column + 8 - peak_column)
