"""Running forms of sums that are no plain softmax, by hand in NumPy, with faults to switch on.

`decayed` is retention in chunks: the states of parts are merged in order, with a decay that belongs
to the later part. `surprised` is the entropy of softmax weights: two sums of which one moves into
the other when the maximum changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

f32 = np.float32
DECAYED: Final = """
cascade decayed(Q[H,T,E], K[H,T,E], V[H,T,F], gamma[H]) -> O[H,T,F]:
    Z[h,-1,e,f] = 0
    Z[h,t,e,f]  = gamma[h] * Z[h,t-1,e,f] + K[h,t,e] * V[h,t,f]
    O[h,t,f]    = Q[h,t,e] * Z[h,t,e,f]
"""
DECAYED_FAULTS: Final = {
    "a chunk forgets those before": "forgets",
    "the state does not decay over a chunk": "undecayed",
    "a step of decay too many": "late",
    "the ragged chunk decays as a whole one": "ragged",
    "a token does not see itself": "itself",
    "a chunk sees what is later in it": "later",
    "merged in the other order": "order",
    "merged with the decay of the earlier part": "other decay",
    "the state is kept in half precision": "half state",
}
SURPRISED: Final = """
cascade surprised(S[M,N]) -> nats[M]:
    P[m,n]  = softmax[n](S[m,n])
    nats[m] = P[m,n] * (logsumexp[n](S[m,n]) - S[m,n])
"""
SURPRISED_FAULTS: Final = {
    "the second sum ignores that the maximum moved": "diagonal",
    "it moves by the new denominator": "new",
    "it moves the other way": "sign",
    "it is not rescaled": "unscaled",
    "the merge is diagonal": "merge",
}


def decayed(chunk: int, parts: int, fault: str, Q: Any, K: Any, V: Any, gamma: Any) -> Any:
    """Retention: each part of the text gives a state, then each chunk its outputs."""
    H, T, E = Q.shape
    out = np.zeros((H, T, V.shape[2]), Q.dtype)
    low = Q.dtype if fault == "half state" else f32
    for h in range(H):
        q, k, v = (x[h].astype(f32) for x in (Q, K, V))
        g = gamma[h].astype(f32)
        state, seen = np.zeros((E, v.shape[1]), f32), 0
        for part in np.array_split(np.arange(T), parts):
            own, length = np.zeros_like(state), 0
            for t in range(0, len(part), chunk):
                rows = part[t : t + chunk]
                n = len(rows)
                before = own + g**length * state if fault != "forgets" else own
                back = np.arange(n)[:, None] - np.arange(n)[None, :]
                sees = {"itself": back > 0, "later": back > -2}.get(fault, back >= 0)
                inner = np.where(sees, g ** np.where(sees, back, 0).astype(f32), f32(0))
                x = ((q[rows] @ k[rows].T) * inner).astype(Q.dtype).astype(f32) @ v[rows]
                shift = np.arange(n) + (2 if fault == "late" else 1)
                out[h, rows] = x + (g ** shift.astype(f32))[:, None] * (q[rows] @ before)
                steps = chunk if fault == "ragged" else n
                decay = f32(1) if fault == "undecayed" else g**steps
                weights = g ** (n - 1 - np.arange(n)).astype(f32)
                own = (decay * own + (k[rows] * weights[:, None]).T @ v[rows]).astype(low)
                own, length = own.astype(f32), length + n
            if fault == "order":
                state = state + g**seen * own
            else:
                state = g ** (seen if fault == "other decay" else length) * state + own
            seen += length
    return out


def surprised(
    tile: int, parts: int, fault: str, exp: Callable[[Any], Any], log: Callable[[Any], Any], S: Any
) -> Any:
    """Entropy of softmax weights in nats, in one pass."""
    M, N = S.shape
    scores = S.astype(f32)
    starts = list(range(0, N, tile))
    size = max(1, -(-len(starts) // parts))
    states = []
    for first in range(0, len(starts), size):
        r, d, t = np.full(M, -np.inf, f32), np.zeros(M, f32), np.zeros(M, f32)
        for start in starts[first : first + size]:
            s = scores[:, start : start + tile]
            new = np.maximum(r, s.max(1))
            w = exp(s - new[:, None])
            here = w.sum(1), (w * (s - new[:, None])).sum(1)
            r, d, t = _moved(r, d, t, new, fault, here[0])
            d, t = d + here[0], t + here[1]
        states.append((r, d, t))
    r, d, t = states[0]
    for other in states[1:]:
        new = np.maximum(r, other[0])
        how = "diagonal" if fault == "merge" else fault
        one, two = _moved(r, d, t, new, how, other[1]), _moved(*other, new, how, d)
        r, d, t = new, one[1] + two[1], one[2] + two[2]
    return (log(d) - t / d).astype(S.dtype)


def _moved(r: Any, d: Any, t: Any, new: Any, fault: str, more: Any) -> tuple[Any, Any, Any]:
    """A state brought to another maximum."""
    known = np.isfinite(r)
    move = np.where(known, r - new, f32(0))
    c = np.exp(move)
    other = {"diagonal": 0 * d, "new": d + more, "sign": -d}.get(fault, d)
    t = (t if fault == "unscaled" else c * t) + c * move * other
    return new, c * d, t
