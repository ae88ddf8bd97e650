"""Importing torchvision's and segment-anything's modules beside any build of torch."""

from __future__ import annotations

import importlib
from typing import Any

import torch

_schemas: list[Any] = []


def import_beside_torch(module: str) -> Any:
    """Import a module that needs torchvision; raises ``ImportError`` or ``RuntimeError`` as the import does.

    Torchvision's published wheel beside a torch without CUDA stops at operators that its C++ library would define: it
    registers shapes for ``nms``, which that library, built for CUDA, cannot bring. Their schemas are all that the
    import needs.
    """
    if not _schemas and not hasattr(torch.ops.torchvision, "nms"):
        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _schemas.append(library)  # a library that is collected takes its operators with it
    return importlib.import_module(module)


def first_line(error: Exception) -> str:
    """Return what an error says first."""
    return (str(error).splitlines() or [type(error).__name__])[0]
