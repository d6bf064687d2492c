"""Where the points of a cascade exist, computed by its own NumPy kernel at some sizes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attnc.backends import BACKENDS
from attnc.backends.options import Options
from attnc.drawing.presence import Site, deciding, presence_of, sites
from attnc.drawing.sample import Sampled, expressions, given, sample
from attnc.errors import UsageError, printable
from attnc.grammar.scope import suggestion
from attnc.ir.cascade import Binding, Constant
from attnc.ir.evaluation import evaluate
from attnc.ir.expr import Expr, Value
from attnc.ir.facts import Facts
from attnc.ir.walk import subexpressions
from attnc.modules import function_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

LARGE: Final = 64
"""Size of the ranks of a picture that was not given."""
SMALL: Final = (2, 4, 8, 16, 1)
"""Sizes tried for other ranks: the first that every `require` of the cascade allows."""
MAX_SIDE: Final = 512
MAX_POINTS: Final = 1 << 24
MAX_PANELS: Final = 24


@dataclass(frozen=True)
class Request:
    """What to draw, and at what sizes; names are checked when it is used."""

    tensor: str | None = None
    rows: str | None = None
    columns: str | None = None
    at: Mapping[str, int] = field(default_factory=dict[str, int])
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    static: Mapping[str, Constant] = field(default_factory=dict[str, Constant])
    files: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Panel:
    """One picture of points: `cells[row, column]` is true where the point exists."""

    label: str
    cells: Bools


@dataclass(frozen=True)
class Mask:
    """The points of one place; `rows` is None if it has one variable only."""

    site: Site
    rows: str | None
    columns: str
    panels: tuple[Panel, ...]
    same: tuple[str, ...]
    """Variables that make no difference."""


@dataclass(frozen=True)
class Masks:
    """The pictures of a cascade and what they were computed from."""

    name: str
    masks: tuple[Mask, ...]
    sizes: Mapping[str, int]
    chosen: tuple[str, ...]
    """The sizes that nobody gave."""
    parameters: Mapping[str, Constant]
    notes: tuple[str, ...]
    """What the values of inputs are that decide the pictures."""


def masks(facts: Facts, request: Request) -> Masks:
    """Computes where points exist.

    Raises `UsageError` for a request that does not fit the cascade or asks for too much.
    """
    return _Run(facts, request).masks()


@dataclass
class _Run:
    facts: Facts
    request: Request
    notes: dict[str, str] = field(default_factory=dict[str, str])

    def masks(self) -> Masks:
        found = sites(self.facts, self.request.tensor)
        self._check(found)
        files = given(self.facts, self.request.files)
        for name, path in self.request.files.items():
            self.notes[name] = f"from {printable(Path(path).name)}"
        parameters = self._parameters()
        sizes, missing = self._sizes(files, parameters, found)
        refusal: UsageError | None = None
        for small in SMALL if missing else (1,):
            every = {**sizes, **self._tied(sizes, dict.fromkeys(missing, small))}
            try:
                drawn = tuple(self._mask(s, every, parameters, files) for s in found)
            except _Refused as error:
                refusal = refusal or UsageError(f"{error}; see --size and --static")
                continue
            chosen = tuple(n for n in every if n not in self.request.sizes)
            files_set = {s for i in self.facts.cascade.inputs if i.name in files for s in i.sizes}
            return Masks(
                self.facts.cascade.name,
                drawn,
                every,
                tuple(n for n in chosen if n not in files_set and n not in parameters),
                parameters,
                tuple(f"{name}: {note}" for name, note in self.notes.items()),
            )
        assert refusal is not None
        raise refusal

    # Sizes and parameters

    def _check(self, found: Sequence[Site]) -> None:
        """Refuses variables that no place has."""
        known = {v for s in found for v in s.variables}
        for option, names in (
            ("--rows", [self.request.rows]),
            ("--columns", [self.request.columns]),
            ("--at", list(self.request.at)),
        ):
            for name in names:
                if name is not None and name not in known:
                    hint = suggestion(name, known) or f"variables: {', '.join(sorted(known))}"
                    raise UsageError(
                        f"{option}: nothing conditional has a variable '{name}'; {hint}"
                    )
        if self.request.rows is not None and self.request.rows == self.request.columns:
            raise UsageError("--rows and --columns are the same variable")

    def _parameters(self) -> dict[str, Constant]:
        found: dict[str, Constant] = {}
        for parameter in self.facts.cascade.parameters:
            value = self.request.static.get(parameter.name, parameter.default)
            if value is None and parameter.name in self.request.sizes:
                value = self.request.sizes[parameter.name]
            if value is None:
                raise UsageError(
                    f"the parameter '{parameter.name}' has no value: --static {parameter.name}=..."
                )
            found[parameter.name] = self.request.sizes.get(parameter.name, value)
        return found

    def _sizes(
        self, files: Mapping[str, Any], parameters: Mapping[str, Constant], found: Sequence[Site]
    ) -> tuple[dict[str, int], list[str]]:
        """The sizes of extents that are known or drawn, and the extents that are left."""
        inputs = self.facts.cascade.inputs
        extents = list(dict.fromkeys(s for i in inputs for s in i.sizes if isinstance(s, str)))
        for name, size in self.request.sizes.items():
            if size < 0 and name in extents:
                raise UsageError(f"the extent {name} = {size} is negative")
            if name not in extents and name not in parameters:
                hint = suggestion(name, extents) or f"sizes: {', '.join(extents)}"
                raise UsageError(f"'{self.facts.cascade.name}' has no size '{name}'; {hint}")
        sizes = {n: int(v) for n, v in parameters.items() if n in extents}
        sizes |= {n: v for n, v in self.request.sizes.items() if n in extents}
        for item in inputs:
            if item.name in files:
                pairs = zip(item.sizes, files[item.name].shape, strict=True)
                sizes |= {s: int(n) for s, n in pairs if isinstance(s, str) and s not in sizes}
        sizes = self._tied(sizes, {})
        drawn = {n for site in found for v in self._drawn(site) for n in self._extents(v)}
        large = {n: LARGE for n in extents if n in drawn and n not in sizes}
        sizes = self._tied(sizes, large)
        return sizes, [n for n in extents if n not in sizes]

    def _tied(self, sizes: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
        """Sizes with others added, and those that the cascade ties to a known one."""
        found = {**sizes}
        equal = self.facts.equalities.equal
        for name, value in more.items():
            tied = [v for n, v in found.items() if equal(Value(name), Value(n))]
            found[name] = tied[0] if tied else value
        for item in self.facts.cascade.inputs:
            for size in item.sizes:
                if isinstance(size, str) and size not in found:
                    tied = [v for n, v in found.items() if equal(Value(size), Value(n))]
                    if tied:
                        found[size] = tied[0]
        return found

    def _drawn(self, site: Site) -> set[str]:
        """Variables whose ranges should not be tiny: probable sides, and those of tiles."""
        asked = {v for v in (self.request.rows, self.request.columns) if v is not None}
        tiles = {v for v in site.variables if len(self._extents(v)) > 1}
        return asked | tiles | set(site.variables[-2:]) | site.reduced

    def _extents(self, variable: str) -> set[str]:
        """The extents that the range of a variable depends on."""
        bindings = {
            s.name: s.value for s in self.facts.cascade.statements if isinstance(s, Binding)
        }
        found: set[str] = set()
        waiting: list[Expr] = [self.facts.variables[variable]]
        while waiting:
            for node in subexpressions(waiting.pop()):
                if isinstance(node, Value) and node.name not in found:
                    found.add(node.name)
                    if node.name in bindings:
                        waiting.append(bindings[node.name])
        return found

    # One place

    def _mask(
        self,
        site: Site,
        sizes: Mapping[str, int],
        parameters: Mapping[str, Constant],
        files: Mapping[str, Any],
    ) -> Mask:
        facts = presence_of(self.facts, site)
        values: dict[str, Constant] = {**parameters, **sizes}
        for statement in facts.cascade.statements:
            if isinstance(statement, Binding):
                value = evaluate(statement.value, values)
                if value is not None:
                    values[statement.name] = value
        self._bounded(site, values)
        arrays = self._arrays(facts, site, values, files)
        text = BACKENDS["numpy"](facts, Options("f32", parameters))
        return self._panels(site, _call(text, arrays))

    def _bounded(self, site: Site, values: Mapping[str, Constant]) -> None:
        """Refuses sizes at which a tensor that has to be computed is very large."""
        shapes = {
            name: [d.range for d in self.facts.tensors[name].dimensions]
            for name in self.facts.tensors
        }
        shapes["the picture"] = [self.facts.variables[v] for v in site.variables]
        for name, shape in shapes.items():
            sizes = [evaluate(size, values) for size in shape]
            points = math.prod(int(s) for s in sizes if s is not None)
            if points > MAX_POINTS:
                raise UsageError(
                    f"{name} has {points:,} points at these sizes, more than {MAX_POINTS:,}: "
                    "give smaller ones with --size"
                )

    def _arrays(
        self,
        facts: Facts,
        site: Site,
        values: Mapping[str, Constant],
        files: Mapping[str, Any],
    ) -> list[Any]:
        decide = deciding(self.facts, site)
        exprs = list(expressions(facts.cascade.einsums))
        found: list[Any] = []
        for item in facts.cascade.inputs:
            if item.name in files:
                found.append(files[item.name])
                continue
            drawn: Sampled = sample(self.facts, item, exprs, values, decides=item.name in decide)
            if item.name in decide:
                self.notes[item.name] = f"a sample, {drawn.note}"
            found.append(drawn.array)
        return found

    def _panels(self, site: Site, cells: Bools) -> Mask:
        """Chooses the sides, and makes one panel of each value of what else makes a difference."""
        import numpy as np

        variables = list(site.variables)
        for name, position in self.request.at.items():
            if name in variables:
                axis = variables.index(name)
                if not 0 <= position < cells.shape[axis]:
                    raise UsageError(
                        f"--at {name}={position}: it ranges over 0..{cells.shape[axis] - 1}"
                    )
                cells = np.take(cells, position, axis)
                variables.remove(name)
        if not variables:
            raise UsageError("--at fixes every variable; leave two to draw")
        varying = [v for i, v in enumerate(variables) if _varies(cells, i)]
        columns, rows = self._sides(site, variables, varying)
        others = [v for v in variables if v not in (columns, rows)]
        sides = [v for v in (rows, columns) if v is not None]
        cells = cells.transpose([variables.index(v) for v in (*others, *sides)])
        if rows is None:
            cells = cells[..., None, :]
        if max(cells.shape[-2:]) > MAX_SIDE:
            raise UsageError(
                f"a picture of {cells.shape[-2]} by {cells.shape[-1]} points is too large: at most "
                f"{MAX_SIDE} each way; give smaller sizes with --size"
            )
        if not min(cells.shape):
            raise UsageError("there is no point at all: a size is 0")
        kept = [v for v in others if v in varying]
        for axis in reversed(range(len(others))):
            if others[axis] not in varying:
                cells = np.take(cells, 0, axis)
        panels = tuple(_alike(kept, cells))
        if len(panels) > MAX_PANELS:
            raise UsageError(
                f"there are {len(panels)} different pictures, for {', '.join(kept)}, and at most "
                f"{MAX_PANELS} are drawn: fix some with --at {kept[0]}=0, or give smaller --size"
            )
        same = tuple(v for v in others if v not in varying)
        return Mask(site, rows, columns, panels, same)

    def _sides(
        self, site: Site, variables: Sequence[str], varying: Sequence[str]
    ) -> tuple[str, str | None]:
        """The variables of columns and rows.

        Columns: what is combined later and makes a difference. Rows: what makes a difference and
        is written next to it.
        """
        asked = self.request.rows if self.request.rows in variables else None
        columns = self.request.columns if self.request.columns in variables else None
        if columns is None:
            free = [v for v in variables if v != asked]
            ranked = (
                [v for v in free if v in site.reduced and v in varying],
                [v for v in free if v in site.reduced],
                [v for v in free if v in varying],
                free,
                list(variables),
            )
            columns = next(r[-1] for r in ranked if r)
        if asked is not None:
            return columns, asked if asked != columns else None
        home = variables.index(columns)
        rest = [v for v in variables if v != columns]
        near = sorted(rest, key=lambda v: (v not in varying, abs(variables.index(v) - home)))
        return columns, near[0] if near else None


def _varies(cells: Bools, axis: int) -> bool:
    return bool((cells != cells.take([0], axis)).any()) if cells.size else False


def _alike(names: Sequence[str], cells: Bools) -> Iterator[Panel]:
    """Panels, those that are equal as one."""
    groups: dict[bytes, list[tuple[int, ...]]] = {}
    for position in itertools.product(*(range(n) for n in cells.shape[: len(names)])):
        groups.setdefault(cells[position].tobytes(), []).append(position)
    for positions in groups.values():
        yield Panel(_label(names, positions), cells[positions[0]])


def _label(names: Sequence[str], positions: Sequence[tuple[int, ...]]) -> str:
    """`b = 0`, `c = 0..2`, `b, h = (0, 1), (1, 0)`."""
    if not names:
        return ""
    if len(names) == 1:
        return f"{names[0]} = {_ranges([p[0] for p in positions])}"
    tuples = [f"({', '.join(map(str, p))})" for p in positions]
    shown = ", ".join(tuples[:3]) + (f" and {len(tuples) - 3} more" if len(tuples) > 3 else "")
    if len(tuples) == 1:
        return ", ".join(f"{n} = {p}" for n, p in zip(names, positions[0], strict=True))
    return f"{', '.join(names)} = {shown}"


def _ranges(numbers: Sequence[int]) -> str:
    """`0..2, 5`."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}..{r[-1]}" for r in runs)


class _Refused(Exception):
    """The kernel does not take these sizes."""


def _call(text: str, arrays: Sequence[Any]) -> Bools:
    """Runs an emitted module; raises `_Refused` if a check in it fails."""
    try:
        found: Bools = function_of(text, "presence")(*arrays)
    except ValueError as error:
        raise _Refused(str(error)) from None
    except MemoryError:
        raise UsageError("there is not enough memory: give smaller sizes with --size") from None
    return found
