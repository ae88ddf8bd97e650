"""Widths and depths of the networks that find and correct moving objects. The defaults are the published ones."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from rotomem.errors import SettingError

Config = TypeVar("Config", bound="_Sizes")


@dataclass(frozen=True)
class _Sizes:
    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                if not isinstance(value, bool):
                    raise SettingError(f"motion network setting {field.name} is {value!r}; give true or false")
            elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SettingError(f"motion network setting {field.name} is {value!r}; give a whole number above 0")

    @property
    def is_published(self) -> bool:
        """Whether these are the published sizes: of a network trained for days, not one of ours."""
        return self == type(self)()

    def to_json(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls: type[Config], text: str) -> Config:
        """Read what :meth:`to_json` wrote; raises ``SettingError`` when it is anything else."""
        try:
            values: dict[str, Any] = json.loads(text)
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise SettingError(f"{text!r} is no configuration of a motion network: {error}") from error

    def _check_heads(self, name: str, width: int, heads: int) -> None:
        if width % heads:
            raise SettingError(f"{name} {width} cannot be shared out among {heads} attention heads; give a multiple")


@dataclass(frozen=True)
class DinoConfig(_Sizes):
    """A vision transformer. The default is DINO ViT-S/16: 21,665,664 parameters, 150 tensors.

    Args:
        patch: pixels along a patch's side, the stride of its features.
        width: channels of a token.
        depth: transformer blocks.
        heads: of the attention; divides ``width``.
        expansion: how much wider a block's MLP is than ``width``.
        grid: positions along each side of the learnt square of position embeddings.
    """

    patch: int = 16
    width: int = 384
    depth: int = 12
    heads: int = 6
    expansion: int = 4
    grid: int = 14

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_heads("width", self.width, self.heads)

    @classmethod
    def vits16(cls) -> DinoConfig:
        """ViT-S/16, whose features the selector takes."""
        return cls()

    @classmethod
    def vits8(cls) -> DinoConfig:
        """ViT-S/8, whose features the corrector takes."""
        return cls(patch=8, grid=28)

    @classmethod
    def small(cls, patch: int = 16) -> DinoConfig:
        """The same network, small enough for tests and machines without the published weights."""
        return cls(patch=patch, width=48, depth=2, heads=2, expansion=2, grid=224 // patch)


@dataclass(frozen=True)
class FlowConfig(_Sizes):
    """Flow segmentation. The default is OCLR's: 20,660,932 parameters, 129 tensors.

    Args:
        width: channels of the U-Net at full resolution; doubled at each of 4 further scales.
        objects: the most objects told apart in a clip.
        layers: of the transformer's encoder, and of its decoder.
        heads: of the attention; divides 16 ``width``.
        feedforward: channels inside a transformer layer's MLP, and inside that of the order.
    """

    width: int = 32
    objects: int = 3
    layers: int = 3
    heads: int = 8
    feedforward: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_heads("16 × width", self.token_width, self.heads)

    @property
    def token_width(self) -> int:
        """Channels at the U-Net's bottleneck, and of a token and a query."""
        return 16 * self.width

    @classmethod
    def small(cls) -> FlowConfig:
        """The same network at a ninth of the parameters."""
        return cls(width=12, layers=2, feedforward=192)


@dataclass(frozen=True)
class SelectorConfig(_Sizes):
    """Exemplar selection. The default is the published one: 3,301,475 parameters, 72 tensors.

    Args:
        width: channels of the U-Net at full resolution; doubled at each of 4 further scales.
        feature_dim: channels of the appearance features at stride 16: 384 of DINO ViT-S/16.
        layers: of the transformer's encoder.
        heads: of the attention; divides 16 ``width``.
        feedforward: channels inside a transformer layer's MLP.
    """

    width: int = 16
    feature_dim: int = 384
    layers: int = 3
    heads: int = 8
    feedforward: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_heads("16 × width", self.token_width, self.heads)

    @property
    def token_width(self) -> int:
        """Channels at the U-Net's bottleneck, and of a token."""
        return 16 * self.width

    @classmethod
    def small(cls, feature_dim: int = 256) -> SelectorConfig:
        """The same network at a quarter of the parameters; 256 features are those of our key encoder at stride 16."""
        return cls(width=8, feature_dim=feature_dim, feedforward=128)


@dataclass(frozen=True)
class CorrectorConfig(_Sizes):
    """Mask correction. The default is the published one: 16,243,844 parameters, 139 tensors.

    Args:
        width: channels of the U-Net at full resolution; doubled at each of 3 further scales.
        feature_dim: channels of the appearance features at stride 8, of queries and of keys: 384 of DINO ViT-S/8.
        objects: channels for objects; more objects are corrected in groups, fewer are filled up with empty masks.
        background: learnt queries that stand for the background.
        layers: of the transformer's decoder.
        heads: of the attention; divides ``feature_dim``.
        feedforward: channels inside a transformer layer's MLPs.
        alpha_width: channels inside the MLP of the alpha.
        corrects: the network draws what is to change of the masks that it is given; if not, as published, it draws
            the masks anew.
    """

    width: int = 64
    feature_dim: int = 384
    objects: int = 3
    background: int = 4
    layers: int = 3
    heads: int = 8
    feedforward: int = 384
    alpha_width: int = 512
    corrects: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_heads("feature_dim", self.feature_dim, self.heads)

    @property
    def bottleneck_width(self) -> int:
        """Channels of the U-Net at stride 8."""
        return 8 * self.width

    @classmethod
    def small(cls, feature_dim: int = 128) -> CorrectorConfig:
        """An eleventh of the parameters, and it corrects; 128 features are those of our key encoder at stride 8."""
        return cls(width=16, feature_dim=feature_dim, feedforward=192, alpha_width=128, corrects=True)
