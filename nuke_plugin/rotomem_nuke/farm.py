"""Renders on a farm: which mattes a render needs, and the guard that stops one that lacks some. No daemon is asked.

A blade without the plugin shows the cached mattes, because the comp carries the node as a Group. With the plugin, the
guard ends a render before its first frame, with the node, the missing frames and the folder; the exit code is Nuke's 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Optional

from rotomem_nuke import host, staleness
from rotomem_nuke.cache import frames_on_disk
from rotomem_nuke.collection import views_of
from rotomem_nuke.errors import IncompleteError, PluginError
from rotomem_nuke.node import INTERNAL_READ, PLATE_INPUT, RotomemNode, is_rotomem

MAX_NODES = 2000
Range = tuple[int, int]

_guarded: dict[str, list[RotomemNode]] = {}
"""Of each Write being rendered, the nodes that it needs."""


def guard() -> None:
    """Called by Nuke before each render of a Write: the whole range, where Nuke tells it.

    Raises:
        IncompleteError: which Nuke prints, and ends the render.
    """
    if _is_none_of_ours():
        return
    write = host.this_node()
    nodes = [RotomemNode.of(node) for node in rotomem_nodes_above(write)]
    _guarded[write.fullName()] = nodes
    wanted = render_range(write)
    for rotomem in nodes:
        if not host.gui() and not rotomem.has_mattes:
            staleness.show_version(rotomem)  # a comp saved before its job ran
        if wanted is not None:
            assert_complete(rotomem, wanted)


def guard_frame() -> None:
    """Called by Nuke before each frame: what a script renders with ``nuke.execute`` has no range to ask for.

    Raises:
        IncompleteError: which ends the render at the first frame without its matte.
    """
    if _is_none_of_ours():
        return
    frame = host.frame()
    for rotomem in _guarded.get(host.this_node().fullName(), ()):
        first, last = expected_range(rotomem)
        if first <= frame <= last and missing_frames(rotomem, (frame, frame)):
            assert_complete(rotomem)


def render_range(write: host.Node) -> Optional[Range]:
    """Return the frames about to be rendered; None where Nuke does not tell.

    ``-F`` of the command line says so; without it ``nuke -x`` renders the Write's limit or the script's range.
    """
    words = host.command_line()
    told = frames_of_command_line(words)
    if told is not None or not {"-x", "-xi", "-X"} & set(words):
        return told
    if write["use_limit"].value():
        return int(write["first"].value()), int(write["last"].value())
    return int(float(host.value("root.first_frame"))), int(float(host.value("root.last_frame")))


def frames_of_command_line(arguments: Iterable[str]) -> Optional[Range]:
    """Return first and last of ``-F 1-10x2 -F 20``; None where there is no readable ``-F``."""
    words = list(arguments)
    frames: list[int] = []
    for flag, text in zip(words, words[1:]):
        if flag == "-F":
            for part in text.split("x")[0].replace(",", " ").split():
                first, _, last = part[1:].partition("-")
                try:
                    frames += [int(part[0] + first), int(last or part[0] + first)]
                except ValueError:
                    return None
    return (min(frames), max(frames)) if frames else None


def rotomem_nodes_above(node: host.Node) -> Iterator[host.Node]:
    """Yield every enabled Rotomem node that ``node`` depends on through inputs, in Groups and above Groups too."""
    pending, seen = [node], {node.fullName()}
    while pending and len(seen) < MAX_NODES:
        here = pending.pop()
        if is_rotomem(here) and not here["disable"].value() and here["view"].value() != "source":
            yield here
        found = [here.input(index) for index in range(here.inputs())]
        if here.Class() == "Group" and not is_rotomem(here):
            found += host.nodes_in(here)
        if here.Class() == "Input":
            found.append(host.parent_of(here))
        for above in found:
            if above is not None and above.fullName() not in seen:
                seen.add(above.fullName())
                pending.append(above)


def assert_complete(rotomem: RotomemNode, wanted: Optional[Range] = None) -> None:
    """Make sure that every matte of ``wanted`` is on disk.

    Args:
        wanted: first and last frame; None takes the node's own frame range. Outside of that no matte is expected.

    Raises:
        IncompleteError: with the node, the missing frames and the folder.
    """
    for view, missing in missing_frames(rotomem, wanted).items():
        folder = Path(rotomem.settings(view).mattes).parent.as_posix()
        raise IncompleteError(
            f"{rotomem.name}{f' ({view})' if view else ''} lacks {len(missing)} mattes in {folder}: "
            f"frames {format_frames(missing)}; propagate in Nuke, or run its exported job (rotomem job run)"
        )


def missing_frames(rotomem: RotomemNode, wanted: Optional[Range] = None) -> dict[str, list[int]]:
    """Return the frames of ``wanted`` without a matte, for each view that lacks one; no daemon is asked."""
    own = expected_range(rotomem)
    first, last = own if wanted is None else (max(own[0], wanted[0]), min(own[1], wanted[1]))
    found = {}
    for view in views_of(rotomem.settings()):
        there = set(frames_on_disk(rotomem.settings(view).mattes))
        missing = [frame for frame in range(first, last + 1) if frame not in there]
        if missing:
            found[view] = missing
    return found


def expected_range(rotomem: RotomemNode) -> Range:
    """Return the frames that the node wants mattes for, from its knobs and its input.

    Raises:
        PluginError: nothing is wired into the plate input.
    """
    settings = rotomem.settings()
    if settings.frame_range == "custom":
        return settings.first, settings.last
    if host.limits_handles() and rotomem.has_mattes:
        # By name it costs none of the ten handles; the internal Read covers the whole plate.
        read = f"{rotomem.name}.{INTERNAL_READ}"
        return int(float(host.value(f"{read}.first"))), int(float(host.value(f"{read}.last")))
    wired = rotomem.input(PLATE_INPUT)
    if wired is None:
        raise PluginError(f"{rotomem.name}: the plate input is not connected; wire the plate into 'img'")
    first, last = int(wired.firstFrame()), int(wired.lastFrame())
    if settings.frame_range == "global":
        first = max(first, int(float(host.value("root.first_frame"))))
        last = min(last, int(float(host.value("root.last_frame"))))
    return first, last


def expect_mattes(rotomem: RotomemNode) -> None:
    """Point the node at mattes that a farm will make, each missing one an error: for saving a comp beside its job."""
    settings = rotomem.settings(views_of(rotomem.settings())[0])
    first, last = expected_range(rotomem)
    with host.unrecorded():
        rotomem.show_mattes(settings.shown_mattes, first, last, last - first + 1, on_error="error")
        rotomem.show_status("exported; its mattes come from the farm")


def format_frames(frames: Iterable[int]) -> str:
    """Return ``1001-1003, 1007`` for sentences."""
    runs: list[list[int]] = []
    for frame in sorted(frames):
        if runs and runs[-1][1] == frame - 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _is_none_of_ours() -> bool:
    # The plugin's own renders need no mattes, and ten handles are too few to look around.
    return host.renders_for_plugin() or host.limits_handles()
