"""Pictures of tiles: what is in them is what is counted, and what is wrong shows."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attnc.cli import main
from attnc.drawing.scene import Box, Cells, Label, Scene
from attnc.drawing.style import COLOURS
from attnc.drawing.svg import svg
from attnc.drawing.tiles_kinds import LoopTiles, TileDrawing, TileRequest
from attnc.drawing.tiles_loop import LoopPicture
from attnc.drawing.tiles_picture import tiles_picture
from attnc.drawing.tiles_values import Values
from attnc.errors import Source, UsageError
from attnc.grammar.tiles import parse
from attnc.ir.evaluation import evaluate
from attnc.passes.analysis.tile_counts import tile_counts, whole_frame
from attnc.passes.analysis.tile_numbers import Numbers
from attnc.passes.analysis.tile_visits import innermost

ROOT = Path(__file__).parent.parent
SVG = "{http://www.w3.org/2000/svg}"
WINDOW = {"B": 1, "H": 4, "J": 2, "E": 8, "F": 8, "M": 96, "N": 120, "window": 40, "sinks": 4}
NEAR = {"H": 6, "W": 8, "P": 48, "r": 2, "E": 4, "F": 4}


def drawn(
    name: str,
    values: Mapping[str, Any],
    tiles: Mapping[str, int],
    changes: tuple[tuple[str, str], ...] = (),
    at: Mapping[str, int] | None = None,
) -> tuple[LoopTiles, Scene]:
    """The first loop of a plan that was written by hand; its counts are compared."""
    text = (ROOT / "tests/plans" / f"{name}.plan").read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    plan = parse(Source(name, text))
    known = dict(values)
    for let in plan.lets:
        found = evaluate(let.value, known)
        assert found is not None
        known[let.name] = found
    (kernel,) = plan.kernels
    numbers = Numbers(plan, kernel, known)
    (loop,) = innermost(kernel)
    request = TileRequest(at=at or {})
    picture = LoopPicture(numbers, whole_frame(numbers, tiles), loop, request).tiles()
    counted = tile_counts(plan, kernel, known, tiles)
    assert counted is not None
    if len(picture.panels) == 1 and not at:
        (panel,) = picture.panels
        times = known["B"] * known["J"] if "J" in known else 1
        assert len(panel.visits) * times == counted.visited
        assert sum(v.full for v in panel.visits) * times == counted.full
        assert picture.every * times == counted.all
    sizes = Values(known, {"M": 1}, ("M",), {}, {}, ("doc: a sample",))
    return picture, tiles_picture(TileDrawing(plan.name, kernel.name, (picture,), sizes))


def texts(scene: Scene) -> str:
    return "\n".join(i.text for i in scene.items if isinstance(i, Label))


def test_a_window_with_sinks() -> None:
    loop, scene = drawn("window_sinks", WINDOW, {"x": 16, "n": 16})
    (panel,) = loop.panels
    m, n = np.arange(192)[:, None] // 2 + 24, np.arange(120)
    assert np.array_equal(panel.cells, (n <= m) & ((m - n < 40) | (n < 4)))
    assert not panel.missed().any()
    assert all(v.points for v in panel.visits)
    for visit in panel.visits:
        part = panel.cells[slice(*visit.rows), visit.columns[0][0] : visit.columns[0][1]]
        assert not visit.full or part.all()
    for first in {v.rows[0] for v in panel.visits}:
        row = [v for v in panel.visits if v.rows[0] == first]
        assert [v.turn for v in row] == list(range(len(row)))
        assert [v.columns for v in row] == sorted(v.columns for v in row)
    assert loop.conditions == "n <= m + off and (m + off - n < window or n < sinks)"
    assert loop.same == ("b", "j")
    shown = texts(scene)
    assert "48 of 96 tiles are visited: 16 full, 32 partial; the same for every b, j" in shown
    assert "Numbers: the order" in shown
    assert "counts, and is not visited" not in shown
    assert "no point counts" not in shown
    root = ET.fromstring(svg(scene))
    boxes = [r for r in root.iter(f"{SVG}rect") if "attnc-tile " in r.get("class", "")]
    assert len(boxes) == 48
    titles = [b.findtext(f"{SVG}title") for b in boxes]
    assert titles.count("turn 1, partial") == 12
    paper = next(i for i in scene.items if isinstance(i, Box) and i.kind == "paper")
    for item in scene.items:
        if isinstance(item, Label):
            left = item.x - {"start": 0, "middle": 0.5, "end": 1}[item.anchor] * item.width
            assert left >= 0
            assert left + item.width <= paper.width


def test_a_range_goes_on_to_the_end_of_its_last_tile() -> None:
    """Where nothing tests `within`, lanes behind the end of a range are lanes like others."""
    short = ("for n in [0, z) partial", "for n in [0, min(sinks, z)) partial")
    loop, _ = drawn("window_sinks", WINDOW, {"x": 16, "n": 16}, (short,))
    assert not loop.panels[0].missed().any()
    assert loop.panels[0].visits[0].columns == ((0, 16),)
    tested = ("reduce[any,n](true) where n < N", "reduce[any,n](true) where n < N and within(n)")
    loop, _ = drawn("window_sinks", WINDOW, {"x": 16, "n": 16}, (short, tested))
    assert loop.panels[0].missed()[:, 4:16].any()


def test_what_is_wrong_shows() -> None:
    """A point that is left out, and a tile for nothing."""
    tiles = {"x": 16, "n": 16}
    short = ("min(N, high(m) + off + 1))\n", "min(N, low(m) + off - 16))\n")
    loop, scene = drawn("window_sinks", WINDOW, tiles, (short,))
    assert loop.panels[0].missed().any()
    assert "counts, and is not visited" in texts(scene)
    assert any(isinstance(i, Cells) and i.role == "lost" for i in scene.items)
    long = ("min(N, high(m) + off + 1))\n", "N)\n")
    loop, scene = drawn("window_sinks", WINDOW, tiles, (long,))
    assert not loop.panels[0].missed().any()
    assert "visited, and no point counts" in texts(scene)
    assert any(isinstance(i, Cells) and i.role == "wrong" for i in scene.items)


def test_a_loop_in_a_loop_is_laid_out_flat() -> None:
    loop, scene = drawn("neighbourhood", NEAR, {"p": 8, "v": 3})
    assert loop.columns == ("u, v", 3)
    (panel,) = loop.panels
    p, n = np.arange(48)[:, None], np.arange(48)
    near = (abs(p // 8 - n // 8) <= 2) & (abs(p % 8 - n % 8) <= 2)
    assert np.array_equal(panel.cells, near)
    assert panel.missed()[:, 8:16].any()  # every second row is left out
    assert not panel.missed()[:, 16:24].any()
    assert {v.columns[0][0] // 8 % 2 for v in panel.visits} == {0}
    assert "abs(y - u) <= r and abs(x - v) <= r" in texts(scene)


def test_order_and_strides() -> None:
    """Backwards, the last tile is first; of a stride the columns between are not visited."""
    back = ("for v in [max(0, low(x) - r), min(W, high(x) + r + 1)) partial", BACK)
    loop, _ = drawn("neighbourhood", NEAR, {"p": 8, "v": 3}, (back,))
    first = [v for v in loop.panels[0].visits if v.rows[0] == 0]
    starts = [v.columns[0][0] for v in sorted(first, key=lambda v: v.turn)]
    assert starts == [6, 3, 0, 22, 19, 16]
    step = ("for v in [max(0, low(x) - r), min(W, high(x) + r + 1)) partial", STEP)
    loop, _ = drawn("neighbourhood", NEAR, {"p": 8, "v": 3}, (step,))
    assert loop.panels[0].visits[0].columns == ((0, 1), (2, 3), (4, 5))


BACK = "for v backward in [max(0, low(x) - r), min(W, high(x) + r + 1)) partial"
STEP = "for v in [max(0, low(x) - r), min(W, high(x) + r + 1)) step 2 partial"


def test_large_pictures_show_tiles_alone() -> None:
    values = {**WINDOW, "M": 1024, "N": 2048, "window": 500}
    loop, scene = drawn("window_sinks", values, {"x": 64, "n": 64})
    assert "partial: a point that counts" not in texts(scene)
    assert max(scene.width, scene.height) < 800
    assert len(svg(scene)) < 300_000
    with pytest.raises(UsageError, match="at most 16,777,216 in 128 tiles each way"):
        drawn("window_sinks", values, {"x": 8, "n": 8})
    with pytest.raises(UsageError, match="no other tiles have a variable 'n'"):
        drawn("window_sinks", WINDOW, {"x": 16, "n": 16}, at={"n": 1})
    with pytest.raises(UsageError, match=r"--at j=2: it ranges over 0\.\.1"):
        drawn("window_sinks", WINDOW, {"x": 16, "n": 16}, at={"j": 2})
    assert loop.rows == ("x", 64)


# The command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("causal", "moba", "packed_documents"):
        text = (ROOT / "examples" / f"{name}.attn").read_text(encoding="utf-8")
        (tmp_path / f"{name}.attn").write_text(text, encoding="utf-8")
    return tmp_path


def run(*arguments: str) -> int:
    return main(["draw", *arguments, "--what", "tiles"])


def test_formats(folder: Path) -> None:
    options = ("causal.attn", "--size", "M=96,N=96", "--tile", "m=16,n=16")
    assert run(*options, "-o", "x.svg") == 0
    assert run(*options, "-o", "x.png", "--dpi", "96", "--theme", "dark") == 0
    assert run(*options, "-o", "x.html") == 0
    root = ET.fromstring((folder / "x.svg").read_text(encoding="utf-8"))
    shown = "\n".join(t.text or "" for t in root.iter(f"{SVG}text"))
    assert "n <= m + (N - M)" in shown
    assert "of 36 tiles are visited" in shown
    assert "counts, and is not visited" not in shown
    image = Image.open(folder / "x.png").convert("RGB")
    size = (int(root.get("width", "0")), int(root.get("height", "0")))
    assert image.size == size
    paper = COLOURS["paper"].dark
    assert image.getpixel((1, 1)) == tuple(int(paper[i : i + 2], 16) for i in (1, 3, 5))
    page = (folder / "x.html").read_text(encoding="utf-8")
    assert "m=16,n=16" in page
    assert "<script" not in page
    done = subprocess.run(
        [sys.executable, "-m", "attnc", "draw", *options, "--what", "tiles", "-o", "y.svg"],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0
    assert (folder / "y.svg").read_bytes() == (folder / "x.svg").read_bytes()


def test_data_or_a_sample(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("doc.npy", np.repeat([0, 1], 24).reshape(1, 48).astype(np.int32))
    tiles = ("--tile", "m=8,n=8")
    given = ("--data", "doc=doc.npy")
    assert run("packed_documents.attn", "-o", "x.svg", *tiles, *given) == 0
    assert run("packed_documents.attn", "-o", "y.svg", *tiles, "--size", "M=48") == 0
    first, second = (Path(f"{n}.svg").read_text(encoding="utf-8") for n in "xy")
    assert "Values of doc: from doc.npy." in first
    assert "of 36 tiles are visited" in first
    assert "Values of doc: a sample, 3 runs of equal numbers along N" in second
    assert capsys.readouterr() == ("", "")


REFUSED = [
    (["causal.attn", "--kernel", "k9"], "no kernel that streams is called 'k9'"),
    (["causal.attn", "--tile", "k=3"], "has tiles along 'k'"),
    (["causal.attn", "--tile", "m=x"], "the size of a tile is a number"),
    (["causal.attn", "--size", "X=3"], "no size 'X'"),
    (["causal.attn", "--size", "M=0"], "no tile at all"),
    (["causal.attn", "--rank", "n"], "--rank does not go with --what tiles"),
    (["causal.attn", "--rows", "m"], "--rows does not go with --what tiles"),
    (["causal.attn", "--at", "q=1"], "no other tiles have a variable 'q'"),
    (["moba.attn"], "the tiles of k2 cannot be drawn: it depends on 'i', which a topk gives"),
    (["packed_documents.attn", "--size", "M=4,N=5"], "these sizes break 'require M == N'"),
    (["copy.attn"], "no kernel of 'copy' streams anything"),
]


def test_refusals(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "copy.attn").write_text("cascade copy(A[N]) -> O[N]:\n    O[n] = A[n] + 1\n")
    for arguments, message in REFUSED:
        assert run(*arguments, "-o", "x.svg") == 2, arguments
        out, err = capsys.readouterr()
        assert (out, message in err) == ("", True), err
    assert not (folder / "x.svg").exists()
    for name, value in (("kernel", "k0"), ("tile", "m=4")):
        assert main(["draw", "causal.attn", "-o", "x.svg", f"--{name}", value]) == 2
        assert f"--{name} does not go with --what graph" in capsys.readouterr().err
