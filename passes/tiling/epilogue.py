"""Maps at the end of a kernel that are stored in place of what they are made of.

A map is computed where it is read. But where several results are combined into one tensor of the
same axes, and only that is read by later kernels, it is better stored itself: a mean, and not a sum
and a count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attnc.ir.cascade import Einsum
from attnc.ir.stages import tensor_reads
from attnc.passes.tiling.groups import Group
from attnc.passes.tiling.observers import observes


def epilogues(
    alone: Mapping[str, Einsum],
    kept: frozenset[str],
    stored: frozenset[str],
    groups: Sequence[Group],
) -> frozenset[str]:
    """The maps that are better stored; `groups` are the kernels as they are without that."""
    made = {e.tensor: i for i, g in enumerate(groups) for e in g.einsums}
    needed = _needed(alone, stored, groups)
    readers_of: dict[str, set[str]] = {}
    for einsum in alone.values():
        for read in tensor_reads(einsum):
            readers_of.setdefault(read.tensor, set()).add(einsum.tensor)
    found: set[str] = set()
    for einsum in alone.values():
        if einsum.tensor in kept or observes(einsum):
            continue
        parts = {r.tensor for r in tensor_reads(einsum) if r.tensor in made}
        axes = {v for part in parts if part in alone for v in alone[part].variables}
        places = {made[part] for part in parts}
        streamed = any(groups[i].over for i in places)
        as_large = any(set(alone[p].variables) == axes for p in parts if p in alone)
        if axes != set(einsum.variables) or not as_large or (streamed and len(places) > 1):
            continue
        readers = needed.get(einsum.tensor, set())
        others = set().union(*(readers_of[part] for part in parts)) - {einsum.tensor}
        apart = all(needed.get(o, set()) <= places for o in others)
        if readers and not places & readers and apart and parts <= alone.keys():
            found.add(einsum.tensor)
    return frozenset(found)


def _needed(
    alone: Mapping[str, Einsum], stored: frozenset[str], groups: Sequence[Group]
) -> dict[str, set[int]]:
    """By tensor, the kernels that compute with it, as it is or inside of what is put there."""
    found: dict[str, set[int]] = {}
    for i, group in enumerate(groups):
        written = {e.tensor for e in group.einsums}
        waiting = [alone[t] for t in written if t in alone]
        if group.steps is not None:
            waiting += [*group.steps.initial, *group.steps.steps]
        seen: set[str] = set()
        while waiting:
            for read in tensor_reads(waiting.pop()):
                if read.tensor not in seen:
                    seen.add(read.tensor)
                    found.setdefault(read.tensor, set()).add(i)
                    if read.tensor in alone and read.tensor not in stored:
                        waiting.append(alone[read.tensor])
    return found
