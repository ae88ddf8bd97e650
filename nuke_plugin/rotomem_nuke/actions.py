"""The node's buttons. Each takes the node that it was pressed on; scripts may call them too."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

from rotomem_nuke import host, roto
from rotomem_nuke.annotation import Drawing, alpha_renderer, read_drawing
from rotomem_nuke.errors import GraphError, PluginError
from rotomem_nuke.node import PLATE_INPUT, ROTO_INPUT, RotomemNode, Settings
from rotomem_nuke.plate import PlateSource, extractor, find_plate, upstream_of
from rotomem_nuke.propagation import Propagation, PropagationRequest, Report, explain, is_expected

log = logging.getLogger(__name__)

_running: dict[str, Run] = {}


class Run:
    """A propagation in progress, with the node that shows it."""

    def __init__(self, node: RotomemNode, request: PropagationRequest) -> None:
        self._node = node
        self._request = request
        self._stop = threading.Event()
        self._bar = host.ProgressBar(f"Rotomem: {request.settings.name}")
        self._last = Report("")
        self.finished = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def start(self) -> None:
        """Return at once where Nuke has a window; otherwise when the job ended."""
        _running[self._request.settings.node_uuid] = self
        if host.gui():
            threading.Thread(target=self._run_in_background, name="rotomem", daemon=True).start()
            return
        try:
            self._run()
        except Exception as error:
            self._fail(error)
            raise
        finally:
            self._forget()

    def _run_in_background(self) -> None:
        try:
            self._run()
        except Exception as error:  # a thread's last resort: the artist reads it on the node
            self._fail(error)
        finally:
            self._forget()

    def _run(self) -> None:
        self._end(Propagation(self._request, show=self._show, stopped=self._stopped).run())

    def _stopped(self) -> bool:
        return self._stop.is_set() or self._bar.cancelled

    def _show(self, report: Report) -> None:
        percent = 100 * report.done // max(1, report.total)
        self._bar.show(percent, report.sentence)
        if report.done != self._last.done:
            log.info("Progress: %d%%", percent)
        self._last = report
        host.later(lambda: _show_on_node(self._node, self._request, report))

    def _end(self, report: Report) -> None:
        self._show(report)
        log.info("%s: %s", self._request.settings.name, report.sentence)

    def _fail(self, error: Exception) -> None:
        if not is_expected(error):
            log.error("%s: propagation failed", self._request.settings.name, exc_info=error)
        self._end(replace(self._last, sentence=f"failed: {explain(error)}", reload=self._last.done > 0))

    def _forget(self) -> None:
        self._bar.close()
        _running.pop(self._request.settings.node_uuid, None)
        self.finished.set()


def propagate(node: host.Node) -> None:
    """Propagate what is drawn: in the background where Nuke has a window, otherwise until it is done.

    Raises:
        PluginError: without a window only; with one, the sentence is shown.
        ClientError: likewise.
    """
    try:
        rotomem = RotomemNode.of(node)
        if rotomem.identifier in _running:
            raise GraphError(f"{rotomem.name} is propagating already; press stop first")
        run = Run(rotomem, collect(rotomem))
    except PluginError as error:
        _refuse(node, error)
        return
    except ImportError as error:
        _refuse(node, PluginError(f"Python lacks {error.name}; install the plugin's wheels"))
        return
    run.start()


def stop(node: host.Node) -> None:
    """Stop the node's propagation after the frame it is at; finished mattes stay."""
    run = _running.get(RotomemNode.of(node).identifier)
    if run is not None:
        run.stop()


def rescan(node: host.Node) -> None:
    """Show which objects the Roto holds now."""
    rotomem = RotomemNode.of(node)
    drawn = rotomem.input(ROTO_INPUT)
    try:
        source = upstream_of(drawn) if drawn is not None else None
    except GraphError:
        source = None
    names = [found.name for found in roto.roto_objects(source)] if source is not None and roto.is_roto(source) else []
    rotomem.show_objects(names)


def is_running(node: host.Node) -> bool:
    return RotomemNode.of(node).identifier in _running


def collect(rotomem: RotomemNode) -> PropagationRequest:
    """Read the graph into plain values.

    Raises:
        GraphError: with the input, knob or frame that is wrong.
    """
    settings = rotomem.settings()
    wired = rotomem.input(PLATE_INPUT)
    if wired is None:
        raise GraphError("the plate input is not connected; wire the plate into 'img'")
    plate = find_plate(wired, settings.input_colour)
    first, last = _frame_range(settings, plate)
    drawing = read_drawing(rotomem.input(ROTO_INPUT), settings.annotated, plate)
    whole = plate
    plate = _needed_part(whole, settings, drawing, first, last)
    rotomem.show_objects(drawing.objects)
    for remark in drawing.remarks:
        log.warning("%s: %s", settings.name, remark)
    if plate.extracted_because:
        log.info("%s: the plate is rendered, for %s", settings.name, plate.extracted_because)
    folder = Path(tempfile.mkdtemp(prefix="rotomem-", dir=os.environ.get("NUKE_TEMP_DIR")))
    return PropagationRequest(
        settings=settings,
        plate=plate,
        objects=drawing.objects,
        annotations=drawing.annotations,
        remarks=drawing.remarks,
        first=first,
        last=last,
        shown_first=whole.first,
        shown_last=whole.last,
        folder=folder,
        extract=extractor(wired, folder),
        render_alpha=alpha_renderer(drawing, plate, folder),
    )


def _frame_range(settings: Settings, plate: PlateSource) -> tuple[int, int]:
    if settings.frame_range == "custom":
        first, last = settings.first, settings.last
    elif settings.frame_range == "global":
        first, last = int(float(host.value("root.first_frame"))), int(float(host.value("root.last_frame")))
    else:
        first, last = plate.first, plate.last
    if last < first:
        raise GraphError(f"the frame range {first}-{last} ends before it begins; correct 'frame range'")
    if first < plate.first or last > plate.last:
        if settings.frame_range == "custom":
            raise GraphError(
                f"the frame range {first}-{last} reaches outside of the plate ({plate.first}-{plate.last}); "
                "correct 'frame range'"
            )
        first, last = max(first, plate.first), min(last, plate.last)
        if last < first:
            raise GraphError("the script's frame range does not meet the plate's; correct 'frame range'")
    return first, last


def _needed_part(plate: PlateSource, settings: Settings, drawing: Drawing, first: int, last: int) -> PlateSource:
    """Cut the plate to what the range, its handles and the annotations need: no other frame is rendered or sent."""
    frames = [annotation.frame for annotation in drawing.annotations]
    return replace(
        plate,
        first=max(plate.first, min([first - settings.handles, *frames])),
        last=min(plate.last, max([last + settings.handles, *frames])),
    )


def _show_on_node(node: RotomemNode, request: PropagationRequest, report: Report) -> None:
    if not node.attached:  # deleted meanwhile; an undo finds the mattes in the cache
        return
    with host.unrecorded():
        node.show_status(report.sentence)
        if report.engine:
            node.show_engine(report.engine)
        if report.reload and report.on_disk:
            node.show_mattes(
                request.settings.mattes,
                min(request.shown_first, report.on_disk[0]),
                max(request.shown_last, report.on_disk[-1]),
                len(report.on_disk),
                on_error="error" if report.complete else "black",
            )


def _refuse(node: host.Node, error: PluginError) -> None:
    """Tell why nothing starts: a message to whoever just pressed the button, an exception to a script."""
    if not host.gui():
        raise error
    if "status" in node.knobs():
        node["status"].setValue(f"failed: {error}")
    host.show_message(f"Rotomem: {error}")
