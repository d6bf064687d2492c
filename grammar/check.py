"""From what was parsed to checked level-1 cascades: every rule of the language, every error."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from attnc.errors import NOWHERE, Note, Report, Source, Span
from attnc.grammar.measure import Budget, Measure
from attnc.grammar.parser import DEFINE_APART, TOO_DEEP, Malformed, fit_constant, parse
from attnc.grammar.resolve import (
    Resolver,
    check_definitions,
    constant_index,
    counted,
)
from attnc.grammar.scope import Scope, is_extent, size_expr, suggestion
from attnc.grammar.sums import explicit
from attnc.grammar.syntax import MAX_DEPTH, MAX_NODES, MAX_VARIABLES, MAX_WORK, Definition
from attnc.ir import printer
from attnc.ir.cascade import (
    Binding,
    Cascade,
    Einsum,
    Input,
    Output,
    Parameter,
    Require,
    Size,
    Statement,
    Variables,
)
from attnc.ir.expr import Apply, Binary, Call, Expr, Int, Name, Read, Value, Var
from attnc.ir.facts import Dimension, Equalities, Facts, TensorInfo
from attnc.ir.stages import Loop, Single, Stage, stages, tensor_reads
from attnc.ir.types import ELEMENTS, INDEX_INT, LITERAL_INT, Kind, Origin, Type, join, read_type
from attnc.ir.typing import IllTyped, Types, Unknown, report_ill_typed
from attnc.ir.walk import (
    children,
    free_variables,
    in_order,
    kept_variable,
    outside,
    own_variables,
    rebuild,
    subexpressions,
)

TOO_LARGE: Final = "this grows too large when its conditions are handed to its sums"

# What other languages call the element types.
COMMON_TYPES: Final = {
    **dict.fromkeys(("float", "float32", "single"), "did you mean 'f32'?"),
    **dict.fromkeys(("double", "float64"), "did you mean 'f64'?"),
    **dict.fromkeys(("half", "float16", "fp16"), "did you mean 'f16'?"),
    **dict.fromkeys(("int", "int32"), "did you mean 'i32' or 'i64'?"),
    **dict.fromkeys(("long", "int64"), "did you mean 'i64'?"),
}


def check(report: Report) -> tuple[Facts, ...]:
    """Parses and checks a file; errors and warnings go to the report.

    The facts of the cascades that are valid are returned, so that one bad cascade does not hide
    what is wrong with another.
    """
    file = parse(report)
    known = prelude()
    macros = check_definitions(file.definitions, known, report)
    budget = Budget()
    seen: dict[str, Span] = {}
    checked = []
    for parsed in file.cascades:
        if budget.exhausted:
            break
        cascade = parsed.cascade
        if cascade.name in seen:
            note = Note("the other", seen[cascade.name])
            message = f"two cascades are called '{cascade.name}'"
            report.error(message, cascade.span, notes=(note,))
        seen.setdefault(cascade.name, cascade.span)
        facts = _Checker(cascade, macros, report, parsed.lost, budget).run()
        if facts is not None:
            checked.append(facts)
    return tuple(checked)


def prelude_text() -> str:
    """The standard macros, as shipped."""
    return Path(__file__).with_name("prelude.attn").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def prelude() -> Mapping[str, Definition]:
    """The standard macros by name."""
    report = Report(Source("prelude.attn", prelude_text()))
    lines = parse(report, prelude=True)
    macros = check_definitions(lines.definitions, {}, report)
    report.raise_errors()
    return {name: replace(macro, span=NOWHERE) for name, macro in macros.items()}


class _Checker:
    """Checks one cascade; each step reports what it finds and the next goes on with the rest.

    `lost` are the names that parts which did not parse may have defined; None if all parsed.
    """

    def __init__(
        self,
        cascade: Cascade,
        macros: Mapping[str, Definition],
        report: Report,
        lost: frozenset[str] | None,
        budget: Budget,
    ) -> None:
        self.cascade = cascade
        self.report = report
        self.budget = budget
        self.scope = Scope(report)
        self.scope.lost |= lost or frozenset()
        self.resolver = Resolver(self.scope, macros, report, self._fresh)
        self.statements: list[Statement] = []
        self.einsums: list[Einsum] = []
        self.taken = _all_names(cascade)
        self.numbers: dict[str, Iterator[int]] = {}
        self.repeated: set[int] = set()
        self.broken: set[str] = set()
        self.damaged = lost is not None
        self.before = report.count
        starts = [e for e in cascade.einsums if e.initial is not None]
        self.initial = {e.tensor: e for e in reversed(starts)}  # the first of each
        self.steps: dict[str, Einsum] = {}
        for einsum in cascade.einsums:
            if einsum.initial is None:
                self.steps.setdefault(einsum.tensor, einsum)

    @property
    def failed(self) -> bool:
        return self.damaged or self.report.count > self.before

    def run(self) -> Facts | None:
        """All steps, in order."""
        self._header()
        self._collect_tensors()
        for statement in self.cascade.statements:
            self._statement(statement)
            if self.budget.exhausted:
                message = f"more than {MAX_WORK} names, numbers and operations in one file"
                hint = "macros count as what they expand to"
                self.report.error(message, statement.span, hints=(hint,))
                return None
        self._dimensions()
        self._outputs()
        order = stages(self.einsums)
        for problem in order.problems:
            hints = (problem.hint,) if problem.hint else ()
            self.report.error(problem.message, problem.place, hints=hints)
        tensors = self._types(order.stages)
        einsums = tuple(s for s in self.statements if isinstance(s, Einsum))
        for einsum in einsums:
            self._negative_indices(einsum)
        if self.failed:
            return None
        ties = tuple(s for s in self.statements if isinstance(s, Require | Binding))
        equalities = Equalities(ties)
        self._warnings(einsums, order.stages, equalities)
        return Facts(
            replace(self.cascade, statements=tuple(self.statements)),
            order.stages,
            {name: info.range for name, info in self.scope.variables.items()},
            dict(self.scope.types),
            dict(self.scope.tensors),
            tensors,
            equalities,
        )

    # Declarations

    def _header(self) -> None:
        items: tuple[Input | Output, ...] = (*self.cascade.inputs, *self.cascade.outputs)
        for item in items:
            if item.element is not None and item.element not in ELEMENTS:
                close = COMMON_TYPES.get(item.element) or suggestion(item.element, ELEMENTS)
                hints = [close] if close else []
                hints.append(f"element types: {', '.join(ELEMENTS)}")
                message = f"no element type is called '{item.element}'"
                self.report.error(message, item.span, hints=hints)
        for output in self.cascade.outputs:
            if output.empty is None:
                continue
            what = f"the fill of '{output.name}'"
            try:
                fit_constant(output.empty, output.element or "float", output.span, what)
            except Malformed as error:
                self.report.error(error.message, error.place, hints=error.hints)
        self._ranks_in_capitals()
        self.scope.declare(self.cascade)
        self._names_to_come()
        for output in self.cascade.outputs:
            self._output_sizes(output)

    def _ranks_in_capitals(self) -> None:
        """Reports ranks in lower case and takes them for what they were meant to be."""

        def capital(item: Input | Output) -> tuple[Size, ...]:
            sizes = tuple(s.upper() if isinstance(s, str) else s for s in item.sizes)
            small = [s for s in item.sizes if isinstance(s, str) and not is_extent(s)]
            if small:
                names = ", ".join(f"'{s}'" for s in small)
                hint = f"write {item.name}[{','.join(str(s) for s in sizes)}]"
                self.report.error(f"a rank is upper-case, not {names}", item.span, hints=(hint,))
            for name in small:
                self.scope.lose(name)
            return sizes

        self.cascade = replace(
            self.cascade,
            inputs=tuple(replace(i, sizes=capital(i)) for i in self.cascade.inputs),
            outputs=tuple(replace(o, sizes=capital(o)) for o in self.cascade.outputs),
        )

    def _names_to_come(self) -> None:
        for statement in self.cascade.statements:
            if isinstance(statement, Binding):
                names: tuple[str, ...] = (statement.name,)
                if is_extent(statement.name):
                    names = (statement.name, statement.name.lower())
            elif isinstance(statement, Variables):
                names = statement.names
            else:
                continue
            for name in names:
                self.scope.later.setdefault(name, statement.span)

    def _output_sizes(self, output: Output) -> None:
        """Whether every rank of an output is an input's, or bound in the body."""
        scope = self.scope
        known = scope.values.keys() | scope.later.keys() | scope.lost
        sizes = dict.fromkeys(s for s in output.sizes if isinstance(s, str) and s not in known)
        if not sizes:
            return
        hints = [suggestion(s, [n for n in scope.values if is_extent(n)]) for s in sizes]
        hints.append(f"bind it in the body: {next(iter(sizes))} = ...")
        names = ", ".join(f"'{s}'" for s in sizes)
        ranks = "a rank" if len(sizes) == 1 else "ranks"
        message = f"the output '{output.name}' has {ranks} of unknown size: {names}"
        self.report.error(message, output.span, hints=[h for h in hints if h])
        for size in sizes:
            scope.lose(size)

    def _collect_tensors(self) -> None:
        """Names every tensor, so that recurrences and clear errors can look ahead."""
        defined: dict[tuple[str, bool], Einsum] = {}
        for einsum in self.cascade.einsums:
            key = (einsum.tensor, einsum.initial is None)
            known = self.scope.tensors.get(einsum.tensor)
            if known is not None and known.input:
                note = Note("the input", known.place)
                message = f"'{einsum.tensor}' is an input and cannot be defined"
                self.report.error(message, einsum.span, notes=(note,))
                self.repeated.add(id(einsum))
            elif key in defined:
                note = Note("the other definition", defined[key].span)
                hint = "add up in one definition, or name a new tensor"
                message = f"'{einsum.tensor}' is defined twice"
                if not key[1]:
                    message = f"'{einsum.tensor}' has two initial values"
                    hint = "a recurrence has one; restrict it by a condition where it starts late"
                self.report.error(message, einsum.span, notes=(note,), hints=(hint,))
                self.repeated.add(id(einsum))
            else:
                defined[key] = einsum
                dimensions = tuple(Dimension(Int(0)) for _ in einsum.slots)
                if einsum.initial is None or known is None:
                    self.scope.tensors[einsum.tensor] = TensorInfo(dimensions, einsum.span)

    def _fresh(self, variable: str) -> str:
        """A new variable over the range of `variable`, declared before the current statement."""
        numbers = self.numbers.setdefault(variable, itertools.count(1))
        name = next(n for n in (f"{variable}_{i}" for i in numbers) if n not in self.taken)
        self.taken.add(name)
        info = self.scope.variables[variable]
        self.scope.variables[name] = info
        self.statements.append(Variables((name,), info.range, info.place))
        return name

    # Statements

    def _statement(self, statement: Statement) -> None:
        match statement:
            case Binding():
                self._binding(statement)
            case Variables():
                self._variables(statement)
            case Require():
                self._require(statement)
            case Einsum():
                self._einsum(statement)

    def _resolved(self, expr: Expr) -> Expr | None:
        """The resolved expression, or None if something was reported."""
        result = self.resolver(expr)
        self.budget.take(self.resolver.work)
        return result

    def _value(self, expr: Expr, what: str, hint: str) -> Expr | None:
        """A resolved expression of parameters and extents alone."""
        value = self._resolved(expr)
        if value is None:
            return None
        for node in subexpressions(value):
            if isinstance(node, Read):
                message = f"{what} reads the tensor '{node.tensor}'"
                self.report.error(message, node.span, hints=(hint,))
                return None
        free = sorted(free_variables(value))
        if free:
            nodes = (n for n in subexpressions(value) if free[0] in own_variables(n))
            place = next(nodes, value).span
            self.report.error(f"{what} uses the rank variable '{free[0]}'", place, hints=(hint,))
            return None
        return value

    def _binding(self, statement: Binding) -> None:
        name = statement.name
        extent = is_extent(name)
        hint = "a value is made of parameters, extents and other values"
        if not extent:
            hint = f"{hint}; what varies is a tensor: {name}[...] = ..."
        value = self._value(statement.value, f"the value of '{name}'", hint)
        type_ = None if value is None else self._value_type(value, name)
        if type_ is None and not extent:
            self.scope.lose(name)
            return
        added = self.scope.add_value(name, "binding", type_ or INDEX_INT, statement.span)
        if extent and value is not None:
            self._not_negative(value, f"the extent '{name}'")
        if added and value is not None:
            self.statements.append(replace(statement, value=value))

    def _value_type(self, value: Expr, name: str) -> Type | None:
        types = self._value_types()
        if is_extent(name):
            return self._try(lambda e: types.integer(e, f"the extent '{name}'"), value)
        return self._try(types, value)

    def _not_negative(self, size: Expr, what: str) -> None:
        constant = constant_index(size)
        if constant is not None and constant < 0:
            self.report.error(f"{what} is negative: {constant}", size.span)

    def _variables(self, statement: Variables) -> None:
        what = "the range of a variable"
        hint = "a range is made of extents and parameters; restrict it by a condition"
        size = self._value(statement.range, what, hint)
        types = self._value_types()
        if size is None or self._try(lambda e: types.integer(e, what), size) is None:
            for name in statement.names:
                self.scope.lose(name)
            return
        self._not_negative(size, what)
        names = [n for n in statement.names if self.scope.add_variable(n, size, statement.span)]
        if names:
            self.statements.append(Variables(tuple(names), size, statement.span))

    def _require(self, statement: Require) -> None:
        condition = self._resolved(statement.condition)
        if condition is None:
            return
        free = sorted(free_variables(condition))
        if free:
            hint = f"write all[{free[0]}](...)"
            message = f"a requirement holds for the whole call, and this uses '{free[0]}'"
            self.report.error(message, statement.span, hints=(hint,))
            return
        for node in subexpressions(condition):
            if isinstance(node, Read) and not self.scope.tensors[node.tensor].input:
                message = f"a requirement reads inputs only, not '{node.tensor}'"
                self.report.error(message, node.span)
                return
        self.statements.append(replace(statement, condition=condition))

    def _value_types(self) -> Types:
        return Types(self.scope.types, {})

    def _einsum(self, statement: Einsum) -> None:
        valid = self._left_side(statement)
        result = self._right_side(statement)
        if id(statement) in self.repeated:
            return
        if valid and result is not None:
            self.statements.append(result)
            self.einsums.append(result)
        else:
            self.broken.add(statement.tensor)
            self.einsums.append(_as_written(statement))

    def _right_side(self, statement: Einsum) -> Einsum | None:
        """The statement with its names resolved and its sums written; None if it has errors."""
        value = self._resolved(statement.value)
        counted_before = self.resolver.work
        where = [self._resolved(c) for c in statement.where]
        if value is None or any(c is None for c in where):
            return None
        if any(v in self.scope.lost for v in statement.variables):
            return None  # what is summed is not known
        self._sum_over_steps(statement, value)
        conditions = tuple(c for c in where if c is not None)
        resolved = replace(statement, value=value, where=conditions, written=statement)
        names = dict.fromkeys(v for e in (value, *conditions) for v in in_order(e))
        if len(names | dict.fromkeys(statement.variables)) > MAX_VARIABLES:
            message = f"an Einsum of more than {MAX_VARIABLES} rank variables"
            self.report.error(message, statement.span, hints=(DEFINE_APART,))
            return None
        result = explicit(resolved, self.report)
        if result is None:
            return None
        size, depth = Measure()(result.value)
        self.budget.take(max(0, size - counted_before))
        if depth > MAX_DEPTH or size > MAX_NODES:
            message = TOO_DEEP if depth > MAX_DEPTH else TOO_LARGE
            self.report.error(message, value.span, hints=(DEFINE_APART,))
            return None
        return result

    def _sum_over_steps(self, start: Einsum, value: Expr) -> None:
        """Warns of an initial value that sums over what its recurrence runs over."""
        step = self.steps.get(start.tensor)
        if start.initial is None or step is None or len(step.slots) <= start.initial:
            return
        variable = step.slots[start.initial].variable
        if variable in free_variables(value):
            message = f"this sums over '{variable}', which the recurrence steps over"
            hint = f"write sum[{variable}](...) if that is meant"
            self.report.warning(message, value.span, hints=(hint,))

    def _left_side(self, statement: Einsum) -> bool:
        valid = True
        seen: set[str] = set()
        constants = [s for s in statement.slots if s.variable is None]
        shifted = [s for s in statement.slots if s.variable is not None and s.offset]
        if len(constants) + len(shifted) > 1:
            message = "a recurrence runs over one rank"
            self.report.error(message, (constants + shifted)[1].span)
            valid = False
        for slot in statement.slots:
            name = slot.variable
            if name is None:
                continue
            if name not in self.scope.variables:
                self._unknown_variable(name, slot.span)
                valid = False
            elif name in seen:
                size = printer.expression(self.scope.range_of(name))
                hint = f"declare another over the same range: var {name}2 in {size}"
                message = f"'{name}' stands twice on the left side"
                self.report.error(message, slot.span, hints=(hint,))
                valid = False
            seen.add(name)
        return valid

    def _unknown_variable(self, name: str, place: Span) -> None:
        hint = None
        if name in self.scope.values and is_extent(name):
            hint = f"did you mean '{name.lower()}', the variable of the rank '{name}'?"
        elif name in self.scope.values:
            hint = f"'{name}' is a value; a left side lists rank variables"
        self.scope.unknown("rank variable", name, place, self.scope.variables, hint)

    # Tensors

    def _dimensions(self) -> None:
        """The ranks of every defined tensor, and whether initial values fit their steps."""
        for name, start in self.initial.items():
            if name not in self.steps and not {name} & (self.scope.lost | self._inputs()):
                slots = [s.variable or ("t" if s.offset else "t+1") for s in start.slots]
                message = f"'{name}' has an initial value and no step"
                hint = f"a recurrence also defines {name}[{','.join(slots)}]"
                self.report.error(message, start.span, hints=(hint,))
        for name, step in self.steps.items():
            info = self.scope.tensors.get(name)
            if info is None or info.input:
                continue
            ranges = [
                self.scope.range_of(s.variable)
                if s.variable in self.scope.variables and s.variable is not None
                else Int(0)
                for s in step.slots
            ]
            dimensions = [Dimension(r) for r in ranges]
            at = self._recurrence_position(step, self.initial.get(name))
            if at is not None:
                dimensions[at] = Dimension(ranges[at], self.initial[name].slots[at].offset, 1)
            self.scope.tensors[name] = replace(info, dimensions=tuple(dimensions))

    def _inputs(self) -> set[str]:
        return {i.name for i in self.cascade.inputs}

    def _recurrence_position(self, step: Einsum, start: Einsum | None) -> int | None:
        """Where a recurrence runs, if its initial value and its step fit each other."""
        shifted = next((i for i, s in enumerate(step.slots) if s.variable and s.offset), None)
        if start is None:
            if shifted is not None:
                variable = step.slots[shifted].variable
                slots = ["0" if i == shifted else s.variable for i, s in enumerate(step.slots)]
                start_ = f"{step.tensor}[{','.join(str(s) for s in slots)}]"
                hint = f"add {start_} = ..., or define it at '{variable}'"
                message = f"'{step.tensor}' is stepped to {variable}+1 and has no initial value"
                self.report.error(message, step.slots[shifted].span, hints=(hint,))
            return None
        note = Note("the step", step.span)
        if len(start.slots) != len(step.slots):
            message = f"the initial value of '{step.tensor}' has another number of ranks"
            self.report.error(message, start.span, notes=(note,))
            return None
        position = start.initial
        assert position is not None
        offset = start.slots[position].offset
        expected = 0 if offset == -1 else 1
        slot = step.slots[position]
        if slot.variable is None or slot.offset != expected or shifted not in (None, position):
            form = "Z[-1] with Z[t], or Z[0] with Z[t+1]"
            message = f"the initial value and the step of '{step.tensor}' do not fit"
            self.report.error(message, start.span, notes=(note,), hints=(f"write {form}",))
            return None
        for i, (a, b) in enumerate(zip(start.slots, step.slots, strict=True)):
            known = self.scope.variables
            if i == position or a.variable not in known or b.variable not in known:
                continue
            if known[a.variable].range != known[b.variable].range:
                message = f"'{a.variable}' and '{b.variable}' range over different sizes"
                self.report.error(message, a.span, notes=(note,))
        return position

    def _outputs(self) -> None:
        for output in self.cascade.outputs:
            name = output.name
            if name in self.steps:
                self._output_ranks(output, self.steps[name])
            elif not {name} & (self.scope.lost | self._inputs() | set(self.initial)):
                left = ",".join(s.lower() if isinstance(s, str) else "..." for s in output.sizes)
                hint = suggestion(name, self.steps) or f"add {name}[{left}] = ..."
                message = f"the output '{name}' is not defined"
                self.report.error(message, output.span, hints=(hint,))

    def _output_ranks(self, output: Output, step: Einsum) -> None:
        note = Note(f"'{output.name}' is declared here", output.span)
        declared = ",".join(str(s) for s in output.sizes)
        if len(step.slots) != len(output.sizes):
            message = (
                f"'{output.name}' is declared with {counted(len(output.sizes), 'rank')} and "
                f"defined with {len(step.slots)}"
            )
            self.report.error(message, step.span, notes=(note,))
            return
        stepped = any(d.extra for d in self.scope.tensors[output.name].dimensions)
        for slot, size in zip(step.slots, output.sizes, strict=True):
            if slot.variable not in self.scope.variables or slot.variable is None:
                continue
            if slot.offset and not stepped:
                continue  # reported with its initial value
            if slot.offset:
                other = f"{output.name}s"
                hint = (
                    f"call the recurrence {other}, and add "
                    f"{output.name}[{','.join(s.variable or '' for s in step.slots)}] = "
                    f"{other}[{','.join(printer.slot(s) for s in step.slots)}]"
                )
                message = f"the output '{output.name}' would hold one coordinate more than declared"
                self.report.error(message, slot.span, hints=(hint,), notes=(note,))
                continue
            if self.scope.range_of(slot.variable) != size_expr(size):
                hint = "an output is defined with the variables of its ranks, here "
                hint += (
                    f"'{size.lower()}'" if isinstance(size, str) else f"one of `var i in {size}`"
                )
                message = (
                    f"'{slot.variable}' does not range over '{size}', as declared in "
                    f"{output.name}[{declared}]"
                )
                self.report.error(message, slot.span, hints=(hint,), notes=(note,))

    # Types

    def _types(self, order: tuple[Stage, ...]) -> dict[str, Type]:
        tensors: dict[str, Type | None] = dict.fromkeys(self.scope.tensors)
        unknown = set(self.broken)
        for item in self.cascade.inputs:
            if item.element is None or item.element in ELEMENTS:
                tensors[item.name] = read_type(item.element)
            else:
                unknown.add(item.name)
        types = Types(self.scope.types, tensors, unknown)
        for statement in self.statements:
            if isinstance(statement, Require):
                self._try(types.condition, statement.condition)
        for stage in order:
            einsums = (stage.einsum,) if isinstance(stage, Single) else stage.initial
            for einsum in einsums:
                found = self._defined(einsum, types)
                tensors[einsum.tensor] = found
                if found is None:
                    unknown.add(einsum.tensor)
            if isinstance(stage, Loop):
                self._loop_types(stage, types, tensors, unknown)
        for output in self.cascade.outputs:
            name = output.name
            found = tensors.get(name)
            if found is None or name in unknown or name not in self.steps:
                continue
            if output.element is not None and output.element not in ELEMENTS:
                continue
            if found.known:
                self._output_type(output, found)
        known = {name: found for name, found in tensors.items() if found is not None}
        return {name: found if found.known else LITERAL_INT for name, found in known.items()}

    def _try(self, how: Callable[[Expr], Type], expr: Expr) -> Type | None:
        try:
            return how(expr)
        except IllTyped as error:
            report_ill_typed(error, self.report)
        except Unknown:
            pass
        return None

    def _defined(self, einsum: Einsum, types: Types) -> Type | None:
        if einsum.tensor in self.broken:
            return None
        for condition in einsum.where:
            self._try(types.condition, condition)
        return self._try(types, einsum.value)

    def _loop_types(
        self, loop: Loop, types: Types, tensors: dict[str, Type | None], unknown: set[str]
    ) -> None:
        """The types of a group: those of its initial values, widened until the steps fit."""
        steps = [s for s in loop.steps if s.tensor not in unknown]
        reads = {s.tensor: {r.tensor for r in tensor_reads(s)} for s in steps}
        users: dict[str, list[Einsum]] = {}
        for step in steps:
            for tensor in reads[step.tensor]:
                users.setdefault(tensor, []).append(step)
        failures: dict[str, IllTyped] = {}
        waiting = dict.fromkeys(steps)
        while waiting:
            step = next(iter(waiting))
            del waiting[step]
            types.forget()
            failures.pop(step.tensor, None)
            known = tensors[step.tensor]
            try:
                found = types(step.value)
                tensors[step.tensor] = found if known is None else join(found, known)
            except IllTyped as error:
                failures[step.tensor] = error
            except Unknown:
                unknown.add(step.tensor)
            if tensors[step.tensor] != known or step.tensor in unknown:
                again = users.get(step.tensor, [])
                waiting |= dict.fromkeys(s for s in again if s.tensor not in unknown)
        types.forget()
        first = [t for t in failures if not reads[t] & failures.keys() - {t}] or [*failures][:1]
        for tensor in first:
            report_ill_typed(failures[tensor], self.report)
        unknown |= failures.keys()
        for step in steps:
            for condition in step.where:
                self._try(types.condition, condition)

    def _output_type(self, output: Output, found: Type) -> None:
        declared = read_type(output.element)
        place, name = output.span, output.name
        note = Note(f"'{name}' is defined here", self.steps[name].span)
        weak = found.origin is Origin.LITERAL
        kind = found.kind
        if declared.kind.floating and not kind.floating and not weak:
            if output.element is None:
                exact = "bool" if kind is Kind.BOOL else str(kind)
                shape = f"{name}[{','.join(str(s) for s in output.sizes)}]"
                hint = f"a non-float output states its type: {shape}: {exact}; or cast it: f32(...)"
            else:
                hint = f"cast it: {output.element}(...)"
            message = f"the output '{name}' is {_article(output.element)} and defined as {kind}"
            self.report.error(message, place, hints=(hint,), notes=(note,))
        elif not declared.kind.floating and kind.floating:
            cast = (
                f"{output.element}(...)" if output.element in ("i32", "i64", "bool") else "i32(...)"
            )
            message = f"the output '{name}' is {output.element} and defined as a float"
            self.report.error(message, place, hints=(f"cast it: {cast}",), notes=(note,))
        elif (declared.kind is Kind.BOOL) != (kind is Kind.BOOL):
            message = f"the output '{name}' is {_article(output.element)} and defined as {kind}"
            cast = "f32" if declared.kind.floating else "i32"
            hint = "compare: x != 0" if declared.kind is Kind.BOOL else f"cast it: {cast}(...)"
            self.report.error(message, place, hints=(hint,), notes=(note,))

    # Indices

    def _indices(self, einsum: Einsum) -> Iterator[tuple[Read, Expr, Dimension]]:
        """Every index of every read, with the dimension it is for."""
        for read in tensor_reads(einsum):
            dimensions = self.scope.tensors[read.tensor].dimensions
            for index, dimension in zip(read.index, dimensions, strict=True):
                yield read, index, dimension

    def _negative_indices(self, einsum: Einsum) -> None:
        for _, index, dimension in self._indices(einsum):
            self._not_below(constant_index(index), index, dimension)

    def _not_below(self, constant: int | None, index: Expr, dimension: Dimension) -> None:
        if constant is not None and constant < dimension.low:
            hint = "indices never count from the end; the last is the extent - 1"
            message = f"the index {constant} is negative"
            self.report.error(message, index.span, hints=(hint,))

    # Warnings, for what has no errors

    def _warnings(
        self, einsums: tuple[Einsum, ...], order: tuple[Stage, ...], equalities: Equalities
    ) -> None:
        for einsum in einsums:
            for read, index, dimension in self._indices(einsum):
                self._beyond(read, index, dimension, equalities)
        for stage in order:
            if isinstance(stage, Loop):
                self._not_yet(stage)
        self._unused(einsums)

    def _beyond(
        self, read: Read, index: Expr, dimension: Dimension, equalities: Equalities
    ) -> None:
        """Warns of an index that lies, or may lie, beyond its dimension."""
        constant = constant_index(index)
        place = index.span if index.span.start >= 0 else read.span
        size = dimension.range
        if index == size and not dimension.extra and isinstance(index, Value):
            message = f"'{index.name}' is the size of this rank: always absent"
            hint = f"its variable is '{index.name.lower()}', its last coordinate {index.name} - 1"
            self.report.warning(message, place, hints=(hint,))
            return
        if constant is not None:
            if isinstance(size, Int) and constant >= size.value + dimension.extra + dimension.low:
                message = f"the index {constant} lies beyond '{read.tensor}': always absent"
                self.report.warning(message, place)
        elif isinstance(index, Var):
            own = self.scope.range_of(index.name)
            if not equalities.equal(own, size) and not _shorter(own, size, dimension.extra):
                a, b = printer.expression(own), printer.expression(size)
                message = f"'{index.name}' ranges over {a} and indexes a rank of size {b}"
                hint = f"points beyond it read as absent; if the sizes agree: require {a} == {b}"
                self.report.warning(message, place, hints=(hint,))

    def _not_yet(self, loop: Loop) -> None:
        """Warns of reads of what this step, or a later one, is yet to compute."""
        position = {step.tensor: i for i, step in enumerate(loop.steps)}
        for i, step in enumerate(loop.steps):
            for read in _at_step(step, loop.variable):
                j = position.get(read.tensor)
                if j is None:
                    continue
                slots = loop.steps[j].slots
                at = next(k for k, s in enumerate(slots) if s.variable == loop.variable)
                ahead = _shift(read.index[at], loop.variable)
                if ahead is not None and (ahead, j) >= (slots[at].offset, i):
                    message = f"'{read.tensor}' is not yet computed here: always absent"
                    self.report.warning(message, read.span)

    def _unused(self, einsums: tuple[Einsum, ...]) -> None:
        outputs = {o.name for o in self.cascade.outputs}
        read = {r.tensor for e in einsums for r in tensor_reads(e) if r.tensor != e.tensor}
        for statement in self.statements:
            if isinstance(statement, Require):
                nodes = subexpressions(statement.condition)
                read.update(n.tensor for n in nodes if isinstance(n, Read))
        used = read | outputs
        for einsum in einsums:
            if einsum.initial is None and einsum.tensor not in used:
                self.report.warning(f"'{einsum.tensor}' is never read", einsum.span)
        known = Counter(s for i in self.cascade.inputs for s in set(i.sizes))
        for tensor in self.cascade.inputs:
            needed = any(isinstance(s, str) and known[s] == 1 for s in tensor.sizes)
            if tensor.name not in read and not needed:  # one that is not read may give a size
                self.report.warning(f"the input '{tensor.name}' is never read", tensor.span)
        used = {
            n.name
            for s in self.statements
            for e in statement_expressions(s)
            for n in subexpressions(e)
            if isinstance(n, Value | Var)
        }
        values: list[Parameter | Binding] = [*self.cascade.parameters]
        values += [s for s in self.statements if isinstance(s, Binding)]
        for item in values:
            if item.name not in used and not is_extent(item.name):
                what = "value" if isinstance(item, Binding) else "parameter"
                self.report.warning(f"the {what} '{item.name}' is never used", item.span)


