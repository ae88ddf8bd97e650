"""The part of ``nuke.rotopaint`` that the plugin reads, with the traps that probes of Nuke 17.1v1 found.

Evidence: shango/rotobridge ``test/golden/nuke_probe/17.1v1/*`` by file name; no code of it is here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

from nuke import _knobs
from nuke._session import session


class FlagType:
    # phase2/72_shape_attributes
    eOpenFlag = 5


class InterpolationType:
    # 63_key_interp_asymmetry: the key's field is the enum plus one.
    eStepInterpolationType = 0
    eLinearInterpolationType = 1
    eCubicInterpolationType = 2


class CVec3:
    """phase2/70_matrix_application: x, y, z and indices; tuple() works."""

    __slots__ = ("x", "y", "z")

    def __init__(self, x: float, y: float, z: float) -> None:
        self.x, self.y, self.z = float(x), float(y), float(z)

    def __getitem__(self, index: int) -> float:
        return (self.x, self.y, self.z)[index]

    def __len__(self) -> int:
        return 3


class AnimCurveKey:
    def __init__(self, time: float, value: float) -> None:
        self.time, self.value = float(time), float(value)
        self.interpolationType = InterpolationType.eCubicInterpolationType + 1


class AnimCurve:
    """21_hermite_tangent_semantics, phase2/71_point_keying: the default between keys is a curve, not a line.

    The measured numbers (190.766 and 162.277 at frame 5, 401.974 and 168.75 at 15) are those of a cubic Hermite with
    the chord of its neighbours as the slope of an inner key and natural ends; this gives them to three decimals.
    """

    def __init__(self, constant: float = 0.0) -> None:
        self.constantValue = constant
        self._keys: list[AnimCurveKey] = []

    def addKey(self, time: float, value: float) -> None:
        self._keys = sorted(
            [k for k in self._keys if k.time != time] + [AnimCurveKey(time, value)], key=lambda k: k.time
        )

    def getNumberOfKeys(self) -> int:
        return len(self._keys)

    def getKey(self, index: int) -> AnimCurveKey:
        return self._keys[index]

    def evaluate(self, time: float) -> float:
        keys = self._keys
        if not keys:
            return self.constantValue
        if time <= keys[0].time:
            return keys[0].value
        if time >= keys[-1].time:
            return keys[-1].value
        i = max(index for index, key in enumerate(keys) if key.time <= time)
        a, b = keys[i], keys[i + 1]
        span = b.time - a.time
        u = (time - a.time) / span
        if a.interpolationType == InterpolationType.eStepInterpolationType + 1:
            return a.value
        if a.interpolationType == InterpolationType.eLinearInterpolationType + 1:
            return a.value + u * (b.value - a.value)
        left, right = self._slopes(i)
        return (
            (2 * u**3 - 3 * u**2 + 1) * a.value
            + (u**3 - 2 * u**2 + u) * span * left
            + (3 * u**2 - 2 * u**3) * b.value
            + (u**3 - u**2) * span * right
        )

    def _slopes(self, i: int) -> tuple[float, float]:
        keys = self._keys
        chord = (keys[i + 1].value - keys[i].value) / (keys[i + 1].time - keys[i].time)

        def inner(j: int) -> float | None:
            if not 0 < j < len(keys) - 1:
                return None
            return (keys[j + 1].value - keys[j - 1].value) / (keys[j + 1].time - keys[j - 1].time)

        left, right = inner(i), inner(i + 1)
        if left is None and right is None:
            return chord, chord
        if left is None:
            return 1.5 * chord - 0.5 * float(right or 0.0), float(right or 0.0)
        if right is None:
            return left, 1.5 * chord - 0.5 * left
        return left, right


class AnimControlPoint:
    """``getPosition`` is before any transform (phase2/70_matrix_application).

    00_api_surface: ``getPosition(time, view)``, ``addPositionKey(time, position, view)``,
    ``getControlPointKeyTimes(view)``; the view may be left out, as the probes did. A view without curves of its own
    shares those of all.
    """

    def __init__(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
        self._axes = [AnimCurve(x), AnimCurve(y), AnimCurve(z)]
        self._split: dict[str, list[AnimCurve]] = {}

    def _of(self, view: str | None) -> list[AnimCurve]:
        if view is not None and view not in session.views:
            raise ValueError(f"no view named {view}")
        return self._split.get(view or "", self._axes)

    def getPosition(self, time: float, view: str | None = None) -> CVec3:
        return CVec3(*(axis.evaluate(time) for axis in self._of(view)))

    def setPosition(self, position: Any) -> None:
        for axis, value in zip(self._axes, position):
            axis.constantValue = float(value)

    def addPositionKey(self, time: float, position: Any, view: str | None = None) -> None:
        if view is not None:
            self._split.setdefault(view, copy.deepcopy(self._axes))
        for axis, value in zip(self._of(view), position):
            axis.addKey(time, float(value))

    def getControlPointKeyTimes(self, view: str | None = None) -> list[float]:
        return sorted({key.time for axis in self._of(view) for key in axis._keys})

    def getPositionAnimCurve(self, axis: int) -> AnimCurve:
        return self._axes[axis]


class ShapeControlPoint:
    """60_feather_attributes: exactly these six members."""

    __slots__ = (
        "center",
        "featherCenter",
        "featherLeftTangent",
        "featherRightTangent",
        "leftTangent",
        "rightTangent",
    )

    def __init__(self, x: float = 0.0, y: float = 0.0) -> None:
        self.center = AnimControlPoint(x, y, 1.0)
        for member in ShapeControlPoint.__slots__[1:]:
            setattr(self, member, AnimControlPoint())


class AnimAttributes:
    """01_attribute_names, 40_lifetime_defaults. Reading an unknown name creates it with 0.0 (research/nuke.md §2)."""

    def __init__(self, values: dict[str, float]) -> None:
        self._curves = {name: AnimCurve(value) for name, value in values.items()}
        self._stale = False

    def _check(self) -> None:
        session.check_thread("AnimAttributes")
        if self._stale:
            raise RuntimeError("these attributes belong to curves that were changed since")

    def __len__(self) -> int:
        return len(self._curves)

    def getName(self, index: int) -> str:
        names = list(self._curves)
        return names[index] if index < len(names) else ""  # phase2/76: '' past the end

    def getValue(self, time: float, name: str, view: str) -> float:
        self._check()
        if not isinstance(view, str):  # 62_uniform_feather
            raise TypeError("argument 3 must be str, not " + type(view).__name__)
        return self._curves.setdefault(name, AnimCurve(0.0)).evaluate(time)

    def getCurve(self, name: str, view: str) -> AnimCurve:
        self._check()
        return self._curves.setdefault(name, AnimCurve(0.0))

    def set(self, name: str, value: float) -> None:
        self._check()
        self._curves[name] = AnimCurve(float(value))


class CTransform:
    def __init__(self, matrix: list[float]) -> None:
        self._matrix = matrix

    def getMatrix(self) -> list[float]:
        """Sixteen floats, row-major, translation at 3 and 7 (phase2/70_matrix_application, 77_layer_transform)."""
        return list(self._matrix)


class AnimCTransform:
    """30_shape_transform_matrix: an untouched transform reports one key at 1, and ``isDefault()`` is False.

    00_api_surface: a view may be named throughout; the fake has one transform for all.
    """

    def __init__(self) -> None:
        self._parts = {
            "Translation": [AnimCurve(0.0), AnimCurve(0.0)],
            "Rotation": [AnimCurve(0.0), AnimCurve(0.0)],
            "Scale": [AnimCurve(1.0), AnimCurve(1.0)],
            "SkewX": [AnimCurve(0.0), AnimCurve(0.0)],
            "PivotPoint": [AnimCurve(0.0), AnimCurve(0.0)],
        }
        self._extra: list[float] | None = None

    def isDefault(self) -> bool:
        return False

    def _add(self, part: str, time: float, x: float, y: float) -> None:
        for axis, value in zip(self._parts[part], (x, y)):
            axis.addKey(time, value)

    def addTranslationKey(self, time: float, x: float, y: float, pressure: float) -> None:
        self._add("Translation", time, x, y)

    def addScaleKey(self, time: float, x: float, y: float, pressure: float) -> None:
        self._add("Scale", time, x, y)

    def _times(self, *parts: str) -> list[float]:
        keys = {key.time for part in parts for axis in self._parts[part] for key in axis._keys}
        return sorted(keys) or [1.0]

    def getTranslationKeyTimes(self, view: str | None = None) -> list[float]:
        return self._times("Translation")

    def getRotationKeyTimes(self, view: str | None = None) -> list[float]:
        return self._times("Rotation")

    def getScaleKeyTimes(self, view: str | None = None) -> list[float]:
        return self._times("Scale")

    def getSkewXKeyTimes(self, view: str | None = None) -> list[float]:
        return self._times("SkewX")

    def getPivotPointKeyTimes(self, view: str | None = None) -> list[float]:
        return self._times("PivotPoint")

    def getTransformKeyTimes(self, view: str | None = None) -> list[float]:
        return self._times(*self._parts)

    def evaluate(self, time: float, view: str | None = None) -> CTransform:
        if self._extra is not None:
            return CTransform(self._extra)
        tx, ty = (axis.evaluate(time) for axis in self._parts["Translation"])
        sx, sy = (axis.evaluate(time) for axis in self._parts["Scale"])
        return CTransform([sx, 0, 0, tx, 0, sy, 0, ty, 0, 0, 1, 0, 0, 0, 0, 1])


class Element:
    _attributes: dict[str, float] = {}  # noqa: RUF012

    def __init__(self, name: str) -> None:
        self.name = name
        self.locked = False
        self._attrs = AnimAttributes(dict(self._attributes))
        self._transform = AnimCTransform()
        self._flags: set[int] = set()

    def getAttributes(self) -> AnimAttributes:
        session.check_thread("rotopaint")
        return self._attrs

    def getTransform(self) -> AnimCTransform:
        session.check_thread("rotopaint")
        return self._transform

    def getVisible(self, time: float) -> bool:
        return self.getAttributes()._curves["vis"].evaluate(time) >= 0.5

    def setVisible(self, time: float, value: bool) -> None:
        self.getAttributes().set("vis", float(value))

    def getFlag(self, flag: int) -> bool:
        return flag in self._flags

    def setFlag(self, flag: int, value: bool) -> None:
        (self._flags.add if value else self._flags.discard)(flag)


class Shape(Element):
    """The defaults of 40_lifetime_defaults that matter here."""

    _attributes = {  # noqa: RUF012
        **dict.fromkeys(("vis", "r", "g", "b", "a", "opc", "mb", "fo", "ff", "str", "nv", "view1", "ltn", "ltm"), 1.0),
        **dict.fromkeys(("ro", "go", "bo", "ao", "bm", "inv", "mbo", "mbsot", "mbso", "fx", "fy", "ft"), 0.0),
        **dict.fromkeys(("osf", "src", "ltt", "tt", "pt"), 0.0),
        "osw": 10.0,
        "mbs": 0.5,
    }

    def __init__(self, knob: CurveKnob, *points: Any, type: str = "bezier") -> None:
        super().__init__("Shape1")
        # In a script of one view it is 1 (40_lifetime_defaults); that a shape is drawn in all views at first is an
        # assumption, on which the plugin must not depend.
        self._attrs.set("nv", float(len(session.views)))
        self._points = [ShapeControlPoint(*point) for point in points]
        self._type = type

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[ShapeControlPoint]:
        return iter(self._points)

    def __getitem__(self, index: int) -> ShapeControlPoint:
        return self._points[index]

    def append(self, point: ShapeControlPoint) -> None:
        """Copies: a handle on ``point`` says nothing about the shape afterwards (research/nuke.md §2 "Create")."""
        self._points.append(copy.deepcopy(point))

    def serialise(self) -> str:
        name = f"{{{self.name}}}" if " " in self.name else self.name
        return f"{{curvegroup {name} 512 {self._type}\n {{{{cc\n   {{f 8192}}}}}}}}"  # phase2/73_blend_mode_identity


class Stroke(Element):
    _attributes = {"vis": 1.0, "opc": 1.0, "bm": 0.0}  # noqa: RUF012

    def __init__(self, knob: CurveKnob) -> None:
        super().__init__("Brush1")


class Layer(Element):
    """phase2/76_layer_blend_semantics: a layer has no ``bm`` and no ``inv``."""

    _attributes = {  # noqa: RUF012
        **dict.fromkeys(("vis", "opc", "mb", "fo", "ff"), 1.0),
        **dict.fromkeys(("mbo", "fx", "fy", "ft", "pt"), 0.0),
    }

    def __init__(self, knob: CurveKnob) -> None:
        super().__init__("Layer1")
        self._elements: list[Element] = []

    def __iter__(self) -> Iterator[Element]:
        return iter(self._elements)

    def __len__(self) -> int:
        return len(self._elements)

    def __getitem__(self, index: int) -> Element:
        return self._elements[index]

    def append(self, element: Element) -> None:
        """phase2/76: copies into the tree; the passed object goes stale, re-fetch ``layer[len(layer) - 1]``."""
        self._elements.append(copy.deepcopy(element))

    def insert(self, index: int, element: Element) -> None:
        """00_api_surface: ``insert(index, element)``; it copies as ``append`` does."""
        self._elements.insert(index, copy.deepcopy(element))

    def remove(self, index: int) -> None:
        del self._elements[index]


class CurveKnob(_knobs.Knob):
    """q10/98_shape_to_shape: the root layer's first element is on top."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._root = Layer(self)
        self._root.name = "Root"

    @property
    def rootLayer(self) -> Layer:
        self._check()
        return self._root

    def changed(self) -> None:
        """Attribute handles taken before are dead afterwards (research/nuke.md §2 "Create")."""
        self._check()

        def renew(element: Element) -> None:
            attributes = element.getAttributes()
            element._attrs = copy.copy(attributes)
            attributes._stale = True
            for child in element if isinstance(element, Layer) else ():
                renew(child)

        renew(self._root)

    def toScript(self) -> str:
        self._check()
        key = f"{{curves {len(session.curve_scripts)}}}"
        session.curve_scripts[key] = copy.deepcopy(self._root)
        return key

    def fromScript(self, text: str) -> bool:
        self._check()
        self._root = copy.deepcopy(session.curve_scripts[text])
        return True


