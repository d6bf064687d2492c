"""How the examples of the gallery are grouped, and at what sizes their pictures are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Made = Callable[[], Array]

GROUPS: Final[Mapping[str, str]] = {
    "Softmax attention": """dense causal causal_top_left mqa gqa gqa_causal latent rotary quantised
        lazy_softmax entropy fusemax_three_pass fusemax_one_pass""",
    "Other scores": """additive alibi t5_bias cope softcap sink_logits differential cog
        multi_token""",
    "Other weights": "sigmoid squared_relu rela normalised stick_breaking slot",
    "Windows": """sliding_window sliding_window_sinks dilated longformer neighbourhood_1d
        etc_global_local""",
    "Blocks and strides": """block_causal block_diagonal chunked star_phase_one sparse_fixed
        sparse_strided bigbird""",
    "Heads that differ": "duo_heads moa_heads hepos s2_sharded",
    "Documents, prefixes and lengths": """packed_documents documents_window anchor_documents
        packed_offsets shared_prefix block_rag prefix_lm padding_lengths""",
    "Grids": """neighbourhood_2d neighbourhood_2d_flat neighbourhood_3d swin_shifted clear
        radial""",
    "Trees and choices": "tree tree_intervals moba native_sparse",
    "Decoding": "decode_lengths paged_decode",
    "Linear attention and recurrences": """efficient performer nystrom retention lightning
        delta_rule triangular""",
}
"""The examples, by what is of interest in them; names apart from each other by spaces."""


@dataclass(frozen=True)
class Case:
    """What a picture is drawn of: tiles, or the points of `tensor` where a run alone tells those.

    `sizes` and `static` are those of the command, `data` makes the values of inputs, which `told`
    describes.
    """

    sizes: Mapping[str, int] = field(default_factory=lambda: {"M": 128, "N": 128})
    tile: Mapping[str, int] = field(default_factory=lambda: {"m": 16, "n": 16})
    static: Mapping[str, int | bool] = field(default_factory=dict[str, int | bool])
    at: Mapping[str, int] = field(default_factory=dict[str, int])
    data: Mapping[str, Made] = field(default_factory=dict[str, Made])
    told: str = ""
    tensor: str | None = None


def _given(*values: int | bool) -> Made:
    """An array of a type that inputs have: bools, or i32."""
    kind = np.bool_ if isinstance(values[0], bool) else np.int32
    return lambda: np.array(values, kind)


def _runs(*lengths: int) -> Made:
    """Labels 0, 1, 2, ... of so many tokens each, of one batch."""
    return lambda: np.repeat(np.arange(len(lengths)), lengths)[None].astype(np.int32)


def _lowest(n: Array) -> Array:
    """The lowest bit that is set."""
    return n & -n


def _leave() -> Array:
    """Where the subtree of n ends, which begins at n, and holds as many as n's lowest bit says."""
    n = np.arange(128)
    return np.where(n == 0, 128, n + _lowest(n))[None].astype(np.int32)


def _parent() -> Array:
    """The parents of the same tree."""
    n = np.arange(64)
    return np.where(n == 0, -1, n - _lowest(n))[None].astype(np.int32)


def _keep() -> Array:
    """Two blocks more for each of eight."""
    i = np.arange(8)
    found = np.zeros((1, 8, 8), np.bool_)
    found[0, i, (5 * i + 3) % 8] = found[0, i, (3 * i + 6) % 8] = True
    return found


