"""Pictures: what is in them, that it can be read, and that masks are what conditions say."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import get_data_path
from PIL import Image, ImageFont

import attnc
from attnc.cli import main
from attnc.drawing import sample
from attnc.drawing.draw import draw_graph, draw_mask
from attnc.drawing.graph import Graph, graph
from attnc.drawing.graph_picture import MAX_BOXES
from attnc.drawing.html import Origin, html
from attnc.drawing.mask import Mask, Request, masks
from attnc.drawing.png import png
from attnc.drawing.presence import sites
from attnc.drawing.scene import Box, Curve, Label, Scene, sampled
from attnc.drawing.style import COLOURS, THEMES, Theme
from attnc.drawing.svg import svg
from attnc.errors import UsageError
from attnc.ir.facts import Facts
from attnc.ir.stages import Loop, tensor_reads
from attnc.passes.analysis.passes import passes
from tests.oracle.cascades import cascade_from
from tests.support import EXAMPLES, ROOT

NAMES = [p.stem for p in EXAMPLES]
SVG = "{http://www.w3.org/2000/svg}"


@cache
def facts(name: str) -> Facts:
    return attnc.check((ROOT / "examples" / f"{name}.attn").read_text(encoding="utf-8")).select()


@cache
def drawn_of(name: str) -> Graph:
    return graph(facts(name))


@cache
def picture(name: str) -> Scene:
    return draw_graph(facts(name))


def checked(text: str) -> Facts:
    return attnc.check(text).select()


# What the graph holds


def reads(found: Facts) -> set[tuple[str, str]]:
    """Every read, from the facts alone."""
    return {(r.tensor, e.tensor) for e in found.cascade.einsums for r in tensor_reads(e)}


def shown_reads(drawn: Graph) -> set[tuple[str, str]]:
    """The reads that arrows show; a part reads for the statement it is in."""

    def owner(key: str) -> str:
        return key.split()[1]

    return {
        (owner(e.source), owner(e.target)) for e in drawn.edges if e.source.startswith("tensor ")
    }


@pytest.mark.parametrize("name", NAMES)
def test_nodes_and_edges_are_those_of_the_facts(name: str) -> None:
    found, drawn = facts(name), drawn_of(name)
    cascade = found.cascade
    keys = [n.key for n in drawn.nodes]
    assert len(keys) == len(set(keys))
    assert {n.key for n in drawn.nodes if n.kind == "input"} == {
        f"tensor {i.name}" for i in cascade.inputs
    }
    tensors = {n.key.split()[1] for n in drawn.nodes if n.kind == "tensor"}
    assert tensors == {e.tensor for e in cascade.einsums}
    assert {n.key for n in drawn.nodes if n.output} == {f"tensor {o.name}" for o in cascade.outputs}
    assert shown_reads(drawn) == reads(found)
    assert all({e.source, e.target} <= set(keys) for e in drawn.edges)
    statements = sum(len(n.lines) for n in drawn.nodes if n.kind == "tensor")
    assert statements == len(cascade.einsums)
    loops = [s for s in found.stages if isinstance(s, Loop)]
    for i, loop in enumerate(loops):
        inside = {n.key.split()[1] for n in drawn.nodes if n.group == i and n.kind == "tensor"}
        assert inside == {e.tensor for e in loop.steps}
    assert len(drawn.groups) == len(loops)


@pytest.mark.parametrize("name", NAMES)
def test_every_pass_has_a_band(name: str) -> None:
    """For each rank: the bands are the passes that are counted, and arrows never go back up."""
    found = facts(name)
    for variable, count in passes(found).items():
        drawn = graph(found, variable)
        bands = {n.band for n in drawn.nodes if n.kind != "input"} - {0}
        if not count.rounds:
            assert drawn.bands == max(count.fixed, 1)
            assert bands <= set(range(1, drawn.bands + 1))
            assert count.fixed <= 1 or bands == set(range(1, count.fixed + 1))
        place = {n.key: n.band for n in drawn.nodes}
        assert all(place[e.source] <= place[e.target] for e in drawn.edges if not e.back)


def test_three_passes_are_three_bands_and_one_is_one() -> None:
    assert {n.band for n in graph(facts("fusemax_three_pass")).nodes} == {1, 2, 3}
    assert {n.band for n in graph(facts("fusemax_one_pass")).nodes} == {1}
    for name, count in (("fusemax_three_pass", 3), ("fusemax_one_pass", 1), ("dense", 3)):
        root = ET.fromstring(svg(picture(name)))
        bands = [r for r in root.iter(f"{SVG}rect") if r.get("class", "").startswith("attnc-band ")]
        assert len(bands) == count


def test_what_lives_across_passes() -> None:
    drawn = graph(facts("fusemax_three_pass"))
    kept = [{(n.key, n.whole) for n in drawn.crossing(b)} for b in (1, 2, 3)]
    assert kept == [
        {("tensor QK", True), ("tensor GM", False)},
        {("tensor SN", True), ("tensor SD", False)},
        set(),
    ]


def test_a_statement_of_several_passes_is_shown_in_parts() -> None:
    drawn = graph(facts("dense"))
    parts = {(n.band, n.lines[0].partition("(")[0]) for n in drawn.nodes if n.kind == "part"}
    assert parts == {(1, "max[n]"), (2, "sum[n]")}
    assert drawn.node("tensor O").band == 3
    chain = {(e.source.split()[0], e.target.split()[0]) for e in drawn.edges}
    assert {("part", "part"), ("part", "tensor")} <= chain


def test_what_reads_one_element_stands_after_what_it_reads() -> None:
    """It needs no pass by itself, and yet no arrow may go back up."""
    text = """\
