"""Rows of memory elements in growing buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

GROWTH = 1.5


class MemoryElements:
    """One memory's elements, one row each, in columns such as ``augmented_key`` (N, 2C+1) and ``value`` (N, K, Cv).

    Columns keep spare capacity, so that adding a frame copies that frame alone. Each row also carries which objects
    may read it: the column ``readable`` (N, K) on the device, and :meth:`is_complete` on the host, so that the usual
    case (every object reads everything) costs neither a mask nor a synchronisation.
    """

    def __init__(self, object_count: int) -> None:
        self.object_count = object_count
        self.size = 0
        self._columns: dict[str, Tensor] = {}
        self._incomplete: set[int] = set()

    def __getitem__(self, name: str) -> Tensor:
        """Return the rows in use of one column, as a view."""
        return self._columns[name][: self.size]

    def is_complete(self, object_index: int) -> bool:
        """Return True if the object may read every row."""
        return object_index not in self._incomplete

    def append(self, columns: Mapping[str, Tensor], readable: Sequence[bool] | Tensor) -> None:
        """Add rows. ``readable`` is one flag per object for all of them, or (n, K) with rows that differ."""
        count = len(next(iter(columns.values())))
        self._reserve(self.size + count, columns)
        self.size += count
        self.overwrite(self.size - count, columns, readable)

    def overwrite(self, start: int, columns: Mapping[str, Tensor], readable: Sequence[bool] | Tensor) -> None:
        """Replace rows from ``start`` on."""
        stop = start + len(next(iter(columns.values())))
        for name, rows in columns.items():
            self._columns[name][start:stop] = rows
        if isinstance(readable, Tensor):
            self._incomplete |= set(torch.nonzero(~readable.all(dim=0)).flatten().tolist())
            self._columns["readable"][start:stop] = readable
        else:
            self._incomplete |= {index for index, flag in enumerate(readable) if not flag}
            self._columns["readable"][start:stop] = torch.tensor(readable, device=self._columns["readable"].device)

    def remove(self, start: int, stop: int) -> None:
        """Drop rows ``start`` to ``stop``; later rows move up."""
        for column in self._columns.values():
            column[start : start + self.size - stop] = column[stop : self.size].clone()
        self.size -= stop - start

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows, given ascending."""
        for column in self._columns.values():
            column[: len(rows)] = column[rows]
        self.size = len(rows)

    def add_object(self) -> None:
        """Make room for one more object; no present row is readable for it."""
        if self.size:
            self._incomplete.add(self.object_count)
        self.object_count += 1
        for name in ("value", "readable"):
            if name in self._columns:
                column = self._columns[name]
                self._columns[name] = torch.cat([column, torch.zeros_like(column[:, :1])], dim=1)

    def set_complete(self, complete: Sequence[bool]) -> None:
        """State anew which objects may read every row, once rows that they might not read are gone."""
        self._incomplete = {index for index, flag in enumerate(complete) if not flag}

    def clear(self) -> None:
        """Drop every row; capacity is kept."""
        self.size = 0
        self._incomplete.clear()

    def _reserve(self, needed: int, columns: Mapping[str, Tensor]) -> None:
        if not self._columns:
            for name, rows in columns.items():
                self._columns[name] = rows.new_empty((needed, *rows.shape[1:]))
            first = next(iter(columns.values()))
            self._columns["readable"] = torch.empty(needed, self.object_count, dtype=torch.bool, device=first.device)
        capacity = len(self._columns["readable"])
        if needed <= capacity:
            return
        capacity = max(needed, int(capacity * GROWTH))
        for name, column in self._columns.items():
            grown = column.new_empty((capacity, *column.shape[1:]))
            grown[: self.size] = column[: self.size]
            self._columns[name] = grown


def as_rows(x: Tensor) -> Tensor:
    """Turn one frame's map (1, C, h, w) into element rows (h·w, C)."""
    return x[0].flatten(1).T


def value_rows(value: Tensor) -> Tensor:
    """Turn one frame's values (1, K, Cv, h, w) into element rows (h·w, K, Cv)."""
    return value[0].flatten(2).permute(2, 0, 1)
