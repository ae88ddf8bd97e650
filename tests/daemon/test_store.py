"""What the store keeps, refuses and finds again."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from rotomem.daemon.pruning import UNNAMED_UPLOAD_S, Pruner
from rotomem.daemon.refusals import DamagedUploadError, MatteGoneError, UnknownSessionError, UploadError
from rotomem.daemon.rows import MatteRow
from rotomem.daemon.store import Store
from rotomem.errors import AnnotationError, AnnotationRangeError, DiskFullError, RotomemError, StoreError
from rotomem_client.messages import (
    Chunk,
    FrameOffer,
    OfferFrames,
    OpenSession,
    Plate,
    PutAnnotation,
    RemoveAnnotation,
)
from rotomem_client.shapes import ControlPoint, Shape

TRIANGLE = Shape("t", (ControlPoint((0.5, 0.0)), ControlPoint((4.0, 0.25)), ControlPoint((0.0, 4.0))), opacity=0.5)
OPEN = OpenSession("sh010", Plate(1001, 1010, "/p.%04d.exr", "ACEScg"), ("hero", "car"))
DRAW = PutAnnotation("sh010", 1005, "hero", (TRIANGLE,))
CONTENT = bytes(range(256)) * 16
SHA = hashlib.sha256(CONTENT).hexdigest()
OFFER = FrameOffer(1001, SHA, len(CONTENT), ".exr")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def opened(root: Path) -> Store:
    store = Store(root)
    store.open_session(OPEN)
    return store


def upload(store: Store, content: bytes = CONTENT, offer: FrameOffer = OFFER) -> bool:
    return write(store, Chunk(offer.sha256, store.uploads.offset(offer), content), offer)


def write(store: Store, chunk: Chunk, offer: FrameOffer = OFFER) -> bool:
    """Write a chunk, and end the upload with the last one; return whether the file is in the store."""
    if not store.uploads.write(chunk, offer):
        return False
    ends: list[RotomemError | None] = []
    store.uploads.end(offer, ends.append)
    (refused,) = ends
    if refused is not None:
        raise refused
    return True


def put_matte(store: Store, frame: int, content: bytes = b"matte", job: str = "0" * 32) -> MatteRow:
    path = Path(store.new_matte_pattern("sh010", 1, job) % frame)
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    row = MatteRow("sh010", 1, frame, job, sha256, len(content), str(path), False, "warp", 1)
    with store.transaction():
        store.index.put_matte(row)
    return row


def test_everything_is_there_again_after_a_restart(root: Path) -> None:
    store = opened(root)
    store.bind_frames(OfferFrames("sh010", "plate", (OFFER,)))
    assert upload(store)
    assert store.put_annotation(DRAW) == 1
    assert store.put_annotation(PutAnnotation("sh010", 1007, "car", absent=True)) == 2
    matte = put_matte(store, 1001)
    store.close()

    again = Store(root)
    session = again.session("sh010")
    assert (session.plate, session.objects, session.revision) == (OPEN.plate, ("hero", "car"), 2)
    rows = again.index.annotations("sh010", 2)
    assert [(row.frame, row.object_id, row.kind, row.shapes) for row in rows] == [
        (1005, "hero", "shapes", (TRIANGLE,)),
        (1007, "car", "absent", ()),
    ]
    assert again.plate_files("sh010") == {1001: root / "blobs" / SHA[:2] / f"{SHA}.exr"}
    assert again.plate_files("sh010")[1001].read_bytes() == CONTENT
    assert again.matte("sh010", 1, 1001, matte.sha256) == matte
    again.close()


def test_each_change_of_an_annotation_is_a_revision_and_old_ones_stay(root: Path) -> None:
    store = opened(root)
    assert store.put_annotation(DRAW) == 1
    assert store.put_annotation(PutAnnotation("sh010", 1005, "hero", absent=True)) == 2
    assert store.remove_annotation(RemoveAnnotation("sh010", 1005, "hero")) == 3
    kinds = [[row.kind for row in store.index.annotations("sh010", revision)] for revision in range(4)]
    assert kinds == [[], ["shapes"], ["absent"], []]
    store.close()


def test_the_same_annotation_again_is_no_new_revision(root: Path) -> None:
    store = opened(root)
    assert [store.put_annotation(DRAW), store.put_annotation(DRAW)] == [1, 1]
    assert store.remove_annotation(RemoveAnnotation("sh010", 1006, "hero")) == 1
    store.close()


def test_another_plate_is_a_new_revision_and_another_range_is_not(root: Path) -> None:
    store = opened(root)
    longer, other = (Plate(990, 1020, pattern, "ACEScg") for pattern in ("/p.%04d.exr", "/q.%04d.exr"))
    assert store.open_session(OpenSession("sh010", longer, OPEN.objects)).revision == 0
    assert store.open_session(OpenSession("sh010", other, OPEN.objects)).revision == 1
    assert store.open_session(OpenSession("sh010", other, ("hero",))).revision == 2
    store.close()


def test_a_frame_rendered_anew_is_a_new_revision(root: Path) -> None:
    store = opened(root)
    store.bind_frames(OfferFrames("sh010", "plate", (OFFER,)))
    store.bind_frames(OfferFrames("sh010", "plate", (OFFER,)))
    assert store.session("sh010").revision == 0
    store.bind_frames(OfferFrames("sh010", "plate", (FrameOffer(1001, "0" * 64, 9, ".exr"),)))
    assert store.session("sh010").revision == 1
    store.close()


def test_annotations_that_have_no_place_are_refused(root: Path) -> None:
    store = opened(root)
    with pytest.raises(AnnotationRangeError, match="frame 1011 is annotated but the plate has frames 1001-1010"):
        store.put_annotation(PutAnnotation("sh010", 1011, "hero", (TRIANGLE,)))
    with pytest.raises(AnnotationError, match="'dog', which is not among the session's objects hero, car"):
        store.put_annotation(PutAnnotation("sh010", 1005, "dog", (TRIANGLE,)))
    with pytest.raises(AnnotationError, match="alpha of 'hero' on frame 1005 was not uploaded"):
        store.put_annotation(PutAnnotation("sh010", 1005, "hero", alpha_sha256=SHA))
    with pytest.raises(UnknownSessionError, match="no session 'sh020'"):
        store.put_annotation(PutAnnotation("sh020", 1005, "hero", (TRIANGLE,)))
    assert store.session("sh010").revision == 0
    store.close()


def test_an_interrupted_upload_goes_on_after_a_restart(root: Path) -> None:
    store = opened(root)
    assert not write(store, Chunk(SHA, 0, CONTENT[:1000]))
    store.close()
    again = Store(root)
    assert again.uploads.offset(OFFER) == 1000
    assert write(again, Chunk(SHA, 1000, CONTENT[1000:]))
    assert again.uploads.offset(OFFER) == OFFER.size
    again.close()


def test_an_upload_that_was_complete_when_the_daemon_died_is_taken_in(root: Path) -> None:
    opened(root).close()
    (root / "incoming" / f"{SHA}.part").write_bytes(CONTENT)
    store = Store(root)
    assert store.uploads.offset(OFFER) == OFFER.size
    assert store.index.blob(SHA) is not None
    store.close()


def test_damaged_uploads_are_thrown_away_and_begin_anew(root: Path) -> None:
    store = opened(root)
    with pytest.raises(DamagedUploadError):
        upload(store, content=bytes(len(CONTENT)))
    assert store.uploads.offset(OFFER) == 0
    assert upload(store)
    store.close()


def test_a_gap_in_an_upload_is_refused(root: Path) -> None:
    store = opened(root)
    with pytest.raises(UploadError, match="leaves a gap"):
        write(store, Chunk(SHA, 5, CONTENT[5:]))
    store.close()


def test_more_than_the_disk_holds_is_refused_before_it_is_sent(root: Path) -> None:
    store = opened(root)
    with pytest.raises(DiskFullError, match=r"the daemon's disk is full: .* free some space"):
        store.uploads.require_space(2**60)
    store.close()


def test_removing_a_session_leaves_what_another_has_just_sent(root: Path) -> None:
    store = opened(root)
    store.open_session(OpenSession("sh020", Plate(1001, 1010), ("hero",)))
    upload(store)
    assert Pruner(store).remove_session("sh010") == (0, 0)
    assert store.put_annotation(PutAnnotation("sh020", 1005, "hero", alpha_sha256=SHA)) == 1
    assert Pruner(store).remove_session("sh020") == (1, len(CONTENT))
    store.close()


def test_an_upload_that_nobody_named_goes_with_a_session_in_the_end(root: Path) -> None:
    store = opened(root)
    upload(store)
    path = root / "blobs" / SHA[:2] / f"{SHA}.exr"
    os.utime(path, (0, path.stat().st_mtime - UNNAMED_UPLOAD_S))
    assert Pruner(store).remove_session("sh010") == (1, len(CONTENT))
    assert not path.exists()
    store.close()


def test_files_that_someone_removed_are_not_promised_any_more(root: Path) -> None:
    store = opened(root)
    store.bind_frames(OfferFrames("sh010", "plate", (OFFER,)))
    upload(store)
    kept, gone = put_matte(store, 1001), put_matte(store, 1002)
    blob = store.plate_files("sh010")[1001]
    store.close()
    blob.unlink()
    Path(gone.path).write_bytes(b"cut")

    again = Store(root)
    assert again.plate_files("sh010") == {}
    assert again.index.newest_mattes("sh010") == [kept]
    assert again.matte("sh010", 1, 1001, kept.sha256) == kept
    with pytest.raises(MatteGoneError, match="no matte of frame 1002 in revision 1"):
        again.matte("sh010", 1, 1002, gone.sha256)
    with pytest.raises(MatteGoneError, match="made anew meanwhile"):
        again.matte("sh010", 1, 1001, "0" * 64)
    again.close()


def test_mattes_of_two_jobs_on_one_revision_lie_side_by_side(root: Path) -> None:
    store = opened(root)
    first = [put_matte(store, frame, b"first", "a" * 32) for frame in (1001, 1002)]
    second = put_matte(store, 1002, b"the second", "b" * 32)
    assert store.index.mattes_of_job("a" * 32) == first
    assert store.index.mattes_of_job("b" * 32) == [second]
    assert store.matte("sh010", 1, 1002, first[1].sha256) == first[1], "whoever was told of it can fetch it"
    assert store.matte("sh010", 1, 1002, second.sha256) == second
    assert store.index.mattes("sh010", 1, after=0, limit=9) == [first[0], second], "the newest of each frame"
    assert store.index.mattes("sh010", 1, after=1001, limit=9) == [second]
    assert store.index.newest_mattes("sh010") == [first[0], second]
    store.close()


def test_a_job_that_is_run_again_replaces_no_file(root: Path) -> None:
    store = opened(root)
    first = put_matte(store, 1001, b"first")
    pattern = store.new_matte_pattern("sh010", 1, first.job)
    assert Path(pattern % 1001) != Path(first.path)
    Path(pattern % 1001).write_bytes(b"again")
    assert Path(store.matte("sh010", 1, 1001, first.sha256).path).read_bytes() == b"first", "until the index says so"
    again = put_matte(store, 1001, b"again")
    assert store.index.mattes_of_job(first.job) == [again]
    with pytest.raises(MatteGoneError, match="made anew meanwhile; list the mattes again"):
        store.matte("sh010", 1, 1001, first.sha256)
    store.close()


def test_a_folder_for_mattes_that_cannot_be_made_is_told(root: Path) -> None:
    store = opened(root)
    (root / "sessions" / "sh010").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot be written: Not a directory"):
        store.new_matte_pattern("sh010", 1, "a" * 32)
    store.close()


def test_what_a_killed_writer_left_is_swept_away(root: Path) -> None:
    store = opened(root)
    matte = put_matte(store, 1001)
    store.close()
    left = Path(matte.path).with_name(".matte.1002.exr.17.part")
    left.write_bytes(b"half")
    Store(root).close()
    assert not left.exists()
    assert Path(matte.path).exists()


def test_a_store_belongs_to_one_daemon_at_a_time(root: Path) -> None:
    store = Store(root)
    with pytest.raises(StoreError, match=rf"in use by another daemon \(process {os.getpid()}\)"):
        Store(root)
    store.close()
    Store(root).close()


def test_a_store_of_another_version_is_left_alone(root: Path) -> None:
    Store(root).close()
    database = sqlite3.connect(root / "index.sqlite")
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(StoreError, match="has version 9, this daemon knows 4"):
        Store(root)


def test_an_index_that_is_none_is_named(root: Path) -> None:
    root.mkdir()
    (root / "index.sqlite").write_bytes(b"not a database, for sure" * 100)
    with pytest.raises(StoreError, match=r"index\.sqlite cannot be used"):
        Store(root)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file" / "store")


def test_a_full_disk_keeps_what_arrived_and_the_store_readable(small_disk: Path) -> None:
    content = os.urandom(400_000)
    offer = FrameOffer(1001, hashlib.sha256(content).hexdigest(), len(content), ".exr")
    store = Store(small_disk / "store")
    store.open_session(OPEN)
    with pytest.raises(DiskFullError, match="free some space and try again; what arrived is kept"):
        write(store, Chunk(offer.sha256, 0, content), offer)
    arrived = store.uploads.offset(offer)
    assert 0 < arrived < len(content)
    assert (store.root / "incoming" / f"{offer.sha256}.part").read_bytes() == content[:arrived]
    assert store.session("sh010").revision == 0
    store.close()


def test_a_store_whose_paths_could_not_be_told_to_clients_is_refused(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["x" * 100] * 8)
    with pytest.raises(StoreError, match="at most 800 are allowed"):
        Store(deep)
    assert not deep.exists()
