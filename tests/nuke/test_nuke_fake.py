"""The fake itself: each trap of Nuke that the plugin must not step into is one here too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nuke.rotopaint as rp
import pytest
from nuke_scene import PLUGIN, add_shape, read_node, roto_node, start

import nuke


def _in_thread(function: Callable[[], object]) -> BaseException | None:
    raised: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.usefixtures("fake")
def test_unknown_names_raise() -> None:
    node = nuke.nodes.NoOp()
    for call in (
        lambda: nuke.nosuch,
        lambda: node.sampel,
        lambda: nuke.rotopaint.getEvaluatedCurves,
        lambda: node["name"].nosuch,
    ):
        with pytest.raises(AttributeError):
            call()
    with pytest.raises(NameError, match="knob nosuch does not exist"):
        node["nosuch"]
    with pytest.raises(RuntimeError, match="Unknown command"):
        nuke.nodes.NoSuchNode()
    with pytest.raises(AttributeError):
        node.invented = 1


@pytest.mark.usefixtures("fake")
def test_nuke_belongs_to_the_main_thread() -> None:
    node = nuke.nodes.NoOp()
    knob = node["name"]
    for call in (nuke.thisNode, lambda: node.fullName(), lambda: node["name"], knob.value):
        assert isinstance(_in_thread(call), AssertionError)


@pytest.mark.usefixtures("fake")
def test_handing_over_to_the_main_thread_from_it_is_an_error() -> None:
    with pytest.raises(AssertionError, match="hangs Nuke"):
        nuke.executeInMainThreadWithResult(lambda: 1)


def test_the_handed_over_call_runs_on_the_main_thread_and_hides_its_exception(fake: Any) -> None:
    results: list[Any] = []

    def work() -> None:
        results.append(nuke.executeInMainThreadWithResult(lambda: threading.current_thread().name))
        results.append(nuke.executeInMainThreadWithResult(lambda: 1 / 0))

    thread = threading.Thread(target=work)
    thread.start()
    fake.pump(lambda: not thread.is_alive(), timeout_s=5)
    assert results == ["MainThread", None]
    assert isinstance(fake.served_errors.pop(), ZeroDivisionError)


@pytest.mark.usefixtures("fake")
def test_append_copies_and_the_passed_object_goes_stale() -> None:
    root = roto_node()["curves"].rootLayer
    shape = rp.Shape(None)
    point = rp.ShapeControlPoint(1, 2)
    shape.append(point)
    root.append(shape)
    point.center.setPosition((9, 9, 1))
    shape[0].center.setPosition((8, 8, 1))
    assert tuple(root[0][0].center.getPosition(1)) == (1.0, 2.0, 1.0)


@pytest.mark.usefixtures("fake")
def test_positions_ignore_transforms() -> None:
    shape = add_shape(roto_node()["curves"].rootLayer)
    shape.getTransform().addTranslationKey(1, 200, 50, 0)
    assert tuple(shape[0].center.getPosition(1)) == (20.0, 10.0, 1.0)
    assert list(shape.getTransform().evaluate(1).getMatrix())[3::4] == [200, 50, 0, 1]


@pytest.mark.usefixtures("fake")
def test_default_keys_curve_and_linear_is_two() -> None:
    point = rp.AnimControlPoint()
    for frame, x in ((1, 100), (10, 300), (20, 500)):
        point.addPositionKey(frame, (x, 0, 1))
    assert point.getPosition(15).x == pytest.approx(401.974, abs=1e-3)
    curve = point.getPositionAnimCurve(0)
    for index in range(curve.getNumberOfKeys()):
        curve.getKey(index).interpolationType = rp.InterpolationType.eLinearInterpolationType + 1
    assert point.getPosition(15).x == 400.0


@pytest.mark.usefixtures("fake")
def test_unknown_attributes_vivify_and_the_view_must_be_text() -> None:
    attributes = add_shape(roto_node()["curves"].rootLayer).getAttributes()
    count = len(attributes)
    assert attributes.getValue(1, "nosuch", "main") == 0.0
    assert len(attributes) == count + 1
    with pytest.raises(TypeError, match="argument 3 must be str"):
        attributes.getValue(1, "opc", 0)


@pytest.mark.usefixtures("fake")
def test_changing_the_knob_kills_attribute_handles() -> None:
    curves = roto_node()["curves"]
    attributes = add_shape(curves.rootLayer).getAttributes()
    curves.changed()
    with pytest.raises(RuntimeError, match="changed since"):
        attributes.getValue(1, "opc", "main")
    assert curves.rootLayer[0].getAttributes().getValue(1, "opc", "main") == 1.0


def test_knob_changed_runs_for_scripts_too(fake: Any) -> None:
    node = nuke.nodes.NoOp()
    node["knobChanged"].setValue("nuke.thisNode()['label'].setValue(nuke.thisKnob().name())")
    fake.knob_changes.clear()
    node["disable"].setValue(True)
    assert fake.knob_changes[0] == "NoOp1.disable"
    assert "NoOp1.label" in fake.knob_changes


def test_non_commercial_gives_ten_handles_and_never_one_back(fake: Any) -> None:
    fake.reset(nc=True)
    for _ in range(10):
        nuke.delete(nuke.nodes.NoOp())
    assert nuke.nodes.NoOp() is None
    assert nuke.toNode("NoOp1") is None


@pytest.mark.usefixtures("fake")
def test_a_deleted_nodes_handle_raises() -> None:
    node = nuke.nodes.NoOp()
    nuke.delete(node)
    with pytest.raises(ValueError, match="not attached to a node"):
        node.fullName()


@pytest.mark.usefixtures("fake")
def test_exr_knobs_appear_with_the_file_type() -> None:
    write = nuke.nodes.Write()
    assert "datatype" not in write.knobs()
    write["file_type"].setValue("exr")
    assert "datatype" in write.knobs()


def test_a_cancelled_render_raises_cancelled(fake: Any, plate_files: Callable[..., str], tmp_path: Path) -> None:
    write = nuke.nodes.Write(inputs=[read_node(plate_files())], file=f"{tmp_path}/out.%04d.exr", file_type="exr")
    fake.cancel_render_at = 3
    with pytest.raises(RuntimeError, match="Cancelled"):
        nuke.execute(write, 2, 5, 1, ["main"])
    assert sorted(path.name for path in tmp_path.glob("out.*")) == ["out.0002.exr"]


def test_a_buttons_nodes_land_inside_its_group(fake: Any) -> None:
    """The context of a Group's button is the inside of the Group."""
    group = nuke.createNode("Rotomem")
    group["propagate"]._command = "nuke.nodes.NoOp()"
    group["propagate"].execute()
    assert group._op.find("NoOp1") is not None
    assert nuke.toNode("NoOp1") is None