cascade c(A[M,N]) -> D[M], O[M]:
    S[m,n] = exp(A[m,n])
    D[m] = S[m,n]
    O[m] = S[m,0] + 1
"""
    drawn = graph(checked(text), "n")
    assert (drawn.node("tensor S").band, drawn.node("tensor O").band) == (1, 1)
    assert not drawn.node("tensor O").along


def test_recurrences() -> None:
    drawn = graph(facts("slot"))
    assert [(g.variable, g.each) for g in drawn.groups] == [("i", 2)]
    back = {(e.source, e.target) for e in drawn.edges if e.back}
    assert back == {("tensor Z", "tensor Q")}
    assert ("initial Z", "tensor Q") in {(e.source, e.target) for e in drawn.edges}
    assert drawn.node("initial Z").group == 0
    own = graph(facts("retention"))
    assert {(e.source, e.target, e.earlier) for e in own.edges if e.back} == {
        ("tensor Z", "tensor Z", True)
    }
    assert own.node("tensor Z").lines[-1] == "Z[b,h,-1,e,f] = 0"


@pytest.mark.parametrize("name", NAMES)
def test_the_svg_shows_the_graph(name: str) -> None:
    drawn = drawn_of(name)
    root = ET.fromstring(svg(picture(name)))
    kinds = [r.get("class", "").split()[0] for r in root.iter(f"{SVG}rect")]
    for kind in ("input", "tensor", "part"):
        shown = kinds.count(f"attnc-{kind}")
        assert shown == sum(n.kind == kind for n in drawn.nodes), kind
    assert kinds.count("attnc-band") == len({n.band for n in drawn.nodes})
    assert kinds.count("attnc-frame") == len(drawn.groups)
    paths = [p for p in root.iter(f"{SVG}path") if "attnc-edge" in p.get("class", "")]
    assert len(paths) == len(drawn.edges)
    texts = {t.text for t in root.iter(f"{SVG}text")}
    assert {n.head for n in drawn.nodes} <= texts


# What can be read: nothing overlaps, nothing is cut off


def font(label: Label) -> ImageFont.FreeTypeFont:
    kind = "DejaVuSansMono" if label.font == "code" else "DejaVuSans"
    path = Path(get_data_path()) / "fonts" / "ttf" / f"{kind}{'-Bold' if label.bold else ''}.ttf"
    return ImageFont.truetype(path, 1000)


def measured(label: Label) -> float:
    """The width of a text in a font that a reader may have."""
    return font(label).getlength(label.text) * label.size / 1000


def room(label: Label) -> Box:
    left = label.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[label.anchor] * label.width
    return Box(left, label.y - 0.8 * label.size, label.width, label.size, None)


def faults(scene: Scene) -> Iterator[str]:
    """What keeps a picture from being read."""
    labels = [i for i in scene.items if isinstance(i, Label)]
    boxes = [i for i in scene.items if isinstance(i, Box)]
    nodes = [b for b in boxes if b.kind in ("input", "tensor", "part")]
    paper = next(b for b in boxes if b.kind == "paper")
    for label in labels:
        if measured(label) > label.width + 0.5:
            yield f"'{label.text}' is wider than said"
        if not paper.holds(room(label)):
            yield f"'{label.text}' is cut off"
        for node in nodes:
            if node.meets(room(label)) and not node.holds(room(label)):
                yield f"'{label.text}' sticks out of its box"
    for a, b in itertools.combinations(nodes, 2):
        if a.meets(b):
            yield f"boxes overlap: {a.title} and {b.title}"
    for a, b in itertools.combinations(labels, 2):
        if room(a).meets(room(b)):
            yield f"texts overlap: '{a.text}' and '{b.text}'"
    bands = [b for b in boxes if b.kind == "band"]
    for a, b in itertools.combinations(bands, 2):
        if a.meets(b):
            yield "bands overlap"
    for node in nodes:
        if sum(band.holds(node) for band in bands) != 1:
            yield f"not inside one band: {node.title}"
    yield from crossings(scene, nodes)


def crossings(scene: Scene, nodes: list[Box]) -> Iterator[str]:
    """Arrows through boxes other than the two they join, and through texts beside bands."""
    side = [i for i in scene.items if isinstance(i, Label) and i.x < 170 and i.y > 80]
    for curve in scene.items:
        if not isinstance(curve, Curve) or curve.kind != "edge":
            continue
        points = sampled(curve.points, 40)
        inner = points[2:-2]
        for node in nodes:
            small = Box(node.x + 1, node.y + 1, node.width - 2, node.height - 2, None)
            inside = [p for p in inner if small.holds(Box(*p, 0, 0, None))]
            if inside:
                yield f"an arrow ({curve.title}) goes through {node.title}"
        for label in side:
            if any(room(label).holds(Box(*p, 0, 0, None)) for p in points):
                yield f"an arrow ({curve.title}) goes through '{label.text}'"


@pytest.mark.parametrize("name", NAMES)
def test_graphs_can_be_read(name: str) -> None:
    assert list(faults(picture(name))) == []


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs_can_be_read(seed: int) -> None:
    found = checked(cascade_from(np.random.default_rng(seed)))
    assert list(faults(draw_graph(found))) == []


def chain(length: int) -> str:
    """A cascade of that many tensors, each of which reads the two before it."""
    lines = ["cascade chain(A[M,N]) -> Z[M]:", "    T0[m,n] = A[m,n]", "    T1[m,n] = exp(T0[m,n])"]
    lines += [
        f"    T{i}[m,n] = T{i - 1}[m,n] - sum[n](T{i - 2}[m,n])" for i in range(2, length - 1)
    ]
    lines.append(f"    Z[m] = T{length - 2}[m,n]")
    return "\n".join(lines) + "\n"


def test_a_large_graph_can_be_read() -> None:
    scene = draw_graph(checked(chain(24)))
    assert list(faults(scene)) == []
    assert scene.height > 2000


LONG = "x" * 120


def test_long_names_and_statements_are_cut() -> None:
    terms = " + ".join(f"{LONG}[m] * {i}" for i in range(40))
    head = f"cascade c{LONG}({LONG}[M]) -> O{LONG}[M]:"
    text = f"{head}\n    O{LONG}[m] = {terms} where m > {'1' * 18}\n"
    scene = draw_graph(checked(text))
    assert list(faults(scene)) == []
    assert scene.width < 1000
    shown = [i.text for i in scene.items if isinstance(i, Label)]
    assert sum("…" in t for t in shown) >= 4
    (box,) = (i for i in scene.items if isinstance(i, Box) and i.kind == "tensor")
    assert terms in box.title


def test_faults_are_seen() -> None:
    """Each kind of fault, put into a good picture, is reported."""
    scene = picture("causal")
    items = list(scene.items)
    at = next(i for i, b in enumerate(items) if isinstance(b, Box) and b.kind == "tensor")
    box = items[at]
    assert isinstance(box, Box)

    def with_item(i: int, item: Any) -> list[str]:
        return list(faults(replace(scene, items=(*items[:i], item, *items[i + 1 :]))))

    assert any("sticks out" in f for f in with_item(at, replace(box, width=60)))
    assert any("not inside one band" in f for f in with_item(at, replace(box, y=-500.0)))
    other = next(b for b in items if isinstance(b, Box) and b.kind == "part")
    moved = replace(box, x=other.x + 3, y=other.y + 3)
    assert any("boxes overlap" in f for f in with_item(at, moved))
    low = max(i for i, b in enumerate(items) if isinstance(b, Box) and b.kind == "part")
    wide = items[low]
    assert isinstance(wide, Box)
    assert any("goes through" in f for f in with_item(low, replace(wide, x=200.0, width=560.0)))
    where = next(i for i, b in enumerate(items) if isinstance(b, Label) and b.text == "pass 2")
    label = items[where]
    assert isinstance(label, Label)
    assert any("cut off" in f for f in with_item(where, replace(label, x=2000.0)))
    assert any("texts overlap" in f for f in with_item(where, replace(label, y=label.y + 12)))


def test_very_large_graphs_are_refused() -> None:
    lines = [f"    T{i}[m] = A[m] + {i}" for i in range(MAX_BOXES + 18)]
    found = checked("\n".join(["cascade big(A[M]) -> Z[M]:", *lines, "    Z[m] = T1[m]\n"]))
    with pytest.raises(UsageError, match=rf"has {MAX_BOXES + 20} boxes .* at most {MAX_BOXES}"):
        draw_graph(found)


# Masks


def only_mask(name: str, **request: Any) -> Mask:
    """The one mask of an example."""
    (mask,) = masks(facts(name), Request(**request)).masks
    return mask


def points(rows: int, columns: int, rule: Callable[[int, int], bool]) -> np.ndarray:
    """A condition evaluated point by point."""
    return np.array([[rule(i, j) for j in range(columns)] for i in range(rows)], dtype=bool)


SIZES = [(6, 6), (4, 9), (9, 4), (1, 5)]


@pytest.mark.parametrize("sizes", SIZES)
def test_causal(sizes: tuple[int, int]) -> None:
    m, n = sizes
    mask = only_mask("causal", sizes={"M": m, "N": n}, rows="m", columns="n")
    want = points(m, n, lambda i, j: j <= i + (n - m))
    np.testing.assert_array_equal(mask.panels[0].cells, want)
    assert (mask.rows, mask.columns, len(mask.panels)) == ("m", "n", 1)
    assert {"b", "h"} <= set(mask.same)


@pytest.mark.parametrize("sizes", SIZES)
def test_a_window_with_sinks(sizes: tuple[int, int]) -> None:
    m, n = sizes
    request = {"sizes": {"M": m, "N": n}, "rows": "m", "columns": "n"}
    static = {"window": 3, "sinks": 2}
    mask = only_mask("sliding_window_sinks", static=static, **request)
    want = points(m, n, lambda i, j: j <= i + (n - m) and ((i + (n - m)) - j < 3 or j < 2))
    np.testing.assert_array_equal(mask.panels[0].cells, want)


def saved(folder: Path, **arrays: np.ndarray) -> dict[str, str]:
    """Arrays as files, by name."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return {name: str(folder / f"{name}.npy") for name in arrays}


