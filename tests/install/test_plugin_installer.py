"""The plugin installer: what it writes, that it says so first, and that it takes exactly that away again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
INSTALLER = ROOT / "install" / "plugin.py"
OURS = 'import nuke\nnuke.pluginAddPath("./rotomem")\n'

sys.path.insert(0, str(ROOT / "install"))

import installed as installed_module  # noqa: E402
import wheels as wheels_module  # noqa: E402
from wheels import Target  # noqa: E402


def run(*arguments: str | Path, home: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    command = [python, str(INSTALLER), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_wheels(folder: Path, *, systems: dict[str, str] | None = None, msgpack: str = "1.1.2") -> Path:
    """Wheels with the right names and one module each, for every Python of every Nuke."""
    folder.mkdir(exist_ok=True)
    linux = "manylinux2014_x86_64.manylinux_2_17_x86_64"
    mac = {"macos-arm64": "macosx_11_0_arm64", "macos-x86_64": "macosx_10_9_x86_64"}
    for system in (systems or {"linux": linux, "windows": "win_amd64", **mac}).values():
        for tag in ("cp39", "cp310", "cp311", "cp313"):
            for package, module, version in (("pyzmq", "zmq", "26.4.0"), ("msgpack", "msgpack", msgpack)):
                with zipfile.ZipFile(folder / f"{package}-{version}-{tag}-{tag}-{system}.whl", "w") as archive:
                    archive.writestr(f"{module}/__init__.py", f"version = {version!r}\n")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    return make_wheels(tmp_path / "wheels")


def test_it_lies_in_the_users_folder_and_init_py_loads_it(home: Path, wheels: Path) -> None:
    done = run("install", "--wheels", wheels, "--platform", "linux", home=home)
    assert done.returncode == 0, done.stderr
    plugin = home / ".nuke" / "rotomem"
    for name in ("init.py", "menu.py", "rotomem_client/client.py", "rotomem_nuke/host.py", "gizmos/Rotomem.gizmo"):
        assert (plugin / name).is_file(), name
    assert {path.name for path in (plugin / "vendor").iterdir()} == {
        *("linux-cp39", "linux-cp310", "linux-cp311", "linux-cp313")
    }
    assert (plugin / "vendor/linux-cp311/zmq/__init__.py").is_file()
    assert OURS in (home / ".nuke" / "init.py").read_text()
    assert "restart Nuke" in done.stdout


def test_nuke_starts_with_what_was_installed(home: Path, wheels: Path, tmp_path: Path) -> None:
    """The fake runs ``init.py`` of the user's folder, then what that adds to the plugin path, as Nuke does."""
    assert run("install", "--wheels", wheels, "--platform", "linux", home=home).returncode == 0
    code = (
        "import sys\n"
        f"sys.path[:0] = [{str(ROOT / 'tests/fakes')!r}, {str(home / '.nuke/rotomem')!r}]\n"
        "import nuke; from pathlib import Path; from nuke._session import session\n"
        "session.reset(gui=True)\n"
        f"session.start(Path({str(home / '.nuke')!r}))\n"
        "assert './rotomem' in session.plugin_path, session.plugin_path\n"
        f"session.start(Path({str(home / '.nuke/rotomem')!r}))\n"
        "import rotomem_nuke\n"
        "print(rotomem_nuke.__file__); print(list(session.menu_commands)); print(nuke.createNode('Rotomem').name())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == str(home / ".nuke/rotomem/rotomem_nuke/__init__.py")
    assert "Nodes/Rotomem/Rotomem" in lines[1]
    assert lines[2] == "Rotomem1"


@pytest.mark.parametrize(
    "before",
    [
        None,
        b"",
        b"import mine\n",
        b"import mine",
        b"import mine\r\nprint('\xc3\xa9')\r\n",
        b"# coding: latin-1\nx = '\xe9'\n",
    ],
)
def test_uninstalling_gives_back_every_byte(home: Path, wheels: Path, before: bytes | None) -> None:
    init = home / ".nuke" / "init.py"
    if before is not None:
        init.parent.mkdir()
        init.write_bytes(before)
        init.chmod(0o640)
        (init.parent / "mine.py").write_text("mine")
    tree_before = tree(home)
    assert run("install", "--wheels", wheels, "--platform", "linux", home=home).returncode == 0
    again = run("install", home=home)
    assert again.returncode == 0, again.stderr  # what is there is whole, so nothing is fetched
    assert init.read_bytes().count(b"pluginAddPath") == 1
    if before is not None:
        assert init.stat().st_mode & 0o777 == 0o640
        assert init.read_bytes().startswith(before)
    done = run("uninstall", home=home)
    assert done.returncode == 0, done.stderr
    assert tree(home) == tree_before
    assert (home / ".nuke").exists() == (before is not None)
    assert run("uninstall", home=home).stderr.startswith("rotomem installer: nothing is installed in")


def test_a_dry_run_tells_all_and_writes_nothing(home: Path, wheels: Path) -> None:
    done = run("install", "--dry-run", "--wheels", wheels, "--nuke", "16", "--platform", "linux,windows", home=home)
    assert done.returncode == 0, done.stderr
    assert "Nuke 16 (Python 3.11) on windows into vendor/windows-cp311" in done.stdout
    assert f"four marked lines to {home}/.nuke/init.py" in done.stdout
    assert list(home.iterdir()) == []
    assert run("install", "--wheels", wheels, "--platform", "linux", home=home).returncode == 0
    before = tree(home)
    assert "would remove" in run("uninstall", "--dry-run", home=home).stdout
    assert tree(home) == before


def test_what_somebody_changed_or_added_stays(home: Path, wheels: Path) -> None:
    assert run("install", "--wheels", wheels, "--platform", "linux", home=home).returncode == 0
    plugin = home / ".nuke" / "rotomem"
    (plugin / "menu.py").write_text("mine now")
    (plugin / "notes.txt").write_text("mine")
    init = home / ".nuke" / "init.py"
    init.write_text("first()\n" + init.read_text() + "last()\n")
    code = f"import sys; sys.dont_write_bytecode = False; sys.path[:0] = [{str(plugin)!r}]; import rotomem_client"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert list(plugin.glob("rotomem_client/__pycache__/*.pyc"))
    done = run("uninstall", home=home)
    assert done.returncode == 0, done.stderr
    assert "kept, because somebody changed it: menu.py" in done.stdout
    assert sorted(tree(home)) == [".nuke/init.py", ".nuke/rotomem/menu.py", ".nuke/rotomem/notes.txt"]
    assert init.read_text() == "first()\nlast()\n"


def test_check_finds_what_is_missing_changed_or_unloaded(home: Path, wheels: Path) -> None:
    assert run("check", home=home).stderr.startswith("rotomem installer: nothing is installed in")
    assert run("install", "--wheels", wheels, "--platform", "linux", home=home).returncode == 0
    plugin = home / ".nuke" / "rotomem"
    (plugin / "vendor/linux-cp311/zmq/__init__.py").unlink()
    (plugin / "gizmos/Rotomem.gizmo").write_text("Group {}")
    (home / ".nuke/init.py").write_text("")
    done = run("check", home=home)
    assert done.returncode == 1
    assert "vendor/linux-cp311/zmq/__init__.py is missing" in done.stdout
    assert "gizmos/Rotomem.gizmo was changed" in done.stdout
    assert "init.py does not load the plugin any more" in done.stdout
    assert run("install", "--wheels", wheels, "--platform", "linux", home=home).returncode == 0
    assert "was changed" not in run("check", home=home).stdout


def test_an_upgrade_removes_what_the_new_version_has_not(home: Path, wheels: Path, tmp_path: Path) -> None:
    assert run("install", "--wheels", wheels, "--platform", "linux", "--nuke", "15,16", home=home).returncode == 0
    plugin = home / ".nuke" / "rotomem"
    manifest = json.loads((plugin / "installed.json").read_text())
    (plugin / "rotomem_nuke" / "old.py").write_text("old")
    manifest["files"]["rotomem_nuke/old.py"] = [installed_module.sha256(b"old")]
    (plugin / "installed.json").write_text(json.dumps(manifest))
    newer = make_wheels(tmp_path / "newer", msgpack="1.2.4")
    assert run("install", "--wheels", newer, "--platform", "linux", "--nuke", "16", home=home).returncode == 0
    assert not (plugin / "rotomem_nuke" / "old.py").exists()
    assert [path.name for path in (plugin / "vendor").iterdir()] == ["linux-cp311"]
    assert "1.2.4" in (plugin / "vendor/linux-cp311/msgpack/__init__.py").read_text()


def test_an_interrupted_install_can_be_uninstalled(home: Path, wheels: Path) -> None:
    (home / ".nuke").mkdir()
    blocked = home / ".nuke" / "rotomem" / "rotomem_nuke"
    blocked.parent.mkdir()
    blocked.write_text("a file where a folder must be")
    done = run("install", "--wheels", wheels, "--platform", "linux", home=home)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert not (home / ".nuke" / "init.py").exists()  # Nuke never loads half a plugin
    assert run("uninstall", home=home).returncode == 0
    assert sorted(tree(home)) == [".nuke/rotomem/rotomem_nuke"]


def test_markers_that_do_not_match_are_left_alone(home: Path, wheels: Path) -> None:
    init = home / ".nuke" / "init.py"
    init.parent.mkdir()
    init.write_bytes(installed_module.BEGIN + b"\nimport nuke\n")
    before = tree(home)
    done = run("install", "--wheels", wheels, "--platform", "linux", home=home)
    assert done.returncode == 1
    assert f"{init} is left alone: its Rotomem markers do not match" in done.stderr
    assert tree(home) == before


def test_a_linked_init_py_is_edited_where_it_lies(home: Path, wheels: Path, tmp_path: Path) -> None:
    (home / ".nuke").mkdir()
    dotfile = tmp_path / "dotfiles_init.py"
    dotfile.write_text("mine()\n")
    (home / ".nuke" / "init.py").symlink_to(dotfile)
    assert run("install", "--wheels", wheels, "--platform", "linux", home=home).returncode == 0
    assert (home / ".nuke" / "init.py").is_symlink()
    assert OURS in dotfile.read_text()
    assert run("uninstall", home=home).returncode == 0
    assert dotfile.read_text() == "mine()\n"


def test_a_studio_folder_gets_every_platform_and_no_startup_file(home: Path, wheels: Path, tmp_path: Path) -> None:
    site = tmp_path / "studio"
    done = run("install", "--site", site, "--wheels", wheels, home=home)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in site.iterdir()] == ["rotomem"]
    assert len(list((site / "rotomem" / "vendor").iterdir())) == 16
    assert f"add {site / 'rotomem'} to NUKE_PATH" in done.stdout
    assert list(home.iterdir()) == []
    assert run("uninstall", "--site", site, home=home).returncode == 0
    assert not site.exists()


