"""The tables of the store's index, and how those of an earlier version become them."""

from __future__ import annotations

import json
import sqlite3

SCHEMA_VERSION = 4

TABLES = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, plate TEXT NOT NULL, objects TEXT NOT NULL, revision INTEGER NOT NULL, used_at REAL NOT NULL
);
CREATE TABLE object_lists (
    session TEXT NOT NULL, revision INTEGER NOT NULL, objects TEXT NOT NULL, PRIMARY KEY (session, revision)
);
CREATE TABLE plate_changes (session TEXT NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (session, revision));
CREATE TABLE plate_stamps (
    session TEXT NOT NULL, frame INTEGER NOT NULL, stamp TEXT NOT NULL, PRIMARY KEY (session, frame)
);
CREATE TABLE writers (
    session TEXT PRIMARY KEY, client_id TEXT NOT NULL, user TEXT NOT NULL, since REAL NOT NULL, used_at REAL NOT NULL
);
CREATE TABLE annotations (
    session TEXT NOT NULL, revision INTEGER NOT NULL, frame INTEGER NOT NULL, object TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('shapes', 'alpha', 'absent', 'removed')), content TEXT NOT NULL,
    step TEXT NOT NULL CHECK (step IN ('change', 'undo', 'redo')), of INTEGER NOT NULL,
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
    made_revision INTEGER NOT NULL, confidence REAL NOT NULL, weights_sha256 TEXT NOT NULL,
    preview INTEGER NOT NULL, PRIMARY KEY (session, revision, frame, job)
);
CREATE INDEX mattes_by_job ON mattes (job);
CREATE INDEX mattes_by_frame ON mattes (session, frame, revision);
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, session TEXT NOT NULL, revision INTEGER NOT NULL, plate TEXT NOT NULL, objects TEXT NOT NULL,
    request TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, final BLOB, kind TEXT NOT NULL
);
CREATE TABLE replies (
    number INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
    header BLOB NOT NULL
);
"""

_FROM_1 = """
ALTER TABLE sessions ADD COLUMN used_at REAL NOT NULL DEFAULT 0;
ALTER TABLE annotations ADD COLUMN step TEXT NOT NULL DEFAULT 'change';
ALTER TABLE annotations ADD COLUMN of INTEGER NOT NULL DEFAULT 0;
UPDATE annotations SET of = revision;
ALTER TABLE mattes ADD COLUMN made_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mattes ADD COLUMN confidence REAL NOT NULL DEFAULT 1;
UPDATE mattes SET made_revision = revision;
ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'propagate'
"""
# Empty, for it was not kept: mattes of engines with weights are then made again.
_FROM_2 = "ALTER TABLE mattes ADD COLUMN weights_sha256 TEXT NOT NULL DEFAULT ''"
_FROM_3 = "ALTER TABLE mattes ADD COLUMN preview INTEGER NOT NULL DEFAULT 0"
_NEW_IN_2 = ("object_lists", "plate_changes", "plate_stamps", "writers", "mattes_by_frame")


def make_tables(db: sqlite3.Connection) -> None:
    """Make all tables of an empty index; call it in a transaction."""
    _run(db, TABLES)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def upgrade(db: sqlite3.Connection, version: int) -> None:
    """Give an index of an earlier version the present tables, keeping all that it holds; call it in a transaction."""
    if version < 2:
        _upgrade_from_1(db)
    if version < 3:
        _run(db, _FROM_2)
    _run(db, _FROM_3)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _upgrade_from_1(db: sqlite3.Connection) -> None:
    """Make an index of version 1 one of version 2.

    Objects were names; their identifiers become those names. Which objects a session had at earlier revisions was not
    kept, but which of them each job had: a matte's job tells.
    """
    _run(db, _FROM_1)
    for statement in TABLES.split(";"):
        if any(f" {name} " in statement for name in _NEW_IN_2):
            db.execute(statement)
    for table in ("sessions", "jobs"):
        for rowid, objects in db.execute(f"SELECT rowid, objects FROM {table}").fetchall():
            pairs = json.dumps([[name, name] for name in json.loads(objects)])
            db.execute(f"UPDATE {table} SET objects = ? WHERE rowid = ?", (pairs, rowid))
    db.execute("INSERT OR REPLACE INTO object_lists SELECT session, revision, objects FROM jobs")
    db.execute("INSERT OR REPLACE INTO object_lists SELECT id, revision, objects FROM sessions")
    # What earlier changes of the plate were is unknown, so mattes of before the last revision count as stale.
    db.execute("INSERT INTO plate_changes SELECT id, revision FROM sessions")


def _run(db: sqlite3.Connection, script: str) -> None:
    # Not executescript: that commits.
    for statement in script.split(";"):
        db.execute(statement)
