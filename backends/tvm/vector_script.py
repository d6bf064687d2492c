# mypy: ignore-errors
"""Helpers of kernels that compute functions by text of LLVM's for vectors.

They take and give expressions of a lane, as those of `script.py` do.
"""

import threading

import numpy as np
import tvm
from tvm.script import tirx as T

from attnc.backends.tvm.processor import _has, _vector


def _kind(x):
    """The type of an expression."""
    return str(x.ty)


def _exact(value, kind):
    """A number in a type; TVM takes what is cast for one of 32 bits first."""
    return tvm.tirx.const(value, kind)


def _polynomial(x, coefficients):
    """A polynomial of a number, the highest power first."""
    y = _exact(coefficients[0], _kind(x))
    for c in coefficients[1:]:
        y = y * x + _exact(c, _kind(x))
    return y


def _by_vectors(name, dtype, *values, alone=None):
    """A function of lanes, which text of LLVM's computes for a vector of these, as `name` there.

    TVM makes vectors of what is an operation to it alone, and knows how to make a call of that when
    its lanes are known. An operation is known to all modules of a process, so that its name has all
    that it depends on. Of one number, `alone` is TVM's function.
    """
    lanes = _vector("float64" if dtype.endswith("64") else "float32")
    known = tvm.__dict__.setdefault("attnc_operations", {"lock": threading.Lock()})
    operation = f"attnc.{name}.{dtype}x{lanes}"
    with known["lock"]:
        if operation not in known:
            tvm.ir.op.register_op_attr(operation, "TVectorizable", True)
            tvm.ir.op.register_op_attr(operation, "TCallEffectKind", 1)  # pure
            tvm.tirx.op.register_intrin_lowering(
                operation,
                target="llvm",
                f=lambda call: _in_vectors(call, name, dtype, lanes, alone),
            )
            known[operation] = tvm.ir.Op.get(operation)
    return tvm.tirx.call_intrin(dtype, known[operation], *(T.bind(x) for x in values))


