"""Roto curves to shapes: geometry, keys, and what is refused because plain shapes would not be Nuke's pixels."""

from __future__ import annotations

from typing import Any

import nuke.rotopaint as rp
import pytest
from nuke_scene import HEIGHT, add_layer, add_shape, roto_node

from rotomem_nuke.roto import NotShapesError, RotoObject, key_frames, roto_objects, shapes_at

pytestmark = pytest.mark.usefixtures("fake")


@pytest.fixture
def roto(fake: Any) -> Any:
    return roto_node()


def _objects(roto: Any) -> dict[str, RotoObject]:
    return {found.name: found for found in roto_objects(roto)}


def _only(roto: Any, frame: int) -> Any:
    (found,) = roto_objects(roto)
    return shapes_at(roto, found, frame, height=HEIGHT)


def test_each_top_level_layer_is_an_object_and_loose_shapes_are_one(roto: Any) -> None:
    root = roto["curves"].rootLayer
    add_shape(add_layer(root, "left arm"), name="upper")
    add_shape(root, name="a")
    add_shape(add_layer(add_layer(root, "2"), "deeper"), name="lower")
    add_shape(root, name="b")
    add_layer(root, "empty")
    assert roto_objects(roto) == [
        RotoObject("left_arm", (0,)),
        RotoObject("_2", (2,)),
        RotoObject("Roto1", (1, 3)),
    ]


def test_shapes_without_layers_are_named_after_the_node(roto: Any) -> None:
    add_shape(roto["curves"].rootLayer)
    assert list(_objects(roto)) == ["Roto1"]


def test_a_first_layer_renames_no_object(roto: Any) -> None:
    root = roto["curves"].rootLayer
    add_shape(root)
    assert list(_objects(roto)) == ["Roto1"]
    for layer, name in (("arm", "arm"), ("Roto1", "Roto1_2")):
        add_shape(add_layer(root, layer))
        assert _objects(roto)["Roto1"].members == (0,)
        assert name in _objects(roto)


def test_nukes_own_layer_names_are_not_given_to_objects(roto: Any) -> None:
    from rotomem.plates.mattes import RESERVED_NAMES, check_object_name

    root = roto["curves"].rootLayer
    for name in RESERVED_NAMES:
        add_shape(add_layer(root, name))
    add_shape(add_layer(root, "Alpha"))
    names = list(_objects(roto))
    assert names == ["rgba_matte", "rgb_matte", "alpha_matte", "all_matte", "none_matte", "Alpha_matte"]
    for name in names:
        check_object_name(name)  # raises where the daemon would refuse it


def test_objects_of_one_name_stay_apart(roto: Any) -> None:
    root = roto["curves"].rootLayer
    add_shape(add_layer(root, "hand!"))
    add_shape(add_layer(root, "hand?"))
    assert list(_objects(roto)) == ["hand_", "hand__2"]


def test_y_is_turned_over_and_tangents_with_it(roto: Any) -> None:
    shape = add_shape(roto["curves"].rootLayer, [(10.0, 4.0), (30.0, 4.0), (30.0, 24.0)])
    shape[1].leftTangent.setPosition((-3.0, 1.0, 0.0))
    shape[1].rightTangent.setPosition((2.0, -5.0, 0.0))
    ((read,),) = [_only(roto, 1)]
    assert [point.center for point in read.points] == [(10.0, 60.0), (30.0, 60.0), (30.0, 40.0)]
    assert (read.points[1].left, read.points[1].right) == ((-3.0, -1.0), (2.0, 5.0))
    assert read.points[0].left == (0.0, 0.0)


def test_feather_is_read_per_point_and_dropped_when_switched_off(roto: Any) -> None:
    shape = add_shape(roto["curves"].rootLayer)
    shape[2].featherCenter.setPosition((4.0, 6.0, 0.0))
    shape[2].featherLeftTangent.setPosition((0.0, 1.0, 0.0))
    (read,) = _only(roto, 1)
    assert (read.points[2].feather, read.points[2].feather_left) == ((4.0, -6.0), (0.0, -1.0))
    shape.getAttributes().set("fo", 0.0)
    (read,) = _only(roto, 1)
    assert read.points[2].feather == (0.0, 0.0)


def test_one_transform_of_a_shape_or_a_layer_is_baked_in(roto: Any) -> None:
    """getPosition is pre-transform: shango/rotobridge phase2/70_matrix_application and 77_layer_transform."""
    layer = add_layer(roto["curves"].rootLayer, "arm")
    shape = add_shape(layer, [(10.0, 4.0), (30.0, 4.0), (30.0, 24.0)])
    shape[0].rightTangent.setPosition((2.0, 1.0, 0.0))
    layer.getTransform().addScaleKey(1, 2.0, 3.0, 0)
    (read,) = _only(roto, 1)
    assert read.points[0].center == (20.0, HEIGHT - 12.0)
    assert read.points[0].right == (4.0, -3.0)


def test_stacked_transforms_are_refused(roto: Any) -> None:
    layer = add_layer(roto["curves"].rootLayer, "arm")
    shape = add_shape(layer, name="hand")
    layer.getTransform().addTranslationKey(1, 5.0, 0.0, 0)
    shape.getTransform().addTranslationKey(1, 0.0, 7.0, 0)
    with pytest.raises(NotShapesError, match="'arm' and 'hand' are transformed on top of each other"):
        _only(roto, 1)


