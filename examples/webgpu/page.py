"""A page that runs an emitted kernel in a browser: `python examples/webgpu/page.py -o FOLDER`.

The kernel of `examples/causal.attn` is emitted for WebGPU. What a call of it would launch, its text
and its arguments, is put into `page.html`, and `run.js` beside it runs that, draws the result, and
compares it with what NumPy computes.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import attnc
from attnc.modules import function_of

HERE = Path(__file__).parent
POINTS = 64


def arrays() -> list[np.ndarray]:
    """Queries and keys that turn with their place, so that neighbours are alike; unit vectors."""
    place, feature = np.indices((POINTS, POINTS))
    speed = 0.35 / (1 + feature // 2 * 0.5)
    turning = np.cos(place * speed + feature % 2 * math.pi / 2) * 2
    return [x[None, None].astype(np.float32) for x in (turning, turning, np.eye(POINTS))]


def packed(array: np.ndarray) -> dict[str, Any]:
    """An array as text."""
    data = base64.b64encode(array.tobytes()).decode()
    return {"type": str(array.dtype), "shape": array.shape, "data": data}


def contents() -> dict[str, Any]:
    """What the page holds: launches, tensors, which of these is the result, what it should be."""
    spec = (HERE.parent / "causal.attn").read_text(encoding="utf-8")
    given = arrays()
    expected = function_of(attnc.compile(spec), "expected")(*given)
    run = function_of(attnc.compile(spec, backend="tvm", target="webgpu"), "webgpu")
    launches = run.__globals__["source"](*given)
    tensors: dict[int, np.ndarray] = {}
    result = 0
    for launch in launches:
        arguments = []
        for name, kind, value in launch["arguments"]:
            if kind == "tensor":
                tensors.setdefault(id(value), value)
                value = list(tensors).index(id(value))
                result = value if name == "O_ptr" else result
            arguments.append((name, kind, value if kind == "tensor" else _number(value)))
        launch["arguments"] = arguments
    kept = list(map(packed, tensors.values()))
    return {"launches": launches, "tensors": kept, "result": result, "expected": packed(expected)}


def _number(value: float) -> float | int | str:
    """A number as JSON has it."""
    if not math.isfinite(value):
        return str(value)
    return int(value) if value == int(value) else float(value)


def write(folder: Path) -> Path:
    """Writes the page and its script into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (HERE / "page.html").read_text(encoding="utf-8")
    held = json.dumps(contents()).replace("</", "<\\/")
    page = folder / "page.html"
    page.write_text(text.replace("@LAUNCHES@", held), encoding="utf-8")
    shutil.copy(HERE / "run.js", folder)
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("webgpu"), metavar="FOLDER")
    print(f"Open {write(parser.parse_args().output)} in a browser that has WebGPU.")
