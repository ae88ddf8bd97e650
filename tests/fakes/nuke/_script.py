"""Reading .gizmo and .nk text with a real Tcl interpreter (research/nuke.md §4, L3)."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from nuke._session import session

# Everything but `set` and `list` is hidden; any other command is a node or a directive, reported as hex-encoded words.
PROGRAM = r"""
set out {}
set tokens 0
proc emit {args} {
    foreach word $args { append ::out [binary encode hex [encoding convertto utf-8 $word]] "." }
    append ::out "\n"
}
proc collect {name args} {
    if {$name eq "stack"} { emit stack [incr ::tokens] [lindex $args 0]; return $::tokens }
    if {$name in {push end_group version add_layer}} { emit $name {*}$args; return }
    if {[llength $args] != 1} { error "node $name has [llength $args] bodies" }
    set body [lindex $args 0]
    if {[llength $body] % 2} { error "node $name has a knob without a value" }
    emit node $name
    foreach {key value} $body {
        if {$key eq "addUserKnob"} { emit user {*}$value } else { emit knob $key $value }
    }
    emit end
}
interp create -safe box
foreach command [box eval {info commands}] {
    if {$command ni {set list}} { box hide $command }
}
box alias unknown collect
box eval $script
set out
"""


class NoTclError(Exception):
    """Neither tkinter nor tclsh is installed."""


def tcl_commands(text: str) -> list[list[str]]:
    """Return the commands of a script: ``["node", "Read"]``, ``["knob", "first", "1"]``, ``["user", "20", ...]``, …

    Raises:
        NoTclError: no interpreter on this machine.
        ValueError: the text is not what Tcl accepts.
    """
    output = tcl_text(text)
    lines = (line for line in output.splitlines() if line)
    return [[bytes.fromhex(word).decode() for word in line.split(".")[:-1]] for line in lines]


def tcl_text(text: str) -> str:
    """Run ``PROGRAM`` over ``text`` in tkinter's interpreter, or in tclsh where Python has none."""
    try:
        import tkinter
    except ImportError:
        return _with_tclsh(text)
    interpreter = tkinter.Tcl()
    interpreter.setvar("script", text)
    try:
        return str(interpreter.eval(PROGRAM))
    except tkinter.TclError as error:
        raise ValueError(str(error)) from error


def _with_tclsh(text: str) -> str:
    tclsh = shutil.which("tclsh") or shutil.which("tclsh8.6")
    if tclsh is None:
        raise NoTclError("neither tkinter nor tclsh is installed")
    encoded = text.encode().hex()
    head = f"set script [encoding convertfrom utf-8 [binary decode hex {encoded}]]\n"
    done = subprocess.run([tclsh], input=head + PROGRAM + "\nputs $out\n", capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise ValueError(done.stderr.strip())
    return done.stdout.rstrip("\n") + "\n"


def load(text: str, parent: Any) -> list[Any]:
    """Build the nodes of a script inside ``parent``; return the top-level ones.

    Stack rule (research/nuke.md §3): the top of the stack becomes input 0, the next input 1.
    """
    from nuke import _graph

    made: list[Any] = []
    frames: list[tuple[Any, list[Any]]] = [(parent, [])]
    tokens: dict[str, Any] = {}
    op: Any = None
    pending: list[tuple[str, str]] = []
    for command, *words in tcl_commands(text):
        group, stack = frames[-1]
        if command == "node":
            op = _graph.Op(words[0], "", group)
            pending = []
        elif command == "user":
            op.add_user_knob(words)
        elif command == "knob":
            pending.append((words[0], words[1]))
        elif command == "end":
            count = _apply(op, pending)
            if group is parent:
                made.append(op)
            for index in range(count):
                if stack:
                    op.inputs[index] = stack.pop()
            if op.class_name != "Output":
                stack.append(op)
            if op.class_name == "Group":
                frames.append((op, []))
        elif command == "end_group":
            if len(frames) == 1:
                raise ValueError("end_group without a Group")
            frames.pop()
        elif command == "add_layer":
            session.channels.update(words[0].split()[1:])
        elif command == "stack":
            tokens[words[0]] = stack[-1 - int(words[1])]
        elif command == "push":
            stack.append(tokens.get(words[0]))
    if len(frames) != 1:
        raise ValueError("a Group is not closed by end_group")
    return made


def _apply(op: Any, pairs: list[tuple[str, str]]) -> int:
    count = 0 if op.class_name in ("Input", "Read", "Constant") else 1
    if op.class_name == "Group":
        count = 0
    for key, value in pairs:
        if key == "inputs":
            count = int(value.split("+")[0])
        elif key == "name":
            op.rename(value)
        else:
            op.knob(key).from_script(value)
    if not op.name:
        op.rename(op.class_name + "1")
    return count