def test_the_first_element_is_on_top_and_comes_last(roto: Any) -> None:
    """shango/rotobridge q10/98_shape_to_shape."""
    root = roto["curves"].rootLayer
    for name in ("top", "middle", "bottom"):
        add_shape(root, name=name)
    assert [shape.name for shape in _only(roto, 1)] == ["bottom", "middle", "top"]


def test_opacity_and_invert_are_read_at_the_frame(roto: Any) -> None:
    shape = add_shape(roto["curves"].rootLayer)
    curve = shape.getAttributes().getCurve("opc", "main")
    curve.addKey(1, 1.0)
    curve.addKey(20, 0.25)
    shape.getAttributes().set("inv", 1.0)
    (read,) = _only(roto, 10)
    assert read.opacity == pytest.approx(0.6447368)  # phase2/72_shape_attributes measured this
    assert read.inverted


def test_hidden_shapes_layers_and_lifetimes_are_not_drawn(roto: Any) -> None:
    layer = add_layer(roto["curves"].rootLayer, "arm")
    add_shape(layer, name="hidden").setVisible(1, False)
    ranged = add_shape(layer, name="ranged").getAttributes()
    for name, value in (("ltt", 4), ("ltn", 5), ("ltm", 8)):
        ranged.set(name, value)
    assert [[shape.name for shape in _only(roto, frame)] for frame in (4, 5, 8, 9)] == [[], ["ranged"], ["ranged"], []]
    layer.setVisible(1, False)
    assert _only(roto, 5) == []


@pytest.mark.parametrize(
    ("attribute", "value", "why"),
    [
        ("bm", 12.0, "blends with 'minus'"),
        ("bm", 99.0, "blends with 'mode 99'"),
        ("fx", 3.0, "has a uniform feather"),
        ("ff", 2.0, "has a feather falloff"),
        ("ft", 1.0, "has a feather type other than linear"),
        ("mbo", 1.0, "has motion blur"),
        ("ltt", 2.0, "has a lifetime other than all frames or a range"),
    ],
)
def test_what_plain_shapes_cannot_express_is_refused_by_name(roto: Any, attribute: str, value: float, why: str) -> None:
    add_shape(roto["curves"].rootLayer, name="Bezier 7").getAttributes().set(attribute, value)
    with pytest.raises(NotShapesError, match=f"'Bezier 7' {why}"):
        _only(roto, 1)


def test_open_shapes_b_splines_and_strokes_are_refused(roto: Any) -> None:
    root = roto["curves"].rootLayer
    shape = add_shape(root)
    shape.setFlag(rp.FlagType.eOpenFlag, True)
    with pytest.raises(NotShapesError, match="'Bezier1' is an open shape"):
        _only(roto, 1)
    root.remove(0)
    spline = rp.Shape(None, (1, 1), (5, 1), (5, 5), type="bspline")
    root.append(spline)
    with pytest.raises(NotShapesError, match="'Shape1' is a bspline, not a Bezier"):
        _only(roto, 1)
    root.remove(0)
    root.append(rp.Stroke(None))
    with pytest.raises(NotShapesError, match="'Brush1' is a paint stroke"):
        _only(roto, 1)


def test_reading_leaves_no_attribute_behind(roto: Any) -> None:
    """Unknown names auto-vivify to 0.0 (research/nuke.md §2): a layer asked for 'bm' would have one ever after."""
    layer = add_layer(roto["curves"].rootLayer, "arm")
    shape = add_shape(layer)
    before = [len(element.getAttributes()) for element in (layer, shape)]
    _only(roto, 1)
    assert [len(element.getAttributes()) for element in (layer, shape)] == before


def test_annotated_frames_are_the_keys_of_points_and_moving_transforms(roto: Any) -> None:
    layer = add_layer(roto["curves"].rootLayer, "arm")
    shape = add_shape(layer, keys=[10, 20])
    shape[2].featherCenter.addPositionKey(1, (0.0, 0.0, 0.0))
    for frame in (10, 15):
        shape[3].leftTangent.addPositionKey(frame, (1.0, 0.0, 0.0))
    add_shape(layer, keys=[30])
    (found,) = roto_objects(roto)
    assert key_frames(roto, found) == [10, 15, 20, 30]  # the untouched transforms' key at 1 is none of the artist's
    layer.getTransform().addTranslationKey(12, 1.0, 0.0, 0)
    assert key_frames(roto, found) == [10, 15, 20, 30]
    layer.getTransform().addTranslationKey(40, 9.0, 0.0, 0)
    assert key_frames(roto, found) == [10, 12, 15, 20, 30, 40]


def test_a_shape_between_keys_follows_nukes_curve(roto: Any) -> None:
    shape = add_shape(roto["curves"].rootLayer)
    for frame, x, y in ((1, 100.0, 100.0), (10, 300.0, 200.0), (20, 500.0, 100.0)):
        shape[0].center.addPositionKey(frame, (x, y, 1.0))
    (read,) = _only(roto, 5)
    # Nuke 17.1v1 measured { 190.766, 162.277, 1 }: shango/rotobridge phase2/71_point_keying
    assert read.points[0].center == (pytest.approx(190.766, abs=1e-3), pytest.approx(HEIGHT - 162.277, abs=1e-3))
