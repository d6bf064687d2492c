"""Attention in one pass over tiles of keys, by hand in NumPy, with faults that can be switched on.

It is what a good schedule of `TEXT` does, in the types of a GPU: operands of matrix products in
the inputs' type, everything else in f32. It tests the instrument that judges schedules. In `BASE_2`
arithmetic, the same code is a schedule of the stand-in of `TEXT` in exact mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tests.acceptance import formats

TEXT: Final = """
cascade streamed(
    Q[B,H,M,E], K[B,J,N,E], V[B,J,N,F], bias[H,M,N],
    causal: bool = true, window: int = 4096, sinks: int = 0
) -> O[B,H,M,F], L[B,H,M] empty -inf:
    G = H // J
    S[b,h,m,n] = Q[b,h,m,e] * K[b,h//G,n,e] / sqrt(E) + bias[h,m,n]
        where not causal or n <= m + (N - M), (m + (N - M)) - n < window or n < sinks
    O[b,h,m,f] = softmax[n](S[b,h,m,n]) * V[b,h//G,n,f]
    L[b,h,m]   = logsumexp[n](S[b,h,m,n])
"""
f32 = np.float32
FAULTS: Final = {
    "the rescale factor is inverted": "inverted",
    "no rescale": "unscaled",
    "the denominator is not rescaled": "denominator",
    "the output is not rescaled": "numerator",
    "a rescale by the tile's own maximum": "own",
    "the tail is tested with <=": "tail",
    "< for <= on the diagonal": "diagonal",
    "a window of one key more": "wider",
    "a window of one key less": "narrower",
    "a sink too many": "sinks",
    "the last key is dropped": "last key",
    "the last tile is dropped": "last tile",
    "a tile is read twice": "twice",
    "the neighbour's keys are read as padding": "neighbour",
    "NaN of the padding goes through 0 * NaN": "padding",
    "no guard for a tile without keys": "guard",
    "the maximum starts from 0": "zero",
    "the mask sees coordinates in the tile": "local",
    "the offset of the last query is forgotten": "aligned",
    "head h reads key head h % J": "heads",
    "the bias is added twice": "bias",
    "the bias is scaled": "scaled bias",
    "the scale is 1 / E": "scale",
    "the scale is folded into half-precision queries": "folded",
    "scores rounded to the inputs' type": "scores",
    "the output is accumulated in half precision": "accumulator",
    "the denominator is accumulated in half precision": "half sum",
    "the denominators of halves are added twice": "added twice",
    "halves are merged without their factors": "merge",
    "halves are merged with each other's factors": "swapped",
    "an empty row is uniform": "uniform",
    "an empty row is NaN": "nan",
    "an empty row of the log-sum-exp is 0": "finite",
    "the log-sum-exp is in base 2": "base",
    "the log-sum-exp lacks the maximum": "maximum",
    "the output is truncated to the inputs' type": "truncated",
    "the output is not divided": "undivided",
}
"""Names of faults and the switches that bring them."""
BEYOND: Final = ("tail", "neighbour")
"""Faults that read behind the last key, where the next head's keys lie."""


@dataclass(frozen=True)
class Arithmetic:
    """The functions that exact mode replaces."""

    exp: Callable[[Any], Any]
    log: Callable[[Any], Any]
    sqrt: Callable[[Any], Any]
    divisor: Callable[[Any], Any]


def exponent(x: Any) -> Any:
    """log2 as an integer, as the stand-in of a logarithm has it."""
    return np.floor(np.log2(x) + f32(0.3125))


NATURAL: Final = Arithmetic(np.exp, np.log, np.sqrt, lambda x: x)
BASE_2: Final = Arithmetic(
    np.exp2,
    exponent,
    lambda x: np.exp2(np.floor(exponent(x) / 2)),
    lambda x: np.exp2(exponent(np.abs(x))),
)


@dataclass(frozen=True)
class Schedule:
    """Tile sizes, how many keys make a part, the order of tiles, and a fault."""

    queries: int = 4
    keys: int = 8
    parts: int = 1
    backwards: bool = False
    fault: str = ""
    arithmetic: Arithmetic = NATURAL


@dataclass
class State:
    """Running maximum, denominator and output of some rows."""

    r: Any
    d: Any
    a: Any


def attend(
    schedule: Schedule,
    Q: Any,
    K: Any,
    V: Any,
    bias: Any,
    *,
    causal: bool = True,
    window: int = 4096,
    sinks: int = 0,
) -> tuple[Any, Any]:
    """Output and log-sum-exp."""
    B, H, M, _ = Q.shape
    J, N, F = V.shape[1:]
    out, lse = np.zeros((B, H, M, F), Q.dtype), np.zeros((B, H, M), Q.dtype)
    for b, h in np.ndindex(B, H):
        j = h % J if schedule.fault == "heads" else h // (H // J)
        mask = _Mask(schedule, M, N, causal, window, sinks)
        for m in range(0, M, schedule.queries):
            rows = np.arange(m, min(m + schedule.queries, M))
            head = _Head(schedule, mask, Q[b, h, rows], K[b, j], V[b, j], bias[h, rows], rows)
            with np.errstate(all="ignore"):
                o, s = head.run()
            out[b, h, rows], lse[b, h, rows] = (_narrowed(x, Q, schedule.fault) for x in (o, s))
    return out, lse


def _narrowed(x: Any, like: Any, fault: str) -> Any:
    """`x` in the inputs' type."""
    if fault != "truncated":
        return x.astype(like.dtype)
    cut = 24 - formats.WIDTHS[formats.NAMES[like.dtype.name]][0]
    return (x.view(np.uint32) & np.uint32(2**32 - 2**cut)).view(f32).astype(like.dtype)


@dataclass(frozen=True)
class _Mask:
    """Which keys a row sees."""

    schedule: Schedule
    M: int
    N: int
    causal: bool
    window: int
    sinks: int

    def __call__(self, rows: Any, keys: Any) -> Any:
        fault = self.schedule.fault
        if fault == "local":
            keys = keys - keys[0]
        place = rows[:, None] + (0 if fault == "aligned" else self.N - self.M)
        n = keys[None, :]
        earlier = n < place if fault == "diagonal" else n <= place
        window = self.window + {"wider": 1, "narrower": -1}.get(fault, 0)
        sinks = self.sinks + (fault == "sinks")
        inside = n <= self.N if fault == "tail" else n < self.N
        if fault == "neighbour":
            inside = n < self.N + 3
        return (earlier | (not self.causal)) & ((place - n < window) | (n < sinks)) & inside


@dataclass(frozen=True)
class _Head:
    """Some rows of one head. What is read beyond the keys is NaN, but for `neighbour`."""

    schedule: Schedule
    mask: _Mask
    q: Any
    k: Any
    v: Any
    bias: Any
    rows: Any

    def run(self) -> tuple[Any, Any]:
        """All parts, merged."""
        schedule, fault = self.schedule, self.schedule.fault
        N, tile = len(self.k), schedule.keys
        starts = list(range(0, N, tile))
        if fault in BEYOND and N > 0:
            starts = list(range(0, N + 1, tile))
        if fault == "last tile":
            starts = starts[:-1]
        if fault == "twice" and starts:
            starts.append(starts[0])
        if schedule.backwards:
            starts.reverse()
        size = max(1, -(-len(starts) // schedule.parts))
        parts = [starts[i : i + size] for i in range(0, len(starts), size)] or [[]]
        state = self.stream(parts[0])
        for part in parts[1:]:
            state = self.merge(state, self.stream(part))
        return self.finish(state)

    def start(self) -> State:
        rows, F = len(self.rows), self.v.shape[1]
        first = 0.0 if self.schedule.fault == "zero" else -np.inf
        half = self.q.dtype if self.schedule.fault == "accumulator" else f32
        low = self.q.dtype if self.schedule.fault == "half sum" else f32
        return State(np.full(rows, first, f32), np.zeros(rows, low), np.zeros((rows, F), half))

    def scores(self, keys: Any) -> tuple[Any, Any, Any]:
        """Scores, who sees what, and the values of some keys."""
        fault, E = self.schedule.fault, self.q.shape[1]
        inside = keys < len(self.k)
        here = np.where(inside, keys, 0)
        k, v = self.k[here].astype(f32), self.v[here].astype(f32)
        if fault in BEYOND:
            k[~inside], v[~inside] = 0.5, 2.0
        else:
            k[~inside], v[~inside] = np.nan, np.nan
        scale = 1 / self.schedule.arithmetic.sqrt(f32(E))
        q = self.q.astype(f32)
        if fault == "scale":
            scale = f32(1 / E)
        if fault == "folded":
            q, scale = (q * scale).astype(self.q.dtype).astype(f32), f32(1)
        bias = self.bias[:, here].astype(f32)
        if fault == "bias":
            bias = 2 * bias
        s = (q @ k.T) * scale + bias * (scale if fault == "scaled bias" else f32(1))
        if fault == "scores":
            s = s.astype(self.q.dtype).astype(f32)
        present = self.mask(self.rows, keys)
        if fault == "last key":
            present = present & (keys < len(self.k) - 1)
        return s, present, v

    def stream(self, starts: Sequence[int]) -> State:
        """One pass over some tiles."""
        fault, exp = self.schedule.fault, self.schedule.arithmetic.exp
        state = self.start()
        for start in starts:
            keys = np.arange(start, start + self.schedule.keys)
            s, present, v = self.scores(keys)
            own = np.max(np.where(present, s, f32(-np.inf)), axis=1, initial=-np.inf)
            r = np.maximum(state.r, own)
            known = np.isfinite(state.r)
            c = np.where(known, exp(np.where(known, state.r - r, f32(0))), f32(1))
            if fault == "inverted":
                c = np.where(known, exp(np.where(known, r - state.r, f32(0))), f32(1))
            if fault == "unscaled":
                c = np.ones_like(c)
            if fault == "own":
                c = np.where(known, exp(np.where(known, state.r - own, f32(0))), f32(1))
            w = np.where(present, exp(np.where(present, s - r[:, None], f32(0))), f32(0))
            if fault == "guard":  # exp(-inf - -inf) wherever no key was seen yet
                c = exp(state.r - r)
                w = exp(np.where(present, s, f32(-np.inf)) - r[:, None])
            if fault == "denominator":
                d = state.d + w.sum(1, dtype=f32)
            else:
                d = c * state.d + w.sum(1, dtype=f32)
            clean = v if fault == "padding" else np.where(present.any(0)[:, None], v, f32(0))
            if fault == "neighbour":
                clean = v
            p = w.astype(self.q.dtype).astype(f32)
            old = state.a if fault == "numerator" else c[:, None] * state.a
            a = old + p @ clean
            state = State(r, d.astype(state.d.dtype), a.astype(state.a.dtype))
        return state

    def merge(self, one: State, two: State) -> State:
        """Two parts of disjoint keys."""
        fault, exp = self.schedule.fault, self.schedule.arithmetic.exp
        r = np.maximum(one.r, two.r)
        c1, c2 = (
            np.where(np.isfinite(s.r), exp(np.where(np.isfinite(s.r), s.r - r, f32(0))), f32(1))
            for s in (one, two)
        )
        if fault == "merge":
            c1 = c2 = np.ones_like(c1)
        if fault == "swapped":
            c1, c2 = c2, c1
        d = c1 * one.d + c2 * two.d
        if fault == "added twice":
            d = d + c2 * two.d
        a = c1[:, None] * one.a + c2[:, None] * two.a
        return State(r, d.astype(one.d.dtype), a.astype(one.a.dtype))

    def finish(self, state: State) -> tuple[Any, Any]:
        """Division and log-sum-exp; a row without keys is empty."""
        fault, how = self.schedule.fault, self.schedule.arithmetic
        r, d, a = state.r, state.d.astype(f32), state.a.astype(f32)
        seen = np.isfinite(r) if fault != "zero" else np.ones_like(r, np.bool_)
        out = a if fault == "undivided" else a / how.divisor(d)[:, None]
        lse = r + how.log(d)
        if fault == "base":
            lse = r + np.log2(d)
        if fault == "maximum":
            lse = how.log(d)
        empty = {
            "uniform": self.v.astype(f32).sum(0) / f32(max(len(self.v), 1)),
            "nan": np.full(out.shape[1], math.nan),
        }
        fill = empty.get(fault, np.zeros(out.shape[1]))
        out = np.where(seen[:, None], out, fill.astype(f32)).astype(f32)
        return out, np.where(seen, lse, f32(0 if fault == "finite" else -np.inf)).astype(f32)
