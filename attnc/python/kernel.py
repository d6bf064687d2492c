"""Kernels as Python objects: `attnc.kernel` and what it makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Concatenate, Final, Generic, NoReturn, ParamSpec, TypeVar, overload

from attnc.errors import Diagnostic, SpecError, UsageError
from attnc.ir.cascade import Constant
from attnc.python.build import Built, Choices, Make, making, static_items
from attnc.python.definitions import DEFINITIONS, Definition, declare
from attnc.python.explained import Explanation
from attnc.python.signature import Signature

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")

NAMES: Final = ("__name__", "__qualname__", "__module__", "__doc__")
"""What a kernel takes over from the function that it decorates."""


class Kernel(Generic[P, R]):
    """A compiled cascade, to be called on tensors.

    On PyTorch tensors it gives PyTorch tensors, on NumPy arrays NumPy arrays: the outputs of the
    cascade, one by itself or several as a tuple. It cannot be changed; copies are the object
    itself, and a pickle holds the spec and is compiled where it is loaded.

    Calling it raises `TypeError` for arguments of the wrong kind and `ValueError` for sizes that
    do not fit, naming the argument.
    """

    __signature__: inspect.Signature | None

    def __init__(
        self,
        spec: str,
        make: Make,
        choices: Choices,
        *,
        positional: Sequence[str] | None = None,
        method: bool = False,
    ) -> None:
        built = make(choices.chosen())
        known = built.signature
        self._spec = spec
        self._make = make
        self._built = built
        self._choices = choices
        self._method = method
        self._tensors = tuple(i.name for i in known.inputs)
        self._positional = self._tensors if positional is None else tuple(positional)
        count = len(self._tensors)
        self._leading = count if self._positional[:count] == self._tensors else -1
        """So many arguments by position are all the tensors, in order."""
        self._arguments = frozenset(known.arguments)
        self._shared = frozenset(p.name for p in known.parameters) & set(self._tensors)
        self._operator = declare(Definition(built, spec, choices, make))
        self._definition = DEFINITIONS[self._operator]
        self._bound_to: Kernel[..., R] | None = None
        if method:
            self._bound_to = Kernel(spec, make, choices, positional=self._positional)
        self.__name__: str = known.name
        self.__qualname__: str = known.name
        self.__module__ = __name__
        self.__doc__ = str(known)
        self.__signature__ = _python_signature(known, self._positional, method)

    # What it is

    @property
    def name(self) -> str:
        """The name of the cascade."""
        return self._built.signature.name

    @property
    def signature(self) -> Signature:
        """The inputs, parameters and outputs."""
        return self._built.signature

    @property
    def spec(self) -> str:
        """The spec as the text of a `.attn` file."""
        return self._spec

    @property
    def source(self) -> str:
        """The module that was emitted, and that runs.

        Where the device decides, the one for tensors in main memory.
        """
        return self._definition.on("cpu").source

    @property
    def backend(self) -> str | None:
        """The backend that was chosen; None where the device of tensors decides."""
        return self._choices.backend

    @property
    def explain(self) -> Explanation:
        """What the cascade costs; `print` shows it, a call evaluates it at sizes."""
        from attnc import api

        facts = api.check(self._spec).select(self._choices.cascade)
        fixed = api.fixed(facts, dict(self._choices.static))
        sizes = {n: v for n, v in fixed.items() if type(v) is int}

        def explain(
            more: Mapping[str, int], dtype: str, target: str | None
        ) -> Mapping[str, object]:
            return api.explain(facts, {**sizes, **more}, dtype, target=target)

        return Explanation(explain, {}, self._choices.dtype or "f32")

    @property
    def operator(self) -> Any:
        """The PyTorch operator; a program that `torch.export` saved needs it made to be loaded."""
        from attnc.python import operators

        return operators.made(self._operator)

    def with_backend(self, backend: str | None) -> Kernel[P, R]:
        """The same kernel of this backend; of None, of the one that the device of tensors asks."""
        choices = replace(self._choices, backend=backend)
        made = Kernel[P, R](
            self._spec, self._make, choices, positional=self._positional, method=self._method
        )
        for name in NAMES:
            setattr(made, name, getattr(self, name))
        return made

    def __repr__(self) -> str:
        header = " ".join(str(self.signature).split())
        return f"<attnc kernel {header.removeprefix('cascade ').removesuffix(':')}>"

    # How it is called

    def __call__(self, /, *arguments: P.args, **keywords: P.kwargs) -> R:
        """The outputs for these tensors and parameters."""
        tensors, parameters = self._bound(arguments[1:] if self._method else arguments, keywords)
        for tensor in tensors:
            if hasattr(tensor, "__torch_function__"):
                return self._on_torch(tensors, parameters)  # type: ignore[no-any-return]
        built = self._definition.on("cpu")
        return built.call(tensors, parameters)  # type: ignore[no-any-return]

    def _bound(
        self, arguments: Sequence[Any], keywords: Mapping[str, Any]
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        """The tensors in order, and the parameters that are given."""
        if not keywords and len(arguments) == self._leading:
            return arguments, {}
        if len(arguments) > len(self._positional):
            self._too_many(len(arguments))
        given = dict(zip(self._positional, arguments))  # noqa: B905 - fewer may be given
        parameters = {}
        for name, value in keywords.items():
            if name in self._arguments and name not in given:
                given[name] = value
            elif name in self._shared and name not in parameters:
                parameters[name] = value
            else:
                self._unexpected(name, given)
        tensors = []
        for name in self._tensors:
            if name not in given:
                raise TypeError(f"{self.name}: the tensor {name} is missing")
            tensors.append(given.pop(name))
        return tensors, given | parameters

    def _on_torch(self, tensors: Sequence[Any], parameters: Mapping[str, Any]) -> Any:
        from attnc.python import operators

        for name, tensor in zip(self._tensors, tensors):  # noqa: B905 - of one length
            if not hasattr(tensor, "__torch_function__"):
                kind = type(tensor).__name__
                text = f"{name} is no PyTorch tensor but {kind}, though others are"
                raise TypeError(f"{self.name}: {text}")
        values = []
        for parameter in self._built.signature.parameters:
            value = parameters.get(parameter.name, parameter.default)
            if value is None:
                raise TypeError(f"{self.name}: the parameter {parameter.name} is missing")
            values.append(operators.scalar(self.name, parameter, value))
        return operators.call(self._operator, tensors, values)

    def _too_many(self, count: int) -> NoReturn:
        most = len(self._positional)
        hint = "" if most == len(self._arguments) else "; parameters go by name"
        raise TypeError(
            f"{self.name}: {count} arguments by position, but there are {most}"
            f" ({', '.join(self._positional)}){hint}"
        )

    def _unexpected(self, name: str, given: Mapping[str, Any]) -> NoReturn:
        if name in given:
            raise TypeError(f"{self.name}: {name} is given twice")
        fixed = dict(self._choices.static)
        if name in fixed:
            raise TypeError(f"{self.name}: {name} was fixed as {fixed[name]} by the compilation")
        from attnc.grammar.scope import suggestion

        known = self._built.signature.arguments
        hint = suggestion(name, known) or f"arguments: {', '.join(known)}"
        raise TypeError(f"{self.name}: there is no argument {name}; {hint}")

    @overload
    def __get__(self, instance: None, owner: type) -> Kernel[P, R]: ...
    @overload
    def __get__(
        self: Kernel[Concatenate[Any, Q], R], instance: object, owner: type
    ) -> Kernel[Q, R]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """In a class, a kernel whose function takes `self` is a method, though it never uses it."""
        return self if instance is None or self._bound_to is None else self._bound_to

    # What a value does

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kernel) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash((self._spec, self._built.key))

    def __copy__(self) -> Kernel[P, R]:
        return self

    def __deepcopy__(self, memo: object) -> Kernel[P, R]:
        return self

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _again, self._state()

    def _state(self) -> tuple[Any, ...]:
        names = tuple((name, getattr(self, name)) for name in NAMES)
        return self._spec, self._choices, self._positional, self._method, names


def _again(
    spec: str,
    choices: Choices,
    positional: tuple[str, ...],
    method: bool,
    names: tuple[tuple[str, Any], ...],
) -> Kernel[Any, Any]:
    """The kernel that a pickle holds."""

    make = making(spec, f"<{choices.cascade or 'pickled kernel'}>")
    kernel = Kernel[Any, Any](spec, make, choices, positional=positional, method=method)
    for name, value in names:
        setattr(kernel, name, value)
    return kernel


def _python_signature(
    known: Signature, positional: Sequence[str], method: bool
) -> inspect.Signature | None:
    """The arguments as `inspect.signature` shows them; None where names are not Python's."""
    item = inspect.Parameter
    parameters = {p.name: (p.type, p.default) for p in known.parameters}
    others = [n for n in known.arguments if n not in positional]
    found = [item("self", item.POSITIONAL_ONLY)] if method else []
    try:
        for name in (*positional, *others):
            kind = item.POSITIONAL_OR_KEYWORD if name in positional else item.KEYWORD_ONLY
            annotation, default = parameters.get(name, (item.empty, None))
            shown = item.empty if default is None else default
            found.append(item(name, kind, default=shown, annotation=annotation))
        return inspect.Signature(found)
    except ValueError:
        return None


