"""Compiles, checks and explains examples: `python tests/everything.py`, in an empty folder.

Every third example is, and every other one of these is explained as data. The texts of all of them
are compared with goldens, under the seed of hashes that a run of the tests happens to have.

Copies of the examples, and the modules, are written there; the rest goes to standard output.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from attnc.cli import main  # noqa: E402

BROKEN = "cascade broken(Q[M], É[M]) -> O[M]:\n    O[m] = R[m] + é + i + I\n"


def everything() -> int:
    """Runs all commands; the sum of their exit statuses."""
    Path("broken.attn").write_bytes(BROKEN.encode())
    status = main(["check", "broken.attn"])
    for number, path in enumerate(sorted((ROOT / "examples").glob("*.attn"))[::3]):
        Path(path.name).write_bytes(path.read_bytes())
        status += main(["compile", path.name, "-o", f"{path.stem}.py"])
        status += main(["check", path.name])
        status += main(["explain", path.name, *(["--json"] if number % 2 else [])])
    return status


if __name__ == "__main__":
    sys.exit(everything())
