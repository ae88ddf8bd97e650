from __future__ import annotations

import torch

from rotomem.vos.padding import Padding


def test_smaller_half_lies_left_and_top() -> None:
    # 103 + 9 = 112 and 183 + 9 = 192: 4 before, 5 after
    assert Padding.to_stride(103, 183) == Padding(left=4, right=5, top=4, bottom=5)


def test_multiples_are_left_alone() -> None:
    assert Padding.to_stride(480, 864) == Padding(0, 0, 0, 0)


def test_removing_undoes_adding() -> None:
    x = 1 + torch.rand(1, 3, 33, 17)
    padding = Padding.to_stride(33, 17)
    padded = padding.add(x)
    assert padded.shape == (1, 3, *padding.size_of(33, 17)) == (1, 3, 48, 32)
    assert int((padded == 0).sum()) == 3 * (48 * 32 - 33 * 17)
    assert torch.equal(padding.remove(padded), x)
