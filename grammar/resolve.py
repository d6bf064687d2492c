"""Names and calls to their meaning: variables, values, built-ins, reductions, macros.

Macros are expanded here. Their bodies see only their parameters, their bracket variables and the
extents of those; arguments arrive already resolved in the scope of the call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Final, NoReturn

from attnc.errors import NOWHERE, Note, Report, Span
from attnc.grammar.measure import Measure
from attnc.grammar.scope import Scope, is_extent, listed, suggestion
from attnc.grammar.syntax import MAX_DEPTH, MAX_NODES, Definition
from attnc.ir import printer
from attnc.ir.expr import (
    Absent,
    Apply,
    Arg,
    Binary,
    Bracket,
    Call,
    Expr,
    Int,
    Name,
    Read,
    Reduce,
    Scan,
    TopK,
    Unary,
    Value,
    Var,
)
from attnc.ir.functions import ARGS, BRACKETED, FUNCTIONS, REDUCTIONS, SCANS
from attnc.ir.walk import children, free_variables, rebuild, subexpressions, substitute, unreachable

MAX_WALK: Final = MAX_DEPTH + MAX_DEPTH // 2
"""Deepest nesting of calls while macros are expanded."""

REVERSE: Final = Name("reverse")
LITERALS: Final = {
    "True": "true",
    "False": "false",
    "None": "absent",
    "Inf": "inf",
    "infinity": "inf",
}
"""How other languages write literals."""


class Refused(Exception):
    """One expression cannot be resolved; what is wrong has been reported."""


@dataclass(frozen=True, slots=True)
class _Macro:
    """The names that a macro body sees during one expansion, and the call that began it."""

    definition: Definition
    parameters: Mapping[str, Expr]
    brackets: Mapping[str, tuple[str, ...]]
    span: Span
    expanding: tuple[str, ...]


@dataclass
class Resolver:
    """Resolves the expressions of one cascade."""

    scope: Scope
    macros: Mapping[str, Definition]
    report: Report
    fresh: Callable[[str], str]
    failed: bool = False
    work: int = 0
    """How many nodes the last expression had, or had come to when it was refused."""
    _nodes: int = field(default=0, repr=False)
    _measure: Measure = field(default_factory=Measure, repr=False)

    def __call__(self, expr: Expr) -> Expr | None:
        """The resolved expression, or None if something was reported."""
        self.failed, self._nodes, self._measure = False, 0, Measure()
        try:
            result = self._walk(expr, None, 1)
        except Refused:
            self.work = self._nodes
            return None
        self.work = max(self._nodes, self._measure(result)[0])
        return None if self.failed else result

    def _error(
        self,
        message: str,
        place: Span,
        macro: _Macro | None,
        *hints: str | None,
        notes: tuple[Note, ...] = (),
    ) -> Expr:
        """Reports an error at `place`; in a macro's body, at the call that is expanded."""
        self.failed = True
        if macro is not None:
            if macro.definition.span != NOWHERE:
                notes = (*notes, Note(f"in the macro '{macro.definition.name}'", place))
            place = macro.span
        self.report.error(message, place, hints=[h for h in hints if h], notes=notes)
        return Absent(place)

    def _unknown(
        self, what: str, name: str, place: Span, known: Iterable[str], hint: str | None = None
    ) -> Expr:
        self.failed = True
        self.scope.unknown(what, name, place, known, hint)
        return Absent(place)

    def _walk(self, expr: Expr, macro: _Macro | None, depth: int) -> Expr:
        self._nodes += 1
        if depth > MAX_WALK or self._nodes > MAX_NODES:
            self._too_large(expr, macro)
        match expr:
            case Name():
                return self._name(expr, macro)
            case Call():
                node = self._call(expr, macro, depth)
            case Read():
                index = tuple(self._walk(i, macro, depth + 1) for i in expr.index)
                node = self._read(replace(expr, index=index))
            case _:
                new = tuple(self._walk(child, macro, depth + 1) for child in children(expr))
                node = rebuild(expr, new)
        if macro is not None:
            node = replace(node, span=macro.span)
        size, nesting = self._measure(node)
        if size > MAX_NODES or nesting > MAX_DEPTH:
            self._too_large(expr, macro)
        return node

    def _too_large(self, expr: Expr, macro: _Macro | None) -> NoReturn:
        message = "this grows too large when its macros are expanded"
        place = macro.span if macro else expr.span
        self._error(message, place, None, "define a part of it as a tensor first")
        raise Refused

    # Names

    def _name(self, expr: Name, macro: _Macro | None) -> Expr:
        name = expr.name
        if macro is not None:
            return self._macro_name(expr, macro)
        if name in self.scope.variables:
            return Var(name, expr.span)
        if name in self.scope.values:
            return Value(name, expr.span)
        known = [*self.scope.variables, *self.scope.values]
        hint = None
        if name in self.scope.tensors:
            index = ",".join("..." for _ in self.scope.tensors[name].dimensions[:1])
            hint = f"'{name}' is a tensor: write {name}[{index}]"
        elif name in LITERALS:
            hint = f"write `{LITERALS[name]}`"
        return self._unknown("value", name, expr.span, known, hint)

    def _macro_name(self, expr: Name, macro: _Macro) -> Expr:
        if expr.name in macro.parameters:
            return macro.parameters[expr.name]
        if expr.name in macro.brackets:
            variables = macro.brackets[expr.name]
            if len(variables) == 1:
                return Var(variables[0], macro.span)
            return self._several(expr, variables, macro)
        variables = next(v for b, v in macro.brackets.items() if b.upper() == expr.name)
        sizes = [self.scope.range_of(v) for v in variables]
        size = reduce(lambda a, b: Binary("*", a, b), sizes)
        return replace(size, span=macro.span)

    def _read(self, expr: Read) -> Expr:
        info = self.scope.tensors.get(expr.tensor)
        if info is None:
            hint = None
            if self.scope.is_number(expr.tensor):
                hint = f"'{expr.tensor}' is a number and takes no index"
            elif expr.tensor in BRACKETED:
                hint = f"'{expr.tensor}' takes what it reduces: {expr.tensor}[n](x)"
            elif expr.tensor in self.macros:
                hint = f"'{expr.tensor}' is written {signature(self.macros[expr.tensor])}"
            elif expr.tensor in FUNCTIONS:
                hint = f"'{expr.tensor}' is a function: write {expr.tensor}(...)"
            place = _head(expr.span, expr.tensor)
            return self._unknown("tensor", expr.tensor, place, self.scope.tensors, hint)
        if len(expr.index) != len(info.dimensions):
            message = (
                f"'{expr.tensor}' has {counted(len(info.dimensions), 'rank')} and is read with "
                f"{counted(len(expr.index), 'index', 'indices')}"
            )
            note = Note(
                f"'{expr.tensor}' is {'declared' if info.input else 'defined'} here", info.place
            )
            return self._error(message, expr.span, None, notes=(note,))
        return expr

    # Calls

    def _call(self, call: Call, macro: _Macro | None, depth: int) -> Expr:
        name = call.name
        if name in BRACKETED and call.brackets is not None:
            return self._bracketed(call, macro, depth)
        if name in self.macros:
            return self._expand(call, self.macros[name], macro, depth)
        if name in FUNCTIONS:
            return self._apply(call, macro, depth)
        if name in BRACKETED:
            return self._error(
                f"'{name}' needs a variable in brackets", call.span, macro, f"write {_form(name)}"
            )
        for argument in call.arguments:
            self._walk(argument, macro, depth + 1)
        hint = None
        if name in self.scope.tensors:
            hint = f"'{name}' is a tensor: write {name}[...]"
        known = [*FUNCTIONS, *BRACKETED, *self.macros]
        return self._unknown("function", name, _head(call.span, name), known, hint)

    def _apply(self, call: Call, macro: _Macro | None, depth: int) -> Expr:
        function = FUNCTIONS[call.name]
        count = len(call.arguments)
        if call.brackets is not None:
            return self._error(f"'{call.name}' takes no brackets", call.span, macro)
        if count < function.least or (function.most is not None and count > function.most):
            takes = counted(function.least, "argument")
            if function.most is None:
                takes = f"{function.least} or more arguments"
            hint = None
            if call.name in REDUCTIONS:
                hint = f"to reduce over a rank write {_form(call.name)}"
            message = f"'{call.name}' takes {takes}, not {count}"
            return self._error(message, call.span, macro, hint)
        arguments = tuple(self._walk(a, macro, depth + 1) for a in call.arguments)
        return Apply(call.name, arguments, call.span)

    def _bracketed(self, call: Call, macro: _Macro | None, depth: int) -> Expr:
        name, items = call.name, call.brackets or ()
        if len(call.arguments) != 1:
            count = len(call.arguments)
            message = f"'{name}[...]' takes 1 argument, not {count}"
            return self._error(message, call.span, macro)
        if name == "at":
            return self._at(call, macro, depth)
        if name == "argtopk":
            return self._topk(call, macro, depth)
        reverse = False
        if name in SCANS and len(items) == 2 and items[1].key == REVERSE:
            reverse, items = True, items[:1]
        variables = self._variables(items, call, macro)
        body = self._walk(call.arguments[0], macro, depth + 1)
        if variables is None:
            return body
        if name in SCANS or name in ARGS:
            if len(variables) != 1:
                return self._error(f"'{name}' takes one variable", call.span, macro)
            if name in SCANS:
                return Scan(name, variables[0], reverse, body, call.span)  # type: ignore[arg-type]
            return Arg(name, variables[0], body, call.span)  # type: ignore[arg-type]
        return Reduce(name, variables, body, call.span)  # type: ignore[arg-type]

    def _variables(
        self, items: tuple[Bracket, ...], call: Call, macro: _Macro | None
    ) -> tuple[str, ...] | None:
        """The rank variables that bracket items name; None if something was reported."""
        found: list[str] = []
        for item in items:
            if item.arrow is not None or item.value is not None or not isinstance(item.key, Name):
                message = f"the brackets of '{call.name}' hold rank variables"
                self._error(message, item.span, macro)
                return None
            names = self._bracket_variable(item.key, macro)
            if names is None:
                return None
            for name in names:
                if name in found:
                    message = f"'{name}' stands twice in these brackets"
                    self._error(message, item.key.span, macro)
                    return None
                found.append(name)
        if not found:
            message = f"'{call.name}' needs a variable in brackets"
            self._error(message, call.span, macro, f"write {_form(call.name)}")
            return None
        return tuple(found)

    def _bracket_variable(self, key: Name, macro: _Macro | None) -> tuple[str, ...] | None:
        if macro is not None:
            return macro.brackets[key.name]
        if key.name in self.scope.variables:
            return (key.name,)
        known = list(self.scope.variables)
        hint = None
        if key.name in self.scope.values and key.name.lower() in known:
            hint = f"did you mean '{key.name.lower()}', the variable of the rank '{key.name}'?"
        self._unknown("rank variable", key.name, key.span, known, hint)
        return None

    def _one_variable(self, key: Name, macro: _Macro | None) -> str | None:
        """The one variable that a bracket names; None if something was reported."""
        names = self._bracket_variable(key, macro)
        if names is None:
            return None
        if len(names) != 1:
            self._several(key, names, macro)
            return None
        return names[0]

    def _several(self, name: Name, variables: tuple[str, ...], macro: _Macro | None) -> Expr:
        message = f"'{name.name}' stands for {len(variables)} variables here, where one is meant"
        return self._error(message, name.span, macro)

    def _topk(self, call: Call, macro: _Macro | None, depth: int) -> Expr:
        items = call.brackets or ()
        body = self._walk(call.arguments[0], macro, depth + 1)
        if len(items) != 1 or items[0].arrow is None or not isinstance(items[0].key, Name):
            message = "'argtopk' names a variable to sort over and one to fill"
            return self._error(message, call.span, macro, f"write {_form('argtopk')}")
        variable = self._one_variable(items[0].key, macro)
        into = self._one_variable(Name(items[0].arrow, items[0].span), macro)
        if variable is None or into is None:
            return body
        if into == variable:
            size = printer.expression(self.scope.range_of(into))
            hint = f"declare another over the same range: var u in {size}"
            message = "'argtopk' needs two different variables"
            return self._error(message, call.span, macro, hint)
        if into in free_variables(body):
            message = f"'{into}' is used in what 'argtopk' sorts"
            return self._error(message, call.span, macro)
        return TopK(variable, into, body, call.span)

    def _at(self, call: Call, macro: _Macro | None, depth: int) -> Expr:
        body = self._walk(call.arguments[0], macro, depth + 1)
        new: dict[str, Expr] = {}
        for item in call.brackets or ():
            if item.value is None or not isinstance(item.key, Name):
                break
            name = self._one_variable(item.key, macro)
            index = self._walk(item.value, macro, depth + 1)
            if name is None:
                return body
            if name in new:
                message = f"'at' replaces '{name}' twice"
                return self._error(message, item.span, macro)
            new[name] = index
        if not new or len(new) < len(call.brackets or ()):
            message = "'at' gives an index to each variable in its brackets"
            return self._error(message, call.span, macro, f"write {_form('at')}")
        kept = unreachable(body, new)
        if kept is not None:
            hint = "define what it is applied to as a tensor first and read that at the index"
            message = f"'at' cannot reach into what a scan or argtopk does along '{kept}'"
            return self._error(message, call.span, macro, hint)
        return substitute(body, new, self.fresh)

    # Macros

    def _expand(self, call: Call, definition: Definition, macro: _Macro | None, depth: int) -> Expr:
        expanding = macro.expanding if macro else ()
        if call.name in expanding:
            self._error(f"the macro '{call.name}' expands into itself", call.span, macro)
            raise Refused
        arguments = [self._walk(a, macro, depth + 1) for a in call.arguments]
        if not definition.valid:
            self.failed = True
            return Absent(call.span)
        if len(arguments) != len(definition.parameters):
            takes = counted(len(definition.parameters), "argument")
            message = f"'{call.name}' takes {takes}, not {len(arguments)}"
            form = f"it is written {signature(definition)}"
            return self._error(message, call.span, macro, form)
        brackets = self._macro_brackets(call, definition, macro)
        if brackets is None:
            return Absent(call.span)
        inner = _Macro(
            definition,
            dict(zip(definition.parameters, arguments, strict=True)),
            brackets,
            macro.span if macro else call.span,
            (*expanding, call.name),
        )
        return self._walk(definition.body, inner, depth + 1)

    def _macro_brackets(
        self, call: Call, definition: Definition, macro: _Macro | None
    ) -> dict[str, tuple[str, ...]] | None:
        form = f"it is written {signature(definition)}"
        if definition.brackets is None:
            if call.brackets is not None:
                self._error(f"'{call.name}' takes no brackets", call.span, macro, form)
                return None
            return {}
        if call.brackets is None:
            message = f"'{call.name}' needs a variable in brackets"
            self._error(message, call.span, macro, form)
            return None
        variables = self._variables(call.brackets, call, macro)
        if variables is None:
            return None
        names = definition.brackets
        if len(variables) < len(names):
            message = f"'{call.name}' takes {counted(len(names), 'variable')} in brackets"
            self._error(message, call.span, macro, form)
            return None
        last = len(names) - 1
        return {
            **{name: (variables[i],) for i, name in enumerate(names[:-1])},
            names[-1]: variables[last:],
        }


