"""What pays on a CUDA GPU alone: kernels launched as one graph, and channels last, the layout of its tensor cores."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil

import torch

from rotomem.vos.network import Network

log = logging.getLogger(__name__)


def accelerate_for_cuda(network: Network, *, compiler_backend: str | None = None) -> Network:
    """Compile the decoder of a network on a GPU into CUDA graphs, and lay its weights out for half precision.

    The decoder alone is compiled: it is most of the time and, unlike the encoders, its results are copied before it
    runs again, as graphs that write to the same memory each time require. State dict and results keep their names and
    meaning. A new frame size or number of objects compiles anew. A machine that cannot compile runs the decoder as it
    is. On any other device nothing changes.

    Args:
        network: in evaluation mode, on its device.
        compiler_backend: of ``torch.compile``, on any device; by default inductor with CUDA graphs, on CUDA.
    """
    if compiler_backend is not None:
        network.decoder.compile(backend=compiler_backend, dynamic=False, fullgraph=True)
    elif next(network.parameters()).device.type == "cuda":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        torch.backends.cudnn.benchmark = True
        if _can_compile():
            network.decoder.compile(mode="reduce-overhead", dynamic=False, fullgraph=True)
        else:
            log.warning("the network runs uncompiled, since Triton or a C compiler is missing on this machine")
    return network


def _can_compile() -> bool:
    """Return whether inductor finds what it needs; without it the first frame would fail."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return importlib.util.find_spec("triton") is not None and compiler is not None
