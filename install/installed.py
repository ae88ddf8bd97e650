"""What the installer has written: one manifest, files that appear whole, and one marked block in a startup file."""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

MANIFEST = "installed.json"
FORMAT = 1
BEGIN = b"# >>> rotomem >>> written by Rotomem's installer; its uninstall removes these lines"
END = b"# <<< rotomem <<<"


class InstallError(Exception):
    """One sentence: which file or folder, what is wrong, what to do."""


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Manifest:
    """Every file below ``folder`` that the installer wrote, by its SHA-256; and the startup file that it edited.

    Args:
        folder: of the plugin, such as ``~/.nuke/rotomem``.
        files: relative path with forward slashes to the SHA-256 values that are ours (two while an upgrade runs).
        startup: the edited startup file, or an empty string.
        startup_created: the installer made that file.
        made_above: folders above ``folder`` that the installer made, innermost first.
        wheels: vendor folder to the names of the wheels in it.
    """

    def __init__(
        self, folder, *, version="", files=None, startup="", startup_created=False, wheels=None, made_above=()
    ):
        self.folder = Path(folder)
        self.version = version
        self.files = dict(files or {})
        self.startup = startup
        self.startup_created = startup_created
        self.wheels = dict(wheels or {})
        self.made_above = list(made_above)

    @classmethod
    def read(cls, folder):
        """Return the manifest in ``folder``, or None.

        Raises:
            InstallError: it is there and unreadable.
        """
        path = Path(folder) / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["rotomem_installed"] != FORMAT:
                raise ValueError("its format is {!r}".format(content["rotomem_installed"]))
            return cls(
                folder,
                version=content["version"],
                files={name: list(sums) for name, sums in content["files"].items()},
                startup=content["startup"],
                startup_created=bool(content["startup_created"]),
                wheels=content["wheels"],
                made_above=content["made_above"],
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InstallError(
                f"{path} cannot be read ({error}), so what was installed is unknown; delete {path.parent} by hand and "
                "install again"
            ) from error

    def write(self):
        content = {
            "rotomem_installed": FORMAT,
            "version": self.version,
            "files": self.files,
            "startup": self.startup,
            "startup_created": self.startup_created,
            "wheels": self.wheels,
            "made_above": self.made_above,
        }
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        write_whole(self.folder / MANIFEST, text.encode("utf-8"))

    def changed_files(self):
        """Return ``(missing, changed)`` relative paths."""
        missing, changed = [], []
        for name, sums in sorted(self.files.items()):
            try:
                content = (self.folder / name).read_bytes()
            except OSError:
                missing.append(name)
                continue
            if sha256(content) not in sums:
                changed.append(name)
        return missing, changed


def write_whole(path, content):
    """Put ``content`` at ``path`` whole or not at all; an existing file keeps its permissions."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=str(path.parent))
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.chmod(temporary, path.stat().st_mode if path.exists() else _new_file_mode())
            os.replace(temporary, str(path))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise InstallError(
            f"{path} cannot be written ({error.strerror or error}); close Nuke, check the folder's permissions and "
            "run the same command again"
        ) from error


def remove_files(manifest, names):
    """Remove our files ``names``; return those left alone because somebody changed them.

    With each Python file goes the cache that Python wrote for it, then every folder that is empty.
    """
    kept, folders = [], set()
    for name in names:
        path = manifest.folder / name
        try:
            ours = sha256(path.read_bytes()) in manifest.files[name]
        except (FileNotFoundError, NotADirectoryError):
            ours = True
        except OSError as error:
            raise InstallError(f"{path} cannot be read ({error.strerror})") from error
        if not ours:
            kept.append(name)
            continue
        _unlink(path)
        if path.suffix == ".py":
            for cache in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
                _unlink(cache)
        folders.update(parent for parent in path.parents if manifest.folder in parent.parents)
        folders.add(path.parent / "__pycache__")
    for folder in sorted(folders, key=lambda path: -len(path.parts)):
        with suppress(OSError):  # not empty, or never made
            folder.rmdir()
    return kept


def block_of(content):
    """Return ``(start, end)`` of our block in a startup file, line ends included, or None.

    Raises:
        InstallError: a marker without its other half, or two blocks.
    """
    begins, ends = content.count(BEGIN), content.count(END)
    if not begins and not ends:
        return None
    if begins != 1 or ends != 1 or content.index(END) < content.index(BEGIN):
        raise InstallError("its Rotomem markers do not match; delete the lines from '# >>> rotomem' to '# <<< rotomem'")
    end = content.index(END) + len(END)
    if content[end : end + 2] == b"\r\n":
        end += 2
    elif content[end : end + 1] == b"\n":
        end += 1
    return content.index(BEGIN), end


def with_block(content, lines):
    """Return a startup file's bytes with our block in it: in place of an older one, else at the end.

    A file whose last line has no line end keeps that: the block then begins by one and ends without.
    """
    newline = b"\r\n" if b"\r\n" in content else b"\n"
    block = newline.join([BEGIN, *lines, END])
    place = block_of(content)
    if place is not None:
        old = content[place[0] : place[1]]
        return content[: place[0]] + block + old[len(old.rstrip(b"\r\n")) :] + content[place[1] :]
    if content and not content.endswith(b"\n"):
        return content + newline + block
    return content + block + newline


def without_block(content):
    """Return a startup file's bytes as they were before ``with_block``; other people's lines stay as they are."""
    place = block_of(content)
    if place is None:
        return content
    start, end = place
    if not content[:end].endswith(b"\n") and end == len(content):
        if content[:start].endswith(b"\r\n"):
            start -= 2
        elif content[:start].endswith(b"\n"):
            start -= 1
    return content[:start] + content[end:]


def _unlink(path):
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise InstallError(
            f"{path} cannot be removed ({error.strerror}); close Nuke, check its permissions and run the same command "
            "again"
        ) from error


def _new_file_mode():
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
