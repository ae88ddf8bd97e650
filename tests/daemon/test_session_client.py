"""Sessions over real sockets: two artists, a daemon that is killed in the middle, suggestions, and the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_process import DaemonProcess

from rotomem_client.client import Client
from rotomem_client.errors import JobFailedError, RefusedError
from rotomem_client.messages import AnnotatedFrames, FramesSuggested, MatteReady, Plate, Progress, SuggestedFrame
from rotomem_client.shapes import ControlPoint, Shape

LAST = 12


def triangle(x: float) -> list[Shape]:
    return [Shape("t", (ControlPoint((x, 0.0)), ControlPoint((4.0, 0.25)), ControlPoint((0.0, 4.0))))]


@pytest.fixture
def plate(tmp_path: Path) -> Plate:
    for frame in range(1, LAST + 1):
        (tmp_path / f"p.{frame:04d}.exr").write_bytes(os.urandom(10))
    return Plate(1, LAST, str(tmp_path / "p.%04d.exr"))


@pytest.fixture
def anna(shared_daemon: DaemonProcess) -> Iterator[Client]:
    with Client(shared_daemon.endpoint, timeout_s=20.0, client_id="anna", user="anna on ws12") as made:
        yield made


@pytest.fixture
def ben(shared_daemon: DaemonProcess) -> Iterator[Client]:
    with Client(shared_daemon.endpoint, timeout_s=20.0, user="ben on ws7") as made:
        yield made


def test_a_round_goes_on_through_a_killed_daemon_and_a_new_client(
    daemon: DaemonProcess, plate: Plate, tmp_path: Path
) -> None:
    with Client(daemon.endpoint, timeout_s=30.0, client_id="anna") as client:
        client.open_session("sh010", plate, ["hero"])
        for frame in (1, 4, 8, LAST):
            client.put_annotation("sh010", frame, "hero", shapes=triangle(0.5))
        client.propagate("sh010", 1, LAST, engine="copy").wait()
        client.put_annotation("sh010", 8, "hero", shapes=triangle(1.5))
        state = client.open_session("sh010", plate, ["hero"])
        assert state.stale == (7, 8, 9, 10), "frames of which 8 is the nearest annotated one"

        daemon.kill()
        restarted = DaemonProcess(tmp_path, endpoint=daemon.endpoint)
        try:
            assert client.open_session("sh010", plate, ["hero"]) == state, "the same client, reconnected"
            job = client.propagate("sh010", 1, LAST, engine="copy", focus=8)
            ready = {event.frame: event for event in job.events() if isinstance(event, MatteReady)}
            assert [frame for frame in sorted(ready) if ready[frame].made_revision == 5] == [7, 8, 9, 10]
            assert client.list_mattes("sh010", 5) == [ready[frame] for frame in range(1, LAST + 1)]
            assert client.undo_annotation("sh010").now == "shapes"
            client.rename_object("sh010", "hero", "anna")
            client.close()

            restarted.kill()
            again = DaemonProcess(tmp_path)
            with Client(again.endpoint, timeout_s=30.0, client_id="anna") as later:
                state = later.open_session("sh010", plate, ["anna"])
                assert state.annotations == (AnnotatedFrames("anna", (1, 4, 8, LAST)),)
                assert later.get_annotation("sh010", 8, "anna").shapes == tuple(triangle(0.5))
                assert "'hero' is now 'anna'" in state.stale_reason
                mattes = later.list_mattes("sh010", state.revision, older=True)
                assert [matte.frame for matte in mattes if matte.stale] == list(range(1, LAST + 1))
                fetched = later.fetch_matte(mattes[3], tmp_path / "fetched.exr")
                assert fetched.read_bytes() == Path(mattes[3].path).read_bytes()
            again.kill()
        finally:
            restarted.kill()


def test_two_artists_one_writer(anna: Client, ben: Client, plate: Plate, session: str) -> None:
    anna.open_session(session, plate, ["hero"])
    anna.put_annotation(session, 3, "hero", shapes=triangle(0.5))
    with pytest.raises(RefusedError, match=f"anna on ws12 writes session '{session}' since") as caught:
        ben.put_annotation(session, 4, "hero", shapes=triangle(0.5))
    assert caught.value.code == "CONFLICT"
    assert not ben.open_session(session, plate, ["hero"]).writing
    job = anna.propagate(session, 1, LAST, engine="copy")
    job.wait()
    assert len([event for event in ben.resume_job(job.id).events() if isinstance(event, MatteReady)]) == LAST

    assert ben.take_over(session).writing
    assert ben.put_annotation(session, 4, "hero", shapes=triangle(0.5)) == 2
    with pytest.raises(RefusedError, match="ben on ws7 writes"):
        anna.undo_annotation(session)


def test_a_client_that_closes_makes_room_at_once(
    shared_daemon: DaemonProcess, ben: Client, plate: Plate, session: str
) -> None:
    with Client(shared_daemon.endpoint, timeout_s=20.0) as first:
        first.open_session(session, plate, ["hero"])
        first.put_annotation(session, 3, "hero", shapes=triangle(0.5))
        with pytest.raises(RefusedError):
            ben.put_annotation(session, 4, "hero", shapes=triangle(0.5))
    # The goodbye and the next request come over two sockets.
    for _ in range(100):
        if not ben.open_session(session, plate, ["hero"]).writer:
            break
    assert ben.put_annotation(session, 4, "hero", shapes=triangle(0.5)) == 2


def test_suggestions_come_as_a_job(anna: Client, plate: Plate, session: str) -> None:
    anna.open_session(session, plate, ["hero"])
    anna.put_annotation(session, LAST, "hero", shapes=triangle(0.5))
    anna.propagate(session, 1, LAST, engine="copy").wait()
    job = anna.suggest_frames(session, 2)
    events = list(job.events())
    assert isinstance(events[0], Progress)
    found = (
        SuggestedFrame(11, 11 / LAST, f"{LAST} mattes seen"),
        SuggestedFrame(10, 10 / LAST, f"{LAST} mattes seen"),
    )
    assert events[-1] == FramesSuggested(job.id, found)
    assert job.wait_for_suggestions() == found
    assert anna.resume_job(job.id).wait_for_suggestions() == found, "told again to whoever asks later"


def test_a_suggestion_can_be_cancelled(anna: Client, plate: Plate, session: str) -> None:
    anna.open_session(session, Plate(1, 400, plate.pattern), ["hero"])
    job = anna.suggest_frames(session, 2, "slow")
    next(iter(job.events()))
    job.cancel()
    with pytest.raises(JobFailedError) as caught:
        job.wait_for_suggestions()
    assert caught.value.code == "CANCELLED"


def test_a_suggestion_is_taken_up_by_the_next_daemon(daemon: DaemonProcess, plate: Plate, tmp_path: Path) -> None:
    with Client(daemon.endpoint, timeout_s=30.0) as client:
        client.open_session("sh010", plate, ["hero"])
        job = client.suggest_frames("sh010", 1, "slow")
        next(iter(job.events()))
        daemon.kill()
        restarted = DaemonProcess(tmp_path, endpoint=daemon.endpoint)
        try:
            assert [each.frame for each in job.wait_for_suggestions()] == [LAST]
        finally:
            restarted.kill()


def test_the_store_is_listed_pruned_and_cleared(daemon: DaemonProcess, plate: Plate) -> None:
    with Client(daemon.endpoint, timeout_s=20.0) as client:
        client.open_session("sh010", plate, ["hero"])
        client.put_annotation("sh010", 3, "hero", shapes=triangle(0.5))
        for _ in range(2):
            client.propagate("sh010", 1, LAST, engine="copy", remake=True).wait()
        (listed,) = client.list_sessions()
        assert listed.session_id == "sh010"
        pruned = client.prune_store(0)
        assert (pruned.files, pruned.size * 2) == (LAST, listed.size)
        assert len(client.list_mattes("sh010", 1)) == LAST
        assert client.remove_session("sh010").files == LAST
        assert client.list_sessions() == []
