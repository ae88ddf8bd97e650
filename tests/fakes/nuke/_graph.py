"""Nodes: ``Op`` is what exists in the script, ``Node`` the Python handle on it."""

from __future__ import annotations

import copy
from typing import Any

from nuke import _knobs
from nuke._session import session

_HOLD = ("hold", "loop", "bounce", "black")


_DEFAULTS = {
    "Copy": {"channels": "none"},
    "FilterErode": {"channels": "rgb"},
    "Blur": {"channels": "all"},
}


def _common() -> list[_knobs.Knob]:
    texts = ("onCreate", "onDestroy", "knobChanged", "updateUI", "autolabel", "label", "xpos", "ypos")
    return [
        _knobs.String_Knob("name"),
        _knobs.Boolean_Knob("disable"),
        _knobs.Boolean_Knob("selected"),
        _knobs.ColorChip_Knob("tile_color"),
        *(_knobs.Multiline_Eval_String_Knob(name) for name in texts),
    ]


def _own_knobs(class_name: str) -> list[_knobs.Knob]:
    from nuke import rotopaint

    k = _knobs
    table: dict[str, list[_knobs.Knob]] = {
        "Read": [
            k.File_Knob("file"),
            k.Enumeration_Knob("file_type", "", ("", "exr", "png", "dpx", "tiff", "jpeg", "mov")),
            *(k.Int_Knob(name) for name in ("first", "last", "origfirst", "origlast")),
            k.Boolean_Knob("origset"),
            k.Enumeration_Knob("before", "", _HOLD),
            k.Enumeration_Knob("after", "", _HOLD),
            k.Enumeration_Knob("frame_mode", "", ("expression", "start at", "offset")),
            k.String_Knob("frame"),
            k.Enumeration_Knob("on_error", "", ("error", "black", "checkerboard", "nearest frame")),
            k.Boolean_Knob("raw"),
            k.Colorspace_Knob("colorspace"),
            k.Script_Knob("reload"),
        ],
        "Write": [
            k.File_Knob("file"),
            k.Enumeration_Knob("file_type", "", ("", "exr", "png", "tiff")),
            k.Enumeration_Knob("channels", "", ("rgb", "rgba", "alpha", "all")),
            k.Boolean_Knob("raw"),
            k.Boolean_Knob("use_limit"),
            *(k.Int_Knob(name) for name in ("first", "last")),
        ],
        "Crop": [k.Box_Knob("box"), k.Boolean_Knob("reformat"), k.Boolean_Knob("crop")],
        "Copy": [
            *(k.Channel_Knob(f"{end}{index}") for index in range(4) for end in ("from", "to")),
            k.String_Knob("channels"),
        ],
        "Shuffle2": [*(k.String_Knob(name) for name in ("fromInput1", "fromInput2", "in1", "out1")), k.Mappings_Knob()],
        "FilterErode": [
            k.String_Knob("channels"),
            k.Double_Knob("size"),
            k.Enumeration_Knob("filter", "", ("box", "gaussian")),
        ],
        "Blur": [k.String_Knob("channels"), k.Double_Knob("size")],
        "Expression": [k.String_Knob(f"expr{index}") for index in range(4)],
        "Assert": [k.Double_Knob("expression"), k.EvalString_Knob("message")],
        "Switch": [k.Double_Knob("which")],
        "Dot": [],
        "NoOp": [],
        "Grade": [k.Double_Knob("multiply"), k.Enumeration_Knob("channels", "", ("rgb", "rgba", "alpha"))],
        "Input": [k.Int_Knob("number")],
        "Output": [],
        "Group": [],
        "Root": [
            k.Int_Knob("first_frame"),
            k.Int_Knob("last_frame"),
            k.Boolean_Knob("proxy"),
            k.String_Knob("workingSpaceLUT"),
        ],
    }
    for roto in ("Roto", "RotoPaint"):
        if class_name == roto:
            return [
                rotopaint.CurveKnob("curves"),
                k.Enumeration_Knob("output", "", ("alpha", "rgba", "rgb")),
                k.Format_Knob("format"),
            ]
    if class_name not in table:
        raise RuntimeError(f"{class_name}: Unknown command")  # what Nuke says of a class that it does not know
    return table[class_name]


