"""What is known to hold while conditions of a plan are settled, each looked at once."""

from __future__ import annotations

from attnc.ir.expr import Expr, Var
from attnc.ir.integers import Integers
from attnc.ir.walk import subexpressions

Hypotheses = frozenset[Expr]


class Proofs:
    """What conditions are known to hold under which others, each looked at once."""

    def __init__(self, known: Integers) -> None:
        self._known: dict[Hypotheses, Integers] = {frozenset(): known}
        self._shown: dict[tuple[Hypotheses, Expr], bool] = {}
        self._variables: dict[Expr, frozenset[str]] = {}
        self._parts: dict[tuple[Hypotheses, frozenset[str]], Hypotheses] = {}

    def shows(self, condition: Expr, known: Hypotheses) -> bool:
        """Whether a condition holds under those of some others that speak of its variables."""
        known = self._part(known, self.variables(condition))
        found = self._shown.get((known, condition))
        if found is None:
            if known not in self._known:
                ordered = sorted(known, key=repr)
                self._known[known] = self._known[frozenset()].knowing(ordered)
            found = self._shown[known, condition] = self._known[known].shows(condition)
        return found

    def _part(self, known: Hypotheses, names: frozenset[str]) -> Hypotheses:
        """Those of some conditions that speak of some variables."""
        found = self._parts.get((known, names))
        if found is None:
            found = frozenset(h for h in known if self.variables(h) <= names)
            self._parts[known, names] = found
        return found

    def variables(self, expr: Expr) -> frozenset[str]:
        """The variables of an expression."""
        found = self._variables.get(expr)
        if found is None:
            names = (n.name for n in subexpressions(expr) if isinstance(n, Var))
            found = self._variables[expr] = frozenset(names)
        return found