def test_a_missing_wheel_is_named_before_anything_is_written(home: Path, tmp_path: Path) -> None:
    wheels = make_wheels(tmp_path / "wheels")
    for wheel in wheels.glob("msgpack-*-cp313-*win*"):
        wheel.unlink()
    done = run("install", "--wheels", wheels, "--platform", "linux,windows", home=home)
    assert done.returncode == 1
    assert "no wheel of msgpack for Nuke 17 (Python 3.13) on windows; leave these out with --nuke" in done.stderr
    assert list(home.iterdir()) == []


def test_without_a_network_it_says_which_wheel_and_writes_nothing(home: Path) -> None:
    done = run("install", "--nuke", "16", "--platform", "linux", home=home)
    assert done.returncode == 1
    assert "pip found no wheel of pyzmq for Nuke 16 (Python 3.11) on linux" in done.stderr
    assert "give a folder of wheels with --wheels" in done.stderr
    assert not (home / ".nuke").exists()


@pytest.mark.parametrize(
    ("wheel", "target", "runs"),
    [
        ("pyzmq-27.3.0-cp312-abi3-win_amd64.whl", Target("17", "windows"), True),
        ("pyzmq-27.3.0-cp312-abi3-win_amd64.whl", Target("16", "windows"), False),
        ("pyzmq-27.3.0-cp311-cp311-manylinux_2_26_x86_64.manylinux_2_28_x86_64.whl", Target("16", "linux"), False),
        ("pyzmq-26.4.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", Target("16", "linux"), True),
        ("pyzmq-27.3.0-cp39-cp39-macosx_10_15_universal2.whl", Target("14", "macos-arm64"), True),
        ("msgpack-1.1.2-cp39-cp39-macosx_11_0_arm64.whl", Target("14", "macos-x86_64"), False),
        ("msgpack-1.2.4-cp313-cp313t-win_amd64.whl", Target("17", "windows"), False),
        ("notes.txt", Target("17", "windows"), False),
    ],
)
def test_wheels_fit_by_their_tags(wheel: str, target: Target, runs: bool) -> None:
    assert wheels_module.fits(wheel, target) is runs


