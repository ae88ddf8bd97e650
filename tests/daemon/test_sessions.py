"""Sessions as clients see them: history, undo, objects, stale mattes, one writer, what is stored and what is pruned."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk

from rotomem.daemon.schema import TABLES
from rotomem.daemon.writers import IDLE_S, RETURN_S
from rotomem.session.shot import PropagationTask
from rotomem.session.suggest import SuggestionTask
from rotomem_client.messages import (
    AnnotatedFrames,
    AnnotationContent,
    AnnotationStored,
    AnnotationUndone,
    Chunk,
    ErrorReply,
    FrameOffer,
    FramesWanted,
    GetAnnotation,
    Goodbye,
    JobAccepted,
    JobFinished,
    ListMattes,
    ListSessions,
    MatteList,
    MatteReady,
    MattesOfRevision,
    ObjectsStored,
    OfferFrames,
    OpenSession,
    Plate,
    Propagate,
    PruneStore,
    PutAnnotation,
    RedoAnnotation,
    RemoveAnnotation,
    RemoveObject,
    RemoveSession,
    RenameObject,
    SessionList,
    SessionState,
    SetObjects,
    StorePruned,
    SuggestFrames,
    TakeOver,
    UndoAnnotation,
)
from rotomem_client.shapes import ControlPoint, Shape

ANNA, BEN = b"anna's connection", b"ben's connection"
LAST = 30


def triangle(x: float) -> tuple[Shape, ...]:
    return (Shape("t", (ControlPoint((x, 0.0)), ControlPoint((4.0, 0.25)), ControlPoint((0.0, 4.0)))),)


def put(frame: int, x: float = 0.5, name: str = "hero", base: int | None = None) -> PutAnnotation:
    return PutAnnotation("sh010", frame, name, triangle(x), base_revision=base)


@pytest.fixture
def plate(tmp_path: Path) -> Plate:
    """A plate on shared storage: files that can be read, whatever is in them."""
    for frame in range(1, LAST + 1):
        (tmp_path / f"p.{frame:04d}.exr").write_bytes(b"plate")
    return Plate(1, LAST, str(tmp_path / "p.%04d.exr"))


@pytest.fixture
def desk(tmp_path: Path, plate: Plate) -> Iterator[Desk]:
    made = Desk(tmp_path / "store")
    made.connect(ANNA, "c1", "anna on ws12")
    made.ask(ANNA, OpenSession("sh010", plate, ("hero", "car")), SessionState)
    yield made
    made.close()


def opened(desk: Desk, peer: bytes = ANNA) -> SessionState:
    """Return the session's state; opening it as it is changes nothing."""
    row = desk.store.session("sh010")
    return desk.ask(peer, OpenSession("sh010", row.plate, row.objects), SessionState)


def drawn(desk: Desk, frame: int, name: str = "hero") -> AnnotationContent:
    return desk.ask(ANNA, GetAnnotation("sh010", frame, name), AnnotationContent)


def propagated(desk: Desk, **settings: object) -> list[int]:
    """Run a propagation of the whole plate; return the frames that had to be made."""
    request = Propagate("sh010", 1, LAST, engine="warp", **settings)  # type: ignore[arg-type]
    return desk.run(desk.ask(ANNA, request, JobAccepted).job_id)


def edits(desk: Desk, *requests: PutAnnotation | RemoveAnnotation) -> None:
    for request in requests:
        desk.ask(ANNA, request, AnnotationStored)


# --- annotations ------------------------------------------------------------------------------------------------------


