"""The real client against a real daemon over a real socket."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from daemon_process import DaemonProcess
from stand_in_runner import content_of

from rotomem_client.client import Client
from rotomem_client.errors import DaemonUnreachableError, JobFailedError, RefusedError, TransferError
from rotomem_client.jobs import Job
from rotomem_client.messages import (
    AnnotatedFrames,
    JobCancelled,
    JobFinished,
    MatteReady,
    Plate,
    Progress,
)
from rotomem_client.shapes import ControlPoint, Shape

TRIANGLE = Shape("t", (ControlPoint((0.5, 0.0)), ControlPoint((4.0, 0.25)), ControlPoint((0.0, 4.0))))
LAST = 6


@pytest.fixture
def client(shared_daemon: DaemonProcess):
    with Client(shared_daemon.endpoint, name="test", timeout_s=20.0) as made:
        yield made


@pytest.fixture
def files(tmp_path: Path) -> dict[int, Path]:
    """Plate frames of 1.5 MB each, all different but for the last two, and unlike those of any other test."""
    paths = {}
    salt = os.urandom(15)
    for frame in range(1, LAST + 1):
        paths[frame] = tmp_path / f"plate.{frame:04d}.exr"
        paths[frame].write_bytes((salt + bytes([min(frame, LAST - 1)])) * 93_750)
    return paths


def prepare(client: Client, files: dict[int, Path], session: str) -> None:
    """A session with its plate uploaded and one frame drawn."""
    client.open_session(session, Plate(1, LAST), ["hero"])
    client.upload_frames(session, files)
    client.put_annotation(session, 3, "hero", shapes=[TRIANGLE])


def test_the_welcome_says_what_the_daemon_can_do(daemon: DaemonProcess) -> None:
    with Client(daemon.endpoint, timeout_s=20.0) as client:
        welcome = client.connect()
        assert (welcome.protocol, welcome.default_engine, welcome.engines) == (2, "xmem", ("xmem", "warp", "copy"))
        assert client.ping() == "none"


def test_a_shot_goes_up_and_its_mattes_come_down(
    client: Client, files: dict[int, Path], tmp_path: Path, session: str
) -> None:
    state = client.open_session(session, Plate(1, LAST), ["hero"])
    assert not state.plate_visible
    told: list[tuple[int, int]] = []
    sent = client.upload_frames(session, files, on_progress=lambda done, total: told.append((done, total)))
    assert sent == 5 * 1_500_000, "the sixth frame equals the fifth and is not sent"
    assert told[-1] == (9_000_000, 9_000_000)
    assert told == sorted(told)
    assert client.upload_frames(session, files) == 0

    assert client.put_annotation(session, 3, "hero", shapes=[TRIANGLE]) == 1
    job = client.propagate(session, 1, LAST, engine="copy")
    assert job.revision == 1
    events = list(job.events())
    assert isinstance(events[-1], JobFinished)
    assert events[-1].warnings == ("frame 3: 2 NaN pixels were replaced",)
    assert job.wait() == events[-1]
    assert any(isinstance(event, Progress) for event in events)
    ready = [event for event in events if isinstance(event, MatteReady)]
    assert [(matte.frame, matte.annotated, matte.engine) for matte in ready] == [
        (frame, frame == 3, "copy") for frame in range(1, LAST + 1)
    ]
    for matte in ready:
        path = client.fetch_matte(matte, tmp_path / "out" / f"m.{matte.frame}.exr")
        assert path.read_bytes() == content_of(matte.frame, 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"m.{n}.exr" for n in range(1, LAST + 1)]

    state = client.open_session(session, Plate(1, LAST), ["hero"])
    assert state.plate_frames == state.mattes == tuple(range(1, LAST + 1))
    assert state.annotations == (AnnotatedFrames("hero", (3,)),)
    assert client.list_mattes(session, state.matte_revision) == ready
    assert Path(state.matte_pattern % 4).read_bytes() == content_of(4, 1)


def test_a_plate_that_the_daemon_can_read_needs_no_upload(
    client: Client, files: dict[int, Path], tmp_path: Path, session: str
) -> None:
    assert set(files) == set(range(1, LAST + 1))
    pattern = str(tmp_path / "plate.%04d.exr")
    assert client.open_session(session, Plate(1, LAST, pattern), ["hero"]).plate_visible
    assert not client.open_session(f"{session}_longer", Plate(1, LAST + 1, pattern), ["hero"]).plate_visible
    assert not client.open_session(f"{session}_relative", Plate(1, LAST, "plate.%04d.exr"), ["hero"]).plate_visible
    client.put_annotation(session, 3, "hero", absent=True)
    assert client.propagate(session, 1, LAST, engine="copy").wait().frames == tuple(range(1, LAST + 1))


def test_an_alpha_travels_like_a_frame(client: Client, files: dict[int, Path], session: str) -> None:
    client.open_session(session, Plate(1, LAST), ["hero"])
    assert client.put_annotation(session, 2, "hero", alpha=files[2]) == 1
    assert client.put_annotation(session, 2, "hero", alpha=files[2]) == 1
    assert client.put_annotation(session, 2, "hero", alpha=files[3]) == 2
    assert client.remove_annotation(session, 2, "hero") == 3


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ANNOTATION_RANGE", "frame 7 is annotated but the plate has frames 1-6"),
        ("ANNOTATION", "nothing is annotated"),
        ("PLATE_MISSING", "frame 1 of the plate was not uploaded"),
        ("SETTING", "the frame range 1-7 reaches outside the plate"),
        ("UNKNOWN_SESSION", "there is no session 'sh999'"),
        ("UNKNOWN_JOB", "propagate again"),
        ("MATTE_GONE", "no matte of frame 1 in revision 1"),
    ],
)
def test_refusals_have_a_code_and_a_sentence(
    client: Client, tmp_path: Path, code: str, words: str, session: str
) -> None:
    client.open_session(session, Plate(1, LAST), ["hero"])
    nowhere = MatteReady("0" * 32, session, 1, 1, "0" * 64, 5, "/m.exr", False, "warp")

    def provoke() -> None:
        if code == "ANNOTATION_RANGE":
            client.put_annotation(session, LAST + 1, "hero", shapes=[TRIANGLE])
        elif code == "ANNOTATION":
            client.propagate(session, 1, LAST)
        elif code == "PLATE_MISSING":
            client.put_annotation(session, 1, "hero", shapes=[TRIANGLE])
            client.propagate(session, 1, LAST)
        elif code == "SETTING":
            client.propagate(session, 1, LAST + 1)
        elif code == "UNKNOWN_SESSION":
            client.list_mattes("sh999", 1)
        elif code == "UNKNOWN_JOB":
            client.resume_job("0" * 32)
        else:
            client.fetch_matte(nowhere, tmp_path / "m.exr")

    with pytest.raises(RefusedError) as caught:
        provoke()
    assert caught.value.code == code
    assert words in str(caught.value)


def test_a_file_that_is_not_there_is_named_with_its_frame(client: Client, tmp_path: Path, session: str) -> None:
    client.open_session(session, Plate(1, LAST), ["hero"])
    with pytest.raises(TransferError, match=r"frame 4: cannot read .*gone\.exr: No such file"):
        client.upload_frames(session, {4: tmp_path / "gone.exr"})


def test_a_cancelled_upload_stops_and_the_next_one_goes_on(
    client: Client, files: dict[int, Path], session: str
) -> None:
    client.open_session(session, Plate(1, LAST), ["hero"])
    done = 0

    def note(bytes_done: int, _total: int) -> None:
        nonlocal done
        done = bytes_done

    with pytest.raises(TransferError, match="cancelled"):
        client.upload_frames(session, files, on_progress=note, cancelled=lambda: done >= 3_000_000)
    # Its last chunks may still be on their way, so the rest is at most what was missing.
    assert 0 < client.upload_frames(session, files) <= 7_500_000
    assert client.open_session(session, Plate(1, LAST), ["hero"]).plate_frames == tuple(files)


def test_cancelling_half_way_keeps_every_matte_already_made(
    client: Client, files: dict[int, Path], session: str
) -> None:
    client.open_session(session, Plate(1, 500, str(files[1])), ["hero"])
    client.put_annotation(session, 3, "hero", shapes=[TRIANGLE])
    job = client.propagate(session, 1, 500, engine="slow")
    made = []
    for event in job.events():
        if isinstance(event, MatteReady):
            made.append(event)
            if len(made) == 1:
                job.cancel()
    assert job.done
    with pytest.raises(JobFailedError) as caught:
        job.wait()
    assert caught.value.code == "CANCELLED"
    assert 1 <= len(made) < 500
    assert client.list_mattes(session, 1) == made


def test_jobs_wait_for_one_another_and_a_waiting_one_is_cancelled_at_once(
    client: Client, files: dict[int, Path], session: str
) -> None:
    client.open_session(session, Plate(1, 500, str(files[1])), ["hero"])
    client.put_annotation(session, 3, "hero", shapes=[TRIANGLE])
    first = client.propagate(session, 1, 500, engine="slow")
    second = client.propagate(session, 1, LAST, engine="copy")
    third = client.propagate(session, 1, LAST, engine="copy")
    second.cancel()
    *kept, end = second.events()  # a frame that the first job has made by now is kept
    assert end == JobCancelled(second.id, len(kept))
    assert len(kept) < LAST
    assert client.ping() == "busy"
    first.cancel()
    assert third.wait().frames == tuple(range(1, LAST + 1))
    assert isinstance(list(first.events())[-1], JobCancelled)


def test_a_second_job_on_a_revision_leaves_the_mattes_of_the_first_one_alone(
    client: Client, files: dict[int, Path], tmp_path: Path, session: str
) -> None:
    prepare(client, files, session)
    first = client.propagate(session, 1, 4, engine="copy")
    told = [event for event in first.events() if isinstance(event, MatteReady)]
    state = client.open_session(session, Plate(1, LAST), ["hero"])
    assert [Path(state.matte_pattern % matte.frame) for matte in told] == [Path(matte.path) for matte in told]

    second = client.propagate(session, 3, LAST, engine="copy")
    newer = [event for event in second.events() if isinstance(event, MatteReady)]
    assert not {matte.path for matte in told} & {matte.path for matte in newer}
    assert [event for event in client.resume_job(first.id).events() if isinstance(event, MatteReady)] == told
    assert client.list_mattes(session, 1) == [*told[:2], *newer]
    state = client.open_session(session, Plate(1, LAST), ["hero"])
    assert (state.mattes, state.matte_pattern) == (tuple(range(1, LAST + 1)), ""), "they lie in two folders"
    assert client.fetch_matte(told[3], tmp_path / "m.exr").read_bytes() == content_of(4, 1)


def test_events_can_be_read_by_turns_with_other_work(client: Client, files: dict[int, Path], session: str) -> None:
    prepare(client, files, session)
    job = client.propagate(session, 1, LAST, engine="slow")
    events = []
    while not job.done:
        events += list(job.events(timeout_s=0.01))
    assert isinstance(events[-1], JobFinished)
    assert [event.frame for event in events if isinstance(event, MatteReady)] == list(range(1, LAST + 1))


def test_another_client_takes_up_a_job_by_its_id(
    shared_daemon: DaemonProcess, files: dict[int, Path], session: str
) -> None:
    with Client(shared_daemon.endpoint, timeout_s=20.0) as first:
        prepare(first, files, session)
        job = first.propagate(session, 1, LAST, engine="slow")
        had = next(event.frame for event in job.events() if isinstance(event, MatteReady))
    with Client(shared_daemon.endpoint, timeout_s=20.0) as second:
        resumed = second.resume_job(job.id, have=[had])
        frames = [event.frame for event in resumed.events() if isinstance(event, MatteReady)]
    assert (had, frames) == (1, list(range(2, LAST + 1)))


def test_many_threads_may_call_one_client(client: Client, files: dict[int, Path], tmp_path: Path) -> None:
    sessions = [f"shot_{number}" for number in range(4)]
    fetched: dict[str, list[bytes]] = {}
    jobs: dict[str, Job] = {}

    def work(session: str) -> None:
        prepare(client, files, session)
        jobs[session] = client.propagate(session, 1, LAST, engine="copy")
        fetched[session] = [
            client.fetch_matte(event, tmp_path / session / f"{event.frame}.exr").read_bytes()
            for event in jobs[session].events()
            if isinstance(event, MatteReady)
        ]

    threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == {session: [content_of(frame, 1) for frame in range(1, LAST + 1)] for session in sessions}
    assert len({job.id for job in jobs.values()}) == 4


def test_a_download_takes_up_what_an_earlier_one_left(
    client: Client, files: dict[int, Path], tmp_path: Path, session: str
) -> None:
    prepare(client, files, session)
    job = client.propagate(session, 1, 1, engine="copy")
    ready = next(event for event in job.events() if isinstance(event, MatteReady))
    content = content_of(1, 1)
    part = tmp_path / f".m.exr.{ready.sha256[:12]}.part"
    part.write_bytes(content[:50_000])
    assert client.fetch_matte(ready, tmp_path / "m.exr").read_bytes() == content
    part.write_bytes(b"damaged" + content[7:50_000])
    assert client.fetch_matte(ready, tmp_path / "n.exr").read_bytes() == content
    assert client.fetch_matte(ready, tmp_path / "m.exr").read_bytes() == content
    assert not part.exists()


def test_a_folder_that_cannot_be_written_is_named(
    client: Client, files: dict[int, Path], tmp_path: Path, session: str
) -> None:
    prepare(client, files, session)
    job = client.propagate(session, 1, 1, engine="copy")
    ready = next(event for event in job.events() if isinstance(event, MatteReady))
    with pytest.raises(TransferError, match=r"cannot write the matte of frame 1 to .*plate\.0001\.exr"):
        client.fetch_matte(ready, files[1] / "m.exr")


def test_closing_frees_those_who_wait(daemon: DaemonProcess, files: dict[int, Path], session: str) -> None:
    client = Client(daemon.endpoint, timeout_s=20.0)
    prepare(client, files, session)
    job = client.propagate(session, 1, LAST, engine="deaf")
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            job.wait()
        except DaemonUnreachableError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    client.close()
    thread.join(30)
    assert "was closed" in str(raised[0])


def test_the_daemon_ends_cleanly_and_leaves_no_process(
    daemon: DaemonProcess, files: dict[int, Path], session: str
) -> None:
    with Client(daemon.endpoint, timeout_s=20.0) as client:
        prepare(client, files, session)
        job = client.propagate(session, 1, LAST, engine="slow")
        next(event for event in job.events() if isinstance(event, MatteReady))
        workers = daemon.worker_pids()
        assert len(workers) == 1
        assert daemon.stop() == 0
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)