def _in_vectors(call, name, dtype, lanes, alone):
    """Calls of a function for one vector after the other; the last one may have lanes to spare."""
    count = int(_kind(call).partition("x")[2] or 1)
    if count == 1 and alone is not None:
        return alone(*call.args)

    def part(x, first):
        if count == 1:
            return tvm.tirx.Broadcast(x, lanes)
        if count == lanes:
            return x
        places = [min(i, count - 1) for i in range(first, first + lanes)]
        return T.Shuffle([x] * -(-lanes // count), places)

    firsts = range(0, count, lanes)
    kind = f"{dtype}x{lanes}"
    found = [
        tvm.tirx.call_pure_extern(kind, name, *(part(x, i) for x in call.args)) for i in firsts
    ]
    return found[0] if count == lanes else T.Shuffle(found, list(range(count)))


def _scales():
    """Whether vectors have instructions for what is left of numbers when they are rounded, and for
    powers of two."""
    return _has("avx512dq")


def _native_powers():
    """Instructions for numbers in 32 bits: what is left of them when they are rounded to a whole
    number, and to multiply by a power of two."""
    if not _scales():
        return ""
    vector, all_ = "<16 x float>", "i16 -1, i32 4"
    left, scale = (f"@llvm.x86.avx512.mask.{name}.ps.512" for name in ("reduce", "scalef"))
    return f"""declare {vector} {left}({vector}, i32, {vector}, i16, i32)
declare {vector} {scale}({vector}, {vector}, {vector}, i16, i32)
define linkonce_odr {vector} @fraction({vector} %x) alwaysinline {{
  %found = call {vector} {left}({vector} %x, i32 0, {vector} zeroinitializer, {all_})
  ret {vector} %found
}}
define linkonce_odr {vector} @scaled({vector} %x, {vector} %power) alwaysinline {{
  %found = call {vector} {scale}({vector} %x, {vector} %power, {vector} zeroinitializer, {all_})
  ret {vector} %found
}}
"""


def _vector_function(name, arguments, lines, scalar=None):
    """A function of LLVM's for vectors of 64 bits, from lines such as `z = fmul x x`.

    Operands are names and numbers; it is of integers, or with `scalar` of floats. Lines before
    `---` then say for which lanes the others are not meant, as `out`: vectors with such a lane are
    computed lane by lane, by the function of LLVM's that `scalar` names.
    """
    lanes = _vector("float64")
    floats, whole, truth = (f"<{lanes} x {kind}>" for kind in ("double", "i64", "i1"))
    typed = whole if scalar is None else floats
    integers = ("add", "sub", "mul", "and", "xor", "shl", "lshr", "ashr")
    compared = {"above": "fcmp ugt", "below": "fcmp ult"}
    called = {"fma": "fmuladd", "fabs": "fabs", "sign": "copysign"}
    turned = {
        "bits": f"bitcast {floats} %{{}} to {whole}",
        "number": f"bitcast {whole} %{{}} to {floats}",
        "float": f"sitofp {whole} %{{}} to {floats}",
        "odd": f"trunc {whole} %{{}} to {truth}",
        "either": f"or {truth} %{{}}, %{{}}",
        "choice": f"select {truth} %{{}}, {floats} %{{}}, {floats} %{{}}",
    }

    def operand(x, kind):
        if x[0] not in "-.0123456789":
            return f"%{x}"
        one = f"i64 {x}" if kind == whole else f"double 0x{np.float64(x).view(np.uint64):016X}"
        return f"<{', '.join([one] * lanes)}>"

    def said(op, *given):
        if op in turned:
            return turned[op].format(*given)
        kind = whole if op in integers else floats
        operands = [operand(x, kind) for x in given]
        if op not in called:
            return f"{compared.get(op, op)} {kind} {', '.join(operands)}"
        arguments = ", ".join(f"{floats} {x}" for x in operands)
        return f"call {floats} @llvm.{called[op]}.v{lanes}f64({arguments})"

    text = [
        f"define linkonce_odr {typed} @{name}({', '.join(f'{typed} %{x}' for x in arguments)}) {{"
    ]
    for line in lines:
        if line == "---":
            text += [
                f"  %any = call i1 @llvm.vector.reduce.or.v{lanes}i1({truth} %out)",
                "  br i1 %any, label %apart, label %together",
                "together:",
            ]
        else:
            target, _, *words = line.split()
            text.append(f"  %{target} = {said(*words)}")
    text.append(f"  ret {typed} %{target}")
    if scalar is not None:
        text.append("apart:")
        held = "poison"
        for i in range(lanes):
            text += [
                f"  %x{i} = extractelement {floats} %x, i32 {i}",
                f"  %y{i} = call double @llvm.{scalar}.f64(double %x{i})",
                f"  %h{i} = insertelement {floats} {held}, double %y{i}, i32 {i}",
            ]
            held = f"%h{i}"
        text.append(f"  ret {floats} {held}")
    return "\n".join([*text, "}", ""])


def _native_callees():
    """What functions for vectors of 64 bits call."""
    lanes = _vector("float64")
    floats = f"<{lanes} x double>"
    found = [
        f"declare {floats} @llvm.{name}.v{lanes}f64({', '.join([floats] * count)})"
        for name, count in (("fmuladd", 3), ("fabs", 1), ("copysign", 2))
    ]
    found += [f"declare i1 @llvm.vector.reduce.or.v{lanes}i1(<{lanes} x i1>)"]
    scalars = ("sin", "cos", "log", "log2")
    return "\n".join([*found, *(f"declare double @llvm.{s}.f64(double)" for s in scalars), ""])


def _series(name, variable, coefficients):
    """Lines for a polynomial, the highest power first."""
    y, *others = coefficients
    for i, c in enumerate(others, 1 - len(others)):
        target = f"{name}{-i}" if i else name
        yield f"{target} = fma {y} {variable} {c}"
        y = target


def _native_angles():
    """Sines and cosines, within 0.84 units in the last place.

    Angles up to 2**20 lose their whole quarters of a turn, of which pi / 2 has 119 bits: products
    with the first two parts are exact. What is left, `r` and a rest of it, `low`, lies in
    [-pi / 4, pi / 4], where sine and cosine are polynomials.
    """
    reduced = [
        "size = fabs x",
        "out = above size 1048576",
        "---",
        "turned = fmul x 0.6366197723675814",
        "near = fadd turned 6755399441055744",  # its last bits are the nearest whole number
        "quarters = fsub near 6755399441055744",
        "back = fneg quarters",
        "a = fma back 1.5707963267341256 x",
        "b = fma back 6.077100506303966e-11 a",
        "gone = fsub a b",
        "lower = fma back 6.077100506303966e-11 gone",
        "under = fma back 2.0222662487959506e-21 lower",
        "r = fadd b under",
        "above = fsub b r",
        "low = fadd above under",
        "z = fmul r r",
        *_series("s", "z", _SINE),
        *_series("c", "z", _COSINE),
        "half = fmul z 0.5",
        "most = fsub 1 half",
        "cube = fmul z r",
        "tail = fmul low most",
        "more = fma cube s tail",
        "sum = fadd r more",
        "sine = sign sum b",
        "lost = fsub 1 most",
        "rest = fsub lost half",
        "negative = fneg r",
        "less = fma negative low rest",
        "fourth = fmul z z",
        "last = fma fourth c less",
        "cosine = fadd most last",
        "bits = bits near",
    ]
    turned = ["second = and n 2", "flip = shl second 62", "as = bits chosen"]
    turned += ["signed = xor as flip", "found = number signed"]
    found = []
    for name, quarters in (("sin", 0), ("cos", 1)):
        which = [f"n = add bits {quarters}", "other = odd n", "chosen = choice other cosine sine"]
        found.append(_vector_function(f"{name}_of", ("x",), [*reduced, *which, *turned], name))
    return "".join(found)


_SINE = (
    1.5916726193661624e-10,
    -2.5051112272569342e-08,
    2.7557316008171526e-06,
    -0.0001984126983657571,
    0.008333333333330827,
    -0.16666666666666666,
)
_COSINE = (
    -1.1381754653520499e-11,
    2.0876134024087705e-09,
    -2.7557317212686573e-07,
    2.4801587298651292e-05,
    -0.0013888888888887322,
    0.041666666666666664,
)


def _angle(name, x):
    """The sine or cosine of an angle, by way of 64 bits."""
    alone = T.sin if name == "sin_of" else T.cos
    return T.Cast(_kind(x), _by_vectors(name, "float64", T.Cast("float64", x), alone=alone))


def _sin(x):
    """The sine."""
    return _angle("sin_of", x)


def _cos(x):
    """The cosine."""
    return _angle("cos_of", x)


def _sine(x, quarters, dtype):
    """sin(x + quarters * pi / 2) of an angle of 64 bits, in the type that is computed in."""
    return T.Cast(dtype, _angle("cos_of" if quarters else "sin_of", x))


def _native_logarithms():
    """Logarithms of 64 bits, within 1 unit in the last place.

    A number is 2**k times a mantissa m between the roots of 1/2 and 2, and log(m) is a series in
    (m - 1) / (m + 1): it is `f - (half - rest)`. Binary ones have 1 / log(2) in two parts, of which
    the first meets no more than the upper half of a logarithm, so that powers of 2 are exact.
    """
    split = [
        "small = below x 2.2250738585072014e-308",
        "large = above x 1.7976931348623157e308",
        "out = either small large",
        "---",
        "bits = bits x",
        "over = sub bits 4604544271217802189",  # those of the root of 1/2
        "exponent = ashr over 52",
        "power = shl exponent 52",
        "of = sub bits power",
        "m = number of",
        "k = float exponent",
        "f = fsub m 1",
        "up = fadd m 1",
        "s = fdiv f up",
        "z = fmul s s",
        *_series("r", "z", _LOGARITHM),
        "square = fmul f f",
        "half = fmul square 0.5",
        "tail = fma z r half",
        "rest = fmul s tail",
    ]
    natural = [
        "low = fma k 1.9082149292705877e-10 rest",
        "less = fsub half low",
        "near = fsub less f",
        "back = fneg near",
        "found = fma k 0.6931471803691238 back",
    ]
    binary = [
        "whole = fsub f half",
        "as = bits whole",
        "upper = and as -4294967296",
        "high = number upper",
        "gone = fsub f high",
        "left = fsub gone half",
        "low = fadd left rest",
        "main = fmul high 1.4426950407214463",
        "both = fadd low high",
        "part = fmul low 1.4426950407214463",
        "other = fma both 1.6751713164886512e-10 part",
        "most = fadd k main",
        "lost = fsub k most",
        "back = fadd lost main",
        "more = fadd other back",
        "found = fadd most more",
    ]
    found = _vector_function("log_of", ("x",), [*split, *natural], "log")
    return found + _vector_function("log2_of", ("x",), [*split, *binary], "log2")


_LOGARITHM = (
    0.1461703754883715,
    0.15331674030163508,
    0.18182890556695763,
    0.22222211115144158,
    0.2857142862609589,
    0.3999999999989924,
    0.666666666666667,
)


def _wide_log(name, x):
    """A logarithm of 64 bits."""
    alone = T.log2 if name == "log2" else T.log
    return _by_vectors(f"{name}_of", "float64", x, alone=alone)


def _mixed(state, x):
    """One step of splitmix64 over 64 bits."""
    return _by_vectors("mixed", "int64", state, T.Cast("int64", x))


def _native_mixed():
    """Such a step: TVM's integers may not overflow."""
    lines = ["both = xor state x", f"a = add both {0x9E3779B97F4A7C15 - 2**64}"]
    lines += ["a1 = lshr a 30", "a2 = xor a a1", f"b = mul a2 {0xBF58476D1CE4E5B9 - 2**64}"]
    lines += ["b1 = lshr b 27", "b2 = xor b b1", f"c = mul b2 {0x94D049BB133111EB - 2**64}"]
    return _vector_function("mixed", ("state", "x"), [*lines, "c1 = lshr c 31", "mixed = xor c c1"])