def test_undo_goes_back_step_by_step_and_redo_forth_again(desk: Desk) -> None:
    edits(desk, put(5, 0.5), put(5, 1.5), RemoveAnnotation("sh010", 5, "hero"), put(9))
    told = [desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone) for _ in range(4)]
    assert [(each.frame, each.object_name, each.now) for each in told] == [
        (9, "hero", "none"),
        (5, "hero", "shapes"),
        (5, "hero", "shapes"),
        (5, "hero", "none"),
    ]
    assert [each.revision for each in told] == [5, 6, 7, 8], "an undo is a revision of its own"
    assert not opened(desk).can_undo
    assert desk.refusal(ANNA, UndoAnnotation("sh010"))[0] == "NOTHING_TO_UNDO"

    desk.ask(ANNA, RedoAnnotation("sh010"), AnnotationUndone)
    assert drawn(desk, 5).shapes == triangle(0.5)
    desk.ask(ANNA, RedoAnnotation("sh010"), AnnotationUndone)
    assert drawn(desk, 5).shapes == triangle(1.5)
    state = opened(desk)
    assert (state.can_undo, state.can_redo) == (True, True)
    edits(desk, put(7))
    assert desk.refusal(ANNA, RedoAnnotation("sh010"))[0] == "NOTHING_TO_UNDO", "a new change ends what could be redone"
    assert desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone).frame == 7
    desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone)
    assert drawn(desk, 5).shapes == triangle(0.5)


def test_history_and_undo_survive_a_restart(desk: Desk) -> None:
    edits(desk, put(5, 0.5), put(5, 1.5))
    desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone)
    before = opened(desk)
    desk.restart()
    desk.connect(ANNA, "c1", "anna on ws12")
    assert opened(desk) == before
    assert drawn(desk, 5).shapes == triangle(0.5)
    assert desk.ask(ANNA, RedoAnnotation("sh010"), AnnotationUndone).now == "shapes"
    assert drawn(desk, 5).shapes == triangle(1.5)


def test_an_undo_that_is_sent_twice_is_done_once(desk: Desk) -> None:
    edits(desk, put(5, 0.5), put(5, 1.5), put(5, 2.5))
    first = desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone, "ab")
    assert desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone, "ab") == first
    assert drawn(desk, 5).shapes == triangle(1.5)


def test_an_annotation_based_on_an_older_one_is_refused_where_that_was_changed(desk: Desk) -> None:
    edits(desk, put(5, 0.5), put(5, 1.5))
    code, words = desk.refusal(ANNA, put(5, 2.5, base=1))
    assert code == "STALE_REVISION"
    assert "'hero' on frame 5 was changed in revision 2, and yours is based on revision 1" in words
    edits(desk, put(6, base=1), put(5, 2.5, base=2))
    assert drawn(desk, 5).shapes == triangle(2.5)


# --- objects ----------------------------------------------------------------------------------------------------------


def test_objects_come_and_go_and_a_returning_one_has_its_annotations(desk: Desk) -> None:
    edits(desk, put(5), put(6, name="car"))
    assert desk.ask(ANNA, SetObjects("sh010", ("car", "hero", "dog")), ObjectsStored).revision == 3
    assert desk.ask(ANNA, RemoveObject("sh010", "hero"), ObjectsStored).objects == ("car", "dog")
    assert opened(desk).annotations == (AnnotatedFrames("car", (6,)),)
    assert drawn(desk, 5).content == "none"
    assert desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone).object_name == "car", "not the removed one's"
    desk.ask(ANNA, SetObjects("sh010", ("car", "hero")), ObjectsStored)
    assert drawn(desk, 5).shapes == triangle(0.5)


def test_a_renamed_object_keeps_annotations_and_history_and_its_name_is_free_again(desk: Desk) -> None:
    edits(desk, put(5, 0.5), put(5, 1.5))
    stored = desk.ask(ANNA, RenameObject("sh010", "hero", "anna"), ObjectsStored)
    assert stored.objects == ("anna", "car")
    assert drawn(desk, 5, "anna").shapes == triangle(1.5)
    assert desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone).object_name == "anna"
    assert drawn(desk, 5, "anna").shapes == triangle(0.5)

    desk.ask(ANNA, SetObjects("sh010", ("anna", "car", "hero")), ObjectsStored)
    assert drawn(desk, 5, "hero").content == "none", "another object of the old name"
    edits(desk, put(5, 3.5))
    assert (drawn(desk, 5, "anna").shapes, drawn(desk, 5).shapes) == (triangle(0.5), triangle(3.5))
    job = desk.ask(ANNA, Propagate("sh010", 1, LAST, engine="warp"), JobAccepted)
    task = desk.jobs[job.job_id]
    assert isinstance(task, PropagationTask)
    assert {(each.object_name, each.shapes) for each in task.annotations} == {
        ("anna", triangle(0.5)),
        ("hero", triangle(3.5)),
    }


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (RenameObject("sh010", "dog", "cat"), "no object 'dog'; the session has hero, car"),
        (RenameObject("sh010", "hero", "car"), "there is an object 'car' already"),
        (RemoveObject("sh010", "dog"), "no object 'dog'"),
    ],
)
def test_objects_that_cannot_be_changed_are_refused(
    desk: Desk, request_: RenameObject | RemoveObject, words: str
) -> None:
    code, told = desk.refusal(ANNA, request_)
    assert code == "OBJECT"
    assert words in told
    assert opened(desk).revision == 0