class Op:
    """One node of the script."""

    def __init__(self, class_name: str, name: str, parent: Any) -> None:
        self.class_name = class_name
        self.parent = parent
        self.inputs: dict[int, Op] = {}
        self.children: list[Op] = []
        self.knobs: dict[str, _knobs.Knob] = {}
        self.attached = True
        self.pressed: list[str] = []
        self.errors: list[str] = []
        for knob in [*_common(), *_own_knobs(class_name)]:
            self._add(knob)
        self.knobs["crop" if class_name == "Crop" else "name"]._value = True if class_name == "Crop" else ""
        if class_name == "Grade":
            self.knobs["multiply"]._value = 1.0
        for knob_name, default in _DEFAULTS.get(class_name, {}).items():
            self.knobs[knob_name]._value = default
        if class_name == "Root":
            self.knobs["name"]._value = ""
            self.knobs["first_frame"]._value, self.knobs["last_frame"]._value = 1, 100
        self.name = ""
        if class_name != "Root":
            parent.children.append(self)
        if name:
            self.rename(name)

    def _add(self, knob: _knobs.Knob) -> None:
        knob.bind(self)
        self.knobs[knob._name] = knob

    def add_user_knob(self, words: list[str]) -> None:
        knob = _knobs.user_knob(words)
        if knob._name in self.knobs:
            raise ValueError(f"knob {knob._name} exists already")
        self._add(knob)

    def rename(self, name: str) -> None:
        """Take ``name`` or, as Nuke does, the next free number after it."""
        taken = {child.name for child in self.parent.children if child is not self} if self.parent else set()
        stem = name.rstrip("0123456789") or name
        number = 1
        while name in taken:
            name, number = f"{stem}{number}", number + 1
        self.name = name
        self.knobs["name"]._value = name

    @property
    def full_name(self) -> str:
        if self.parent is None:
            return "root"
        above = "" if self.parent.parent is None else self.parent.full_name + "."
        return above + self.name

    def check_attached(self) -> None:
        if not self.attached:
            raise ValueError("A PythonObject is not attached to a node")

    def knob(self, name: str) -> _knobs.Knob:
        if name not in self.knobs:
            raise NameError(f"knob {name} does not exist")
        return self.knobs[name]

    def knob_changed(self, knob: _knobs.Knob) -> None:
        """research/nuke.md §2 "Callbacks": 17.1 documents any change, also by scripts and with the panel closed."""
        if knob._name == "file_type" and self.class_name == "Write" and knob._value == "exr":
            for name, values in (
                ("datatype", ("16 bit half", "32 bit float")),
                ("compression", ("none", "Zip (1 scanline)", "Zip (16 scanlines)")),
            ):
                if name not in self.knobs:
                    self._add(_knobs.Enumeration_Knob(name, "", values))
        session.knob_changes.append(f"{self.full_name}.{knob._name}")
        self.run("knobChanged", knob)

    def run(self, callback: str, knob: Any = None) -> None:
        session.run_script(str(self.knobs[callback]._value), self, knob, context=self.parent or self)

    def delete(self) -> None:
        self.run("onDestroy")
        self.attached = False
        self.parent.children.remove(self)
        for other in self.parent.children:
            other.inputs = {index: op for index, op in other.inputs.items() if op is not self}

    def duplicate(self) -> Op:
        """Copy and paste: every knob, hidden ones included; ``onCreate`` runs on the copy."""
        parent, self.parent = self.parent, None
        inputs, self.inputs = self.inputs, {}
        try:
            twin = copy.deepcopy(self)
        finally:
            self.parent, self.inputs = parent, inputs
        twin.parent = parent
        twin.rename(self.name)
        parent.children.append(twin)
        twin.run("onCreate")
        return twin

    def find(self, path: str) -> Op | None:
        head, _, rest = path.partition(".")
        for child in self.children:
            if child.name == head:
                return child.find(rest) if rest else child
        return None


