"""The demo shot: what it promises to whoever demonstrates or measures with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from rotomem.demo import DemoShot, render_demo_shot
from rotomem.demo.renderer import Renderer
from rotomem.demo.scene import GOLD, HERO, SHUTTER, Camera, artist_shapes
from rotomem.demo.shot import plan_demo_shot
from rotomem.errors import SettingError
from rotomem.matte import rasterize_shapes
from rotomem.plates import read_alpha

WIDTH, HEIGHT = 240, 136
OBJECTS = ("hero_koi", "gold_koi")


def region_j(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of the two mattes at one half."""
    return float(((a > 0.5) & (b > 0.5)).sum() / ((a > 0.5) | (b > 0.5)).sum())


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> DemoShot:
    return render_demo_shot(tmp_path_factory.mktemp("pond"), frames=4, width=WIDTH, height=HEIGHT)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(width=WIDTH, height=HEIGHT, seed=7)


def test_plate_is_scene_linear_half_exr_with_highlights_above_one(shot: DemoShot) -> None:
    source = oiio.ImageInput.open(shot.plate_pattern % shot.first)
    assert source.spec().format == oiio.HALF
    pixels = source.read_image("float")
    source.close()
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.min() >= 0
    assert 0.05 < np.median(pixels) < 0.3
    assert pixels.max() > 2


def test_every_frame_has_plate_truth_and_roto(shot: DemoShot) -> None:
    assert (shot.first, shot.last) == (1001, 1004)
    assert shot.objects == OBJECTS
    for frame in range(1001, 1005):
        assert set(shot.shapes[frame]) == set(OBJECTS)
        for name in OBJECTS:
            truth = read_alpha(Path(shot.truth_pattern % frame), frame, object_name=name)
            assert truth.shape == (HEIGHT, WIDTH)
            assert truth.max() == 1
            assert ((truth > 0.02) & (truth < 0.98)).any()


def test_complete_render_is_reused(shot: DemoShot) -> None:
    directory = Path(shot.plate_pattern).parents[1]
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*.exr")}
    steps: list[int] = []
    again = render_demo_shot(
        directory, frames=4, width=WIDTH, height=HEIGHT, on_progress=lambda done, total: steps.append(done)
    )
    assert again == shot
    assert steps == []
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*.exr")} == before


def test_interrupted_render_is_made_anew_and_is_the_same_by_its_seed(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []

    def render() -> DemoShot:
        return render_demo_shot(
            tmp_path, frames=2, width=96, height=54, on_progress=lambda done, total: steps.append((done, total))
        )

    shot = render()
    plate = Path(shot.plate_pattern % 1002)
    pixels = oiio.ImageBuf(str(plate)).get_pixels()
    plate.write_bytes(plate.read_bytes()[:1000])
    render()
    assert steps == [(1, 2), (2, 2)] * 2
    np.testing.assert_array_equal(oiio.ImageBuf(str(plate)).get_pixels(), pixels)


def test_another_request_replaces_the_render_and_no_other_file(tmp_path: Path) -> None:
    render_demo_shot(tmp_path, frames=2, width=96, height=54)
    (tmp_path / "plate" / "shot010.0001.exr").write_text("somebody's plate")
    shot = render_demo_shot(tmp_path, frames=1, width=96, height=54, first_frame=5)
    assert {path.name for path in Path(shot.plate_pattern).parent.iterdir()} == {"pond.0005.exr", "shot010.0001.exr"}
    assert json.loads((tmp_path / "manifest.json").read_text())["first"] == 5


@pytest.mark.parametrize("time", [0.0, 7.0, 12.0, 18.0, 23.0])
def test_artists_roto_agrees_with_the_truth(renderer: Renderer, time: float) -> None:
    truth = renderer.render(time, shutter=SHUTTER, frame=1).truth
    shapes = artist_shapes(Camera(WIDTH, HEIGHT), time, shutter=SHUTTER)
    for name in OBJECTS:
        matte = rasterize_shapes(shapes[name], width=WIDTH, height=HEIGHT)
        assert region_j(matte, truth[name]) > 0.93
        assert np.abs(matte - truth[name]).sum() < 0.05 * truth[name].sum()


def test_shutter_blurs_the_truth(renderer: Renderer) -> None:
    """The tail sweeps more than a pixel while the shutter is open, so fewer pixels are wholly in or out."""
    sharp, blurred = (renderer.render(9.0, shutter=s, frame=1).truth["hero_koi"] for s in (0.0, SHUTTER))
    partial = [((m > 0.02) & (m < 0.98)).sum() for m in (sharp, blurred)]
    assert partial[1] > 1.15 * partial[0]
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=0.02)


def test_both_fish_pass_behind_something(renderer: Renderer) -> None:
    """Visible share of each koi over the shot: most of it at some time, clearly less at another."""
    camera = Camera(WIDTH, HEIGHT)
    shares: dict[str, list[float]] = {name: [] for name in OBJECTS}
    for time in (2.0, 8.0, 14.0, 23.0):
        truth = renderer.render(time, shutter=0.0, frame=1).truth
        for name, shapes in artist_shapes(camera, time, shutter=0.0).items():
            whole = rasterize_shapes([s for s in shapes if not s.inverted], width=WIDTH, height=HEIGHT)
            shares[name].append(float(truth[name].sum() / whole.sum()))
    for name in OBJECTS:
        assert max(shares[name]) > 0.9
        assert min(shares[name]) < 0.88


def test_koi_bends_and_turns_while_it_swims() -> None:
    """Not a moving cut-out: fitting the later outline by any affine motion leaves a rest of several pixels."""
    for koi in (HERO, GOLD):
        early, late = (
            np.concatenate(list(koi.outlines(t).values())).reshape(-1, 2) for t in (0.0, koi.beat_frames / 2)
        )
        basis = np.column_stack([early, np.ones(len(early))])
        solution, *_ = np.linalg.lstsq(basis, late, rcond=None)
        rest = np.hypot(*(late - basis @ solution).T)
        assert rest.max() > 0.04 * koi.length


def test_longer_shot_slows_the_action_down() -> None:
    """Frame 47 of 48 shows what time 23.5 shows at the usual pace."""
    shot = plan_demo_shot(Path(), frames=48, width=WIDTH, height=HEIGHT, first_frame=0)
    expected = artist_shapes(Camera(WIDTH, HEIGHT), 23.5, shutter=SHUTTER / 2)
    assert shot.shapes[47] == expected


@pytest.mark.parametrize(("frames", "height"), [(0, 54), (1, 0)])
def test_impossible_request_is_refused(tmp_path: Path, frames: int, height: int) -> None:
    with pytest.raises(SettingError, match="cannot be rendered"):
        render_demo_shot(tmp_path, frames=frames, width=96, height=height)