def test_the_last_object_stays(desk: Desk) -> None:
    desk.ask(ANNA, RemoveObject("sh010", "car"), ObjectsStored)
    code, words = desk.refusal(ANNA, RemoveObject("sh010", "hero"))
    assert code == "OBJECT"
    assert "'hero' is the session's only object" in words


# --- stale mattes -----------------------------------------------------------------------------------------------------


def test_exactly_the_frames_that_a_change_reaches_are_stale_and_made_again(desk: Desk) -> None:
    edits(desk, put(1), put(10), put(20), put(1, name="car"), put(10, name="car"), put(20, name="car"))
    assert propagated(desk) == list(range(1, LAST + 1))
    assert opened(desk).stale == ()

    edits(desk, put(15))
    state = opened(desk)
    assert state.stale == tuple(range(11, 20)), "the gap between the annotated frames 10 and 20"
    assert state.shown == (MattesOfRevision(6, tuple(range(1, LAST + 1))),)
    assert "annotations have changed" in state.stale_reason
    listed = desk.ask(ANNA, ListMattes("sh010", 7, older=True), MatteList).mattes
    assert [matte.frame for matte in listed if matte.stale] == list(range(11, 20))
    assert {(matte.revision, matte.made_revision, matte.confidence) for matte in listed} == {(6, 6, 0.5)}

    desk.events(ANNA)
    assert propagated(desk) == list(range(11, 20))
    told = desk.events(ANNA)
    ready = {event.frame: event for event in told if isinstance(event, MatteReady)}
    assert sorted(ready) == list(range(1, LAST + 1)), "what was kept is told too"
    assert (ready[5].revision, ready[5].made_revision, ready[15].made_revision) == (7, 6, 7)
    finished = told[-1]
    assert isinstance(finished, JobFinished)
    assert finished.frames == tuple(range(1, LAST + 1))
    state = opened(desk)
    assert (state.stale, state.stale_reason, state.matte_revision) == ((), "", 7)
    assert state.mattes == tuple(range(1, LAST + 1)), "the list of the new revision is whole"
    assert state.shown == (
        MattesOfRevision(7, tuple(range(11, 20))),
        MattesOfRevision(6, (*range(1, 11), *range(20, 31))),
    )
    for frame in range(1, LAST + 1):
        assert Path(state.matte_pattern % frame).read_bytes().startswith(f"frame {frame} ".encode())


def test_undoing_a_change_makes_mattes_right_again(desk: Desk) -> None:
    edits(desk, put(1), put(20), put(1, name="car"))
    propagated(desk)
    edits(desk, put(10))
    assert opened(desk).stale
    desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone)
    assert opened(desk).stale == ()
    assert propagated(desk) == []


def test_staleness_is_known_after_a_restart(desk: Desk) -> None:
    edits(desk, put(1), put(20), put(1, name="car"))
    propagated(desk)
    edits(desk, put(10))
    before = opened(desk)
    assert before.stale == (*range(2, 20),)
    desk.restart()
    desk.connect(ANNA, "c1", "anna on ws12")
    assert opened(desk) == before
    assert propagated(desk) == list(range(2, 20))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (RenameObject("sh010", "hero", "anna"), "'hero' is now 'anna', and these mattes still have the old layer"),
        (SetObjects("sh010", ("hero", "car", "dog")), "the objects have changed"),
        (RemoveObject("sh010", "car"), "the objects have changed"),
    ],
)
def test_all_mattes_are_stale_after_a_change_of_objects_and_are_still_served(
    desk: Desk, change: RenameObject | SetObjects | RemoveObject, words: str
) -> None:
    edits(desk, put(1), put(20, name="car"))
    propagated(desk)
    desk.ask(ANNA, change, ObjectsStored)
    state = opened(desk)
    assert state.stale == tuple(range(1, LAST + 1))
    assert words in state.stale_reason
    listed = desk.ask(ANNA, ListMattes("sh010", state.revision, older=True), MatteList).mattes
    assert all(matte.stale and Path(matte.path).is_file() for matte in listed)
    assert propagated(desk) == list(range(1, LAST + 1))
    assert opened(desk).stale == ()


