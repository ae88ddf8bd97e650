"""Widths and depth of the network; sizes and rates of its memories."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from rotomem.errors import SettingError

NORMS = ("batch", "group")
PRIOR_CHANNELS = (0, 4)


@dataclass(frozen=True)
class NetworkConfig:
    """Widths and depth. The default is XMem's: 62,185,224 parameters, 412 tensors.

    Args:
        key_width: channels of the key encoder's first stage before the bottleneck's expansion by 4; its features are
            4, 8 and 16 times that wide at strides 4, 8 and 16.
        key_blocks: bottlenecks per stage of the key encoder.
        value_width: channels of the value encoder's first stage; doubled at each further one.
        value_blocks: basic blocks per stage of the value encoder.
        key_dim: channels of key and selection.
        value_dim: channels of value and readout.
        hidden_dim: channels of the sensory memory.
        decoder_widths: channels of the decoder at strides 16, 8 and 4.
        sensory_width: channels in which the light sensory update sums the decoder's scales.
        gate_reduction: how much narrower the channel gate is inside.
        norm: ``batch`` (published checkpoints) or ``group``, which does not depend on the batch, for training in
            small batches. Both live under the same module names.
        prior_channels: of the cue from flow-carried mattes, 0 or 4; see :mod:`rotomem.vos.prior_cue`. 0, as published,
            leaves the decoder without it.
        prior_width: channels of that cue's encoder at stride 2.
    """

    key_width: int = 64
    key_blocks: tuple[int, int, int] = (3, 4, 6)
    value_width: int = 64
    value_blocks: tuple[int, int, int] = (2, 2, 2)
    key_dim: int = 64
    value_dim: int = 512
    hidden_dim: int = 64
    decoder_widths: tuple[int, int, int] = (512, 256, 256)
    sensory_width: int = 256
    gate_reduction: int = 16
    norm: str = "batch"
    prior_channels: int = 0
    prior_width: int = 16

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            sizes = value if isinstance(value, tuple) else (value,)
            if field.name not in ("norm", "prior_channels") and not all(
                isinstance(size, int) and size > 0 for size in sizes
            ):
                raise SettingError(f"network setting {field.name} is {value!r}; give whole numbers above 0")
        if self.norm not in NORMS:
            raise SettingError(f"network setting norm is {self.norm!r}; give one of {', '.join(NORMS)}")
        if self.prior_channels not in PRIOR_CHANNELS:
            raise SettingError(f"network setting prior_channels is {self.prior_channels!r}; give 0 or 4")

    @property
    def feature_dims(self) -> tuple[int, int, int]:
        """Channels of the key encoder's features at strides 4, 8 and 16."""
        return 4 * self.key_width, 8 * self.key_width, 16 * self.key_width

    @classmethod
    def small(cls) -> NetworkConfig:
        """The network that is trained and shipped with the project: below 8 million parameters."""
        return cls(
            key_width=32,
            key_blocks=(2, 3, 4),
            value_width=32,
            value_blocks=(1, 2, 2),
            value_dim=128,
            hidden_dim=32,
            decoder_widths=(128, 96, 64),
            sensory_width=64,
            gate_reduction=8,
            norm="group",
        )

    @classmethod
    def small_with_cue(cls) -> NetworkConfig:
        """:meth:`small` with the prior cue; for a GPU to train."""
        return dataclasses.replace(cls.small(), prior_channels=4)

    @classmethod
    def light(cls) -> NetworkConfig:
        """The network that two CPU cores can train and tune to a shot: 2,505,668 parameters, with the prior cue."""
        return cls(
            key_width=16,
            key_blocks=(2, 3, 3),
            value_width=16,
            value_blocks=(1, 1, 2),
            key_dim=48,
            value_dim=80,
            hidden_dim=24,
            decoder_widths=(80, 48, 32),
            sensory_width=32,
            gate_reduction=8,
            norm="group",
            prior_channels=4,
        )

    def to_json(self) -> str:
        """Return this configuration as it is kept in a weights file's metadata."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> NetworkConfig:
        """Read what :meth:`to_json` wrote; raises ``SettingError`` when it is anything else."""
        try:
            fields: dict[str, Any] = json.loads(text)
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise SettingError(f"{text[:80]!r} is not a network configuration: {error}") from error


@dataclass(frozen=True)
class MemoryConfig:
    """When frames are memorised and how much is kept.

    Args:
        mem_every: a propagated frame is memorised when this many frames have passed since the last memorised one.
        min_mid_term_frames: newest frames that stay in working memory when it is consolidated.
        max_mid_term_frames: frames in working memory that set consolidation off.
        num_prototypes: elements that one consolidation adds to long-term memory.
        max_long_term_elements: long-term memory never holds more.
        top_k: memory elements that each query pixel reads from.
        count_long_term_usage: evict the least used long-term elements; otherwise the oldest, which saves the counting
            in shots too short to evict any (see :meth:`for_shot`).
    """

    mem_every: int = 5
    min_mid_term_frames: int = 5
    max_mid_term_frames: int = 10
    num_prototypes: int = 128
    max_long_term_elements: int = 10000
    top_k: int = 30
    count_long_term_usage: bool = True

    def __post_init__(self) -> None:
        for name in ("mem_every", "min_mid_term_frames", "num_prototypes", "top_k"):
            if getattr(self, name) < 1:
                raise SettingError(f"memory setting {name} is {getattr(self, name)}; give 1 or more")
        if self.max_mid_term_frames <= self.min_mid_term_frames:
            raise SettingError(
                f"memory setting max_mid_term_frames is {self.max_mid_term_frames}; "
                f"give more than min_mid_term_frames, {self.min_mid_term_frames}"
            )
        if self.max_long_term_elements < self.num_prototypes:
            raise SettingError(
                f"memory setting max_long_term_elements is {self.max_long_term_elements}; "
                f"give at least num_prototypes, {self.num_prototypes}"
            )

    def for_shot(self, frame_count: int) -> MemoryConfig:
        """Count long-term usage only if a shot of this length can fill long-term memory.

        Source: ``specs/xmem.md`` §2; 391 frames at the published settings.
        """
        consolidations = frame_count / (self.max_mid_term_frames - self.min_mid_term_frames)
        fills = consolidations * self.num_prototypes >= self.max_long_term_elements
        return dataclasses.replace(self, count_long_term_usage=fills)
