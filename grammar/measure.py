"""How large expressions are."""

from __future__ import annotations

from dataclasses import dataclass

from attnc.grammar.syntax import MAX_WORK
from attnc.ir.expr import Expr
from attnc.ir.walk import children


@dataclass
class Budget:
    """How many nodes the expressions of one file may still have."""

    left: int = MAX_WORK

    def take(self, nodes: int) -> None:
        """Counts the nodes of an expression."""
        self.left -= nodes

    @property
    def exhausted(self) -> bool:
        """Whether there were more than the file may have."""
        return self.left < 0


class Measure:
    """Nodes and depth of expressions as trees, remembered by object for the life of this table.

    Expanded macros share their arguments, so that a small object can be a tree without end.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Expr, int, int]] = {}

    def __call__(self, expr: Expr) -> tuple[int, int]:
        """How many nodes `expr` has, and how deep it nests."""
        known = self._known
        stack = [expr]
        while stack:
            node = stack[-1]
            size, depth = 1, 0
            waiting = False
            for child in children(node):
                found = known.get(id(child))
                if found is None:
                    stack.append(child)
                    waiting = True
                elif not waiting:
                    size += found[1]
                    depth = max(depth, found[2])
            if not waiting:
                stack.pop()
                known[id(node)] = node, size, depth + 1
        return known[id(expr)][1:]
