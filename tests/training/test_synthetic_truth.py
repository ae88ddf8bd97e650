"""What the generator promises about the truth that comes with its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.training.synthetic import ShotBatch, generate_batch
from rotomem.training.synthetic.compositor import Composite, Placement, composite, join_composites
from rotomem.training.synthetic.draws import Draws
from rotomem.training.synthetic.flow import surface_flow
from rotomem.training.synthetic.mosaic import procedural_fields
from rotomem.training.synthetic.scene import Scene, ShotFormat, place_scene, plan_scene
from rotomem.training.synthetic.wardrobe import Wardrobe, make_wardrobe

SIZE = {"height": 64, "width": 80}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """On pictures this small, threads that wait for each other cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def shots() -> ShotBatch:
    return generate_batch(range(16), frames=4, targets=3, **SIZE)


@pytest.fixture(scope="module")
def plain_shots() -> ShotBatch:
    return generate_batch(range(40, 52), frames=2, plain=True, height=128, width=128)


def test_a_seed_gives_the_same_shot_again(shots: ShotBatch) -> None:
    again = generate_batch(range(16), frames=4, targets=3, **SIZE)
    assert all(torch.equal(value, getattr(again, name)) for name, value in vars(shots).items())


def test_a_shot_does_not_depend_on_the_rest_of_its_batch(shots: ShotBatch) -> None:
    alone = generate_batch([11], frames=4, targets=3, **SIZE)
    # JPEG may round a coefficient the other way after a difference of one ulp, so pictures are compared on average.
    assert (alone.rgb[0] - shots.rgb[11]).abs().mean() < 1e-4
    assert (alone.alpha_modal[0] - shots.alpha_modal[11]).abs().max() < 1e-4
    assert (alone.flow_forward[0] - shots.flow_forward[11]).abs().max() < 1e-2


def test_different_seeds_give_different_shots(shots: ShotBatch) -> None:
    means = shots.rgb.mean((1, 3, 4))
    assert torch.cdist(means, means).add(torch.eye(16)).min() > 1e-3


def test_shapes_and_ranges_are_as_documented(shots: ShotBatch) -> None:
    height, width = SIZE["height"], SIZE["width"]
    assert shots.rgb.shape == (16, 4, 3, height, width)
    assert shots.alpha_modal.shape == shots.alpha_amodal.shape == (16, 4, 3, height, width)
    assert shots.depth_order.shape == shots.present.shape == (16, 4, 3)
    assert shots.flow_forward.shape == shots.flow_backward.shape == (16, 4, 2, height, width)
    assert shots.occluded_forward.shape == shots.occluded_backward.shape == (16, 4, height, width)
    for values in (shots.rgb, shots.alpha_modal, shots.alpha_amodal):
        assert values.min() >= 0
        assert values.max() <= 1
    assert all(value.isfinite().all() for value in vars(shots).values())


def test_targets_do_not_overlap_and_never_show_more_than_there_is(shots: ShotBatch) -> None:
    assert shots.alpha_modal.sum(2).max() <= 1 + 1e-5
    assert (shots.alpha_modal - shots.alpha_amodal).max() <= 1e-5


def test_depth_order_ranks_the_targets_of_a_shot(shots: ShotBatch) -> None:
    ranks = shots.depth_order.sort(-1).values
    assert torch.equal(ranks, torch.arange(3).expand_as(ranks))


def test_half_precision_changes_floats_only() -> None:
    half = generate_batch([3], frames=2, dtype=torch.float16, **SIZE)
    assert half.rgb.dtype == half.alpha_modal.dtype == half.flow_forward.dtype == torch.float16
    assert half.present.dtype == torch.bool
    assert half.depth_order.dtype == torch.int64


def test_the_next_frame_carried_back_along_the_flow_is_this_frame(plain_shots: ShotBatch) -> None:
    errors, still_errors = [], []
    for step, flow, occluded in (
        (1, plain_shots.flow_forward, plain_shots.occluded_forward),
        (-1, plain_shots.flow_backward, plain_shots.occluded_backward),
    ):
        here = slice(0, -1) if step == 1 else slice(1, None)
        there = slice(1, None) if step == 1 else slice(0, -1)
        picture = plain_shots.rgb[:, here].flatten(0, 1)
        other = plain_shots.rgb[:, there].flatten(0, 1)
        seen = ~_near(occluded[:, here].flatten(0, 1))
        errors.append(((_carry(other, flow[:, here].flatten(0, 1)) - picture).abs().mean(1))[seen])
        still_errors.append(((other - picture).abs().mean(1))[seen])
    error, still_error = torch.cat(errors), torch.cat(still_errors)
    # What remains is that both frames are resampled from the texture.
    assert error.mean() < 0.004
    assert error.quantile(0.98) < 0.04
    assert error.mean() < 0.15 * still_error.mean()


def test_forward_and_backward_flow_undo_each_other(plain_shots: ShotBatch) -> None:
    forward = plain_shots.flow_forward[:, :-1].flatten(0, 1)
    back = _carry(plain_shots.flow_backward[:, 1:].flatten(0, 1), forward)
    seen = ~_near(plain_shots.occluded_forward[:, :-1].flatten(0, 1))
    gap = (forward + back).norm(dim=1)[seen]
    assert gap.quantile(0.98) < 0.05


