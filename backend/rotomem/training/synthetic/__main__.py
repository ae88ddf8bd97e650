"""``python -m rotomem.training.synthetic --out sheet.png --seeds 0-15``: write a contact sheet."""

from __future__ import annotations

import argparse
from pathlib import Path

from rotomem.training.synthetic.mosaic import load_photographs
from rotomem.training.synthetic.sheet import write_contact_sheet


def parse_seeds(text: str) -> list[int]:
    """``"0-3,9"`` to [0, 1, 2, 3, 9]."""
    seeds: list[int] = []
    for item in text.split(","):
        first, _, last = item.partition("-")
        seeds.extend(range(int(first), int(last or first) + 1))
    return seeds


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rotomem.training.synthetic",
        description="Write a contact sheet of synthetic shots.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--seeds", type=parse_seeds, default="0-15", help="such as 0-15 or 3,7,20-25")
    parser.add_argument("--size", type=int, default=192, help="height of a frame in pixels")
    parser.add_argument("--frames", type=int, default=6, help="frames of each shot")
    parser.add_argument("--columns", type=int, default=2, help="shots beside each other")
    parser.add_argument("--difficulty", type=float, default=1.0, help="0, simple, to 1, everything")
    parser.add_argument("--textures", type=Path, help="folder of photographs; procedural textures only without it")
    arguments = parser.parse_args()
    photographs = load_photographs(arguments.textures) if arguments.textures else None
    write_contact_sheet(
        arguments.out,
        arguments.seeds,
        frames=arguments.frames,
        size=arguments.size,
        columns=arguments.columns,
        difficulty=arguments.difficulty,
        photographs=photographs,
    )


if __name__ == "__main__":
    main()