def test_documents(tmp_path: Path) -> None:
    doc = np.array([[0, 0, 1, 1, 1, -1], [3, 3, 3, 3, -1, -1]], np.int32)
    mask = only_mask("packed_documents", files=saved(tmp_path, doc=doc))
    assert [p.label for p in mask.panels] == ["b = 0", "b = 1"]
    for row, panel in zip(doc, mask.panels, strict=True):
        want = points(6, 6, lambda i, j, d=row: bool(d[i] == d[j] and d[j] >= 0 and j <= i))  # type: ignore[misc]
        np.testing.assert_array_equal(panel.cells, want)


def test_lengths_of_pages(tmp_path: Path) -> None:
    files = saved(
        tmp_path, length=np.array([3, 8, 0], np.int32), page=np.array([[0, 1, -1]] * 3, np.int64)
    )
    request = {"files": files, "sizes": {"R": 4, "P": 2}, "rows": "c", "columns": "r"}
    mask = only_mask("paged_decode", **request)
    for length, panel in zip((3, 8, 0), mask.panels, strict=True):
        want = points(3, 4, lambda c, r, n=length: c * 4 + r < n and c < 2)  # type: ignore[misc]
        np.testing.assert_array_equal(panel.cells, want)  # page -1 is outside the cache: absent