def _part() -> Array:
    """Long tokens stand for 16 global ones in runs of 7; those stand for none."""
    n = np.arange(128)
    return np.where(n < 16, -1, (n - 16) // 7)[None].astype(np.int32)


SQUARE: Final = {"M": 128, "N": 128}
ONE: Final = {"N": 128}
SHORT: Final = {"M": 96, "N": 128}
TREE: Final = "the tree in which n has the parent that n is without its lowest bit"

CASES: Final[Mapping[str, Case]] = {
    **dict.fromkeys(
        """alibi cog differential latent quantised sink_logits softcap squared_relu""".split(),
        Case(),
    ),
    **dict.fromkeys("causal causal_top_left gqa_causal".split(), Case(SHORT)),
    **dict.fromkeys("cope stick_breaking multi_token".split(), Case({"M": 48, "N": 64}, {})),
    "t5_bias": Case({"M": 96, "N": 128, "R": 32}, static={"bidirectional": False}),
    "normalised": Case({"B": 2, **SQUARE}, data={"length": _given(104, 40)}, told="104 and 40"),
    "sliding_window": Case(SHORT, static={"left": 40, "right": 9}),
    "sliding_window_sinks": Case(SHORT, static={"window": 40, "sinks": 4}),
    "dilated": Case({"M": 160, "N": 160}, static={"radius": 12, "gap": 2}),
    "longformer": Case(static={"radius": 20, "leading": 6}),
    "neighbourhood_1d": Case(ONE, static={"window": 41}),
    "etc_global_local": Case(
        ONE,
        static={"leading": 16, "radius": 12},
        data={"part": _part},
        told="16 parts of 7 tokens",
    ),
    "block_causal": Case(static={"R": 24}),
    "block_diagonal": Case({"H": 2, **SQUARE}, data={"width": _given(32, 50)}, told="32 and 50"),
    "chunked": Case(SHORT, static={"R": 48}),
    "star_phase_one": Case(static={"R": 32}),
    "sparse_fixed": Case(static={"R": 32, "kept": 4}),
    "sparse_strided": Case(static={"stride": 40}),
    "bigbird": Case(
        {"H": 1, "C": 8, "D": 8, **SQUARE},
        static={"R": 16, "near": 1, "leading": 1},
        data={"keep": _keep},
        told="two blocks of each row",
    ),
    "duo_heads": Case(
        {"H": 2, "J": 2, **SHORT},
        static={"window": 32, "sinks": 8},
        data={"streaming": _given(True, False)},
        told="true and false",
    ),
    "moa_heads": Case(
        {"H": 2, **SQUARE},
        static={"sinks": 4},
        data={"window": _given(20, 64)},
        told="20 and 64",
    ),
    "hepos": Case({"H": 2, "M": 64, "N": 250}, static={"stride": 4}),
    "s2_sharded": Case({"H": 2, "J": 2, **SQUARE}, static={"R": 16, "near": 2, "stride": 3}),
    "packed_documents": Case(ONE, data={"doc": _runs(50, 30, 48)}, told="of 50, 30 and 48 tokens"),
    "documents_window": Case(
        ONE,
        static={"window": 24},
        data={"doc": _runs(50, 30, 48)},
        told="of 50, 30 and 48 tokens",
    ),
    "anchor_documents": Case(ONE, data={"doc": _runs(50, 30, 48)}, told="of 50, 30 and 48 tokens"),
    "packed_offsets": Case(
        {**SQUARE, "S": 4},
        data={
            "segment": lambda: _runs(50, 30, 48)()[0],
            "offset": _given(0, 50, 80, 128),
        },
        told="sequences of 50, 30 and 48 tokens",
    ),
    "shared_prefix": Case(
        ONE,
        static={"prefix": 24},
        data={"answer": _runs(24, 40, 34, 30)},
        told="of 40, 34 and 30 tokens after a prompt of 24",
    ),
    "block_rag": Case(
        {"N": 64}, {}, data={"block": _runs(20, 12, 18, 14)}, told="of 20, 12, 18 and 14 tokens"
    ),
    "prefix_lm": Case({"B": 2, **SQUARE}, data={"prefix": _given(56, 0)}, told="56 and 0"),
    "padding_lengths": Case({"B": 2, **ONE}, data={"length": _given(104, 40)}, told="104 and 40"),
    "neighbourhood_2d": Case(
        {"Y": 6, "X": 8},
        {"x": 2, "v": 1, "u": 2},
        static={"rows": 3, "columns": 3},
        at={"y": 3},
    ),
    "neighbourhood_2d_flat": Case(ONE, static={"width": 16, "rows": 3, "columns": 7}),
    "neighbourhood_3d": Case(
        {"N": 144},
        static={"height": 3, "width": 16, "frames": 2, "rows": 1, "columns": 7},
    ),
    "swin_shifted": Case(
        {"Y": 6, "X": 8},
        {"x": 2, "v": 1, "u": 2},
        static={"R": 4, "shift": 1},
        at={"y": 3},
    ),
    "clear": Case({"M": 144, "N": 144}, static={"words": 16, "width": 16, "radius": 4}),
    "radial": Case(static={"R": 16}),
    "tree": Case({"M": 64, "N": 96}, {}, data={"parent": _parent}, told=TREE),
    "tree_intervals": Case(
        ONE,
        data={"enter": lambda: np.arange(128, dtype=np.int32)[None], "leave": _leave},
        told=TREE,
    ),
    "moba": Case({"B": 1, "T": 64}, {}, static={"R": 8, "top": 2}, tensor="S"),
    "native_sparse": Case(
        {"B": 1, "H": 1, "J": 1, "T": 64},
        {},
        static={"L": 8, "D": 4, "R": 8, "top": 2, "window": 12},
    ),
    "lightning": Case({"T": 64}, {}),
    "decode_lengths": Case(
        {"B": 4, **ONE},
        {"n": 16},
        data={"length": _given(128, 90, 48, 1)},
        told="128, 90, 48 and 1",
    ),
    "paged_decode": Case(
        {"B": 4, "C": 8, "P": 32, "R": 16},
        {"c": 1, "r": 16},
        data={"length": _given(128, 90, 48, 1)},
        told="128, 90, 48 and 1",
    ),
}
"""The examples that have a condition."""