@overload
def kernel(
    spec: Callable[P, R],
    *,
    backend: str | None = ...,
    dtype: str | None = ...,
    static: Mapping[str, Constant] | None = ...,
) -> Kernel[P, R]: ...
@overload
def kernel(
    spec: str | Path,
    *,
    cascade: str | None = ...,
    backend: str | None = ...,
    dtype: str | None = ...,
    static: Mapping[str, Constant] | None = ...,
) -> Kernel[..., Any]: ...
@overload
def kernel(
    *,
    backend: str | None = ...,
    dtype: str | None = ...,
    static: Mapping[str, Constant] | None = ...,
) -> Callable[[Callable[P, R]], Kernel[P, R]]: ...
def kernel(
    spec: Callable[..., Any] | str | Path | None = None,
    *,
    cascade: str | None = None,
    backend: str | None = None,
    dtype: str | None = None,
    static: Mapping[str, Constant] | None = None,
) -> Any:
    """A kernel from a decorated function, from a file, or from a text.

    The signature of a function is the header of a cascade and its docstring the body:

        @attnc.kernel
        def attention(Q: "B H M E", K: "B H N E", V: "B H N F") -> "B H M F":
            \"\"\"
            S[b,h,m,n] = Q[b,h,m,e] * K[b,h,n,e] / sqrt(E)
            return softmax[n](S[b,h,m,n]) * V[b,h,n,f]
            \"\"\"

    A text of several lines is a spec, any other the path of one; `cascade` names the cascade where
    there are several. `dtype` (f16, bf16, f32, f64) is the element type of tensors that declare
    none, else it is taken from each call. `static` fixes parameters. As a decorator with
    arguments, `@attnc.kernel(static={"R": 64})`. `backend` is `numpy`, `triton` or `tvm`; without
    it, tensors on a GPU have a kernel of Triton and others one of TVM, made when the first are
    there; where TVM is not installed or cannot take the spec, one of NumPy, with a
    `BackendWarning`.

    Raises `SpecError` for a spec that is not valid, with its place in the user's own file,
    `UsageError` for a choice that does not fit, `OSError` for a file that cannot be read.
    """
    if spec is None:
        return lambda function: kernel(function, backend=backend, dtype=dtype, static=static)
    choices = Choices(cascade, backend, dtype, static_items(static))
    if isinstance(spec, str | Path):
        return _from_text(spec, choices)
    if isinstance(spec, staticmethod | classmethod) or not callable(spec):
        kind = type(spec).__name__
        raise UsageError(f"attnc.kernel takes a function, a text or a path, not a {kind}")
    return _from_function(spec, choices)