def _head(place: Span, name: str) -> Span:
    """The name with which something begins."""
    return Span(place.start, place.start + len(name))


def _form(name: str) -> str:
    """How a built-in with brackets is written."""
    return {"argtopk": "argtopk[c -> u](x)", "at": "at[e = index](x)"}.get(name, f"{name}[n](x)")


def signature(definition: Definition) -> str:
    """How a macro is called: `softmax[n](x)`."""
    brackets = "" if definition.brackets is None else f"[{','.join(definition.brackets)}]"
    return f"{definition.name}{brackets}({', '.join(definition.parameters)})"


def check_definitions(
    definitions: tuple[Definition, ...], known: Mapping[str, Definition], report: Report
) -> dict[str, Definition]:
    """The macros of a file over those already known; what is wrong with them is reported."""
    own: dict[str, Definition] = {}
    for definition in definitions:
        name = definition.name
        if name in own:
            note = Note("the other", own[name].span)
            report.error(f"the macro '{name}' is defined twice", definition.span, notes=(note,))
        elif name in FUNCTIONS or name in BRACKETED:
            hint = "choose another name; only what the prelude defines may be defined anew"
            report.error(f"'{name}' is built in", definition.span, hints=(hint,))
        own.setdefault(name, definition)
    macros = {**known, **own}
    for definition in own.values():
        before = report.count
        if definition.valid:
            _check_names(definition, report)
            _check_body(definition, macros, report)
        macros[definition.name] = replace(
            definition, valid=definition.valid and report.count == before
        )
    return macros


