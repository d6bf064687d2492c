"""The instructions of a compiled kernel, and its loops, read from what disassemblers print."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import networkx as nx

# `/*0a30*/  @!P0 BRA 0x4f0 ;` in SASS, `  s_cbranch_vccnz .LBB0_3` in the text of an AMD device.
_SASS = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;")
_GUARD = re.compile(r"^@!?\w+\s+")
_BRANCH = re.compile(r"^BRA\S*\s+(.*,\s*)?\b(0x[0-9a-f]+)$")
_LABEL = re.compile(r"^(\.L\w+):")
_LOAD = re.compile(r"(LDG|LDGSTS)\.|(global|buffer)_load_")
_WIDTHS = {
    "U8": 1,
    "S8": 1,
    "U16": 2,
    "S16": 2,
    "64": 8,
    "128": 16,
    "ubyte": 1,
    "sbyte": 1,
    "ushort": 2,
    "sshort": 2,
    "short": 2,
    "dwordx2": 8,
    "dwordx3": 12,
    "dwordx4": 16,
}
_WAIT = 8
"""A loop of fewer instructions waits for another part of the device."""
_MATRIX = {
    "wgmma": re.compile(r"[HIQB]GMMA"),
    "tcgen05": re.compile(r"UTC\w*MMA"),
    "mma": re.compile(r"[HIDQ]MMA"),
    "mfma": re.compile(r"v_s?mfmac?_\w+"),
}


@dataclass(frozen=True, slots=True)
class Code:
    """The instructions of one kernel, by their names, and where control goes after each."""

    names: tuple[str, ...]
    after: tuple[tuple[int, ...], ...]

    def counted(self) -> Mapping[str, int]:
        """How often each instruction is in the kernel."""
        return dict(Counter(self.names))

    def loops(self) -> tuple[Mapping[str, int], ...]:
        """The instructions of each loop that holds no other, in the order of their beginnings."""
        bodies = self._bodies()
        inner = (body for body in bodies if not any(other < body for other in bodies))
        return tuple(dict(Counter(self.names[place] for place in body)) for body in inner)

    def _bodies(self) -> list[frozenset[int]]:
        """Natural loops, by what dominates what; those that only wait are left out."""
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_node(0)
        graph.add_edges_from((place, to) for place, next_ in enumerate(self.after) for to in next_)
        above = nx.immediate_dominators(graph, 0)
        bodies: dict[int, set[int]] = {}
        for place, next_ in enumerate(self.after):
            for head in next_:
                if head <= place and place in above and _dominates(head, place, above):
                    bodies.setdefault(head, set()).update(_body(head, place, graph))
        return [frozenset(bodies[head]) for head in sorted(bodies) if len(bodies[head]) >= _WAIT]


def _dominates(head: int, place: int, above: Mapping[int, int | None]) -> bool:
    """Whether each way to a place goes through the head."""
    now: int | None = place
    while now is not None and now != head:
        up = above.get(now)
        now = None if up == now else up
    return now == head


def _body(head: int, last: int, graph: nx.DiGraph[int]) -> set[int]:
    """What is gone through between the head of a loop and its branch back."""
    found = {head}
    waiting = [last]
    while waiting:
        place = waiting.pop()
        if place not in found:
            found.add(place)
            waiting.extend(graph.predecessors(place))
    return found


def matrix(counted: Mapping[str, int]) -> Mapping[str, int]:
    """How many instructions multiply matrices, by what the device calls them."""
    found: Counter[str] = Counter()
    for name, count in counted.items():
        for kind, pattern in _MATRIX.items():
            if pattern.fullmatch(name):
                found[kind] += count
    return dict(found)


def widths(text: str) -> Mapping[int, int]:
    """How many instructions load from the device's memory, by the bytes of a lane.

    `text` is what `sass` or `amdgcn` read. What copies whole tiles is not among them.
    """
    found: Counter[int] = Counter()
    for line in text.splitlines():
        row = _SASS.match(line)
        words = (_GUARD.sub("", row[2]) if row else line.partition(";")[0]).split()
        if words and _LOAD.match(words[0]):
            parts = re.split(r"[._]", words[0])
            found[next((_WIDTHS[p] for p in parts if p in _WIDTHS), 4)] += 1
    return dict(found)


def sass(text: str) -> Code:
    """What `cuobjdump -sass` prints of a cubin with one kernel."""
    rows = [found for found in map(_SASS.match, text.splitlines()) if found]
    where = {int(row[1], 16): place for place, row in enumerate(rows)}
    names: list[str] = []
    after: list[tuple[int, ...]] = []
    for place, row in enumerate(rows):
        instruction = _GUARD.sub("", row[2])
        name = instruction.split()[0].partition(".")[0]
        names.append(name)
        branch = _BRANCH.match(instruction)
        always = instruction == row[2] and not (branch and branch[1])
        to = where.get(int(branch[2], 16)) if branch else None
        ends = always and (branch is not None or name in ("EXIT", "RET"))
        after.append(_after(place, to, ends, len(rows)))
    return Code(tuple(names), tuple(after))


def amdgcn(text: str) -> Code:
    """The assembly of an AMD device, as the compiler gives it."""
    where: dict[str, int] = {}
    rows: list[list[str]] = []
    for line in _instructions(text):
        if label := _LABEL.match(line):
            where[label[1]] = len(rows)
        else:
            rows.append(line.split())
    after: list[tuple[int, ...]] = []
    for place, words in enumerate(rows):
        to = where.get(words[-1]) if words[0].startswith(("s_branch", "s_cbranch")) else None
        after.append(_after(place, to, words[0] in ("s_branch", "s_endpgm"), len(rows)))
    return Code(tuple(words[0] for words in rows), tuple(after))


def _after(place: int, to: int | None, ends: bool, count: int) -> tuple[int, ...]:
    """Where control goes: on, unless it ends there, and where a branch leads."""
    on = () if ends or place + 1 == count else (place + 1,)
    return on if to is None or to == count else (*on, to)


def _instructions(text: str) -> Iterator[str]:
    """Lines with an instruction or a label; directives, comments and data are left out."""
    for raw in text.splitlines():
        line = raw.partition(";")[0].rstrip()
        if line.startswith("\t.section\t.rodata"):
            return
        if _LABEL.match(line) or re.match(r"^\t[a-z]\w*", line):
            yield line


def amd_metadata(text: str, key: str) -> int:
    """A number from the metadata of an AMD kernel."""
    found = re.search(rf"^\s+(?:- )?\.{key}:\s+(\d+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"the assembly does not tell its {key}")
    return int(found[1])
