"""Knobs by the class that Nuke gives them. An attribute that is not here does not exist."""

from __future__ import annotations

import re
from typing import Any

from nuke._session import session


class Knob:
    """Base of all knobs. Bound to one node; reading and writing needs the main thread."""

    default: Any = ""

    def __init__(self, name: str, label: str = "") -> None:
        self._name = name
        self._label = label
        self._op: Any = None
        self._value: Any = self.default
        self._expression = ""
        self._enabled = True
        self._visible = True
        self._tooltip = ""
        self._keys: dict[float, Any] = {}

    def bind(self, op: Any) -> None:
        self._op = op

    def _check(self) -> None:
        session.check_thread(f"Knob({self._name})")
        if self._op is not None:
            self._op.check_attached()

    def name(self) -> str:
        self._check()
        return self._name

    def label(self) -> str:
        self._check()
        return self._label

    def tooltip(self) -> str:
        self._check()
        return self._tooltip

    def Class(self) -> str:
        return type(self).__name__

    def value(self) -> Any:
        self._check()
        if self._expression:
            return _expressions.evaluate(self._expression, self._op)
        if self._keys:
            return self._keys[max((time for time in self._keys if time <= session.frame), default=min(self._keys))]
        return self._value

    getValue = value

    def setValue(self, value: Any) -> bool:
        self._check()
        converted = self.convert(value)
        self._expression = ""
        if converted != self._value:
            self._value = converted
            if session.undo_depth == 0:
                session.undoable.append(f"{self._op.full_name}.{self._name}" if self._op else self._name)
            if self._op is not None:
                self._op.knob_changed(self)
        return True

    def convert(self, value: Any) -> Any:
        return value

    def setEnabled(self, enabled: bool) -> None:
        self._check()
        self._enabled = bool(enabled)

    def enabled(self) -> bool:
        self._check()
        return self._enabled

    def visible(self) -> bool:
        self._check()
        return self._visible

    def setVisible(self, visible: bool) -> None:
        self._check()
        self._visible = bool(visible)

    def error(self, message: str) -> None:
        self._check()
        self._op.errors.append(message)

    def to_script(self) -> str:
        return self._expression or str(self._keys or self._value)

    def from_script(self, text: str) -> None:
        """Set from .nk text; no callback runs."""
        stripped = text.strip()
        match = re.fullmatch(r'\{+"?([^{}"]*)"?\}+', stripped)
        if match:
            self._expression = match.group(1)
        elif stripped.startswith("{"):
            raise ValueError(f"{self._name}: the fake cannot read the curve {text!r}")
        else:
            self._value = self.parse(text)

    def parse(self, text: str) -> Any:
        return self.convert(text)


class String_Knob(Knob):
    def convert(self, value: Any) -> str:
        # Nuke's String knobs refuse anything that is not text.
        if not isinstance(value, str):
            raise TypeError(f"{self._name} takes a string, not {type(value).__name__}")
        return value

    def from_script(self, text: str) -> None:
        self._value = text


class EvalString_Knob(String_Knob):
    def evaluate(self) -> str | None:
        """Substitute TCL; None when empty (Foundry: "Evaluate the string, performing substitutions")."""
        self._check()
        return substitute(self._value, self._op) or None


class File_Knob(EvalString_Knob):
    def getEvaluatedValue(self) -> str | None:
        """TCL substituted, the frame pattern kept in ``%04d`` form."""
        self._check()
        text = substitute(self._value, self._op)
        return re.sub(r"#+", lambda hashes: f"%0{len(hashes.group())}d", text) or None


class Text_Knob(String_Knob):
    pass


class Multiline_Eval_String_Knob(EvalString_Knob):
    pass


class Array_Knob(Knob):
    """Numbers, which take keys: ``setAnimated`` first, as Foundry's Python guide ("Animation") does."""

    def setAnimated(self) -> bool:
        self._check()
        self._animated = True
        return True

    def clearAnimated(self) -> bool:
        self._check()
        self._keys = {}
        self._animated = False
        return True

    def isAnimated(self) -> bool:
        self._check()
        return getattr(self, "_animated", False)

    def setValueAt(self, value: Any, time: float) -> bool:
        self._check()
        if not getattr(self, "_animated", False):
            raise RuntimeError(f"{self._name} is not animated; the value would change on every frame")
        self._keys[float(time)] = self.convert(value)
        self._op.knob_changed(self)
        return True

    def getKeyList(self) -> list[float]:
        self._check()
        return sorted(self._keys)