def test_a_plate_rendered_anew_makes_all_mattes_stale_when_a_job_finds_it(desk: Desk, plate: Plate) -> None:
    edits(desk, put(1), put(20, name="car"))
    propagated(desk)
    revision = opened(desk).revision
    path = Path(plate.pattern % 7)
    path.write_bytes(b"another plate")
    assert propagated(desk) == list(range(1, LAST + 1))
    assert opened(desk).revision == revision + 1
    os.utime(path, ns=(1, 1))
    assert propagated(desk) == list(range(1, LAST + 1))


@pytest.mark.parametrize(
    "settings",
    [
        *({"refine_edges": False}, {"processing_size": 320}, {"tune": False}, {"weights": "w"}, {"confidence": True}),
        {"remake": True},
    ],
)
def test_other_settings_make_everything_again(desk: Desk, settings: dict[str, object]) -> None:
    edits(desk, put(1), put(20, name="car"))
    propagated(desk)
    assert propagated(desk) == []
    assert propagated(desk, **settings) == list(range(1, LAST + 1))


def test_a_job_that_was_interrupted_goes_on_where_it_was(desk: Desk) -> None:
    edits(desk, put(1), put(20, name="car"))
    job = desk.ask(ANNA, Propagate("sh010", 1, LAST, engine="warp"), JobAccepted).job_id
    desk.run(job, until=12)
    desk.restart()
    assert desk.run(job) == list(range(13, LAST + 1))
    assert len(desk.store.index.mattes_of_job(job)) == LAST


def test_a_change_during_a_job_marks_what_it_still_makes(desk: Desk) -> None:
    edits(desk, put(1), put(10), put(20), put(1, name="car"), put(10, name="car"), put(20, name="car"))
    job = desk.ask(ANNA, Propagate("sh010", 1, LAST, engine="warp"), JobAccepted).job_id
    edits(desk, put(15))
    desk.events(ANNA)
    desk.run(job)
    ready = [event for event in desk.events(ANNA) if isinstance(event, MatteReady)]
    assert [event.frame for event in ready if event.stale] == list(range(11, 20))


def test_settings_reach_the_worker(desk: Desk) -> None:
    edits(desk, put(5))
    request = Propagate(
        *("sh010", 1, LAST, 0, "xmem", "cpu", False),
        focus=9,
        confidence=True,
        processing_size=320,
        tune=False,
        weights="w",
        priority=2,
    )
    job = desk.ask(ANNA, request, JobAccepted).job_id
    task = desk.jobs[job]
    assert isinstance(task, PropagationTask)
    assert (task.focus, task.confidence, task.processing_size, task.tune) == (9, True, 320, False)
    assert (task.weights, task.shot_id, task.refine_edges, desk.priorities[job]) == ("w", "sh010", False, 2)


def test_a_suggestion_sees_what_is_drawn_and_what_is_shown(desk: Desk) -> None:
    edits(desk, put(5), put(9, name="car"))
    propagated(desk)
    job = desk.ask(ANNA, SuggestFrames("sh010", 3, "confidence"), JobAccepted).job_id
    task = desk.jobs[job]
    assert isinstance(task, SuggestionTask)
    assert (task.annotated, task.first, task.last, task.count, task.scoring) == ((5, 9), 1, LAST, 3, "confidence")
    assert sorted(task.matte_files) == list(range(1, LAST + 1))
    assert desk.priorities[job] == 2


# --- one writer -------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(desk: Desk) -> Desk:
    desk.connect(BEN, "c2", "ben on ws7")
    edits(desk, put(5))
    return desk


