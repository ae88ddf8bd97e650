"""Features on disk: what a new process finds, what is never taken for something else, what damage and kills cost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rotomem.vos import DiskTier, FeatureCache, InferenceCore, MemoryConfig, Network

Play = Callable[[Network, FeatureCache], Tensor]


@pytest.fixture
def play(images: Tensor, masks: Tensor) -> Play:
    def run(network: Network, cache: FeatureCache) -> Tensor:
        core = InferenceCore(network, MemoryConfig(mem_every=2), 2, features=cache)
        core.memorize(0, images[0], masks[0])
        return torch.stack([core.step(frame, images[frame]) for frame in range(1, 6)])

    return run


@pytest.fixture
def encoded(network: Network) -> list[int]:
    """Grows by one with every frame whose image is encoded, deep or shallow, or whose decoder part is computed."""
    calls: list[int] = []
    network.key_encoder.conv1.register_forward_hook(lambda *_: calls.append(1))
    network.key_proj.register_forward_hook(lambda *_: calls.append(1))
    network.decoder.up_8_4.skip_conv.register_forward_hook(lambda *_: calls.append(1))
    return calls


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.features"))


def test_a_new_process_computes_no_feature_again(
    network: Network, encoded: list[int], play: Play, tmp_path: Path
) -> None:
    first = play(network, FeatureCache(1 << 30, disk=DiskTier(tmp_path, 1 << 30)))
    assert encoded
    encoded.clear()
    second = play(network, FeatureCache(1 << 30, disk=DiskTier(tmp_path, 1 << 30)))
    assert not encoded
    torch.testing.assert_close(second, first, rtol=0, atol=1e-6)


def test_what_memory_has_no_room_for_comes_from_disk(
    network: Network, encoded: list[int], play: Play, tmp_path: Path
) -> None:
    first = play(network, FeatureCache(1 << 30))
    cache = FeatureCache(max_bytes=0, disk=DiskTier(tmp_path, 1 << 30))
    play(network, cache)
    encoded.clear()
    torch.testing.assert_close(play(network, cache), first, rtol=0, atol=1e-6)
    assert cache.byte_count == 0
    # With no room at all, even what was just read has gone when the decoder asks for its part.
    assert len(encoded) <= 2 * 5


def test_the_folder_is_bounded_and_the_least_recently_used_go_first(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(1000)}
    size = 4000
    disk = DiskTier(tmp_path, max_bytes=3 * size + 1000)
    for index, name in enumerate(("one", "two", "three")):
        disk.save(name, tensors)
        os.utime(tmp_path / f"{name}.features", (index, index))
    assert disk.load("one") is not None  # used, so that "two" is the oldest now
    disk.save("four", tensors)
    assert [name in disk for name in ("one", "two", "three", "four")] == [True, False, True, True]
    assert sum(path.stat().st_size for path in files(tmp_path)) <= disk.max_bytes
    # What another process wrote counts too.
    other = DiskTier(tmp_path, max_bytes=2 * size)
    other.save("five", tensors)
    assert [path.stem for path in files(tmp_path)] == ["five"]
    disk.save("huge", {"a": torch.zeros(10_000)})
    assert "huge" not in disk
    assert "five" in disk


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "removed"])
def test_damaged_or_missing_files_are_computed_again(
    network: Network, encoded: list[int], play: Play, tmp_path: Path, damage: str
) -> None:
    first = play(network, FeatureCache(1 << 30, disk=DiskTier(tmp_path, 1 << 30)))
    count = len(encoded)
    for path in files(tmp_path):
        content = bytearray(path.read_bytes())
        if damage == "removed":
            path.unlink()
            continue
        content[len(content) // 2] ^= 0xFF
        path.write_bytes({"cut": content[:-9], "flipped": content, "empty": b""}[damage])
    encoded.clear()
    second = play(network, FeatureCache(1 << 30, disk=DiskTier(tmp_path, 1 << 30)))
    assert torch.equal(first, second)
    assert len(encoded) == count
    encoded.clear()
    play(network, FeatureCache(1 << 30, disk=DiskTier(tmp_path, 1 << 30)))
    assert not encoded  # whole again


def test_other_weights_and_other_plates_never_mix(
    network: Network, encoded: list[int], play: Play, images: Tensor, tmp_path: Path
) -> None:
    play(network, FeatureCache(1 << 30, disk=DiskTier(tmp_path, 1 << 30)))
    with torch.no_grad():
        network.key_proj.key_proj.bias.add_(0.5)  # as tuning to a shot does
    shared = FeatureCache(1 << 30, disk=DiskTier(tmp_path, 1 << 30))
    expected = play(network, FeatureCache(1 << 30))
    assert torch.equal(play(network, shared), expected)
    with torch.no_grad():
        network.key_proj.e_proj.bias.add_(0.5)
    assert torch.equal(play(network, shared), play(network, FeatureCache(1 << 30)))  # the tier in memory, too
    images += 0.25
    assert torch.equal(play(network, shared), play(network, FeatureCache(1 << 30)))


def test_half_precision_features_are_not_taken_for_float32(
    network: Network, images: Tensor, masks: Tensor, play: Play, tmp_path: Path
) -> None:
    half = InferenceCore(
        network, num_objects=2, features=FeatureCache(0, disk=DiskTier(tmp_path, 1 << 30)), autocast=torch.bfloat16
    )
    half.memorize(0, images[0], masks[0])
    half.step(1, images[1])
    assert files(tmp_path)
    expected = play(network, FeatureCache(1 << 30))
    assert torch.equal(play(network, FeatureCache(1 << 30, disk=DiskTier(tmp_path, 1 << 30))), expected)


WRITE_FOR_EVER = """
import sys, torch
from pathlib import Path
from rotomem.vos import DiskTier
disk = DiskTier(Path(sys.argv[1]), 1 << 40)
for index in range(1_000_000):
    disk.save(str(index), {"a": torch.full((50_000,), float(index))})
"""


def test_a_killed_writer_leaves_nothing_half_done(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)])
    while len(files(tmp_path)) < 20:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    disk = DiskTier(tmp_path, 1 << 40)
    for path in files(tmp_path):
        held = disk.load(path.stem)
        assert held is not None
        assert torch.equal(held["a"], torch.full((50_000,), float(path.stem)))


def test_what_a_killed_writer_left_is_cleared(tmp_path: Path) -> None:
    old, new = tmp_path / "old.unfinished", tmp_path / "new.unfinished"
    for path in (old, new):
        path.write_bytes(b"0")
    os.utime(old, (0, 0))
    DiskTier(tmp_path, 1 << 20).save("a", {"a": torch.zeros(1)})
    assert not old.exists()
    assert new.exists()  # another process may be at it


def test_a_folder_that_cannot_be_written_costs_no_result(
    network: Network, play: Play, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    result = play(network, FeatureCache(1 << 30, disk=DiskTier(blocked / "folder", 1 << 30)))
    assert torch.equal(result, play(network, FeatureCache(1 << 30)))
    assert sum("features cannot be kept" in record.message for record in caplog.records) == 1