def test_the_typings_name_nothing_that_the_fake_lacks(fake: Any) -> None:
    import ast

    for name, module in (("__init__", nuke), ("rotopaint", rp)):
        tree = ast.parse((PLUGIN.parent / "tests" / "fakes" / "typings" / "nuke" / f"{name}.pyi").read_text())
        for item in tree.body:
            if isinstance(item, ast.FunctionDef):
                assert callable(getattr(module, item.name)), item.name
            if isinstance(item, ast.ClassDef) and not item.name.startswith("_") and item.name not in ("Knob", "Menu"):
                for member in item.body:
                    if isinstance(member, ast.FunctionDef):
                        assert hasattr(getattr(module, item.name), member.name), (item.name, member.name)


@pytest.mark.usefixtures("fake")
def test_shuffle2_reads_the_mappings_that_comps_hold(plate_files: Callable[..., str]) -> None:
    from nuke_scene import channel_of

    from nuke import _script

    text = (
        "Shuffle2 {\n fromInput1 {{0} B}\n fromInput2 {{0} B}\n name Shuffle1\n"
        ' mappings "4 rgba.red 0 0 rgba.green 0 1 rgba.green 0 1 rgba.red 0 0'
        ' rgba.blue 0 2 rgba.blue 0 2 white -1 -1 rgba.alpha 0 3"\n}'
    )
    (op,) = _script.load(text, nuke.root()._op)
    shuffle, read = nuke.toNode(op.full_name), read_node(plate_files())
    shuffle.setInput(0, read)
    assert (channel_of(shuffle, 3, "rgba.red") == channel_of(read, 3, "rgba.green")).all()
    assert channel_of(shuffle, 3).min() == 1.0
    with pytest.raises(ValueError, match="does not hold 4 pairs"):
        _script.load(text.replace(" rgba.alpha 0 3", ""), nuke.root()._op)