CHANGES = [
    put(6),
    RemoveAnnotation("sh010", 5, "hero"),
    UndoAnnotation("sh010"),
    RedoAnnotation("sh010"),
    SetObjects("sh010", ("hero",)),
    RenameObject("sh010", "hero", "ben"),
    RemoveObject("sh010", "car"),
    OpenSession("sh010", Plate(1, 7), ("hero", "car")),
    Propagate("sh010", 1, LAST, engine="warp"),
    RemoveSession("sh010"),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.type_name)
def test_a_second_client_cannot_change_what_another_one_writes(two: Desk, change: PutAnnotation) -> None:
    code, words = two.refusal(BEN, change)
    assert code == "CONFLICT"
    assert "anna on ws12 writes session 'sh010' since " in words
    assert (opened(two).revision, two.jobs) == (1, {})


def test_reading_stays_open_to_all_and_says_who_writes(two: Desk) -> None:
    state = opened(two, BEN)
    assert (state.writer, state.writer_since, state.writing) == ("anna on ws12", 1000.0, False)
    assert opened(two).writing
    propagated(two)
    job = two.store.index.mattes_of_job(next(iter(two.jobs)))
    assert len(job) == LAST
    assert len(two.ask(BEN, ListMattes("sh010", 1), MatteList).mattes) == LAST
    two.ask(BEN, SuggestFrames("sh010"), JobAccepted)


def test_new_frames_of_a_plate_may_come_from_all_and_other_content_from_the_writer(two: Desk) -> None:
    first, other = (FrameOffer(1, letter * 64, 9, ".exr") for letter in "ab")
    two.ask(BEN, OfferFrames("sh010", "plate", (first,)), FramesWanted)
    two.ask(BEN, OfferFrames("sh010", "plate", (first,)), FramesWanted)
    assert two.refusal(BEN, OfferFrames("sh010", "plate", (other,)))[0] == "CONFLICT"
    two.ask(ANNA, OfferFrames("sh010", "plate", (other,)), FramesWanted)


def test_taking_over_turns_the_tables(two: Desk) -> None:
    state = two.ask(BEN, TakeOver("sh010"), SessionState)
    assert (state.writer, state.writing) == ("ben on ws7", True)
    two.ask(BEN, put(6), AnnotationStored)
    code, words = two.refusal(ANNA, put(7))
    assert code == "CONFLICT"
    assert "ben on ws7" in words


@pytest.mark.parametrize("how", ["goodbye", "silence", "rest"])
def test_a_writer_that_leaves_or_rests_makes_room(two: Desk, how: str) -> None:
    two.now += RETURN_S + 1
    assert two.refusal(BEN, put(6))[0] == "CONFLICT"
    if how == "goodbye":
        two.say(ANNA, Goodbye())
    elif how == "silence":
        two.dispatcher.forget(ANNA)
    else:
        two.now += IDLE_S
    two.ask(BEN, put(6), AnnotationStored)


def test_the_same_client_on_a_new_connection_is_the_same_writer(two: Desk) -> None:
    again = b"anna's second connection"
    two.connect(again, "c1", "anna on ws12")
    two.ask(again, put(6), AnnotationStored)
    two.dispatcher.forget(ANNA)
    two.now += RETURN_S + 1
    assert two.refusal(BEN, put(7))[0] == "CONFLICT", "the old connection's end is not hers"


def test_a_restarted_daemon_remembers_the_writer_for_as_long_as_she_may_come_back(two: Desk) -> None:
    two.now += 2
    two.restart()
    two.connect(BEN, "c2", "ben on ws7")
    assert two.refusal(BEN, put(6))[0] == "CONFLICT"
    two.connect(ANNA, "c1", "anna on ws12")
    two.now += RETURN_S + 1
    assert two.refusal(BEN, put(6))[0] == "CONFLICT", "she came back"
    two.dispatcher.forget(ANNA)
    two.ask(BEN, put(6), AnnotationStored)


def test_a_change_that_is_refused_holds_nothing(desk: Desk) -> None:
    desk.connect(BEN, "c2", "ben on ws7")
    assert desk.refusal(ANNA, put(LAST + 1))[0] == "ANNOTATION_RANGE"
    desk.ask(BEN, put(6), AnnotationStored)


def test_a_request_id_used_for_something_else_is_told_apart_from_a_conflict(desk: Desk) -> None:
    desk.ask(ANNA, put(5), AnnotationStored, "ab")
    assert desk.ask(ANNA, put(6), ErrorReply, "ab").code == "ID_REUSED"