def test_flow_of_a_shifted_surface_is_the_shift() -> None:
    # Canonical x is the pixel column over 10, in the next frame of a surface moved 3 pixels right and 2 down.
    nodes = torch.linspace(0, 40, 17)
    row, column = torch.meshgrid(nodes, nodes, indexing="ij")
    table = torch.stack([torch.stack([column, row]) / 10, torch.stack([column - 3, row - 2]) / 10])[None, :, None]
    (forward, hidden), (backward, hidden_before) = surface_flow(table, torch.zeros(1, 2, 41, 41))
    assert torch.allclose(forward[0, 0], torch.tensor([3.0, 2.0])[:, None, None].expand(2, 41, 41), atol=1e-4)
    assert torch.allclose(backward[0, 1], torch.tensor([-3.0, -2.0])[:, None, None].expand(2, 41, 41), atol=1e-4)
    leaving = torch.zeros(41, 41, dtype=torch.bool)
    leaving[-2:], leaving[:, -3:] = True, True
    assert torch.equal(hidden[0, 0], leaving)
    assert torch.equal(hidden_before[0, 1], leaving.flip(0, 1))
    assert hidden[0, 1].all()
    assert hidden_before[0, 0].all()
    assert forward[0, 1].abs().max() == 0


def test_flow_of_a_bending_surface_finds_the_same_canonical_point() -> None:
    scene, placement, _ = _stage([8, 9, 10, 11], frames=2)
    worst = []
    for row in range(len(scene.layers.shot)):
        table = placement.table[row][None, :, None]
        layer = torch.zeros(1, 2, 64, 80)
        (flow, hidden), _ = surface_flow(table, layer)
        here = F.interpolate(table[0, 0], (64, 80), mode="bilinear", align_corners=True)
        row_px, column_px = torch.meshgrid(torch.arange(64), torch.arange(80), indexing="ij")
        x, y = (column_px + flow[0, 0, 0]) * 2 / 79 - 1, (row_px + flow[0, 0, 1]) * 2 / 63 - 1
        there = F.grid_sample(table[0, 1], torch.stack([x, y], -1)[None], align_corners=True)
        pixel = (here[0, :, :, 1:] - here[0, :, :, :-1]).norm(dim=0).mean()
        inside = ~hidden[0, 0] & (x.abs() < 1) & (y.abs() < 1) & (here[0].abs().amax(0) < 1)
        gap_px = (there - here)[0].norm(dim=0)[inside] / pixel
        worst.append(float(gap_px.quantile(0.99)) if len(gap_px) else 0.0)
    assert np.median(worst) < 0.005
    assert max(worst) < 0.1


def test_a_blurred_picture_and_matte_are_means_over_the_shutter() -> None:
    scene, _, wardrobe = _stage([5, 6], frames=2)
    timing = scene.timing.sampled_over(np.array([0.8, 0.5]), 3)
    placement = place_scene(scene, np.arange(2), timing, torch.device("cpu"))
    blurred = _composite(scene, wardrobe, placement)
    moments = [
        _composite(
            scene,
            wardrobe,
            replace(
                placement,
                table=placement.table[:, moment::3],
                scale_px=placement.scale_px[:, moment::3],
                gain=placement.gain[:, moment::3],
                samples=1,
            ),
        )
        for moment in range(3)
    ]
    for name in ("rgb", "modal", "amodal"):
        mean = torch.stack([getattr(moment, name) for moment in moments]).mean(0)
        assert torch.allclose(getattr(blurred, name), mean, atol=1e-5)
    assert torch.equal(blurred.visible, moments[1].visible)
    assert not torch.allclose(moments[0].rgb, moments[2].rgb, atol=1e-2)


def test_rendering_one_by_one_and_together_is_the_same() -> None:
    scene, placement, wardrobe = _stage([20, 21, 22, 23], frames=2)
    single = _composite(scene, wardrobe, placement)
    together = _composite(scene, wardrobe, placement, one_by_one=False)
    # A shadow blurred in a window differs a little at the window's edge.
    assert (single.rgb - together.rgb).abs().mean() < 1e-3
    assert torch.allclose(single.modal, together.modal, atol=1e-5)
    assert torch.allclose(single.amodal, together.amodal, atol=1e-5)
    assert torch.equal(single.visible, together.visible)


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"height": 16}, {"targets": 4}, {"samples": 2}])
def test_impossible_formats_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a batch needs"):
        generate_batch([1], **{"frames": 2, **SIZE, **wrong})


def _stage(seeds: list[int], *, frames: int) -> tuple[Scene, Placement, Wardrobe]:
    """A planned scene, its layers' placement, and its canvases."""
    scene = plan_scene(Draws(seeds), ShotFormat(frames, 64, 80, 2, 3, 1.0, plain=False))
    wardrobe = make_wardrobe(
        scene.draws,
        scene.cast,
        scene.layers,
        height=64,
        width=80,
        difficulty=1.0,
        defocus_px=scene.defocus_px,
        fields=procedural_fields("cpu"),
        photographs=None,
    )
    return scene, place_scene(scene, np.arange(len(seeds)), scene.timing, torch.device("cpu")), wardrobe


def _composite(scene: Scene, wardrobe: Wardrobe, placement: Placement, *, one_by_one: bool = True) -> Composite:
    """Rendered shots in the order of their seeds."""
    picture, order = composite(scene.layers, wardrobe, placement, height=64, width=80, one_by_one=one_by_one)
    return join_composites([picture], order)


def _carry(picture: Tensor, flow: Tensor) -> Tensor:
    """Read ``picture`` (N, C, H, W) at every pixel's place plus ``flow`` (N, 2, H, W)."""
    height, width = picture.shape[-2:]
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x, y = column + flow[:, 0], row + flow[:, 1]
    grid = torch.stack([x * 2 / (width - 1) - 1, y * 2 / (height - 1) - 1], -1)
    return F.grid_sample(picture, grid, align_corners=True, padding_mode="border")


def _near(mask: Tensor) -> Tensor:
    """The mask (N, H, W) and two pixels around it, where soft edges mix two surfaces."""
    return F.max_pool2d(mask[:, None].float(), 5, stride=1, padding=2)[:, 0] > 0