def statement_expressions(statement: Statement) -> Iterator[Expr]:
    """The expressions a statement holds."""
    match statement:
        case Binding(value=value):
            yield value
        case Variables(range=size):
            yield size
        case Require(condition=condition):
            yield condition
        case Einsum(value=value, where=where):
            yield value
            yield from where


def _all_names(cascade: Cascade) -> set[str]:
    """Every identifier that a cascade mentions as a value or variable."""
    names = {p.name for p in cascade.parameters}
    for sizes in [i.sizes for i in cascade.inputs] + [o.sizes for o in cascade.outputs]:
        names.update(str(s).lower() for s in sizes)
    for statement in cascade.statements:
        if isinstance(statement, Variables):
            names.update(statement.names)
        elif isinstance(statement, Binding):
            names.update((statement.name, statement.name.lower()))
        for expr in statement_expressions(statement):
            nodes = subexpressions(expr)
            names.update(n.name for n in nodes if isinstance(n, Name | Value | Var))
    return names


def _as_written(statement: Einsum) -> Einsum:
    """A statement that has errors, with its variables told well enough to find its place."""

    def walk(expr: Expr) -> Expr:
        if isinstance(expr, Name):
            return Var(expr.name, expr.span)
        if isinstance(expr, Call):
            inner = [a for a in children(expr) if not isinstance(a, Name)]
            return Apply(expr.name, tuple(walk(a) for a in inner), expr.span)
        return rebuild(expr, tuple(walk(child) for child in children(expr)))

    where = tuple(walk(c) for c in statement.where)
    return replace(statement, value=walk(statement.value), where=where)


