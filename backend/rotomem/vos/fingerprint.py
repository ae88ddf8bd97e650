"""What names a network's weights and an image's content, so that one's features are never taken for another's."""

from __future__ import annotations

import hashlib
import weakref

import torch
from torch import Tensor, nn

_held: weakref.WeakKeyDictionary[nn.Module, tuple[object, str]] = weakref.WeakKeyDictionary()


def network_fingerprint(network: nn.Module) -> str:
    """Return a hash of all parameters and buffers; computed once, and anew when they have changed."""
    tensors = network.state_dict(keep_vars=True)
    if any(tensor.is_inference() for tensor in tensors.values()):  # their changes cannot be noticed
        return _hash_tensors(tensors)
    state = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors.values())
    held = _held.get(network)
    if held is None or held[0] != state:
        held = (state, _hash_tensors(tensors))
        _held[network] = held
    return held[1]


def tensor_fingerprint(tensor: Tensor) -> str:
    """Return a hash of type, shape and content."""
    return _hash_tensors({"": tensor})


def _hash_tensors(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().data)
    return digest.hexdigest()