# --- the store --------------------------------------------------------------------------------------------------------


def rounds(desk: Desk) -> None:
    """Three rounds; the second leaves frames 1-10 and 20-30 as they are, the third makes everything again."""
    edits(desk, put(1), put(10), put(20), put(1, name="car"), put(10, name="car"), put(20, name="car"))
    propagated(desk)
    edits(desk, put(15))
    propagated(desk)
    propagated(desk, remake=True)


def test_pruning_deletes_what_is_superseded_and_nothing_else(desk: Desk) -> None:
    rounds(desk)
    shown = desk.store.index.shown_mattes("sh010")
    pruned = desk.ask(ANNA, PruneStore(0), StorePruned)
    assert pruned.files == 2 * LAST, "of two rounds, kept ones under both their names"
    assert desk.store.index.all_mattes() == shown
    left = sorted(path for path in (desk.store.root / "sessions").rglob("*.exr"))
    assert left == sorted(Path(matte.path) for matte in shown)
    assert desk.ask(ANNA, PruneStore(0), StorePruned) == StorePruned(0, 0)
    assert opened(desk).mattes == tuple(range(1, LAST + 1))


def test_no_pruning_takes_what_an_artist_has_drawn(desk: Desk) -> None:
    content = b"an alpha that was drawn for both shots"
    alpha = FrameOffer(5, hashlib.sha256(content).hexdigest(), len(content), ".exr")
    desk.ask(ANNA, OpenSession("sh020", desk.store.session("sh010").plate, ("hero",)), SessionState)
    desk.ask(ANNA, OfferFrames("sh010", "alpha", (alpha,)), FramesWanted)
    desk.say(ANNA, Chunk(alpha.sha256, 0, content))
    for session in ("sh010", "sh020"):
        desk.ask(ANNA, PutAnnotation(session, 5, "hero", alpha_sha256=alpha.sha256), AnnotationStored)
    edits(desk, put(5))  # drawn anew: the alpha is history, to which an undo goes back
    rounds(desk)
    before = [drawn(desk, frame) for frame in range(1, LAST + 1)]

    desk.ask(ANNA, PruneStore(0), StorePruned)
    desk.ask(ANNA, RemoveSession("sh020"), StorePruned)
    assert [drawn(desk, frame) for frame in range(1, LAST + 1)] == before
    assert desk.store.alpha_path(alpha.sha256).read_bytes() == content
    desk.restart()
    desk.connect(ANNA, "c1", "anna on ws12")
    while drawn(desk, 5).content != "alpha":
        desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone)
    assert drawn(desk, 5).alpha_sha256 == alpha.sha256
    assert desk.store.alpha_path(alpha.sha256).read_bytes() == content


def test_pruning_stops_at_the_bound_and_begins_with_the_oldest(desk: Desk) -> None:
    rounds(desk)
    rows = desk.store.index.all_mattes()
    sizes = sum({os.stat(row.path).st_ino: row.size for row in rows}.values())
    pruned = desk.ask(ANNA, PruneStore(sizes - 1), StorePruned)
    assert pruned.size >= 1
    gone = [row for row in rows if not Path(row.path).exists()]
    assert len(gone) == pruned.files < 2 * LAST
    assert {row.revision for row in gone} == {6}


def test_mattes_of_a_job_that_has_not_ended_are_not_pruned(desk: Desk) -> None:
    rounds(desk)
    job = desk.ask(ANNA, Propagate("sh010", 1, LAST, engine="warp", remake=True), JobAccepted).job_id
    desk.run(job, until=3)
    other = desk.ask(ANNA, Propagate("sh010", 1, LAST, engine="warp", remake=True), JobAccepted).job_id
    desk.run(other)
    desk.ask(ANNA, PruneStore(0), StorePruned)
    assert [row.frame for row in desk.store.index.mattes_of_job(job)] == [1, 2, 3]


