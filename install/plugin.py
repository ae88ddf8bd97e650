#!/usr/bin/env python3
"""Put the Rotomem plugin where Nuke finds it, with the wheels that it needs for each Nuke.

    python3 install/plugin.py install                      into ~/.nuke, for Nuke 14 to 17 on this machine
    python3 install/plugin.py install --site /studio/nuke  into a studio folder, for every platform; set NUKE_PATH to it
    python3 install/plugin.py install --dry-run            tell what would be written, and write nothing
    python3 install/plugin.py check                        is what was installed still whole, and does it import?
    python3 install/plugin.py uninstall                    remove what was written, and nothing else
    python3 install/plugin.py wheels --to FOLDER           fetch the wheels, for machines without a network
    python3 install/plugin.py install --wheels FOLDER      install with those, without a network

Any Python 3.9 or newer runs this; it needs pip only where wheels are fetched. Nuke's own Python is never touched.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from installed import InstallError, Manifest, block_of, remove_files, sha256, with_block, without_block, write_whole
from wheels import NUKE_PYTHONS, PLATFORMS, Target, WheelError, choose_all, fetch, this_system, unpack

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "nuke_plugin"
GIZMOS = ROOT / "gizmos"
FOLDER = "rotomem"
STARTUP_LINES = (b"import nuke", b'nuke.pluginAddPath("./rotomem")')


def main(arguments=None):
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except (InstallError, WheelError) as error:
        print(f"rotomem installer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, run, summary in (
        ("install", install, "write the plugin, or bring it up to date"),
        ("check", check, "compare what is there with what was written, and import it"),
        ("uninstall", uninstall, "remove what was written"),
        ("wheels", fetch_wheels, "fetch wheels for an offline install"),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        if name != "wheels":
            place = command.add_mutually_exclusive_group()
            place.add_argument("--target", type=Path, help="the user's Nuke folder (default: ~/.nuke)")
            place.add_argument("--site", type=Path, help="a studio folder; nothing but the plugin is written there")
        if name in ("install", "wheels"):
            command.add_argument("--nuke", default=",".join(NUKE_PYTHONS), help="major versions (default: %(default)s)")
            command.add_argument(
                "--platform", help=f"of {', '.join(PLATFORMS)} (default: this machine's; all for a site)"
            )
        if name in ("install", "uninstall"):
            command.add_argument("--dry-run", action="store_true", help="tell what would happen, and write nothing")
    commands.choices["install"].add_argument("--wheels", type=Path, help="take the wheels from this folder; no network")
    commands.choices["wheels"].add_argument("--to", type=Path, required=True, help="folder of the wheels")
    commands.choices["check"].add_argument(
        "--python", action="append", default=[], metavar="FILE", help="import with this interpreter too, such as Nuke's"
    )
    return parser


def install(options):
    folder, startup = places(options)
    targets = targets_of(options)
    before = Manifest.read(folder) or Manifest(folder, made_above=folders_to_make(folder.parent))
    content = plugin_files()
    wheels = {target.folder: wheels_there(before, target) for target in targets}
    lacking = [target for target in targets if not wheels[target.folder] or options.wheels]
    edited, created = edited_startup(startup)
    if options.dry_run:
        print_plan(folder, startup, edited, content, lacking, options.wheels)
        return 0
    with tempfile.TemporaryDirectory(prefix="rotomem-wheels-") as temporary:
        source = options.wheels or Path(temporary)
        if not options.wheels:
            fetch(lacking, source)
        chosen = choose_all(source, lacking)
        for target in lacking:
            wheels[target.folder] = sorted(wheel.name for (of, _), wheel in chosen.items() if of == target)
        for (target, _), wheel in chosen.items():
            for name, data in unpack(wheel, folder).items():
                content[f"vendor/{target.folder}/{name}"] = data
    kept_vendor = {f"vendor/{target.folder}/" for target in targets if target not in lacking}
    write_plugin(folder, before, content, kept_vendor, wheels)
    if startup is not None:
        manifest = Manifest.read(folder)
        manifest.startup = str(startup)
        manifest.startup_created = created or (before.startup == str(startup) and before.startup_created)
        manifest.write()  # first, so that an uninstall after a power cut knows of the block
        write_whole(startup, edited)
    print(f"Rotomem {version()} is in {folder}, for " + "; ".join(str(target) for target in targets))
    print(startup_hint(folder, startup))
    return 0


def check(options):
    folder, startup = places(options)
    manifest = required_manifest(folder)
    missing, changed = manifest.changed_files()
    problems = [f"{name} is missing" for name in missing] + [f"{name} was changed" for name in changed]
    if startup is not None and (not startup.is_file() or block_of_file(startup) is None):
        problems.append(f"{startup} does not load the plugin any more")
    for python in options.python or [sys.executable]:
        problems += imports(folder, python, required=bool(options.python))
    for problem in problems:
        print(problem)
    if problems:
        print("install again to repair this: python3 install/plugin.py install", file=sys.stderr)
        return 1
    print(f"Rotomem {manifest.version} in {folder} is whole: {len(manifest.files)} files; wheels for")
    for name, wheels in sorted(manifest.wheels.items()):
        print(f"  {name}: {', '.join(wheels)}")
    return 0


def uninstall(options):
    folder, startup = places(options)
    manifest = required_manifest(folder)
    edited = Path(manifest.startup) if manifest.startup else startup
    if options.dry_run:
        print(f"would remove {len(manifest.files)} files from {folder}")
        if edited is not None:
            print(f"would take the marked lines out of {edited}")
        return 0
    if edited is not None and edited.is_file():
        remove_block(edited, manifest.startup_created)
    kept = remove_files(manifest, manifest.files)
    (folder / "installed.json").unlink()
    try:
        for made in [folder, *map(Path, manifest.made_above)]:
            made.rmdir()
    except OSError:
        print(f"{made} stays: it has files that the installer did not write")
    for name in kept:
        print(f"  kept, because somebody changed it: {name}")
    print(f"Rotomem is removed from {folder.parent}")
    return 0


def fetch_wheels(options):
    options.site = options.to  # every platform unless one is named
    fetch(targets_of(options), options.to)
    chosen = choose_all(options.to, targets_of(options))
    print(f"{len(set(chosen.values()))} wheels are in {options.to}; now: install --wheels {options.to}")
    return 0


def places(options):
    """Return the plugin's folder and the startup file to edit (None for a studio folder).

    A startup file that is a link is edited where it lies.
    """
    if options.site:
        return options.site.expanduser().resolve() / FOLDER, None
    home = (options.target or nuke_home()).expanduser().resolve()
    return home / FOLDER, (home / "init.py").resolve()


def nuke_home():
    """Return Nuke's user folder: below HOME, on Windows below USERPROFILE where HOME is not set."""
    home = os.environ.get("HOME") or (os.environ.get("USERPROFILE") if os.name == "nt" else "")
    return (Path(home) if home else Path.home()) / ".nuke"


