"""The network, one stage per method; what is kept between frames lives in the memories."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from rotomem.vos.config import NetworkConfig
from rotomem.vos.decoder import Decoder, DecoderImagePart
from rotomem.vos.key_encoder import KeyEncoder, KeyProjection
from rotomem.vos.prior_cue import PriorFeatures
from rotomem.vos.similarity import augment_memory_key, augment_query, read_memory, similarity_of
from rotomem.vos.value_encoder import ValueEncoder


@dataclass(frozen=True)
class Pyramid:
    """The key encoder's finer features: f8 (B, C, H/8, W/8) and f4 (B, C, H/4, W/4)."""

    f8: Tensor
    f4: Tensor


@dataclass
class FrameFeatures:
    """All that depends on a frame's image alone, so that a second pass or a second round need not compute it again.

    Args:
        key: (B, C, h, w) at stride 16.
        shrinkage: (B, 1, h, w), >= 1.
        selection: (B, C, h, w), in [0, 1].
        f16: (B, C, h, w).
        finer: the other scales; replaced by the decoder's image part, which is as large, by the first decoding. None
            where they were dropped to save memory; :meth:`Network.encode_finer` brings them back.
    """

    key: Tensor
    shrinkage: Tensor
    selection: Tensor
    f16: Tensor
    finer: Pyramid | DecoderImagePart | None

    def tensors(self) -> list[Tensor]:
        """Return every tensor held, to tell its size in memory."""
        finer: list[Tensor] = []
        if isinstance(self.finer, Pyramid):
            finer = [self.finer.f8, self.finer.f4]
        elif self.finer is not None:
            fusion = self.finer.fusion
            finer = [self.finer.skip8, self.finer.skip4, fusion.conv1, fusion.downsample]
        return [self.key, self.shrinkage, self.selection, self.f16, *finer]


class Network(nn.Module):
    """XMem's network. B is a batch of clips, K the objects of each."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        self.key_encoder = KeyEncoder(self.config)
        self.value_encoder = ValueEncoder(self.config)
        self.key_proj = KeyProjection(self.config)
        self.decoder = Decoder(self.config)

    def encode_key(self, image: Tensor) -> FrameFeatures:
        """Encode (B, 3, H, W), normalised, H and W multiples of 16."""
        f16, f8, f4 = self.key_encoder(image)
        key, shrinkage, selection = self.key_proj(f16)
        return FrameFeatures(key=key, shrinkage=shrinkage, selection=selection, f16=f16, finer=Pyramid(f8=f8, f4=f4))

    def encode_finer(self, image: Tensor) -> Pyramid:
        """Encode (B, 3, H, W) at strides 8 and 4 alone."""
        f8, f4 = self.key_encoder.finer(image)
        return Pyramid(f8=f8, f4=f4)

    def encode_value(self, image: Tensor, features: FrameFeatures, masks: Tensor, others: Tensor) -> Tensor:
        """Return values (B, K, value_dim, h, w) of ``masks`` (B, K, H, W); see :class:`ValueEncoder`."""
        value: Tensor = self.value_encoder(image, features.f16, masks, others)
        return value

    def read(self, memory_key: Tensor, shrinkage: Tensor, value: Tensor, query: FrameFeatures, *, top_k: int) -> Tensor:
        """Read a small memory densely and differentiably; :class:`MemoryBank` reads large ones.

        Args:
            memory_key: (B, C, N).
            shrinkage: (B, 1, N).
            value: (B, K, value_dim, N).

        Returns:
            (B, K, value_dim, h, w).
        """
        memory = augment_memory_key(memory_key.transpose(1, 2), shrinkage.transpose(1, 2))
        rows = augment_query(query.key.flatten(2).transpose(1, 2), query.selection.flatten(2).transpose(1, 2))
        values = value.flatten(1, 2).transpose(1, 2)
        readout = read_memory(similarity_of(rows, memory), values, top_k=top_k)
        return readout.transpose(1, 2).reshape(*value.shape[:3], *query.key.shape[2:])

    def encode_prior(self, image: Tensor, prior: Tensor) -> PriorFeatures:
        """Encode flow-carried mattes for :meth:`decode`; only where ``prior_channels`` is not 0.

        Args:
            image: (B, 3, H, W), normalised.
            prior: (B, K, 4, H, W) in [0, 1]; see :func:`rotomem.vos.flow_prior.join_priors`.
        """
        cue: PriorFeatures = self.decoder.prior_encoder(image, prior)
        return cue

    def decode(
        self,
        features: FrameFeatures,
        readout: Tensor,
        hidden: Tensor,
        *,
        update_hidden: bool,
        cue: PriorFeatures | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return logits (B, K, H, W) and sensory memory; see :class:`Decoder`.

        The decoder's image part is computed on first use and kept in ``features``, whose finer scales must be there.
        """
        assert features.finer is not None
        if isinstance(features.finer, Pyramid):
            features.finer = self.decoder.image_part(features.f16, features.finer.f8, features.finer.f4)
        logits, hidden = self.decoder(features.finer, readout, hidden, update_hidden=update_hidden, cue=cue)
        return logits, hidden

    def reinforce_hidden(self, value: Tensor, hidden: Tensor) -> Tensor:
        """Return the sensory memory (B, K, hidden_dim, h, w) after a frame with this value was memorised."""
        updated: Tensor = self.value_encoder.hidden_reinforce(value.flatten(0, 1), hidden.flatten(0, 1))
        return updated.reshape(hidden.shape)