def test_a_wheel_that_writes_elsewhere_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "msgpack-1.2.4-cp311-cp311-win_amd64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("../init.py", "evil")
    with pytest.raises(wheels_module.WheelError, match="outside of"):
        wheels_module.unpack(wheel, tmp_path)
    wheel.write_bytes(b"half a file")
    with pytest.raises(wheels_module.WheelError, match="is damaged"):
        wheels_module.unpack(wheel, tmp_path)


def test_the_vendor_folder_is_picked_by_python_and_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    import platform

    monkeypatch.syspath_prepend(str(ROOT / "nuke_plugin"))
    from rotomem_nuke import vendor

    machines = (("linux", "x86_64"), ("win32", "AMD64"), ("darwin", "arm64"), ("darwin", "x86_64"))
    for (system, machine), expected in zip(machines, wheels_module.PLATFORMS, strict=True):
        for nuke, python in wheels_module.NUKE_PYTHONS.items():
            monkeypatch.setattr(sys, "platform", system)
            monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
            monkeypatch.setattr(sys, "version_info", tuple(int(part) for part in python.split(".")))
            assert vendor.vendor_folder().name == Target(nuke, expected).folder


def test_the_installer_runs_in_python_39(home: Path, wheels: Path, python39: str) -> None:
    done = run("install", "--wheels", wheels, "--platform", "linux", home=home, python=python39)
    assert done.returncode == 0, done.stderr
    assert run("uninstall", home=home, python=python39).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_registrys_wheels_import_in_every_python_at_hand(home: Path, tmp_path: Path) -> None:
    """Needs a network."""
    environment = {**os.environ, "HOME": str(home)}
    command = [sys.executable, str(INSTALLER)]
    done = subprocess.run([*command, "install", "--platform", "linux"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pyenv = Path(os.environ.get("PYENV_ROOT", "/root/.pyenv")) / "versions"
    pythons = [path for version in ("3.9", "3.10", "3.11", "3.13") for path in pyenv.glob(f"{version}.*/bin/python")]
    given = [argument for python in pythons or [Path(sys.executable)] for argument in ("--python", str(python))]
    done = subprocess.run([*command, "check", *given], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_registrys_wheels_are_unpacked_for_every_nuke_and_platform(home: Path, tmp_path: Path) -> None:
    """Needs a network. Compiled modules are told apart by the file formats' own numbers: ELF, PE and Mach-O."""
    site = tmp_path / "site"
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, str(INSTALLER), "install", "--site", str(site)], env=environment, check=False
    )
    assert done.returncode == 0
    vendor = site / "rotomem" / "vendor"
    expected = {f"{s}-{t}" for s in wheels_module.PLATFORMS for t in ("cp39", "cp310", "cp311", "cp313")}
    assert {path.name for path in vendor.iterdir()} == expected
    for folder in vendor.iterdir():
        modules = [*folder.glob("zmq/backend/cython/_zmq.*[od]"), *folder.glob("msgpack/_cmsgpack.*[od]")]
        modules = [path for path in modules if path.suffix in (".so", ".pyd")]
        assert len(modules) == 2, folder.name
        system = folder.name.rpartition("-")[0]
        assert all(system in machines_of(path.read_bytes()[:4096]) for path in modules), folder.name


def machines_of(head: bytes) -> set[str]:
    """Return which of the installer's platforms a compiled module runs on."""
    mac = {0x01000007: "macos-x86_64", 0x0100000C: "macos-arm64"}
    if head[:4] == b"\x7fELF":
        return {"linux"} if int.from_bytes(head[18:20], "little") == 62 else set()
    if head[:2] == b"MZ":
        at = int.from_bytes(head[60:64], "little")
        return {"windows"} if int.from_bytes(head[at + 4 : at + 6], "little") == 0x8664 else set()
    if head[:4] == bytes.fromhex("cafebabe"):
        count = int.from_bytes(head[4:8], "big")
        return {mac[int.from_bytes(head[8 + 20 * n : 12 + 20 * n], "big")] for n in range(count)}
    return {mac[int.from_bytes(head[4:8], "little")]} if head[:4] == bytes.fromhex("cffaedfe") else set()


def test_the_rez_package_has_the_plugins_version_and_adds_its_folder(tmp_path: Path) -> None:
    """The real rez 3.4 built it once (backend/docs/install.md); here its file is read as rez reads it."""
    package: dict[str, object] = {}
    exec((ROOT / "install" / "rez" / "package.py").read_text(encoding="utf-8"), package)
    client = (ROOT / "nuke_plugin" / "rotomem_client" / "version.py").read_text(encoding="utf-8")
    assert f'VERSION = "{package["version"]}"' in client
    added: list[str] = []
    package["env"] = type("Environment", (), {"NUKE_PATH": added})
    package["commands"]()  # type: ignore[operator]
    assert added == ["{root}/rotomem"]


def test_rez_builds_into_the_packages_folder(wheels: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "ROTOMEM_WHEELS": str(wheels), "REZ_BUILD_INSTALL": "1"}
    environment["REZ_BUILD_INSTALL_PATH"] = str(tmp_path / "package")
    done = subprocess.run([sys.executable, str(ROOT / "install/rez/build.py")], env=environment, check=False)
    assert done.returncode == 0
    assert (tmp_path / "package" / "rotomem" / "gizmos" / "Rotomem.gizmo").is_file()
