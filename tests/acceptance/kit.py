#!/usr/bin/env python3
"""Five minutes in the free Nuke: does the plugin work in the real one?

    python3 tests/acceptance/kit.py                                                what to do, step by step
    python3 tests/acceptance/kit.py --nuke /usr/local/Nuke17.1v1/Nuke17.1          the part that needs no eyes
    python3 tests/acceptance/kit.py --nuke /usr/local/Nuke17.1v1/Nuke17.1 --window the part that does

It puts the plugin with its wheels into ``acceptance_out`` (your own ~/.nuke is not touched), starts a daemon, runs
``run.py`` in Nuke without a window, looks at what Nuke rendered, and writes ``rotomem_acceptance.json`` there.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_S = 90
AWAY_S = 30
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


GUIDE = """\
Does Rotomem work in the real Nuke? Five minutes, with Nuke's free edition (Nuke Non-commercial) or any other.

{ready}
1. Without eyes, about one minute:
       python3 {kit} --nuke {nuke}
   (--licensed where yours is not the free edition). Each step prints ok or FAIL; the last line says passed or failed.

2. With eyes, about four minutes:
       python3 {kit} --nuke {nuke} --window
   starts a daemon and Nuke's window with the plugin. In Nuke, go through the {questions} lines of
       {checklist}
   and write yes, no or a sentence behind each. Close Nuke when you are done; the daemon ends with it.

3. Send back acceptance_out/rotomem_acceptance.json and the checklist, also when something failed: that is what we need.

Nothing of this touches your ~/.nuke; delete the folder acceptance_out afterwards.
"""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nuke", help="Nuke's executable; without it, a guide is printed")
    parser.add_argument("--window", action="store_true", help="start a daemon and Nuke's window, for the checklist")
    parser.add_argument("--licensed", action="store_true", help="run without --nc")
    parser.add_argument("--out", type=Path, default=Path("acceptance_out"), help="folder (default: %(default)s)")
    parser.add_argument("--plugin", type=Path, help="an installed plugin folder, instead of installing one")
    options = parser.parse_args(arguments)
    if options.nuke is None:
        print(guide(), end="")
        return 0
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    python = backend_python()
    if python is None:
        print("kit: the backend is not set up; run python3 install/bootstrap.py setup", file=sys.stderr)
        return 2
    plugin = options.plugin or install_plugin(out)
    if plugin is None:
        return 2
    daemon, endpoint = start_daemon(python, out)
    try:
        if options.window:
            return look(options, out, python, plugin, daemon, endpoint)
        (out / "nuke.json").unlink(missing_ok=True)
        code = run_nuke(options, plugin, endpoint, ["-t", str(HERE / "run.py"), "--out", str(out)])
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


def start_daemon(python, out, endpoint="tcp://127.0.0.1:*"):
    ready = out / "daemon.json"
    ready.unlink(missing_ok=True)
    command = [python, "-m", "rotomem", "serve", "--endpoint", endpoint, "--store", str(out / "store")]
    with (out / "daemon.log").open("ab") as log:
        daemon = subprocess.Popen([*command, "--ready-file", str(ready)], stdout=log, stderr=subprocess.STDOUT)
    end = time.monotonic() + START_S
    while not ready.is_file():
        if daemon.poll() is not None or time.monotonic() > end:
            daemon.kill()
            raise SystemExit("kit: the daemon does not start; see {}".format(out / "daemon.log"))
        time.sleep(0.05)
    return daemon, json.loads(ready.read_text(encoding="utf-8"))["endpoint"]


def run_nuke(options, plugin, endpoint, arguments):
    environment = dict(os.environ, NUKE_PATH=str(plugin), ROTOMEM_ENDPOINT=endpoint)
    command = [options.nuke, *([] if options.licensed else ["--nc"]), *arguments]
    print(" ".join(command), flush=True)
    try:
        return subprocess.call(command, env=environment)
    except OSError as error:
        raise SystemExit(f"kit: {options.nuke} cannot be run: {error.strerror}") from error


def look(options, out, python, plugin, daemon, endpoint):
    """Start Nuke's window for the checklist, and wait until it is closed; a daemon that was ended comes back."""
    end = "taskkill /F /PID" if os.name == "nt" else "kill"
    print(f"the plate is {HERE / 'plate' / 'pond.####.jpg'}, frames 1001-1012")
    print(f"the line about a dead daemon: {end} {daemon.pid}   (it is started again {AWAY_S} s later)")
    print(f"now go through {HERE / 'CHECKLIST.md'}; close Nuke when you are done", flush=True)
    closed = threading.Event()

    def keep():
        nonlocal daemon
        while not closed.wait(0.5):
            if daemon.poll() is not None and not closed.wait(AWAY_S):
                daemon, _ = start_daemon(python, out, endpoint)
                print(f"the daemon is back on {endpoint}", flush=True)

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        code = run_nuke(options, plugin, endpoint, [])
    finally:
        closed.set()
        keeper.join()
        daemon.terminate()
        daemon.wait()
    print(f"Nuke is closed (exit code {code}); send back the checklist and {out / 'rotomem_acceptance.json'}")
    return 0


def guide():
    """Return what a person does, with this machine's paths."""
    lines = (HERE / "CHECKLIST.md").read_text(encoding="utf-8").splitlines()
    found = nuke_here()
    return GUIDE.format(
        kit=Path(os.path.relpath(__file__)).as_posix(),
        nuke=found or "/path/to/Nuke17.1",
        checklist=HERE / "CHECKLIST.md",
        questions=sum(line[:1].isdigit() for line in lines),
        ready=("" if backend_python() else "0. Once, with a network:\n       python3 install/bootstrap.py setup\n")
        + (f"Nuke is here: {found}\n" if found else "No Nuke was found in the usual places; give its executable.\n"),
    )


def nuke_here():
    """Return the newest Nuke in the usual places of its installer, or an empty string."""
    places = (
        ("/usr/local", "Nuke*/Nuke[0-9]*.[0-9]*"),
        (str(Path.home()), "Nuke*/Nuke[0-9]*.[0-9]*"),
        ("/opt", "Nuke*/Nuke[0-9]*.[0-9]*"),
        ("/Applications", "Nuke*/Nuke*.app/Contents/MacOS/Nuke*"),
        (os.environ.get("PROGRAMFILES", "/nonexistent"), "Nuke*/Nuke[0-9]*.exe"),
    )
    found = [path for folder, pattern in places for path in Path(folder).glob(pattern) if path.is_file()]
    return max((path.as_posix() for path in found), default="")


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
    print("next: the same command with --window, for what a program cannot see")


if __name__ == "__main__":
    sys.exit(main())
