# mypy: ignore-errors
"""Helpers that make a kernel's function one of TVM; those that a module uses are copied into it.

`T.prim_func` reads the same, but evaluates each expression node by node, which takes as long as all
that the compiler does then. Here statements become calls that say to TVM what they mean, and Python
runs them once. What a kernel of ours has no use for is refused.
"""

import ast
import linecache

import tvm
from tvm.script import tirx as T

from attnc.backends.tvm.script import _alike


def _read(function):
    """A kernel's function as TVM has it."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder

    (node,) = ast.parse(_text_of(function)).body
    node.body, node.decorator_list = _said(node.body, frozenset()), []
    for argument in node.args.args:
        argument.annotation = None
    around = (cell.cell_contents for cell in function.__closure__ or ())
    known = {**globals(), **function.__globals__}
    known.update(zip(function.__code__.co_freevars, around))
    tree = ast.Module([node], [])  # a part of this module, which runs already
    exec(compile(tree, function.__code__.co_filename, "exec"), known)
    with IRBuilder() as made, builder.prim_func():
        builder.func_name(node.name)
        given = []
        for name, kind in function.__annotations__.items():
            given.append(builder.arg(name, kind if isinstance(kind, tvm.ir.Expr) else kind()))
        known[node.name](*given)
    found = made.get()
    tvm.s_tir.analysis.verify_well_formed(tvm.IRModule.from_expr(found))
    return found


def _text_of(function):
    """The lines of a function, as far down as in its file, and the first of them not indented."""
    code = function.__code__
    lines, first = linecache.getlines(code.co_filename, function.__globals__), code.co_firstlineno
    indent = len(lines[first - 1]) - len(lines[first - 1].lstrip())
    last = max(line for *_, line in code.co_lines() if line)
    while last < len(lines) and lines[last][: indent + 1].isspace():
        last += 1
    return "\n" * (first - 1) + "".join(line[indent:] for line in lines[first - 1 : last])


def _new(place, kind, *fields):
    """A node where another one stands."""
    return kind(*fields, lineno=place.lineno, col_offset=place.col_offset)


def _calling(place, helper, *arguments):
    """A call of a helper; what is no node is a constant."""
    given = [a if isinstance(a, ast.AST) else _new(place, ast.Constant, a) for a in arguments]
    name = _new(place, ast.Name, helper.__name__, ast.Load())
    return _new(place, ast.Call, name, given, [])


def _said(body, numbers):
    """Statements as calls; `numbers` are the names around that have a place, so that they can be
    assigned again."""
    return [_statement(s, numbers := _numbers(s, numbers)) for s in body]


def _numbers(node, numbers):
    """The names that have a place behind a statement."""
    if isinstance(node, ast.AnnAssign) and node.annotation.attr != "let":
        return numbers | {node.target.id}
    return numbers


def _statement(node, numbers):
    """A statement as calls."""
    match node:
        case ast.For(target=ast.Name(id=name) as target, iter=rounds):
            if isinstance(rounds.func, ast.Name) and rounds.func.id == "range":
                rounds.func.id = _counted.__name__
            once = _calling(node, _rounds, name, _meant(rounds))
            return _new(node, ast.For, target, once, _said(node.body, numbers), [])
        case ast.While(test=test):
            once, name = (
                _calling(node, _while, _meant(test)),
                _new(node, ast.Name, "_", ast.Store()),
            )
            return _new(node, ast.For, name, once, _said(node.body, numbers), [])
        case ast.If(test=test, body=body, orelse=other):
            sides = _calling(node, _sides, _meant(test), bool(other))
            side = _new(node, ast.Name, "_side", ast.Load())
            chosen = _new(node, ast.If, side, _said(body, numbers), _said(other, numbers))
            side = _new(node, ast.Name, "_side", ast.Store())
            return _new(node, ast.For, side, sides, [chosen], [])
        case ast.Assign(targets=[ast.Subscript(value=buffer, slice=index)], value=value):
            index = index.elts if isinstance(index, ast.Tuple) else [index]
            index = _new(node, ast.List, [_meant(i) for i in index], ast.Load())
            said = _calling(node, _stored_in, _meant(buffer), _meant(value), index)
            return _new(node, ast.Expr, said)
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in numbers:
            number = _new(node, ast.Name, name, ast.Load())
            return _new(node, ast.Expr, _calling(node, _again, number, _meant(value)))
        case ast.Assign(targets=[ast.Name(id=name) as target], value=value):
            return _new(node, ast.Assign, [target], _calling(node, _called, name, _meant(value)))
        case ast.AnnAssign(target=ast.Name(id=name) as target, annotation=kind, value=value):
            said = _calling(node, _declared, name, kind, _meant(value))
            return _new(node, ast.Assign, [target], said)
        case ast.Expr(value=value):
            return _new(node, ast.Expr, _calling(node, _done, _meant(value)))
    raise TypeError(f"a kernel has no such statement: {ast.unparse(node)}")


def _meant(node):
    """An expression in which the operators are calls that Python gives another meaning to; in
    functions, they have that meaning."""
    if isinstance(node, (ast.Lambda, ast.Name, ast.Constant, ast.expr_context, ast.operator)):
        return node
    for field in node._fields:
        value = getattr(node, field)
        if isinstance(value, list):
            setattr(node, field, [_meant(v) for v in value])
        elif isinstance(value, ast.AST):
            setattr(node, field, _meant(value))
    match node:
        case ast.BoolOp(op=op, values=[first, *others]):
            for other in others:
                nothing = ast.arguments([], [], None, [], [], None, [])
                later = _new(node, ast.Lambda, nothing, other)
                first = _calling(node, _logical, type(op).__name__, first, later)
            return first
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _calling(node, _compared, type(op).__name__, left, right)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _calling(node, _not, operand)
    return node


def _counted(*arguments):
    """The rounds of a `range`."""
    return T.serial(*((0, *arguments) if len(arguments) == 1 else arguments))


def _rounds(name, frame):
    """The one time that Python runs what is in a loop."""
    from tvm.script.ir_builder import IRBuilder

    with frame as count:
        IRBuilder.name(name, count)
        yield count


def _while(condition):
    """The one time that Python runs what is in a loop."""
    with T.While(condition):
        yield


def _sides(condition, other):
    """The sides of a choice, of which one is taken if it is known now."""
    if isinstance(condition, bool):
        yield condition
        return
    with T.If(condition):
        with T.Then():
            yield True
        if other:
            with T.Else():
                yield False


def _stored_in(buffer, value, index):
    """Stores a value."""
    T.buffer_store(buffer, value, index)


def _again(number, value):
    """Stores a value in the place that a number has."""
    T.buffer_store(number.source, value, [0])


def _called(name, value):
    """A buffer, or what stands for an expression, by its name."""
    from tvm.script.ir_builder import IRBuilder

    if isinstance(value, tvm.script.ir_builder.ir.meta_var):
        return value.value
    if not tvm.tirx.is_buffer_var(value):
        raise TypeError(f"{name} is no buffer, and has no type")
    IRBuilder.name(name, value)
    return value


def _declared(name, kind, value):
    """A name of an expression, or a number that has a place."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder

    if kind is T.let:
        value = value if isinstance(value, tvm.ir.Expr) else tvm.tirx.const(value)
        found = tvm.tirx.Var("", value.ty)
        IRBuilder.name(name, found)
        builder.Bind(value, var=found)
        return found
    found = builder.alloc_scalar(dtype=str(kind().ty), scope="global").scalar
    IRBuilder.name(name, found.source)
    T.buffer_store(found.source, value, [0])
    return found