def _at_step(step: Einsum, variable: str) -> Iterator[Read]:
    """The reads in which `variable` is the step's own, and not one of all that are looked at."""
    for expr in (step.value, *step.where):
        nodes = list(outside(expr, variable))
        scans = [n for n in nodes if kept_variable(n) == variable]
        inside = {id(n) for scan in scans for n in subexpressions(scan)}
        yield from (n for n in nodes if isinstance(n, Read) and id(n) not in inside)


def _shift(index: Expr, variable: str) -> int | None:
    """`k` of an index `variable + k`, else None."""
    match index:
        case Var(name=name) if name == variable:
            return 0
        case Binary(op="+", left=Var(name=name), right=Int(value=value)) if name == variable:
            return value
        case Binary(op="+", left=Int(value=value), right=Var(name=name)) if name == variable:
            return value
        case Binary(op="-", left=Var(name=name), right=Int(value=value)) if name == variable:
            return -value
        case _:
            return None


def _shorter(own: Expr, size: Expr, extra: int) -> bool:
    """Whether a range is that of a dimension less or, if it has more, plus a few coordinates."""
    match own:
        case Binary(op="-", left=left, right=Int()):
            return left == size
        case Binary(op="+", left=left, right=Int(value=more)):
            return left == size and more <= extra
        case _:
            return False


def _article(element: str | None) -> str:
    return element if element is not None else "a float"
