"""Prompts to mattes; the network is a small one of the package's own classes, so that its numbers are the package's."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rotomem.errors import SettingError, WeightsCorruptError, WeightsMismatchError, WeightsMissingError
from rotomem.propagation.sam import PointPrompt, SamPrompter, grid_points
from rotomem.propagation.sam_weights import find_sam_weights, load_sam
from rotomem.propagation.torchvision_import import import_beside_torch
from small_sam import save_small_sam, small_sam


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).random((90, 128, 3), np.float32)


@pytest.fixture
def prompter() -> SamPrompter:
    return SamPrompter(small_sam())


def reference(image: np.ndarray, **prompt: object) -> np.ndarray:
    """Logits by the package's own predictor, of the first mask; at a size that it need not resize."""
    predictor = import_beside_torch("segment_anything").SamPredictor(small_sam())
    predictor.set_image((image * 255).round().astype(np.uint8))
    return predictor.predict(multimask_output=False, return_logits=True, **prompt)[0][0]


def test_points_and_boxes_mean_what_they_mean_to_the_package(prompter: SamPrompter, image: np.ndarray) -> None:
    points = [PointPrompt(40, 30), PointPrompt(100, 80, inside=False)]
    ours = prompter.prompt(image, points=points, box=(10, 5, 90, 70), refine_edges=False).matte
    logits = reference(
        image,
        point_coords=np.array([[40, 30], [100, 80]]),
        point_labels=np.array([1, 0]),
        box=np.array([10, 5, 90, 70]),
    )
    np.testing.assert_allclose(ours, 1 / (1 + np.exp(-logits)), atol=1e-4)


def test_a_mask_prompts_with_about_ten_points_inside(prompter: SamPrompter, image: np.ndarray) -> None:
    mask = np.zeros((90, 128), np.float32)
    mask[20:60, 30:90] = 1.0
    found = prompter.refine(image, mask, refine_edges=False)
    points = grid_points(mask)
    assert 6 <= len(points) <= 15
    assert all(mask[int(point.y), int(point.x)] for point in points)
    given = np.full((32, 32), -6.9, np.float32)
    small = torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None], size=(22, 32), mode="area")[
        0, 0
    ].numpy()
    given[:22] = (2 * small - 1) * 6.9
    logits = reference(
        image,
        point_coords=np.array([[point.x, point.y] for point in points]),
        point_labels=np.ones(len(points)),
        mask_input=given[None],
    )
    assert found is not None
    np.testing.assert_allclose(found.matte, 1 / (1 + np.exp(-logits)), atol=1e-4)
    assert prompter.refine(image, np.zeros((90, 128), np.float32)) is None


def test_a_thin_mask_is_pointed_at_all_the_same() -> None:
    mask = np.zeros((100, 100), np.float32)
    mask[:, 33] = 1.0
    points = grid_points(mask)
    assert points
    assert all(mask[int(point.y), int(point.x)] for point in points)
    assert grid_points(np.zeros((5, 5), np.float32)) == []


@pytest.mark.parametrize("size", [(300, 500), (64, 48)])
def test_plates_of_any_size_get_mattes_of_that_size(prompter: SamPrompter, size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).random((*size, 3), np.float32)
    found = prompter.prompt(picture, points=[PointPrompt(20, 20)])
    assert found.matte.shape == size
    assert 0 <= found.matte.min() <= found.matte.max() <= 1
    assert 0 <= found.score <= 1


def test_a_named_frame_is_encoded_once(prompter: SamPrompter, image: np.ndarray) -> None:
    one = prompter.prompt(image, frame=7, points=[PointPrompt(40, 30)])
    nothing = np.zeros_like(image)
    again = prompter.prompt(nothing, frame=7, points=[PointPrompt(40, 30)], refine_edges=False)
    other = prompter.prompt(nothing, frame=8, points=[PointPrompt(40, 30)], refine_edges=False)
    assert again.score == one.score
    assert not np.array_equal(again.matte, other.matte)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ({}, "needs a point on the object"),
        ({"points": [PointPrompt(5, 5, inside=False)]}, "needs a point on the object"),
        ({"points": [PointPrompt(128, 5)]}, "the point 128,5 is outside the plate, which is 128x90"),
        ({"box": (50, 5, 20, 60)}, "holds nothing of the plate"),
    ],
)
def test_a_prompt_that_means_nothing_is_refused(
    prompter: SamPrompter, image: np.ndarray, prompt: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SettingError, match=sentence):
        prompter.prompt(image, **prompt)


def test_a_checkpoint_of_any_size_is_loaded_by_its_shapes(tmp_path: Path) -> None:
    network, sha256 = load_sam(save_small_sam(tmp_path))
    assert len(sha256) == 64
    expected = small_sam().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())
    assert [block.window_size for block in network.image_encoder.blocks] == [3, 0]


def test_the_largest_network_is_taken_and_its_absence_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"put sam_vit_b_01ec64\.pth there, from https://github"):
        find_sam_weights(tmp_path)
    for name in ("sam_vit_b_01ec64.pth", "sam_vit_h_4b8939.pth", "raft_small.pth"):
        (tmp_path / name).touch()
    assert find_sam_weights(tmp_path).name == "sam_vit_h_4b8939.pth"


def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sam_vit_b.pth"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsCorruptError, match="download it again"):
        load_sam(path)
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsMismatchError, match="does not fit segment-anything's network"):
        load_sam(path)
    monkeypatch.setitem(sys.modules, "segment_anything.modeling", None)
    with pytest.raises(WeightsMissingError, match=r"pip install 'rotomem\[sam\]'"):
        load_sam(path)
