"""``WIDTHxHEIGHT`` on the command line."""

from __future__ import annotations

import re

from rotomem.errors import SettingError


def parse_size(text: str) -> tuple[int, int]:
    """Return (width, height) of ``1920x1080``; raises ``SettingError``."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or not all(16 <= int(side) <= 32768 for side in match.groups()):
        raise SettingError(f"size {text!r} must be WIDTHxHEIGHT in pixels, 16 to 32768 each, such as 1920x1080")
    return int(match.group(1)), int(match.group(2))