def render(knob: CurveKnob, frame: int, below: Any) -> Any:
    """Draw the tree's alpha over ``below`` (H, W), row 0 at the top; independent of how the plugin reads curves.

    Blends are q10/98_shape_to_shape's: pixel operations inside of the shape, on what lies below. The order of stacked
    transforms is an assumption (layer over shape); the plugin must not depend on it.
    """
    drawn: list[tuple[Shape, list[Element]]] = []

    def walk(layer: Layer, path: list[Element]) -> None:
        for element in layer:
            if not element.getVisible(frame):
                continue
            if isinstance(element, Layer):
                walk(element, [*path, element])
            elif isinstance(element, Shape):
                drawn.append((element, [*path, element]))

    walk(knob.rootLayer, [knob.rootLayer])
    alpha = below.copy()
    for shape, path in reversed(drawn):
        value = shape.getAttributes().getValue
        if len(session.views) > 1 and int(value(frame, "nv", "main")) == 1:
            # 01_attribute_names has nv and view1: a shape of one view names it. The numbering from 1 is an assumption;
            # the plugin must not depend on it.
            if session.views[int(value(frame, "view1", "main")) - 1] != session.view:
                continue
        kind, first, last = (value(frame, name, "main") for name in ("ltt", "ltn", "ltm"))
        if kind == 4 and not first <= frame <= last:
            continue
        coverage = _coverage(shape, path, frame, alpha.shape) * value(frame, "opc", "main")
        if value(frame, "inv", "main"):
            coverage = 1.0 - coverage
        alpha = alpha + coverage * (_blended(int(value(frame, "bm", "main")), alpha) - alpha)
    return alpha