@pytest.mark.usefixtures("fake")
def test_a_channel_that_nobody_knows_is_refused() -> None:
    copy = nuke.nodes.Copy()
    with pytest.raises(ValueError, match=r"no channel named arm\.alpha"):
        copy["from0"].setValue("arm.alpha")
    nuke.Layer("arm", ["arm.alpha"])
    copy["from0"].setValue("arm.alpha")


@pytest.mark.usefixtures("fake")
def test_a_key_needs_an_animated_knob_and_an_enumerations_number_is_its_index() -> None:
    node = nuke.createNode("Rotomem")
    with pytest.raises(RuntimeError, match="is not animated"):
        node["annotated_keys"].setValueAt(1, 5)
    node["view"].setValue("confidence")
    assert (node["view"].value(), node["view"].getValue()) == ("confidence", 2.0)
    node["object"].setValues(["arm", "leg"])
    assert node["object"].value() == "arm"


def test_a_guard_before_a_render_ends_it(fake: Any, plate_files: Callable[..., str], tmp_path: Path) -> None:
    """Foundry's Python guide, "beforeRender": "If they throw an exception, the render aborts"."""

    def guard() -> None:
        raise RuntimeError(f"{nuke.thisNode().name()} may not render")

    nuke.addBeforeRender(guard, nodeClass="Write")
    write = nuke.nodes.Write(inputs=[read_node(plate_files())], file=f"{tmp_path}/out.%04d.exr", file_type="exr")
    with pytest.raises(RuntimeError, match="Write1 may not render"):
        nuke.execute("Write1", 1, 2)
    assert list(tmp_path.glob("out.*")) == []
    assert write.name() == "Write1"


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("expression", "number"),
    [("1+2*3", 7), ("(1+2)*3", 9), ("2 > 1 ? 4 : 5", 4), ("0 || 0", 0), ("1 && !0", 1), ("-2 == 1-3", 1), ("a/4", 2)],
)
def test_expressions_have_nukes_precedence(expression: str, number: float) -> None:
    from nuke import _expressions

    assert _expressions.compute(expression, {"a": 8.0}.__getitem__) == number


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("wrong", ["sin(1)", "1 +", "1 ? 2", "[frame]", "1 2"])
def test_an_expression_that_the_fake_does_not_know_raises(wrong: str) -> None:
    from nuke import _expressions

    with pytest.raises((ValueError, KeyError)):
        _expressions.compute(wrong, {}.__getitem__)


@pytest.mark.usefixtures("fake")
def test_every_behaviour_of_the_fake_names_its_evidence() -> None:
    """Where a behaviour surprises, its docstring or a comment says who measured or documented it."""
    folder = PLUGIN.parent / "tests" / "fakes" / "nuke"
    told = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.py")}
    for name, evidence in (
        ("__init__.py", "Do not run executeInMainThread from within the main thread"),
        ("_session.py", "off the main thread"),
        ("_session.py", "rotobridge"),
        ("_session.py", "menu.py"),
        ("_graph.py", "17.1 documents any change"),
        ("_images.py", "cancel and ^C raise"),
        ("rotopaint.py", "71_point_keying"),
        ("rotopaint.py", "70_matrix_application"),
        ("rotopaint.py", "63_key_interp_asymmetry"),
        ("rotopaint.py", "research/nuke.md §2"),
    ):
        assert evidence in told[name], (name, evidence)


def test_start_leaves_no_state_behind(fake: Any) -> None:
    nuke.nodes.NoOp()
    start()
    assert nuke.toNode("NoOp1") is None