def test_files_of_a_run_that_the_next_daemon_took_over_are_pruned(desk: Desk) -> None:
    edits(desk, put(1), put(20, name="car"))
    job = desk.ask(ANNA, Propagate("sh010", 1, LAST, engine="warp"), JobAccepted).job_id
    desk.run(job, until=12)
    desk.restart()
    desk.pruner.prune(0)
    assert len(list((desk.store.root / "sessions").rglob("*.exr"))) == 2 * 12, "the job has not ended"
    desk.run(job)
    desk.ask(ANNA, PruneStore(0), StorePruned)
    left = {str(path) for path in (desk.store.root / "sessions").rglob("*.exr")}
    assert left == {row.path for row in desk.store.index.shown_mattes("sh010")}
    assert len(left) == LAST


def test_a_store_with_a_bound_prunes_itself_when_jobs_end(tmp_path: Path, plate: Plate) -> None:
    desk = Desk(tmp_path / "bounded", keep_bytes=0)
    desk.connect(ANNA, "c1")
    desk.ask(ANNA, OpenSession("sh010", plate, ("hero", "car")), SessionState)
    rounds(desk)
    assert len(desk.store.index.all_mattes()) == LAST
    desk.close()


def test_encoded_frames_of_all_sessions_are_bounded_the_least_recently_used_go_first(
    tmp_path: Path, plate: Plate
) -> None:
    desk = Desk(tmp_path / "bounded", keep_feature_bytes=250)
    desk.connect(ANNA, "c1")
    desk.ask(ANNA, OpenSession("sh010", plate, ("hero", "car")), SessionState)
    files = []
    for age, session in enumerate(("sh010", "sh020", "sh010", "sh020")):
        folder = desk.store.root / "sessions" / session / "features"
        folder.mkdir(parents=True, exist_ok=True)
        files.append(folder / f"{age}.features")
        files[-1].write_bytes(bytes(100))
        os.utime(files[-1], (1000 + age, 1000 + age))
    rounds(desk)
    assert [file.exists() for file in files] == [False, False, True, True]
    assert desk.ask(ANNA, RemoveSession("sh010"), StorePruned).files > 1
    assert [file.exists() for file in files] == [False, False, False, True]
    desk.close()


def test_sessions_are_listed_and_removed_with_all_their_files(desk: Desk) -> None:
    rounds(desk)
    desk.ask(ANNA, OpenSession("sh020", Plate(1, 2), ("hero",)), SessionState)
    (listed, other), more = (lambda page: (page.sessions, page.more))(desk.ask(ANNA, ListSessions(), SessionList))
    assert (listed.session_id, other.session_id, more) == ("sh010", "sh020", False)
    assert listed.size > other.size == 0
    assert listed.used_at > 0
    assert [each.session_id for each in desk.ask(ANNA, ListSessions("sh010"), SessionList).sessions] == ["sh020"]

    job = desk.ask(ANNA, Propagate("sh010", 1, LAST, engine="warp", remake=True), JobAccepted).job_id
    assert desk.refusal(ANNA, RemoveSession("sh010"))[0] == "BUSY"
    desk.run(job)
    assert desk.ask(ANNA, RemoveSession("sh010"), StorePruned).files == 4 * LAST
    assert not (desk.store.root / "sessions" / "sh010").exists()
    assert desk.refusal(ANNA, GetAnnotation("sh010", 5, "hero"))[0] == "UNKNOWN_SESSION"


