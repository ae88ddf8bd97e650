"""Changes of a session's annotations and objects: each is a new revision, and none overwrites an earlier one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rotomem.daemon.index import Index
from rotomem.daemon.refusals import NothingToUndoError, ObjectError, StaleRevisionError
from rotomem.daemon.rows import AnnotationRow, AnnotationStep, ObjectIds, SessionRow
from rotomem.errors import AnnotationError, AnnotationRangeError
from rotomem_client.messages import PutAnnotation, RemoveAnnotation

MAX_OBJECTS = 64


class Edits:
    """What artists change. Call it within a transaction of the index.

    An object keeps its identifier under every name, and when it is removed and comes back; annotations belong to
    identifiers.
    """

    def __init__(self, index: Index) -> None:
        self._index = index

    # --- annotations --------------------------------------------------------------------------------------------------

    def put_annotation(self, session: SessionRow, request: PutAnnotation) -> int:
        """Store an annotation; return the session's revision, which stays if nothing changed.

        Raises:
            AnnotationRangeError: the plate has no such frame.
            AnnotationError: the session has no such object, or the alpha was not uploaded.
            StaleRevisionError: it was changed after ``request.base_revision``.
        """
        object_id = self._require_annotatable(session, request)
        self._require_base(session, object_id, request)
        kind = "absent" if request.absent else "alpha" if request.alpha_sha256 else "shapes"
        if kind == "alpha" and self._index.blob(request.alpha_sha256) is None:
            raise AnnotationError(
                f"the alpha of {request.object_name!r} on frame {request.frame} was not uploaded; put it again"
            )
        row = AnnotationRow(request.frame, object_id, kind, request.shapes, request.alpha_sha256)
        if self._index.annotation(session.id, request.frame, object_id) == row:
            return session.revision
        return self._index.add_annotation(session.id, row)

    def remove_annotation(self, session: SessionRow, request: RemoveAnnotation) -> int:
        """Forget an annotation; return the session's revision, which stays if there was none."""
        object_id = identifier_of(session.object_ids, request.object_name)
        if object_id is None or self._index.annotation(session.id, request.frame, object_id) is None:
            return session.revision
        self._require_base(session, object_id, request)
        return self._index.add_annotation(session.id, AnnotationRow(request.frame, object_id, "removed"))

    def _require_annotatable(self, session: SessionRow, request: PutAnnotation) -> str:
        if not session.plate.first <= request.frame <= session.plate.last:
            raise AnnotationRangeError(
                f"frame {request.frame} is annotated but the plate has frames {session.plate.first}-"
                f"{session.plate.last}; annotate a frame of the plate, or extend the plate's range"
            )
        object_id = identifier_of(session.object_ids, request.object_name)
        if object_id is None:
            raise AnnotationError(
                f"frame {request.frame} annotates {request.object_name!r}, which is not among the session's objects "
                f"{', '.join(session.objects)}; add it to the objects first"
            )
        return object_id

    def _require_base(self, session: SessionRow, object_id: str, request: PutAnnotation | RemoveAnnotation) -> None:
        if request.base_revision is None:
            return
        changed = self._index.annotation_changed_at(session.id, request.frame, object_id)
        if changed > request.base_revision:
            raise StaleRevisionError(
                f"the annotation of {request.object_name!r} on frame {request.frame} was changed in revision "
                f"{changed}, and yours is based on revision {request.base_revision}: look at the newer one, then put "
                "yours again"
            )

    # --- undo ---------------------------------------------------------------------------------------------------------

    def undo(self, session: SessionRow) -> tuple[int, AnnotationRow]:
        """Take back the last change that is not taken back yet; return the new revision and what is there now.

        Raises:
            NothingToUndoError: there is no such change.
        """
        undoable, _ = self.undo_stacks(session)
        if not undoable:
            raise NothingToUndoError(f"no change of an annotation of session {session.id!r} is left to take back")
        return self._restore(session, undoable[-1], "undo", undoable[-1].revision - 1)

    def redo(self, session: SessionRow) -> tuple[int, AnnotationRow]:
        """Make the change again that was taken back last; raises and returns like ``undo``."""
        _, redoable = self.undo_stacks(session)
        if not redoable:
            raise NothingToUndoError(f"no change of an annotation of session {session.id!r} is left to make again")
        return self._restore(session, redoable[-1], "redo", redoable[-1].revision)

    def undo_stacks(self, session: SessionRow) -> tuple[list[AnnotationStep], list[AnnotationStep]]:
        """Return the changes that can be taken back, and those that can be made again, the next one last.

        Changes of objects that the session does not have now are in neither.
        """
        changes: dict[int, AnnotationStep] = {}
        undoable: list[int] = []
        redoable: list[int] = []
        for entry in self._index.annotation_steps(session.id):
            if entry.step == "change":
                changes[entry.revision] = entry
                undoable.append(entry.revision)
                redoable.clear()
            elif entry.step == "undo":
                undoable.remove(entry.of)
                redoable.append(entry.of)
            else:
                redoable.remove(entry.of)
                undoable.append(entry.of)
        present = {identifier for identifier, _ in session.object_ids}

        def of_present(revisions: Iterable[int]) -> list[AnnotationStep]:
            return [changes[revision] for revision in revisions if changes[revision].object_id in present]

        return of_present(undoable), of_present(redoable)

    def _restore(self, session: SessionRow, change: AnnotationStep, step: str, as_of: int) -> tuple[int, AnnotationRow]:
        row = self._index.annotation(session.id, change.frame, change.object_id, as_of)
        row = row or AnnotationRow(change.frame, change.object_id, "removed")
        return self._index.add_annotation(session.id, row, step=step, of=change.revision), row

    # --- objects ------------------------------------------------------------------------------------------------------

    def set_objects(self, session: SessionRow, names: Sequence[str]) -> SessionRow:
        """Give a session these objects in this order; return it, at a new revision if that is a change."""
        return self._store_objects(session, self.identify(session, names))

    def rename_object(self, session: SessionRow, name: str, new_name: str) -> SessionRow:
        """Rename an object, which keeps its annotations.

        Raises:
            ObjectError: there is no such object, or the new name is taken.
        """
        self._require_object(session, name)
        if new_name != name and new_name in session.objects:
            raise ObjectError(f"there is an object {new_name!r} already; choose another name, or remove that one first")
        renamed = tuple((identifier, new_name if old == name else old) for identifier, old in session.object_ids)
        return self._store_objects(session, renamed)

    def remove_object(self, session: SessionRow, name: str) -> SessionRow:
        """Remove an object; raises ``ObjectError`` if there is none of that name, or no other one."""
        self._require_object(session, name)
        left = tuple(pair for pair in session.object_ids if pair[1] != name)
        if not left:
            raise ObjectError(f"{name!r} is the session's only object; add another one before it is removed")
        return self._store_objects(session, left)

    def identify(self, session: SessionRow, names: Sequence[str]) -> ObjectIds:
        """Return the objects of these names: present ones, those that come back, and new ones."""
        past = self._index.object_lists(session.id)
        taken = {identifier for identifier, _ in session.object_ids}
        pairs: list[tuple[str, str]] = []
        for name in names:
            identifier = identifier_of(session.object_ids, name)
            if identifier is None:
                left = (old for objects in past for old, known in objects if known == name and old not in taken)
                identifier = next(left, None) or _unused(name, past)
            taken.add(identifier)
            pairs.append((identifier, name))
        return tuple(pairs)

    def _store_objects(self, session: SessionRow, objects: ObjectIds) -> SessionRow:
        if objects == session.object_ids:
            return session
        changed = replace(session, object_ids=objects, revision=session.revision + 1)
        self._index.put_session(changed)
        return changed

    def _require_object(self, session: SessionRow, name: str) -> None:
        if name not in session.objects:
            raise ObjectError(f"there is no object {name!r}; the session has {', '.join(session.objects)}")


def identifier_of(objects: ObjectIds, name: str) -> str | None:
    return next((identifier for identifier, known in objects if known == name), None)


def _unused(name: str, past: Sequence[ObjectIds]) -> str:
    """Return an identifier that no object has ever had."""
    used = {identifier for objects in past for identifier, _ in objects}
    identifier, number = name, 1
    while identifier in used:
        number += 1
        # No name has a '#', so no later object can be taken for this one.
        identifier = f"{name}#{number}"
    return identifier
