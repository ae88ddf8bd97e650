"""Moving objects from optical flow, and their masks corrected by appearance. Tensors in, tensors out.

Written from the papers: OCLR (Xie et al., NeurIPS 2022) and Appearance-Based Refinement for Object-Centric Motion
Segmentation (Xie et al., ECCV 2024); sections and equations named in this package are of the latter. Tensors have the
published names, so that published checkpoints load.
"""

from rotomem.motion.config import CorrectorConfig, DinoConfig, FlowConfig, SelectorConfig
from rotomem.motion.corrector import Correction, Corrector, Exemplars, Reconstruction
from rotomem.motion.dino import DinoFeatures
from rotomem.motion.flow_input import stack_flow
from rotomem.motion.flow_segmenter import FlowSegmentation, FlowSegmenter
from rotomem.motion.frames import normalise_frames, working_size
from rotomem.motion.pipeline import (
    Appearance,
    Judgement,
    MotionMasks,
    MotionNetworks,
    judge,
    look_at,
    propose,
    refine,
    segment_flow,
)
from rotomem.motion.selector import Selector
from rotomem.motion.steady_motion import steady_motion

__all__ = [
    "Appearance",
    "Correction",
    "Corrector",
    "CorrectorConfig",
    "DinoConfig",
    "DinoFeatures",
    "Exemplars",
    "FlowConfig",
    "FlowSegmentation",
    "FlowSegmenter",
    "Judgement",
    "MotionMasks",
    "MotionNetworks",
    "Reconstruction",
    "Selector",
    "SelectorConfig",
    "judge",
    "look_at",
    "normalise_frames",
    "propose",
    "refine",
    "segment_flow",
    "stack_flow",
    "steady_motion",
    "working_size",
]