def test_a_store_of_the_version_before_is_taken_over_with_all_that_it_holds(tmp_path: Path) -> None:
    root = tmp_path / "old"
    root.mkdir()
    matte = root / "m.0005.exr"
    matte.write_bytes(b"matte")
    database = sqlite3.connect(root / "index.sqlite")
    for statement in VERSION_1.split(";"):
        database.execute(statement)
    plate = '{"first": 1, "last": 30, "pattern": "", "colourspace": "auto", "width": 0, "height": 0, "pixel_aspect": 1}'
    request = '{"session_id": "sh010", "first": 1, "last": 30, "handles": 0, "engine": "warp", "device": "auto", '
    request += '"refine_edges": true}'
    rows = [
        ("sessions", ("sh010", plate, '["hero"]', 2)),
        ("annotations", ("sh010", 1, 5, "hero", "absent", "")),
        ("annotations", ("sh010", 2, 9, "hero", "absent", "")),
        ("jobs", ("a" * 32, "sh010", 2, plate, '["hero"]', request, "finished", 1, b"")),
        ("mattes", ("sh010", 2, 5, "a" * 32, "b" * 64, 5, str(matte), 1, "warp")),
    ]
    for table, values in rows:
        database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()

    desk = Desk(root)
    desk.connect(ANNA, "c1")
    state = opened(desk)
    assert (state.revision, state.objects, state.annotations) == (2, ("hero",), (AnnotatedFrames("hero", (5, 9)),))
    assert (state.shown, state.stale) == ((MattesOfRevision(2, (5,)),), ())
    assert desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone).frame == 9
    assert opened(desk).stale == (), "an annotated frame is what is drawn on it"
    columns = {
        table: [row[1] for row in desk.store.index._db.execute(f"PRAGMA table_info({table})")]
        for table in ("sessions", "annotations", "mattes", "jobs", "writers", "plate_changes", "object_lists")
    }
    fresh = sqlite3.connect(":memory:")
    for statement in TABLES.split(";"):
        fresh.execute(statement)
    assert columns == {table: [row[1] for row in fresh.execute(f"PRAGMA table_info({table})")] for table in columns}
    desk.close()


def test_auto_without_tuning_keeps_the_mattes_of_warp(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROTOMEM_WEIGHTS_DIR", str(tmp_path / "nowhere"))
    edits(desk, put(1), put(20, name="car"))
    untuned, tuned = (Propagate("sh010", 1, LAST, tune=tune) for tune in (False, True))
    for request, made in ((untuned, LAST), (untuned, 0), (tuned, LAST)):
        assert len(desk.run(desk.ask(ANNA, request, JobAccepted).job_id, "warp")) == made


@pytest.mark.parametrize(("engine", "made_again"), [("warp", []), ("xmem", list(range(1, LAST + 1)))])
def test_mattes_of_a_store_that_knew_no_weights_are_kept_where_none_are_needed(
    desk: Desk, engine: str, made_again: list[int]
) -> None:
    edits(desk, put(1), put(20, name="car"))
    request = Propagate("sh010", 1, LAST, engine=engine)
    desk.run(desk.ask(ANNA, request, JobAccepted).job_id, engine)
    desk.close()
    database = sqlite3.connect(desk.root / "index.sqlite")
    database.execute("ALTER TABLE mattes DROP COLUMN weights_sha256")
    database.execute("ALTER TABLE mattes DROP COLUMN preview")
    database.execute("PRAGMA user_version = 2")
    database.commit()
    database.close()
    desk.start()
    desk.connect(ANNA, "c1", "anna on ws12")
    state = opened(desk)
    assert state.stale == tuple(made_again)
    assert state.mattes == tuple(range(1, LAST + 1)), "what is stale is still served"
    assert desk.run(desk.ask(ANNA, request, JobAccepted).job_id, engine) == made_again


VERSION_1 = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, plate TEXT NOT NULL, objects TEXT NOT NULL, revision INTEGER NOT NULL
);
CREATE TABLE annotations (
    session TEXT NOT NULL, revision INTEGER NOT NULL, frame INTEGER NOT NULL, object TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('shapes', 'alpha', 'absent', 'removed')), content TEXT NOT NULL,
    PRIMARY KEY (session, revision)
);
CREATE INDEX annotations_by_frame ON annotations (session, frame, object, revision);
CREATE TABLE blobs (sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL, suffix TEXT NOT NULL);
CREATE TABLE frames (
    session TEXT NOT NULL, frame INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (session, frame)
);
CREATE TABLE mattes (
    session TEXT NOT NULL, revision INTEGER NOT NULL, frame INTEGER NOT NULL, job TEXT NOT NULL,
    sha256 TEXT NOT NULL, size INTEGER NOT NULL, path TEXT NOT NULL, annotated INTEGER NOT NULL, engine TEXT NOT NULL,
    PRIMARY KEY (session, revision, frame, job)
);
CREATE INDEX mattes_by_job ON mattes (job);
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, session TEXT NOT NULL, revision INTEGER NOT NULL, plate TEXT NOT NULL, objects TEXT NOT NULL,
    request TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, final BLOB
);
CREATE TABLE replies (
    number INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
    header BLOB NOT NULL
)
"""