class Int_Knob(Array_Knob):
    default = 0

    def convert(self, value: Any) -> int:
        return int(float(value))


class ColorChip_Knob(Int_Knob):
    """0xRRGGBBAA."""

    def parse(self, text: str) -> int:
        return int(text, 0)


class Double_Knob(Array_Knob):
    default = 0.0

    def convert(self, value: Any) -> float:
        return float(value)


class Boolean_Knob(Knob):
    default = False

    def convert(self, value: Any) -> bool:
        return bool(value)

    def parse(self, text: str) -> bool:
        if text not in ("true", "false", "0", "1"):
            raise ValueError(f"{self._name}: {text!r} is no boolean")
        return text in ("true", "1")


class Enumeration_Knob(Knob):
    def __init__(self, name: str, label: str = "", values: tuple[str, ...] = ()) -> None:
        super().__init__(name, label)
        self._values = values
        self._value = values[0] if values else ""

    def values(self) -> list[str]:
        self._check()
        return list(self._values)

    def setValues(self, values: list[str]) -> None:
        """The choice stays where its text is among the new ones; otherwise it becomes the first."""
        self._check()
        self._values = tuple(values)
        if self._value not in self._values:
            self._value = self._values[0]

    def getValue(self) -> float:
        """The index, where ``value()`` is the text (Foundry, Enumeration_Knob)."""
        return float(self._values.index(self.value()))

    def convert(self, value: Any) -> str:
        if isinstance(value, int):
            return self._values[value]
        if value not in self._values:
            raise ValueError(f"{self._name}: {value!r} is none of {self._values}")
        return str(value)


class Colorspace_Knob(String_Knob):
    """An enumeration whose entries depend on the OCIO configuration; any text here."""


class Channel_Knob(String_Knob):
    """One channel, or ``none``. A layer that no Read brought and nobody added does not exist (Foundry, nuke.Layer)."""

    default = "none"

    def convert(self, value: Any) -> str:
        text = super().convert(value)
        if text != "none" and text not in session.channels:
            raise ValueError(f"{self._name}: no channel named {text}")
        return text

    def from_script(self, text: str) -> None:
        self._value = self.convert(text)


class Mappings_Knob(Knob):
    """Shuffle2's pairs, as saved: a count, then for each channel in, its layer's and its own index, and out likewise.

    Evidence: a comp of Nuke 12 or later, ``mappings "4 rgba.red 0 0 rgba.red 0 0 ... white -1 -1 rgba.alpha 0 3"``.
    """

    default = ()

    def __init__(self) -> None:
        super().__init__("mappings")

    def convert(self, value: Any) -> tuple[tuple[str, str], ...]:
        return tuple((str(source), str(target)) for source, target in value)

    def from_script(self, text: str) -> None:
        count, *words = text.split()
        if len(words) != 6 * int(count):
            raise ValueError(f"mappings: {text!r} does not hold {count} pairs")
        self._value = tuple((words[at], words[at + 3]) for at in range(0, len(words), 6))


class Box_Knob(Knob):
    default = (0.0, 0.0, 0.0, 0.0)

    def parse(self, text: str) -> tuple[float, ...]:
        return self.convert(text.split())

    def convert(self, value: Any) -> tuple[float, ...]:
        numbers = tuple(float(v) for v in value)
        if len(numbers) != 4:
            raise TypeError(f"{self._name} takes x, y, r, t")
        return numbers


class BBox_Knob(Box_Knob, Array_Knob):
    """x, y, right, top (Foundry, BBox_Knob.value)."""


class XY_Knob(Array_Knob):
    """Two numbers; ``value()`` is a list of them (Foundry, XY_Knob)."""

    default = (0.0, 0.0)

    def parse(self, text: str) -> tuple[float, ...]:
        return self.convert(text.split())

    def convert(self, value: Any) -> tuple[float, ...]:
        x, y = value
        return float(x), float(y)


class Format:
    def __init__(self, width: int, height: int, pixel_aspect: float = 1.0, name: str = "") -> None:
        self._size = (width, height, pixel_aspect, name)

    def width(self) -> int:
        return self._size[0]

    def height(self) -> int:
        return self._size[1]

    def pixelAspect(self) -> float:
        return self._size[2]

    def name(self) -> str:
        return self._size[3]


