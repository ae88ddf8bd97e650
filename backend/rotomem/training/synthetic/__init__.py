"""Endless synthetic shots with exact truth: picture, mattes, depth order, optical flow, occlusion.

Needs torch and numpy only; reading photographs needs OpenCV.
"""

from __future__ import annotations

from rotomem.training.synthetic.mosaic import Mosaic, load_photographs
from rotomem.training.synthetic.sheet import write_contact_sheet
from rotomem.training.synthetic.shot import ShotBatch, generate_batch

__all__ = ["Mosaic", "ShotBatch", "generate_batch", "load_photographs", "write_contact_sheet"]
