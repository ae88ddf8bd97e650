from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rotomem.errors import SettingError, WeightsCorruptError, WeightsMismatchError, WeightsMissingError
from rotomem.vos import (
    Network,
    add_weights,
    find_weights,
    installed_weights,
    load_network,
    save_weights,
    verify_weights,
)


@pytest.fixture
def made(network: Network, tmp_path: Path) -> Path:
    """A weights file made by rotomem, in half precision."""
    path = tmp_path / "made" / "tiny.safetensors"
    save_weights({name: tensor.half() for name, tensor in network.state_dict().items()}, path, network.config)
    return path


def test_no_folder_holds_no_weights(tmp_path: Path) -> None:
    assert installed_weights(tmp_path / "none") == []
    assert verify_weights(tmp_path / "none") == []
    with pytest.raises(WeightsMissingError, match="there: none"):
        find_weights(tmp_path / "none", "xmem")


def test_added_weights_are_listed_found_and_intact(network: Network, made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    added = add_weights(made, folder, "shot_0120")
    assert added.name == "shot_0120"
    assert added.config == network.config
    assert added.size == made.stat().st_size
    assert added.path.read_bytes() == made.read_bytes()
    assert installed_weights(folder) == [added]
    assert verify_weights(folder) == [(added, None)]
    assert find_weights(folder, "shot_0120") == find_weights(folder, str(added.path)) == added.path
    assert load_network(added.path).sha256 == added.sha256


def test_damage_is_listed_and_named(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    changed = add_weights(made, folder, "changed").path
    changed.write_bytes(changed.read_bytes()[:-1] + b"!")
    add_weights(made, folder, "intact")
    (folder / "stray.safetensors").write_bytes(b"nothing")
    problems = {file.name: problem for file, problem in verify_weights(folder)}
    assert problems["intact"] is None
    assert "has changed since it was installed" in str(problems["changed"])
    assert "no readable stray.safetensors.sha256" in str(problems["stray"])
    stray = installed_weights(folder)[-1]
    assert (stray.name, stray.sha256, stray.config) == ("stray", "", None)


def test_damaged_or_foreign_files_are_not_added(made: Path, tmp_path: Path, network: Network) -> None:
    folder = tmp_path / "weights"
    foreign = tmp_path / "foreign.pth"
    torch.save({"layer.weight": torch.zeros(3)}, foreign)
    with pytest.raises(WeightsMismatchError, match="412 missing"):
        add_weights(foreign, folder)
    made.write_bytes(made.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsCorruptError):
        add_weights(made, folder)
    with pytest.raises(WeightsMissingError, match="is not there"):
        add_weights(tmp_path / "absent.pth", folder)
    assert installed_weights(folder) == []


@pytest.mark.parametrize("name", ["../xmem", "a/b", ".hidden", "sp ace"])
def test_names_stay_inside_the_folder(made: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match="cannot name weights"):
        add_weights(made, tmp_path / "weights", name)
