"""XMem++: the network, its memories and one pass over a shot. Tensors in, tensors out.

Written from ``specs/xmem.md`` and the papers (XMem, ECCV 2022; XMem++, ICCV 2023).
"""

from rotomem.vos.checkpoint import LoadedNetwork, convert_checkpoint, load_network, save_weights
from rotomem.vos.config import MemoryConfig, NetworkConfig
from rotomem.vos.cuda import accelerate_for_cuda
from rotomem.vos.disk_tier import DiskTier
from rotomem.vos.feature_cache import FeatureCache
from rotomem.vos.flow_prior import Track, carry_mattes, extend_track, flow_agreement, join_priors
from rotomem.vos.inference_core import PHASES, InferenceCore
from rotomem.vos.network import FrameFeatures, Network
from rotomem.vos.prior_cue import PriorFeatures
from rotomem.vos.weights_store import (
    WeightsFile,
    add_weights,
    installed_weights,
    verify_weights,
)
from rotomem.weights_files import choose_weights, find_weights

__all__ = [
    "PHASES",
    "DiskTier",
    "FeatureCache",
    "FrameFeatures",
    "InferenceCore",
    "LoadedNetwork",
    "MemoryConfig",
    "Network",
    "NetworkConfig",
    "PriorFeatures",
    "Track",
    "WeightsFile",
    "accelerate_for_cuda",
    "add_weights",
    "carry_mattes",
    "choose_weights",
    "convert_checkpoint",
    "extend_track",
    "find_weights",
    "flow_agreement",
    "installed_weights",
    "join_priors",
    "load_network",
    "save_weights",
    "verify_weights",
]