def _check_names(definition: Definition, report: Report) -> None:
    brackets = definition.brackets or ()
    for name, count in Counter((*brackets, *definition.parameters)).items():
        if count > 1:
            report.error(f"'{name}' stands twice in this definition", definition.span)
    for name in brackets:
        if is_extent(name):
            hint = f"a bracket names a variable, here '{name.lower()}'"
            report.error(f"'{name}' is a name of an extent", definition.span, hints=(hint,))


def _check_body(definition: Definition, macros: Mapping[str, Definition], report: Report) -> None:
    brackets = definition.brackets or ()
    names = [*brackets, *definition.parameters]
    visible = {*names, *(b.upper() for b in brackets)}
    keys: set[int] = set()
    nodes = list(subexpressions(definition.body))
    for node in nodes:
        if isinstance(node, Call):
            keys |= {id(item.key) for item in node.brackets or ()}
            _check_keys(node, definition, report)
    for node in nodes:
        match node:
            case Name(name=name) if name not in visible and id(node) not in keys:
                hints = [suggestion(name, names), _sees(names)]
                message = f"no value is called '{name}'"
                report.error(message, node.span, hints=[h for h in hints if h])
            case Read(tensor=tensor):
                hint = "pass what it reads as an argument"
                message = f"the body of a macro reads no tensor: '{tensor}'"
                report.error(message, node.span, hints=(hint,))
            case Call(name=name) if name not in macros and name not in (*FUNCTIONS, *BRACKETED):
                close = None
                if not report.crowded:
                    close = suggestion(name, [*FUNCTIONS, *BRACKETED, *macros])
                message = f"no function is called '{name}'"
                report.error(message, node.span, hints=(close,) if close else ())