def _done(value):
    """Says what a statement is that has a value, or goes around those that follow."""
    for frame in getattr(value, "frames", ()):
        frame.add_callback(lambda frame=frame: frame.__exit__(None, None, None))
        frame.__enter__()
    if isinstance(value, tvm.script.ir_builder.base.IRBuilderFrame):
        value.add_callback(lambda: value.__exit__(None, None, None))
        value.__enter__()
    elif isinstance(value, tvm.ir.Expr):
        T.evaluate(value)


def _logical(op, left, right):
    """Whether both conditions hold, or one of them; the second is looked at if the first does not
    tell."""
    if isinstance(left, bool) and left == (op == "Or"):
        return left
    right = right()
    if isinstance(left, bool):
        return right
    if isinstance(right, bool):
        right = tvm.tirx.IntImm("bool", right)
    if not (left.ty.is_scalar() and right.ty.is_scalar()):
        return left & right if op == "And" else left | right
    return (tvm.tirx.And if op == "And" else tvm.tirx.Or)(left, right)


def _compared(op, left, right):
    """A comparison."""
    if not any(isinstance(x, tvm.ir.Expr) for x in (left, right)):
        return {
            "Eq": left == right,
            "NotEq": left != right,
            "Lt": left < right,
            "LtE": left <= right,
            "Gt": left > right,
            "GtE": left >= right,
        }[op]
    names = {"Eq": "EQ", "NotEq": "NE", "Lt": "LT", "LtE": "LE", "Gt": "GT", "GtE": "GE"}
    return getattr(tvm.tirx, names[op])(*_alike(left, right))


def _not(condition):
    """That a condition does not hold."""
    return tvm.tirx.Not(condition) if isinstance(condition, tvm.ir.Expr) else not condition