def _blended(mode: int, below: Any) -> Any:
    if mode in (0, 1, 5):
        return 1.0
    if mode in (2, 4):
        return below
    if mode in (11, 13, 14):
        return abs(1.0 - below)
    if mode == 12:
        return below - 1.0
    if mode == 7:
        return below + 1.0
    raise NotImplementedError(f"blend mode {mode}")


def _coverage(shape: Shape, path: list[Element], frame: int, size: tuple[int, int]) -> Any:
    import numpy as np

    height, width = size
    scale, steps = 8, 32
    vertices = []
    points = list(shape._points)
    for here, there in zip(points, points[1:] + points[:1]):
        if any(abs(v) > 0 for v in tuple(here.featherCenter.getPosition(frame))[:2]):
            raise NotImplementedError("the fake's Roto draws no feather")
        view = session.view if len(session.views) > 1 else None
        a, b = here.center.getPosition(frame, view), there.center.getPosition(frame, view)
        right, left = here.rightTangent.getPosition(frame, view), there.leftTangent.getPosition(frame, view)
        corners = [(a.x, a.y), (a.x + right.x, a.y + right.y), (b.x + left.x, b.y + left.y), (b.x, b.y)]
        for step in range(steps):
            u = step / steps
            weights = ((1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u * u * (1 - u), u**3)
            x = math.fsum(w * corner[0] for w, corner in zip(weights, corners))
            y = math.fsum(w * corner[1] for w, corner in zip(weights, corners))
            for element in reversed(path):
                m = element._transform.evaluate(frame).getMatrix()
                x, y = m[0] * x + m[1] * y + m[3], m[4] * x + m[5] * y + m[7]
            vertices.append((x * scale, (height - y) * scale))
    return _filled(np.array(vertices), height * scale, width * scale).reshape(height, scale, width, scale).mean((1, 3))


def _filled(vertices: Any, height: int, width: int) -> Any:
    """Return (height, width) of 0 and 1: which sample centres lie inside of the polygon (even-odd)."""
    import numpy as np

    x0, y0 = vertices[:, 0], vertices[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    filled = np.zeros((height, width), np.float32)
    centres = np.arange(width) + 0.5
    for row in range(height):
        y = row + 0.5
        crossed = (y0 <= y) != (y1 <= y)
        if crossed.any():
            at = x0[crossed] + (y - y0[crossed]) / (y1[crossed] - y0[crossed]) * (x1[crossed] - x0[crossed])
            filled[row] = np.searchsorted(np.sort(at), centres) % 2
    return filled
