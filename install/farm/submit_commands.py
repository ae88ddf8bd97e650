#!/usr/bin/env python3
"""Print the farm's commands for a job: the mattes on a GPU machine without Nuke, then the comp on any blade.

    python3 install/farm/submit_commands.py --job hero.rotomem.json --comp comp.nk --frames 1001-1120 --format deadline

Formats: shell, deadline (job and plugin info files), opencue (pyoutline), tractor (alf script), openjd (a template).
Written from the engines' documentation and submitted to none of them here; every one runs the two same commands.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", required=True, help="exported from Nuke, as the farm sees it")
    parser.add_argument("--comp", required=True, help="the comp, as the farm sees it")
    parser.add_argument("--frames", required=True, help="FIRST-LAST of the comp")
    parser.add_argument("--format", choices=sorted(FORMATS), default="shell")
    parser.add_argument("--rotomem", default="rotomem", help="command on the GPU machine (default: %(default)s)")
    parser.add_argument("--nuke", default="Nuke17.1", help="command on the blades (default: %(default)s)")
    parser.add_argument("--chunk", type=int, default=10, help="frames of the comp in one task (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the files into this folder instead of printing them")
    options = parser.parse_args(arguments)
    try:
        options.first, options.last = (int(part) for part in options.frames.split("-"))
    except ValueError:
        print(f"submit_commands: --frames {options.frames} must be FIRST-LAST, such as 1001-1120", file=sys.stderr)
        return 2
    options.name = Path(options.job).name.split(".")[0]
    for name, text in FORMATS[options.format](options).items():
        if options.out is None:
            print(f"# --- {name}\n{text}")
        else:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / name).write_text(text, encoding="utf-8")
            print(f"wrote {options.out / name}")
    return 0


def mattes(options):
    """Return the command that makes the mattes: one task a shot, as the memory runs through it; a requeue goes on."""
    return [options.rotomem, "job", "run", options.job]


def render(options, first, last):
    """Return the command that renders frames of the comp."""
    return [options.nuke, "-F", f"{first}-{last}", "-x", options.comp]


def chunks(options):
    for first in range(options.first, options.last + 1, options.chunk):
        yield first, min(first + options.chunk - 1, options.last)


def shell(options):
    comp = render(options, options.first, options.last)
    lines = ["#!/bin/sh", "set -e", shlex.join(mattes(options)), shlex.join(comp)]
    return {f"{options.name}.sh": "\n".join(lines) + "\n"}


def deadline(options):
    """Deadline's CommandLine plugin for the mattes (read for ``Progress: NN%``), its Nuke plugin for the comp."""
    job = [
        *("Plugin=CommandLine", f"Name={options.name}: mattes", "Frames=0", "MachineLimit=1", "Group=gpu"),
        "OverrideJobFailureDetection=True",
    ]
    plugin = [f"Executable={options.rotomem}", "Arguments=" + shlex.join(mattes(options)[1:])]
    comp = [
        *("Plugin=Nuke", f"Name={options.name}: comp", f"Frames={options.first}-{options.last}"),
        *(f"ChunkSize={options.chunk}", "JobDependencies=<id of the mattes' job>"),
    ]
    comp_plugin = [f"SceneFile={options.comp}", "BatchMode=False"]
    files = {"mattes.job": job, "mattes.plugin": plugin, "comp.job": comp, "comp.plugin": comp_plugin}
    how = "deadlinecommand {0}.job {0}.plugin"
    return {
        **{name: "\n".join(lines) + "\n" for name, lines in files.items()},
        "submit.txt": f"{how.format('mattes')}\n(put its id into comp.job)\n{how.format('comp')}\n",
    }


def opencue(options):
    comp = [options.nuke, "-F", "#FRAME_START#-#FRAME_END#", "-x", options.comp]
    text = f"""import outline
import outline.cuerun
from outline.modules.shell import Shell

job = outline.Outline({options.name + "_rotomem"!r}, frame_range="{options.first}-{options.last}")
mattes = Shell("mattes", command={mattes(options)!r}, range="1-1")
mattes.set_arg("gpus", 1)
comp = Shell("comp", command={comp!r}, chunk={options.chunk})
comp.depend_all(mattes)
job.add_layer(mattes)
job.add_layer(comp)
outline.cuerun.launch(job, use_pycuerun=False)
"""
    return {f"{options.name}_opencue.py": text}


def tractor(options):

    def task(title, command, service):
        words = " ".join(f"{{{word}}}" for word in command)
        return f"Task {{{title}}} -cmds {{ RemoteCmd {{{words}}} -service {service} }}"

    lines = [
        f"Job -title {{{options.name}}} -serialsubtasks 1 -subtasks {{",
        "    " + task("mattes", mattes(options), "gpu"),
        "    Task {comp} -subtasks {",
        *(
            "        " + task(f"comp {first}-{last}", render(options, first, last), "nuke")
            for first, last in chunks(options)
        ),
        "    }",
        "}",
    ]
    return {f"{options.name}.alf": "\n".join(lines) + "\n"}


def openjd(options):
    """An Open Job Description template: JSON is YAML. ``openjd check`` and ``openjd run`` take it."""

    def step(name, command, **more):
        action = {"command": command[0], "args": command[1:]}
        return {"name": name, "script": {"actions": {"onRun": action}}, **more}

    frames = {"name": "Frames", "type": "STRING", "range": [f"{first}-{last}" for first, last in chunks(options)]}
    comp = [options.nuke, "-F", "{{Task.Param.Frames}}", "-x", options.comp]
    template = {
        "specificationVersion": "jobtemplate-2023-09",
        "name": options.name,
        "steps": [
            step("Mattes", mattes(options)),
            step(
                "Comp",
                comp,
                dependencies=[{"dependsOn": "Mattes"}],
                parameterSpace={"taskParameterDefinitions": [frames]},
            ),
        ],
    }
    return {f"{options.name}.openjd.json": json.dumps(template, indent=2) + "\n"}


FORMATS = {"shell": shell, "deadline": deadline, "opencue": opencue, "tractor": tractor, "openjd": openjd}


if __name__ == "__main__":
    sys.exit(main())