class Format_Knob(Knob):
    default = Format(2048, 1556)

    def convert(self, value: Any) -> Format:
        if not isinstance(value, Format):
            raise TypeError(f"{self._name}: the fake takes Format objects only")
        return value


class Script_Knob(Knob):
    """A native button, such as a Read's ``reload``."""

    def execute(self) -> None:
        self._check()
        self._op.pressed.append(self._name)


class PyScript_Knob(Script_Knob):
    def __init__(self, name: str, label: str = "", command: str = "") -> None:
        super().__init__(name, label)
        self._command = command

    def command(self) -> str:
        return self._command

    def execute(self) -> None:
        """Run the button's code. In a Group its context is the inside of the Group: ``nuke.nodes.X`` lands there."""
        self._check()
        context = self._op if self._op.class_name == "Group" else self._op.parent
        session.run_script(self._command, self._op, self, context=context)


class Tab_Knob(Knob):
    pass


USER_KNOBS: dict[str, type[Knob]] = {
    "1": EvalString_Knob,
    "2": File_Knob,
    "3": Int_Knob,
    "4": Enumeration_Knob,
    "6": Boolean_Knob,
    "7": Double_Knob,
    "12": XY_Knob,
    "15": BBox_Knob,
    "20": Tab_Knob,
    "22": PyScript_Knob,
    "26": Text_Knob,
}
"""addUserKnob codes (research/nuke.md §3)."""

FLAGS = {"+STARTLINE", "-STARTLINE", "+INVISIBLE", "+HIDDEN", "+DISABLED", "+DO_NOT_WRITE"}


def user_knob(words: list[str]) -> Knob:
    """Build the knob of one ``addUserKnob {code name l LABEL t TIP M {…} T VALUE +FLAG}``."""
    code, name, *rest = words
    if code not in USER_KNOBS:
        raise ValueError(f"addUserKnob {name}: code {code} is not one that the fake knows")
    options: dict[str, str] = {}
    flags = []
    position = 0
    while position < len(rest):
        word = rest[position]
        if word in FLAGS:
            flags.append(word)
            position += 1
        elif word == "R":
            options[word] = " ".join(rest[position + 1 : position + 3])
            position += 3
        elif word in ("l", "t", "T", "M", "n"):
            options[word] = rest[position + 1]
            position += 2
        else:
            raise ValueError(f"addUserKnob {name}: {word!r} is neither an option nor a flag")
    kind = USER_KNOBS[code]
    label = options.get("l", name)
    if kind is Enumeration_Knob:
        knob: Knob = Enumeration_Knob(name, label, _list_words(options["M"]))
    elif kind is PyScript_Knob:
        knob = PyScript_Knob(name, label, options.get("T", ""))
    else:
        knob = kind(name, label)
        if kind is Text_Knob:
            knob._value = options.get("T", "")
    knob._tooltip = options.get("t", "")
    knob._enabled = "+DISABLED" not in flags
    knob._visible = "+INVISIBLE" not in flags and "+HIDDEN" not in flags
    return knob


def substitute(text: str, op: Any) -> str:
    """Evaluate ``[value parent.knob]``; any other TCL raises."""

    def replace(match: re.Match[str]) -> str:
        words = match.group(1).split()
        if len(words) != 2 or words[0] != "value":
            raise ValueError(f"the fake cannot evaluate [{match.group(1)}]")
        return str(_named(words[1], op).value())

    return re.sub(r"\[([^\]]*)\]", replace, text)


def _list_words(text: str) -> tuple[str, ...]:
    """Split a flat Tcl list of plain, quoted and braced words."""
    return tuple(
        quoted or braced or plain for quoted, braced, plain in re.findall(r'"([^"]*)"|\{([^}]*)\}|(\S+)', text)
    )


def _named(path: str, op: Any) -> Knob:
    node, _, knob = path.rpartition(".")
    if node == "parent":
        return op.parent.knob(knob)  # type: ignore[no-any-return]
    if node == "root":
        return session.root.knob(knob)  # type: ignore[no-any-return]
    beside = op.parent.find(node) if op.parent is not None else None
    if beside is not None:
        return beside.knob(knob)  # type: ignore[no-any-return]
    raise ValueError(f"the fake cannot resolve {path!r}")


from nuke import _expressions  # noqa: E402
