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

    def shows(self, condition: Expr, known: Hypotheses) -> bool:
        """Whether a condition holds under those of some others that speak of its variables."""
        names = self.variables(condition)
        known = frozenset(h for h in known if self.variables(h) <= names)
        if (known, condition) not in self._shown:
            if known not in self._known:
                ordered = sorted(known, key=repr)
                self._known[known] = self._known[frozenset()].knowing(ordered)
            self._shown[known, condition] = self._known[known].shows(condition)
        return self._shown[known, condition]

    def variables(self, expr: Expr) -> frozenset[str]:
        """The variables of an expression."""
        found = self._variables.get(expr)
        if found is None:
            names = (n.name for n in subexpressions(expr) if isinstance(n, Var))
            found = self._variables[expr] = frozenset(names)
        return found
