"""A node's shot on the daemon: its session, the plate where the daemon cannot see it, and the annotations."""

from __future__ import annotations

import getpass
import hashlib
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from rotomem_client.errors import TransferError
from rotomem_nuke import host
from rotomem_nuke.collection import PropagationRequest
from rotomem_nuke.errors import GraphError, RenderCancelled
from rotomem_nuke.plate import file_of, frame_chunks
from rotomem_nuke.settings import Settings

if TYPE_CHECKING:
    from rotomem_client.client import Client

MAX_CLIENT_NAME = 100


class Shot:
    """Everything that the daemon must have before it can start a job. Worker threads only, as it waits.

    Args:
        folder: for rendered frames.
        say: told what is being done, for the status line.
        stopped: the artist asked to stop.
    """

    def __init__(
        self,
        request: PropagationRequest,
        folder: Path,
        *,
        say: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> None:
        self._request = request
        self._folder = folder
        self._say = say
        self._stopped = stopped

    def send(self, client: Client) -> None:
        """Bring the daemon's session up to what the graph holds.

        Raises:
            RenderCancelled: the artist asked to stop.
            PluginError: Nuke could not render what was asked for.
            ClientError: the daemon is away or refused a request.
        """
        from rotomem_client.messages import Plate

        plate = self._request.plate
        state = client.open_session(
            self._request.settings.session_id,
            Plate(
                first=plate.first,
                last=plate.last,
                pattern=plate.pattern,
                colourspace=plate.colourspace,
                width=plate.format.width,
                height=plate.format.height,
                pixel_aspect=plate.format.pixel_aspect,
            ),
            self._request.objects,
        )
        if not state.plate_visible:
            self._send_plate(client)
        self._send_annotations(client, {entry.object_name: entry.frames for entry in state.annotations})
        self._check_stop("sending annotations")

    def _send_plate(self, client: Client) -> None:
        plate = self._request.plate
        if plate.pattern:
            files = {frame: file_of(plate.pattern, frame) for frame in range(plate.first, plate.last + 1)}
            for frame, path in files.items():
                if not path.is_file():
                    raise GraphError(
                        f"frame {frame} of the plate is not on disk ({path}); render it or choose a custom frame range"
                    )
            self._say("sending the plate")
            self._upload(client, files)
            return
        for first, last in frame_chunks(plate.first, plate.last):
            self._check_stop("rendering the plate")
            self._say(f"rendering the plate, frame {first} of {plate.first}-{plate.last}")
            self._upload(client, host.on_main(partial(self._request.extract, self._folder, first, last)))

    def _upload(self, client: Client, files: dict[int, Path]) -> None:
        try:
            client.upload_frames(self._request.settings.session_id, files, cancelled=self._stopped)
        except TransferError:
            self._check_stop("sending the plate")
            raise

    def _send_annotations(self, client: Client, stored: dict[str, tuple[int, ...]]) -> None:
        session = self._request.settings.session_id
        drawn = {(annotation.object_name, annotation.frame) for annotation in self._request.annotations}
        for name, frames in stored.items():
            for frame in frames:
                if (name, frame) not in drawn:
                    client.remove_annotation(session, frame, name)
        for annotation in self._request.annotations:
            self._check_stop("sending annotations")
            self._say(f"sending {annotation.object_name} on frame {annotation.frame}")
            alpha: Optional[Path] = None
            if annotation.rendered_because:
                alpha = host.on_main(partial(self._request.render_alpha, self._folder, annotation))
            client.put_annotation(
                session,
                annotation.frame,
                annotation.object_name,
                shapes=annotation.shapes,
                alpha=alpha,
                absent=annotation.absent,
            )

    def _check_stop(self, doing: str) -> None:
        if self._stopped():
            raise RenderCancelled(f"stopped while {doing}")


def connect(settings: Settings) -> Client:
    """Return a client that has reached the daemon; the caller closes it.

    Raises:
        ClientError: nobody answers, or a daemon of another protocol.
    """
    from rotomem_client.client import Client

    client = Client(
        settings.endpoint,
        name=f"nuke {settings.name}"[:MAX_CLIENT_NAME],
        timeout_s=settings.timeout_s,
        client_id=writer_id(),
    )
    try:
        client.connect()
    except BaseException:
        client.close()
        raise
    return client


def writer_id() -> str:
    """Return who writes a session: the same artist on the same machine, also after Nuke was closed mid-job."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such account, as in a container
        login = ""
    return hashlib.sha256(f"{login}@{socket.gethostname()}".encode()).hexdigest()[:32]