def _check_keys(call: Call, definition: Definition, report: Report) -> None:
    """Whether the brackets of a call in a macro's body name the macro's own variables."""
    brackets = definition.brackets or ()
    items = call.brackets or ()
    if call.name in SCANS and len(items) == 2 and items[1].key == REVERSE:
        items = items[:1]
    for item in items:
        key = item.key.name if isinstance(item.key, Name) else None
        for name in (key, item.arrow):
            if name is None or name in brackets:
                continue
            hint = _sees(brackets)
            if name in definition.parameters:
                hint = f"a variable is passed in brackets: def {definition.name}[{name}](...)"
            message = f"no rank variable is called '{name}'"
            report.error(message, item.span, hints=(hint,))


def _sees(names: Iterable[str]) -> str:
    return f"the body of a macro sees only its own names: {listed(names)}"


def counted(number: int, word: str, plural: str | None = None) -> str:
    """`1 rank`, `2 ranks`."""
    return f"{number} {word if number == 1 else plural or word + 's'}"


def constant_index(expr: Expr) -> int | None:
    """The value of an index made of integer literals and signs, else None."""
    match expr:
        case Int(value=value):
            return value
        case Unary(op="-", operand=operand):
            inner = constant_index(operand)
            return None if inner is None else -inner
        case _:
            return None