class Node:
    """What Nuke hands to Python. Any attribute not defined here does not exist."""

    __slots__ = ("_op",)

    def __init__(self, op: Op) -> None:
        self._op = op

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            session.check_thread(f"Node.{name}")
            object.__getattribute__(self, "_op").check_attached()
        return object.__getattribute__(self, name)

    def __getitem__(self, name: str) -> _knobs.Knob:
        session.check_thread("Node[]")
        self._op.check_attached()
        return self._op.knob(name)

    def __enter__(self) -> Node:
        if self._op.class_name not in ("Group", "Root"):
            raise RuntimeError(f"{self._op.full_name} is not a group")
        session.context.append(self._op)
        return self

    def __exit__(self, *exception: object) -> None:
        session.context.pop()

    def Class(self) -> str:
        return self._op.class_name

    def name(self) -> str:
        return self._op.name

    def fullName(self) -> str:
        return self._op.full_name

    def setName(self, name: str) -> None:
        self._op.rename(name)
        self._op.knob_changed(self._op.knobs["name"])

    def knobs(self) -> dict[str, _knobs.Knob]:
        return dict(self._op.knobs)

    def knob(self, name: str) -> _knobs.Knob | None:
        return self._op.knobs.get(name)

    def writeKnobs(self, flags: int) -> str:
        """A Tcl list of names and values (Foundry, Node.writeKnobs); hidden ones and positions included."""
        from nuke import TO_SCRIPT, WRITE_NON_DEFAULT_ONLY

        if flags != TO_SCRIPT | WRITE_NON_DEFAULT_ONLY:
            raise ValueError("the fake writes TO_SCRIPT | WRITE_NON_DEFAULT_ONLY only")
        changed = (knob for knob in self._op.knobs.values() if knob._value != type(knob).default or knob._keys)
        return " ".join(f"{knob._name} {{{knob.to_script()}}}" for knob in changed)

    def inputs(self) -> int:
        return max(self._op.inputs, default=-1) + 1

    def input(self, index: int) -> Node | None:
        return session.handle(self._op.inputs.get(index))  # type: ignore[no-any-return]

    def setInput(self, index: int, node: Node | None) -> bool:
        if node is None:
            self._op.inputs.pop(index, None)
            return True
        if node._op.parent is not self._op.parent:
            raise RuntimeError(f"{node._op.full_name} and {self._op.full_name} are in different groups")
        self._op.inputs[index] = node._op
        self._op.knob_changed(_knobs.Knob("inputChange"))
        return True

    def node(self, name: str) -> Node | None:
        if self._op.class_name not in ("Group", "Root"):
            raise AttributeError("node")
        return session.handle(self._op.find(name))  # type: ignore[no-any-return]

    def nodes(self) -> list[Node]:
        """The nodes directly inside of a Group; non-commercial: as many as there are handles left."""
        found = (session.handle(child) for child in self._op.children)
        return [node for node in found if node is not None]

    def xpos(self) -> int:
        return int(self._op.knobs["xpos"]._value or 0)

    def ypos(self) -> int:
        return int(self._op.knobs["ypos"]._value or 0)

    def setXYpos(self, x: int, y: int) -> None:
        self._op.knobs["xpos"]._value, self._op.knobs["ypos"]._value = str(x), str(y)

    def showControlPanel(self) -> None:
        if not session.gui:
            raise RuntimeError("panels exist with a GUI only")
        session.panels.append(self._op.full_name)

    def format(self) -> _knobs.Format:
        from nuke import _images

        return _images.format_of(self._op)

    def firstFrame(self) -> int:
        return _range(self._op)[0]

    def lastFrame(self) -> int:
        return _range(self._op)[1]


def _range(op: Op) -> tuple[int, int]:
    while op.class_name != "Read":
        if 0 not in op.inputs:
            root = session.root.knobs
            return root["first_frame"]._value, root["last_frame"]._value
        op = op.inputs[0]
    return op.knobs["first"]._value, op.knobs["last"]._value
