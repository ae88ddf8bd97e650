#!/usr/bin/env python3
"""Five minutes in the free Nuke: does the plugin work in the real one?

    python3 tests/acceptance/kit.py --nuke /usr/local/Nuke17.1v1/Nuke17.1

It puts the plugin with its wheels into ``acceptance_out`` (your own ~/.nuke is not touched), starts a daemon, runs
``run.py`` in Nuke without a window, looks at what Nuke rendered, and writes ``acceptance_out/rotomem_acceptance.json``.
Then go through ``CHECKLIST.md`` in Nuke's window, and send both back. Needs ``python3 install/bootstrap.py setup``.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_S = 90
COMPARE = """
import json, sys
import numpy as np
from rotomem.plates import read_alpha
from pathlib import Path
rendered, mattes, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
worst = 0.0
for frame in range(first, last + 1):
    one, other = read_alpha(Path(rendered % frame), frame), read_alpha(Path(mattes % frame), frame)
    if one.shape != other.shape or other.max() < 0.5:
        sys.exit(f"frame {frame}: {one.shape} rendered, {other.shape} in the cache, maximum {other.max():.2f}")
    worst = max(worst, float(np.abs(one - other).max()))
print(json.dumps(worst))
"""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nuke", required=True, help="Nuke's executable")
    parser.add_argument("--licensed", action="store_true", help="run without --nc")
    parser.add_argument("--out", type=Path, default=Path("acceptance_out"), help="folder (default: %(default)s)")
    parser.add_argument("--plugin", type=Path, help="an installed plugin folder, instead of installing one")
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    (out / "nuke.json").unlink(missing_ok=True)
    python = backend_python()
    if python is None:
        print("kit: the backend is not set up; run python3 install/bootstrap.py setup", file=sys.stderr)
        return 2
    plugin = options.plugin or install_plugin(out)
    if plugin is None:
        return 2
    daemon, endpoint = start_daemon(python, out)
    try:
        code = run_nuke(options, out, plugin, endpoint)
    finally:
        daemon.terminate()
        daemon.wait()
    result = judge(out, python, code)
    (out / "rotomem_acceptance.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print_result(result, out)
    return 0 if result["passed"] else 1


def backend_python():
    candidates = [ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"), Path(sys.executable)]
    for python in candidates:
        if (
            python.exists()
            and not subprocess.run([str(python), "-c", "import rotomem"], capture_output=True).returncode
        ):
            return str(python)
    return None


def install_plugin(out):
    installer = ROOT / "install" / "plugin.py"
    sys.path.insert(0, str(installer.parent))
    import wheels

    command = [sys.executable, str(installer), "install", "--site", str(out), "--platform", wheels.this_system() or ""]
    return out / "rotomem" if subprocess.call(command) == 0 else None


def start_daemon(python, out):
    ready = out / "daemon.json"
    ready.unlink(missing_ok=True)
    command = [python, "-m", "rotomem", "serve", "--endpoint", "tcp://127.0.0.1:*", "--store", str(out / "store")]
    with (out / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen([*command, "--ready-file", str(ready)], stdout=log, stderr=subprocess.STDOUT)
    end = time.monotonic() + START_S
    while not ready.is_file():
        if daemon.poll() is not None or time.monotonic() > end:
            daemon.kill()
            raise SystemExit("kit: the daemon does not start; see {}".format(out / "daemon.log"))
        time.sleep(0.05)
    return daemon, json.loads(ready.read_text(encoding="utf-8"))["endpoint"]


def run_nuke(options, out, plugin, endpoint):
    environment = dict(os.environ, NUKE_PATH=str(plugin), ROTOMEM_ENDPOINT=endpoint)
    command = [options.nuke, *([] if options.licensed else ["--nc"]), "-t", str(HERE / "run.py"), "--out", str(out)]
    print(" ".join(command), flush=True)
    try:
        return subprocess.call(command, env=environment)
    except OSError as error:
        raise SystemExit(f"kit: {options.nuke} cannot be run: {error.strerror}") from error


def judge(out, python, code):
    """Add what can be seen from outside of Nuke to what ``run.py`` noted."""
    try:
        result = json.loads((out / "nuke.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        steps = [{"step": "Nuke runs the script", "ok": False, "found": {"error": f"exit code {code}, no result"}}]
        return {"rotomem_acceptance": 1, "host": {}, "steps": steps, "passed": False}
    made = [step for step in result["steps"] if step["step"] == "the daemon makes the mattes" and step["ok"]]
    if made:
        pattern = made[0]["found"]["pattern"]
        command = [python, "-c", COMPARE, str(out / "rendered.%04d.exr"), pattern, "1001", "1012"]
        done = subprocess.run(command, capture_output=True, text=True)
        ok = not done.returncode and json.loads(done.stdout) < 0.002
        found = {"largest difference": done.stdout.strip()} if ok else {"error": (done.stderr or done.stdout).strip()}
        result["steps"].append({"step": "Nuke renders the mattes that lie in the cache", "ok": ok, "found": found})
    result["passed"] = bool(result["steps"]) and all(step["ok"] for step in result["steps"])
    return result


def print_result(result, out):
    for step in result["steps"]:
        if not step["ok"]:
            print("FAIL {}: {}".format(step["step"], step["found"].get("error", "")))
    print(
        "{} in Nuke {}: {}".format(
            "passed" if result["passed"] else "failed",
            result["host"].get("nuke", "?"),
            out / "rotomem_acceptance.json",
        )
    )
    print(f"next: {HERE / 'CHECKLIST.md'} in Nuke's window")


if __name__ == "__main__":
    sys.exit(main())