def _from_text(spec: str | Path, choices: Choices) -> Kernel[..., Any]:
    if isinstance(spec, str) and "\n" in spec:
        text, name = spec, "<spec>"
    else:
        from attnc.api import read

        text, name = read(spec)
    return Kernel(text, making(text, name), choices)


def _from_function(function: Callable[P, R], choices: Choices) -> Kernel[P, R]:
    from attnc.python.function import assembled, is_method, own_parameters
    from attnc.python.pieces import Faulty
    from attnc.python.places import located, reported

    try:
        spec = assembled(function)
    except Faulty as error:
        raise SpecError(reported(error, function)) from None

    def moved(diagnostic: Diagnostic) -> Diagnostic:
        return located([diagnostic], spec, function)[0]

    make = making(spec.text, f"<{getattr(function, '__qualname__', 'function')}>", moved)

    def placed(choices: Choices) -> Built:
        try:
            return make(choices)
        except SpecError as error:
            raise SpecError(located(error.diagnostics, spec, function)) from None

    signature = inspect.signature(function)
    own = own_parameters(function, signature)
    fixed = {n for n, _ in choices.static}
    positional = [p.name for p in own if p.kind != p.KEYWORD_ONLY and p.name not in fixed]
    made = Kernel[P, R](
        spec.text,
        placed,
        choices,
        positional=positional,
        method=is_method(list(signature.parameters.values())),
    )
    for attribute in NAMES:
        setattr(made, attribute, getattr(function, attribute))
    made.__wrapped__ = function  # type: ignore[attr-defined]
    return made
