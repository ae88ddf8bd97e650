from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from daemon_fixtures import daemon, session, shared_daemon

__all__ = ["daemon", "session", "shared_daemon"]