def folders_to_make(folder):
    """Return which of ``folder`` and those above it do not exist yet, innermost first."""
    return [str(path) for path in (folder, *folder.parents) if not path.exists()]


def targets_of(options):
    versions = [part.strip() for part in options.nuke.split(",") if part.strip()]
    for version_ in versions:
        if version_ not in NUKE_PYTHONS:
            raise InstallError(f"--nuke {version_} is none of {', '.join(NUKE_PYTHONS)}")
    here = this_system()
    if options.platform:
        systems = [part.strip() for part in options.platform.split(",") if part.strip()]
    else:
        systems = list(PLATFORMS) if options.site else [here or "none"]
    for system in systems:
        if system not in PLATFORMS:
            raise InstallError(f"--platform {system} is none of {', '.join(PLATFORMS)}")
    return [Target(version_, system) for system in systems for version_ in versions]


def plugin_files():
    """Return ``{relative path: bytes}`` of the plugin and its gizmo."""
    if not (GIZMOS / "Rotomem.gizmo").is_file():
        raise InstallError(f"{GIZMOS} has no Rotomem.gizmo; run the installer of a complete copy of Rotomem")
    content = {}
    for path in sorted(PLUGIN.rglob("*")):
        relative = path.relative_to(PLUGIN)
        if path.is_file() and relative.parts[0] != "vendor" and path.suffix != ".pyc":
            content[relative.as_posix()] = path.read_bytes()
    for path in sorted(GIZMOS.rglob("*")):
        if path.is_file():
            content["gizmos/" + path.relative_to(GIZMOS).as_posix()] = path.read_bytes()
    content["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    return content


def write_plugin(folder, before, content, kept_vendor, wheels):
    """Write ``content``, then remove what an older version had; the manifest knows of every file at every moment."""
    for name in content:
        path = folder / name
        if path.is_file() and sha256(path.read_bytes()) not in before.files.get(name, [sha256(content[name])]):
            print(f"  replacing {name}, which somebody changed")
    kept = {name: sums for name, sums in before.files.items() if name.startswith(tuple(kept_vendor) or ("\0",))}
    new = {name: [sha256(data)] for name, data in content.items()}
    union = {name: sums + [s for s in before.files.get(name, []) if s not in sums] for name, sums in new.items()}
    during = Manifest(folder, version=version(), files={**before.files, **union, **kept}, startup=before.startup)
    during.startup_created, during.wheels, during.made_above = before.startup_created, before.wheels, before.made_above
    during.write()
    for name, data in content.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != data:
            write_whole(path, data)
    old = [name for name in before.files if name not in new and name not in kept]
    left = remove_files(during, old)
    for name in left:
        print(f"  kept, because somebody changed it: {name}")
    during.files = {**new, **kept}
    during.wheels = wheels
    during.write()


def wheels_there(manifest, target):
    """Return the wheels of ``target`` that are installed and whole, or an empty list."""
    prefix = f"vendor/{target.folder}/"
    ours = [name for name in manifest.files if name.startswith(prefix)]
    missing, changed = manifest.changed_files() if ours else ([], [])
    damaged = any(name.startswith(prefix) for name in missing + changed)
    return [] if damaged or not ours else list(manifest.wheels.get(target.folder, []))


def edited_startup(startup):
    """Return the startup file's new bytes and whether it is new; ``(None, False)`` for a studio folder."""
    if startup is None:
        return None, False
    content = startup.read_bytes() if startup.is_file() else b""
    try:
        return with_block(content, STARTUP_LINES), not startup.exists()
    except InstallError as error:
        raise InstallError(f"{startup} is left alone: {error}") from error


def block_of_file(startup):
    try:
        return block_of(startup.read_bytes())
    except InstallError as error:
        raise InstallError(f"{startup}: {error}") from error


def remove_block(startup, created):
    try:
        rest = without_block(startup.read_bytes())
    except InstallError as error:
        raise InstallError(f"{startup} is left alone, and so is the plugin: {error}") from error
    if created and not rest.strip():
        startup.unlink()
    else:
        write_whole(startup, rest)


def required_manifest(folder):
    manifest = Manifest.read(folder)
    if manifest is None:
        raise InstallError(f"nothing is installed in {folder}; name the place with --target or --site")
    return manifest


def imports(folder, python, required):
    """Return what keeps ``python`` from importing the client with its wheels; nothing for one that no Nuke has."""
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); print('%d.%d' % sys.version_info[:2])\n"
        "from rotomem_nuke import vendor; vendor.append_vendor_folder(); import rotomem_client.client"
    )
    try:
        done = subprocess.run([python, "-I", "-B", "-c", code], capture_output=True, check=False)
    except OSError as error:
        return [f"{python} cannot be run: {error.strerror}"]
    ran_as = done.stdout.decode("utf-8", "replace").strip()
    if not required and ran_as not in NUKE_PYTHONS.values():
        return []
    if done.returncode:
        reason = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"])[-1]
        return [f"{python} (Python {ran_as or 'unknown'}) cannot import the client: {reason}"]
    return []


def version():
    text = (PLUGIN / "rotomem_client" / "version.py").read_text(encoding="utf-8")
    return re.search(r'^VERSION = "([^"]+)"', text, re.M)[1]


def print_plan(folder, startup, edited, content, lacking, wheels):
    size = sum(len(data) for data in content.values())
    print(f"would write {len(content)} files ({size // 1024} KiB) to {folder}")
    source = f"from {wheels}" if wheels else "from the package index"
    for target in lacking:
        print(f"would put pyzmq and msgpack for {target} into vendor/{target.folder}, {source}")
    if startup is not None:
        there = startup.read_bytes() if startup.is_file() else b""
        print(f"would {'leave' if there == edited else 'add four marked lines to'} {startup}")


def startup_hint(folder, startup):
    if startup is not None:
        return f"{startup} loads it: restart Nuke"
    return f"add {folder} to NUKE_PATH (rez: install/rez/package.py), and restart Nuke"


if __name__ == "__main__":
    sys.exit(main())