def test_chunks_with_a_ragged_end() -> None:
    """Bounds are part of presence: tokens past T are absent."""
    mask = only_mask("lightning", static={"R": 4}, sizes={"T": 10})
    assert [p.label for p in mask.panels] == ["c = 0..1", "c = 2"]
    for c, panel in ((0, mask.panels[0]), (2, mask.panels[1])):
        want = points(4, 4, lambda r, s, c=c: s <= r and c * 4 + r < 10 and c * 4 + s < 10)  # type: ignore[misc]
        np.testing.assert_array_equal(panel.cells, want)


def test_routing_by_data(tmp_path: Path) -> None:
    """Blocks that data choose, against a choice made in plain Python."""
    t, r, top = 12, 3, 1
    rng = np.random.default_rng(5)
    q, k = (rng.standard_normal((1, 1, t, 4)).astype(np.float32) for _ in "QK")
    request = Request("S", static={"R": r, "top": top}, files=saved(tmp_path, Q=q, K=k))
    (mask,) = masks(facts("moba"), request).masks
    want = np.zeros((t, t), bool)
    for i in range(t):
        past = [c for c in range(i // r) if (c + 1) * r <= i]
        score = {c: float(q[0, 0, i] @ k[0, 0, c * r : c * r + r].mean(0)) for c in past}
        chosen = set(sorted(past, key=lambda c: -score[c])[:top]) | {i // r}
        for j in range(i + 1):
            want[i, j] = j // r in chosen
    np.testing.assert_array_equal(mask.panels[0].cells, want)
    assert 0 < want.sum() < t * (t + 1) / 2


def test_conditions_inside_expressions() -> None:
    static = {"R": 4, "L": 4, "D": 2, "top": 1, "window": 3}
    request = Request("Ow", static=static, sizes={"T": 9})
    (mask,) = masks(facts("native_sparse"), request).masks
    np.testing.assert_array_equal(
        mask.panels[0].cells, points(9, 9, lambda i, j: j <= i and i - j < 3)
    )


def test_a_condition_on_a_sum() -> None:
    text = "cascade c(Q[M,N], K[N]) -> O[M]:\n    O[m] = Q[m,n] * K[n] where n < m\n"
    (mask,) = masks(checked(text), Request(sizes={"M": 5, "N": 4})).masks
    assert (mask.rows, mask.columns) == ("m", "n")
    np.testing.assert_array_equal(mask.panels[0].cells, points(5, 4, lambda i, j: j < i))


def test_one_variable_is_one_row() -> None:
    text = "cascade c(A[N]) -> O[N]:\n    O[n] = A[n] where n % 3 == 1\n"
    (mask,) = masks(checked(text), Request(sizes={"N": 7})).masks
    assert mask.rows is None
    np.testing.assert_array_equal(mask.panels[0].cells, points(1, 7, lambda _, j: j % 3 == 1))


def test_conditions_on_a_running_recurrence_are_left_out() -> None:
    """What is computed so far cannot be told afterwards; the tensor itself can be drawn."""
    text = """\
cascade c(A[T]) -> X[T]:
    var s in T
    X[t] = A[t] + default(sum[s](only(X[s], s < t)), 0) where t > 1
"""
    (mask,) = masks(checked(text), Request(sizes={"T": 5})).masks
    np.testing.assert_array_equal(mask.panels[0].cells, points(1, 5, lambda _, t: t > 1))
    with pytest.raises(UsageError, match="no condition on a rank that a picture could show"):
        masks(checked(text.replace(" where t > 1", "")), Request())


def test_sides_and_fixed_indices(tmp_path: Path) -> None:
    length = np.array([1, 3], np.int32)
    files = saved(tmp_path, length=length)
    found = facts("normalised")
    sizes = {"M": 3, "N": 4}
    (mask,) = masks(found, Request(files=files, sizes=sizes)).masks
    assert (mask.rows, mask.columns) == ("b", "n")
    (fixed,) = masks(found, Request(files=files, sizes=sizes, at={"b": 1})).masks
    np.testing.assert_array_equal(fixed.panels[0].cells, points(3, 4, lambda i, j: j < 3))
    (turned,) = masks(found, Request(files=files, sizes=sizes, rows="n", columns="m")).masks
    assert [p.label for p in turned.panels] == ["b = 0", "b = 1"]
    np.testing.assert_array_equal(turned.panels[0].cells, points(4, 3, lambda i, _: i < 1))


def test_any_tensor_can_be_asked_for() -> None:
    """Presence passes on: the scan of absent scores is absent before the first present one."""
    (mask,) = masks(facts("cope"), Request("X", sizes={"M": 4, "N": 4})).masks
    assert mask.site.owner == "X"
    np.testing.assert_array_equal(mask.panels[0].cells, np.tri(4, dtype=bool))


def conditional(name: str) -> bool:
    """Whether an example has a mask to draw."""
    with contextlib.suppress(UsageError):
        return bool(sites(facts(name)))
    return False


NEEDS_DATA = {"tree_intervals"}
"""No sample of their inputs would make sense."""
CONDITIONAL = [name for name in NAMES if name not in NEEDS_DATA and conditional(name)]


def test_most_examples_have_a_mask() -> None:
    assert len(CONDITIONAL) >= 20
    assert not {"dense", "sigmoid", "retention"} & set(CONDITIONAL)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_samples_that_matter_are_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other samples the picture changes only if it says that it depends on one."""
    request = small(name)
    before = masks(facts(name), request)
    monkeypatch.setattr(sample, "SEED", 77)
    after = masks(facts(name), request)
    for a, b in zip(before.masks, after.masks, strict=True):
        same = [p.cells.tolist() for p in a.panels] == [p.cells.tolist() for p in b.panels]
        assert same or before.notes, a.site.text
    assert before.notes == after.notes


SMALL_PARAMETERS: Mapping[str, Mapping[str, int]] = {
    "moba": {"R": 4, "top": 2},
    "native_sparse": {"R": 8, "L": 8, "D": 4, "top": 2, "window": 5},
    "lightning": {"R": 8},
}
SMALL_SIZES: Mapping[str, Mapping[str, int]] = {
    "neighbourhood_2d": {"Y": 4, "X": 4},
    "swin_shifted": {"Y": 4, "X": 4},
}
"""Of grids, whose points are many."""


def small(name: str) -> Request:
    return Request(static=SMALL_PARAMETERS.get(name, {}), sizes=SMALL_SIZES.get(name, {}))


def test_routed_examples_say_what_they_were_drawn_from() -> None:
    notes = masks(facts("moba"), Request(static=SMALL_PARAMETERS["moba"])).notes
    assert [n.partition(":")[0] for n in notes] == ["Q", "K"]
    assert all("at random" in n for n in notes)
    (note,) = masks(facts("packed_documents"), Request()).notes
    assert note == "doc: a sample, 3 runs of equal numbers along N"


@pytest.mark.parametrize("name", CONDITIONAL)
def test_masks_can_be_read(name: str) -> None:
    scene = draw_mask(facts(name), small(name))
    labels = [i for i in scene.items if isinstance(i, Label)]
    paper = next(i for i in scene.items if isinstance(i, Box) and i.kind == "paper")
    assert all(paper.holds(room(label)) for label in labels)
    assert all(measured(label) <= label.width + 0.5 for label in labels)
    for a, b in itertools.combinations(labels, 2):
        assert not room(a).meets(room(b)), (a.text, b.text)


@pytest.mark.parametrize("name", ["causal", "moba", "packed_documents"])
def test_the_svg_shows_the_cells(name: str) -> None:
    """Each present point lies under exactly one rectangle of the path, and no absent one does."""
    request = Request(
        static=SMALL_PARAMETERS.get(name, {}), sizes={"N": 12} if name != "moba" else {"T": 12}
    )
    found = masks(facts(name), request)
    root = ET.fromstring(svg(draw_mask(facts(name), request)))
    panels = [r for r in root.iter(f"{SVG}rect") if "attnc-panel" in r.get("class", "")]
    paths = [p for p in root.iter(f"{SVG}path") if "attnc-cells" in p.get("class", "")]
    wanted = [(p, m) for m in found.masks for p in m.panels]
    for rect, path, (panel, _) in zip(panels, paths, wanted, strict=True):
        rows, columns = panel.cells.shape
        left, top, width = (float(rect.get(k, "")) for k in ("x", "y", "width"))
        cell = width / columns
        shown = np.zeros((rows, columns), int)
        for text in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)h", path.get("d", "")):
            x, y, w, h = (float(v) for v in text)
            j, i = round((x - left) / cell), round((y - top) / cell)
            shown[i : i + round(h / cell), j : j + round(w / cell)] += 1
        np.testing.assert_array_equal(shown, panel.cells.astype(int))


# The command


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    try:
        status = main(["draw", *map(str, arguments)])
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("causal", "moba", "dense", "packed_documents"):
        text = (ROOT / "examples" / f"{name}.attn").read_text(encoding="utf-8")
        (tmp_path / f"{name}.attn").write_text(text, encoding="utf-8")
    return tmp_path


REFUSED = [
    (["causal.attn", "-o", "x.gif"], "the file's name says the format"),
    (["causal.attn", "-o", "x"], "the file's name says the format"),
    (["causal.attn", "-o", "-"], "the file's name says the format"),
    (["causal.attn"], "required: -o/--output"),
    (["causal.attn", "-o", "x.svg", "--rank", "z"], "no rank 'z'"),
    (["causal.attn", "-o", "x.svg", "--rows", "m"], "--rows does not go with --what graph"),
    (["causal.attn", "-o", "x.svg", "--what", "mask", "--rank", "n"], "--rank does not go"),
    (["causal.attn", "-o", "x.svg", "--dpi", "96"], "--dpi is for .png"),
    (["causal.attn", "-o", "x.png", "--dpi", "9"], "from 24 to 1200"),
    (["causal.attn", "-o", "x.png", "--dpi", "many"], "--dpi takes a number"),
    (["causal.attn", "-o", "no/x.svg"], "No such file or directory: no/x.svg"),
    (["none.attn", "-o", "x.svg"], "No such file or directory: none.attn"),
]
REFUSED_MASKS = [
    (["dense.attn"], "no condition on a rank that a picture could show"),
    (["causal.attn", "--tensor", "Q"], "defines no tensor 'Q'"),
    (["causal.attn", "--rows", "q"], "has a variable 'q'"),
    (["causal.attn", "--rows", "m", "--columns", "m"], "the same variable"),
    (["causal.attn", "--at", "b"], "--at takes NAME=VALUE"),
    (["causal.attn", "--at", "b=x"], "takes a number"),
    (["causal.attn", "--at", "b=9"], "ranges over 0..1"),
    (["causal.attn", "--at", "b=0,h=0,m=0,n=0"], "fixes every variable"),
    (["causal.attn", "--size", "X=3"], "no size 'X'"),
    (["causal.attn", "--size", "M=-3"], "is negative"),
    (["causal.attn", "--size", "M=0"], "no point at all"),
    (["causal.attn", "--size", "M=600"], "at most 512 each way"),
    (["causal.attn", "--size", "B=1000000000"], "points at these sizes"),
    (["causal.attn", "--static", "w=3"], "no parameter is called 'w'"),
    (["causal.attn", "--data", "Z=z.npy"], "no input 'Z'"),
    (["causal.attn", "--data", "Q=none.npy"], "No such file or directory: none.npy"),
    (["causal.attn", "--data", "Q=causal.attn"], "no .npy file"),
    (["packed_documents.attn", "--size", "M=4,N=5"], "`require M == N` does not hold"),
    (["packed_documents.attn", "--data", "doc=flat.npy"], "has 1 ranks, not 2"),
    (["packed_documents.attn", "--data", "doc=real.npy"], "float64 values do not fit i32"),
    (["packed_documents.attn", "--data", "doc=big.npy"], "int64 values do not fit i32"),
    (["packed_documents.attn", "--data", "doc=objects.npy"], "no .npy file"),
    (["odd.attn"], "give them with --data x=FILE.npy"),
    (["needs.attn"], "the parameter 'w' has no value: --static w=..."),
    (["many.attn", "--size", "B=40"], "fix some with --at b=0"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_refusals(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = {p.name for p in folder.iterdir()}
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, ""), err
    assert message in err
    assert {p.name for p in folder.iterdir()} == before


@pytest.mark.parametrize(("arguments", "message"), REFUSED_MASKS)
def test_refused_masks(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    np.save("flat.npy", np.zeros(4, np.int32))
    np.save("real.npy", np.zeros((1, 4)))
    np.save("big.npy", np.full((1, 4), 2**40))
    np.save("objects.npy", np.array([[None]]), allow_pickle=True)
    odd = "cascade odd(A[N], x[N]: i32) -> O[N]:\n    O[n] = A[n] where x[n] % 3 == 1\n"
    (folder / "odd.attn").write_text(odd)
    needs = "cascade needs(A[N], w: int) -> O[N]:\n    O[n] = A[n]\n"
    (folder / "needs.attn").write_text(needs.replace("A[n]\n", "A[n] where n < w\n"))
    many = "cascade many(A[B,M,N]) -> O[B,M,N]:\n    O[b,m,n] = A[b,m,n] where n < m + b\n"
    (folder / "many.attn").write_text(many)
    before = {p.name for p in folder.iterdir()}
    status, out, err = run(capsys, *arguments, "--what", "mask", "-o", "x.svg")
    assert (status, out) == (2, ""), err
    assert message in err
    assert {p.name for p in folder.iterdir()} == before


def test_the_spec_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = folder / "page.html"
    spec.write_text((folder / "causal.attn").read_text())
    before = spec.read_bytes()
    status, _, err = run(capsys, "page.html", "-o", "page.html")
    assert status == 2
    assert "is the spec itself" in err
    assert spec.read_bytes() == before


def test_an_invalid_spec_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.attn").write_text("cascade bad(Q[M]) -> O[M]:\n    O[m] = R[m]\n")
    status, _, err = run(capsys, "bad.attn", "-o", "x.svg")
    assert status == 1
    assert "bad.attn:2:12: error: no tensor is called 'R'" in err
    assert not (folder / "x.svg").exists()


@pytest.mark.parametrize("what", ["graph", "mask"])
@pytest.mark.parametrize("dpi", [None, 48, 96, 150])
def test_png(folder: Path, capsys: pytest.CaptureFixture[str], what: str, dpi: int | None) -> None:
    options = [] if dpi is None else ["--dpi", str(dpi)]
    scene = (
        draw_graph(facts("causal")) if what == "graph" else draw_mask(facts("causal"), Request())
    )
    for theme in THEMES:
        arguments = ["causal.attn", "--what", what, "-o", "x.png", "--theme", theme, *options]
        assert run(capsys, *arguments) == (0, "", "")
        image = Image.open(folder / "x.png")
        image.load()
        scale = (dpi or 192) / 96
        assert image.size == (round(scene.width * scale), round(scene.height * scale))
        paper = COLOURS["paper"].of(theme)
        assert "#" + "".join(f"{v:02x}" for v in image.convert("RGB").getpixel((1, 1))) == paper  # type: ignore[union-attr]
        colours = image.convert("RGB").getcolors(1 << 24)
        assert colours is not None
        assert len(colours) > 20
        assert {p.name for p in folder.iterdir() if p.name.startswith(".")} == set()


def test_a_png_that_is_too_large_is_refused() -> None:
    with pytest.raises(UsageError, match="dots, more than"):
        png(replace(picture("causal"), width=20_000, height=20_000), "light", 96)


@pytest.mark.parametrize(("module", "form"), [("pygraphviz", "svg"), ("matplotlib", "png")])
def test_missing_libraries(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    form: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    status, _, err = run(capsys, "causal.attn", "-o", f"x.{form}")
    assert status == 2
    assert "pip install 'attnc[draw]'" in err
    assert not list(folder.glob("x.*"))
    assert run(capsys, "causal.attn", "--what", "mask", "-o", "x.html") == (0, "", "")


HOSTILE = """\
# <script>alert(1)</script> & "quotes" ]]> \x1b[31m
cascade shown(A[N], C[N]) -> O[N]:   # </pre></body><img src=x onerror=alert(2)>
    O[n] = A[n] * C[n] where n < 3
"""


class Tags(HTMLParser):
    """The tags of a page and the text inside of `pre`."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.pre = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self._inside |= tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag != "pre"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.pre += data


@pytest.mark.parametrize("what", ["graph", "mask"])
def test_a_spec_is_text_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    name = "<b>&.attn"
    (folder / name).write_text(HOSTILE, encoding="utf-8")
    for form in ("svg", "html"):
        assert run(capsys, name, "--what", what, "-o", f"x.{form}")[0] == 0
    page = (folder / "x.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert not {"script", "img", "b", "link", "iframe"} & set(tags.tags)
    assert not [a for a in tags.attributes if a.startswith("on") or a in ("src", "href")]
    assert tags.pre == HOSTILE.rstrip().replace("\x1b", r"\x1b")
    assert "&lt;b&gt;&amp;.attn" in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page
    ET.fromstring((folder / "x.svg").read_text(encoding="utf-8"))


def test_a_label_with_markup_is_escaped() -> None:
    """Names cannot hold markup; were one to, it would stay text."""
    scene = picture("causal")
    bad = "<script>&'\"</script>"
    items = tuple(
        replace(i, text=bad)
        if isinstance(i, Label)
        else replace(i, title=bad)
        if isinstance(i, Box)
        else i
        for i in scene.items
    )
    hostile = replace(scene, items=items, title=bad, description=bad)
    root = ET.fromstring(svg(hostile))
    assert not [e for e in root.iter() if "script" in e.tag]
    assert {t.text for t in root.iter(f"{SVG}text")} == {bad}
    tags = Tags()
    tags.feed(html(hostile, Origin(bad, bad, {bad: bad})))
    assert "script" not in tags.tags
    assert png(hostile, "light", 48).startswith(b"\x89PNG")


@pytest.mark.parametrize("what", ["graph", "mask"])
def test_the_same_bytes_under_any_hash_seed(folder: Path, what: str) -> None:
    found: set[tuple[bytes, ...]] = set()
    forms = ("svg", "html", "png")
    for seed in ("0", "1", "42"):
        code = "import sys; from attnc.cli import main\n"
        code += "sys.exit(max(main([*sys.argv[1:], '-o', f'x.{f}']) for f in ('svg','html','png')))"
        done = subprocess.run(
            [sys.executable, "-c", code, "draw", "moba.attn", "--what", what],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=False,
            timeout=120,
        )
        assert done.returncode == 0
        found.add(tuple((folder / f"x.{f}").read_bytes() for f in forms))
    assert len(found) == 1
    text = next(iter(found))[0].decode()
    assert not re.search(r"\bid=|20\d\d-\d\d|matplotlib", text)


# Themes


def test_an_svg_follows_the_reader() -> None:
    both = svg(picture("causal"))
    assert "prefers-color-scheme: dark" in both
    for theme in THEMES:
        for colour in COLOURS.values():
            assert colour.of(theme) in both
        fixed = svg(picture("causal"), theme)
        assert "prefers-color-scheme" not in fixed
        assert f'fill="{COLOURS["paper"].of(theme)}"' in fixed


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str, theme: Theme) -> float:
    high, low = sorted((luminance(COLOURS[r].of(theme)) for r in (a, b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_contrast(theme: Theme) -> None:
    """WCAG 2: 4.5 for texts, 3 for what is not text and carries meaning."""
    for ground in ("paper", "band", "outside"):
        assert contrast("ink", ground, theme) >= 7
        for role in ("quiet", "kept"):
            assert contrast(role, ground, theme) >= 4.5, (role, ground)
        assert contrast("read", ground, theme) >= 3
    for ground in ("box", "part", "input"):
        assert contrast("ink", ground, theme) >= 7
    assert contrast("output-edge", "box", theme) >= 4.5
    assert contrast("input-edge", "band", theme) >= 3
    assert contrast("present", "absent", theme) >= 4.5
    for ground in ("tile-point", "tile-tested", "wrong"):  # numbers in tiles
        assert contrast("ink", ground, theme) >= 4.5, ground
    assert contrast("on-full", "tile-full", theme) >= 4.5
    assert contrast("tile-full", "tile-tested", theme) >= 4.5
    assert contrast("tile-point", "tile-tested", theme) >= 2.5  # side by side in a tile
    assert contrast("lost", "absent", theme) >= 4.5


def test_the_libraries_load_only_when_a_picture_needs_them() -> None:
    code = "import sys, attnc.cli, attnc.commands.draw; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = {m.partition(".")[0] for m in done.stdout.split()}
    assert not {"matplotlib", "pygraphviz", "numpy", "networkx"} & loaded
    assert import_module("attnc.drawing.png")


def test_the_pictures_of_the_docs_are_current() -> None:
    """`python docs/make_pictures.py` renews them; every one is shown, and every one shown is."""
    command = [sys.executable, "docs/make_pictures.py", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\]\(pictures/(\w+\.svg)\)", page))
    assert shown == {p.name for p in (ROOT / "docs" / "pictures").glob("*.svg")}
