"""XMem++: the network, its memories and one pass over a shot. Tensors in, tensors out.

Written from ``specs/xmem.md`` and the papers (XMem, ECCV 2022; XMem++, ICCV 2023).
"""

from rotomem.vos.checkpoint import LoadedNetwork, convert_checkpoint, load_network, save_weights
from rotomem.vos.config import MemoryConfig, NetworkConfig
from rotomem.vos.feature_cache import FeatureCache
from rotomem.vos.inference_core import PHASES, InferenceCore
from rotomem.vos.network import FrameFeatures, Network
from rotomem.vos.weights_store import WeightsFile, add_weights, find_weights, installed_weights, verify_weights

__all__ = [
    "PHASES",
    "FeatureCache",
    "FrameFeatures",
    "InferenceCore",
    "LoadedNetwork",
    "MemoryConfig",
    "Network",
    "NetworkConfig",
    "WeightsFile",
    "add_weights",
    "convert_checkpoint",
    "find_weights",
    "installed_weights",
    "load_network",
    "save_weights",
    "verify_weights",
]
