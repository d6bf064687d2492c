# mypy: ignore-errors
"""Helpers that kernels are written with; those that a module uses are copied into it.

They take and give expressions of a lane, and are run when a kernel is built.
"""

import contextlib

import tvm
from tvm.script import tirx as T

from attnc.backends.tvm.processor import _APART, _sums
from attnc.backends.tvm.vector_script import (
    _by_vectors,
    _exact,
    _kind,
    _native_powers,
    _polynomial,
    _scales,
    _wide_log,
)


def _native(dtype, lanes):
    """What TVM has no words for: to claim a program, to ask for memory that is read soon, up to the
    second cache, and to add up the lanes of a vector."""
    number, short = ("double", "f64") if dtype == "float64" else ("float", "f32")
    vector, add = f"<{lanes} x {number}>", f"@llvm.vector.reduce.fadd.v{lanes}{short}"
    return f"""define linkonce_odr i64 @claim(ptr %turns) alwaysinline {{
  %turn = atomicrmw add ptr %turns, i64 1 monotonic
  ret i64 %turn
}}
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
define linkonce_odr i32 @fetch(ptr %place) alwaysinline {{
  call void @llvm.prefetch.p0(ptr %place, i32 0, i32 2, i32 1)
  ret i32 0
}}
declare {number} {add}({number}, {vector})
define linkonce_odr {number} @total({vector} %x) alwaysinline {{
  %sum = call reassoc {number} {add}({number} -0.0, {vector} %x)
  ret {number} %sum
}}
{_lane_sums(vector, lanes)}{_native_powers()}"""


def _lane_sums(vector, lanes):
    """Of so many vectors as one has lanes, a vector of the sums of their lanes.

    Of two vectors, the halves that stay are chosen, the others change places, and both are added.
    """
    held = [f"%v{i}" for i in range(lanes)]
    given = ", ".join(f"{vector} {v}" for v in held)
    lines = [f"define linkonce_odr {vector} @sums({given}) alwaysinline {{"]
    while len(held) > 1:
        half, made = len(held) // 2, []
        for a, b in zip(held[:half], held[half:], strict=True):
            name = f"%s{len(lines)}"
            stay = [i if not i & half else lanes + i for i in range(lanes)]
            move = [i + half if not i & half else lanes + i - half for i in range(lanes)]
            for end, order in (("a", stay), ("b", move)):
                mask = ", ".join(f"i32 {i}" for i in order)
                lines.append(
                    f"  {name}_{end} = shufflevector {vector} {a}, {vector} {b}, "
                    f"<{lanes} x i32> <{mask}>"
                )
            lines.append(f"  {name} = fadd {vector} {name}_a, {name}_b")
            made.append(name)
        held = made
    return "\n".join([*lines, f"  ret {vector} {held[0]}", "}"]) + "\n"


def _native_turn(dtype, lanes):
    """To turn a square of vectors, so that rows become columns: in each step, of two rows so far
    apart every so many numbers change places."""
    number, size = ("double", 8) if dtype == "float64" else ("float", 4)
    vector, places = f"<{lanes} x {number}>", range(lanes)
    given = "ptr noalias %from, i64 %width, ptr noalias %to, i64 %columns"
    lines = [f"define linkonce_odr i32 @turned({given}) {{"]
    for i in places:
        lines += [
            f"  %i{i} = mul i64 %width, {i}",
            f"  %p{i} = getelementptr {number}, ptr %from, i64 %i{i}",
            f"  %x1_{i} = load {vector}, ptr %p{i}, align {size}",
        ]
    step = 1
    while step < lanes:
        for i in (i for i in places if not i & step):
            pair = f"{vector} %x{step}_{i}, {vector} %x{step}_{i + step}"
            for k, off in ((i, 0), (i + step, step)):
                order = (j + off if not j & step else lanes + j - step + off for j in places)
                mask = ", ".join(f"i32 {j}" for j in order)
                lines.append(f"  %x{2 * step}_{k} = shufflevector {pair}, <{lanes} x i32> <{mask}>")
        step *= 2
    for i in places:
        lines += [
            f"  %j{i} = mul i64 %columns, {i}",
            f"  %q{i} = getelementptr {number}, ptr %to, i64 %j{i}",
            f"  store {vector} %x{step}_{i}, ptr %q{i}, align {size}",
        ]
    return "\n".join([*lines, "  ret i32 0", "}", ""])


def _turns(rows, columns, lanes):
    """Whether rows are turned in squares of vectors."""
    return lanes > 1 and rows % lanes == 0 and columns % lanes == 0


def _turn(tile, rows, part, lanes):
    """Makes so many rows columns of a tile."""
    width, columns = int(rows.shape[1]), int(tile.shape[1])
    with T.serial(width // lanes) as block:
        start, end = rows[0, block * lanes], tile[block * lanes, part * lanes]
        start, end = T.address_of(start), T.address_of(end)
        T.evaluate(T.call_extern("int32", "turned", start, T.int64(width), end, T.int64(columns)))


def _turn_back(rows, tile, part, lanes):
    """Makes so many columns of a tile rows."""
    width, columns = int(rows.shape[1]), int(tile.shape[1])
    with T.serial(width // lanes) as block:
        start, end = tile[block * lanes, part * lanes], rows[0, block * lanes]
        start, end = T.address_of(start), T.address_of(end)
        T.evaluate(T.call_extern("int32", "turned", start, T.int64(columns), end, T.int64(width)))


def _native_pairs(paired, lanes):
    """To add up products of pairs of bf16, and to round to pairs, if a kernel does; a pair is a
    number of 32 bits, the first of the two in its lower half."""
    if not paired:
        return ""
    number, pair, narrow = f"<{lanes} x float>", f"<{lanes} x i32>", f"<{2 * lanes} x bfloat>"
    dot, narrowed = (
        f"@llvm.x86.avx512bf16.{name}.{32 * lanes}" for name in ("dpbf16ps", "cvtne2ps2bf16")
    )
    order = ", ".join(f"i32 {i // 2 + i % 2 * lanes}" for i in range(2 * lanes))
    return f"""declare {number} {dot}({number}, {narrow}, {narrow})
declare {narrow} {narrowed}({number}, {number})
define linkonce_odr {number} @dot_of_pairs({number} %sum, {pair} %a, {pair} %b) alwaysinline {{
  %x = bitcast {pair} %a to {narrow}
  %y = bitcast {pair} %b to {narrow}
  %found = call {number} {dot}({number} %sum, {narrow} %x, {narrow} %y)
  ret {number} %found
}}
define linkonce_odr {pair} @pairs({number} %a, {number} %b) alwaysinline {{
  %short = call {narrow} {narrowed}({number} %b, {number} %a)
  %woven = shufflevector {narrow} %short, {narrow} poison, <{2 * lanes} x i32> <{order}>
  %found = bitcast {narrow} %woven to {pair}
  ret {pair} %found
}}
define linkonce_odr i16 @narrowed(float %x) alwaysinline {{
  %short = fptrunc float %x to bfloat
  %found = bitcast bfloat %short to i16
  ret i16 %found
}}
"""


@contextlib.contextmanager
def _apart(frame, native):
    """A loop that becomes a function of its own, which is built at the same time as the rest of a
    kernel; `native` is text of LLVM's that it needs. It is no more than a loop where a kernel is
    built as a whole."""
    with contextlib.ExitStack() as around:
        target = getattr(_APART, "target", None)
        if target is not None:
            around.enter_context(T.attr(target, "target", 0))
            around.enter_context(T.attr(T.int32(0), "pragma_import_llvm", native))
        with frame as count:
            yield count


def _claimed(turns):
    """The next program, which no other thread has."""
    return T.call_extern("int64", "claim", T.address_of(turns[0]))


def _sealed(x):
    """A float by its bits: into what is so written, TVM's arithmetic does not look. Meant for
    integers, it fails on differences of choices and of products of floats."""
    if not _kind(x).startswith("float"):
        return x
    return T.reinterpret(_kind(x), T.reinterpret(_kind(x).replace("float", "int"), x))


def _as_float(x, dtype):
    """An integer as a float."""
    return _sealed(T.Cast(dtype, x))


def _select(condition, a, b):
    """A choice."""
    return _sealed(T.Select(condition, a, b))


def _where(condition, a, b):
    """`a` where a condition holds, else `b`; numbers take the type of what they stand beside."""
    if isinstance(condition, bool):
        return a if condition else b
    a, b = _alike(a, b)
    return _select(condition, a, b)


def _alike(a, b):
    """Two operands in one type; of two that are known now, integers have 64 bits."""
    if not isinstance(a, tvm.ir.Expr) and not isinstance(b, tvm.ir.Expr):
        a = tvm.tirx.const(a, "int64" if type(a) is int else None)
    if not isinstance(a, tvm.ir.Expr):
        return tvm.tirx.const(a, _kind(b)), b
    if not isinstance(b, tvm.ir.Expr):
        return a, tvm.tirx.const(b, _kind(a))
    if _kind(a) == _kind(b):
        return a, b
    if _kind(a).startswith("float") or _kind(b) == "int32":
        return a, T.Cast(_kind(a), b)
    return T.Cast(_kind(b), a), b


def _differ(a, b):
    """Whether one of two conditions holds alone."""
    a, b = (T.Select(x, T.int32(1), T.int32(0)) for x in (a, b))
    return tvm.tirx.NE(a, b)


def _negative(x):
    """A float with its sign turned, which is its first bit."""
    bits = _kind(x).replace("float", "int")
    sign = tvm.tirx.const(-(2 ** (int(bits[3:]) - 1)), bits)
    return T.reinterpret(_kind(x), T.bitwise_xor(T.reinterpret(bits, x), sign))


def _nan(x):
    """Whether a number is NaN, told by its bits: comparisons with itself are taken for true."""
    if _kind(x) == "float64":
        bits = T.bitwise_and(T.reinterpret("int64", x), T.int64(2**63 - 1))
        return bits > T.int64(0x7FF0000000000000)
    bits = T.bitwise_and(T.reinterpret("int32", x), T.int32(2**31 - 1))
    return bits > T.int32(0x7F800000)


def _larger(a, b):
    """The larger of two; NaN is passed on."""
    a, b = map(T.bind, _alike(a, b))
    return _select(a > b, a, _select(_nan(a), a, b))


def _smaller(a, b):
    """The smaller of two; NaN is passed on."""
    a, b = map(T.bind, _alike(a, b))
    return _select(a < b, a, _select(_nan(a), a, b))


def _over(a, b):
    """The larger of two that are not NaN."""
    a, b = _alike(a, b)
    return _select(a > b, a, b)


def _under(a, b):
    """The smaller of two that are not NaN."""
    a, b = _alike(a, b)
    return _select(a < b, a, b)


def _ahead(a, b):
    """Whether one value comes before another, the largest first, NaN largest of all."""
    if not _kind(a).startswith("float"):
        return a > b
    return T.Or(T.And(_nan(a), T.Not(_nan(b))), T.And(T.Not(_nan(b)), a > b))


def _tied(a, b):
    """Whether no value comes before the other."""
    if not _kind(a).startswith("float"):
        return tvm.tirx.EQ(a, b)
    return T.Or(T.And(_nan(a), _nan(b)), a == b)


def _kept(x):
    """A number that has a place of its own, in loops that are no vectors.

    TVM writes a name out wherever it is read, and what divides reads its operands several times:
    without a place, quotients of quotients grow without end.
    """
    if isinstance(x, (tvm.ir.expr.Var, tvm.tirx.IntImm)):
        return x
    place = T.alloc_buffer((1,), _kind(x))
    T.buffer_store(place, x, [0])
    return place[0]


def _floordiv(a, b):
    """The quotient of integers, rounded down; by 0 anything but undefined."""
    a, b = map(_kept, _alike(a, b))
    by = _kept(_select(T.Or(b == 0, b == -1), tvm.tirx.const(1, _kind(b)), b))
    down = T.And(T.truncmod(a, by) != 0, _differ(a < 0, by < 0))
    found = T.truncdiv(a, by) - T.Cast(_kind(a), down)
    return _kept(_select(b == -1, 0 - a, found))


def _floormod(a, b):
    """What rounding the quotient of integers down leaves; by 0 anything but undefined."""
    a, b = map(_kept, _alike(a, b))
    by = _kept(_select(T.Or(b == 0, b == -1), tvm.tirx.const(1, _kind(b)), b))
    rest = _kept(T.truncmod(a, by))
    return _kept(rest + _select(T.And(rest != 0, _differ(rest < 0, by < 0)), by, 0 * by))


def _floor_of(a, b):
    """The quotient of floats, rounded down."""
    return T.floor(a / b)


def _rest_of(a, b):
    """What rounding the quotient of floats down leaves."""
    return a - T.floor(a / b) * b


def _whole_power(x, n):
    """A power with a small whole exponent."""
    result = T.Cast(_kind(x), 1)
    for _ in range(n):
        result = result * x
    return result


def _pow(x, y):
    """A power of floats, in 64 bits."""
    return T.Cast(_kind(x), T.pow(T.Cast("float64", x), T.Cast("float64", y)))


def _wide(x, dtype):
    """An element of a tensor in the type that is computed in; bf16 is stored as its 16 bits."""
    lanes = _kind(x)[6:] if _kind(x).startswith("uint16") else None
    if lanes is not None:
        sixteen = T.Cast("uint32", 16)
        sixteen = T.broadcast(sixteen, int(lanes[1:])) if lanes else sixteen
        x = T.reinterpret(f"float32{lanes}", T.shift_left(T.Cast(f"uint32{lanes}", x), sixteen))
    kind, _, lanes = _kind(x).partition("x")
    return x if kind == dtype else T.Cast(f"{dtype}x{lanes}" if lanes else dtype, x)


def _from_f8e4m3(x, dtype):
    """A number of 4 bits of exponent and 3 of fraction, from its bits."""
    bits = T.Cast("int32", x)
    exponent = T.bitwise_and(T.shift_right(bits, 3), 15)
    fraction = T.Cast("float32", T.bitwise_and(bits, 7)) * 0.125
    power = T.reinterpret("float32", T.shift_left(exponent + 120, T.int32(23)))
    size = _select(exponent == 0, fraction * 0.015625, (fraction + 1.0) * power)
    nan = T.reinterpret("float32", T.bitwise_or(bits, 0x7FC00000))
    size = _select(T.bitwise_and(bits, 127) == 127, nan, size)
    return T.Cast(dtype, _select(bits >= 128, 0.0 - size, size))


def _from_f8e5m2(x, dtype):
    """A number of 5 bits of exponent and 2 of fraction: the upper half of one of 16 bits."""
    bits = T.Cast("uint16", T.shift_left(T.Cast("int32", x), T.int32(8)))
    return T.Cast(dtype, T.reinterpret("float16", bits))


def _to_f8(x, digits):
    """The bits of a number with so many digits of fraction in 8 bits, to the nearest, ties to even.

    Three digits have no infinity: what is too large is NaN.
    """
    bias, most, beyond = {3: (7, 0x7E, 0x7F), 2: (15, 0x7B, 0x7C)}[digits]
    bits = T.reinterpret("int32", T.Cast("float32", x))
    size = T.bitwise_and(bits, T.int32(0x7FFFFFFF))
    cut = T.int32(23 - digits)
    last = T.bitwise_and(T.shift_right(size, cut), T.int32(1))
    near = T.shift_right(size + T.int32((1 << (22 - digits)) - 1) + last, cut)
    near = near - T.int32((127 - bias) << digits)
    unit = (150 - (bias - 1 + digits)) << 23  # a sum with it has whole steps of the least number
    least = T.reinterpret("float32", size) + T.reinterpret("float32", T.int32(unit))
    least = T.reinterpret("int32", least) - T.int32(unit)
    code = _select(size < T.int32((128 - bias) << 23), least, near)
    code = _select(code > most, T.int32(beyond), code)
    code = _select(size > T.int32(0x7F800000), T.int32(0x7F), code)
    sign = T.bitwise_and(T.shift_right(bits, T.int32(24)), T.int32(0x80))
    return T.Cast("uint8", T.bitwise_or(code, sign))


def _narrow(x, element):
    """A number as an element of a tensor, to the nearest, ties to even."""
    if element != "bfloat16":
        return T.Cast(element, x)
    bits = T.reinterpret("uint32", T.Cast("float32", x))
    one, half = T.Cast("uint32", 1), T.Cast("uint32", 0x7FFF)
    up = bits + half + T.bitwise_and(T.shift_right(bits, T.Cast("uint32", 16)), one)
    quiet = T.bitwise_or(bits, T.Cast("uint32", 0x400000))
    kept = _select(_nan(T.Cast("float32", x)), quiet, up)
    return T.Cast("uint16", T.shift_right(kept, T.Cast("uint32", 16)))


def _rounded(x, element):
    """A number rounded to an element type, in its own."""
    if element == "bfloat16":
        return _wide(_narrow(x, element), _kind(x))
    return T.Cast(_kind(x), T.Cast(element, x))


_EXP2 = {
    "float32": (
        0.00030691560823470354,
        0.002679985947906971,
        0.019236978143453598,
        0.11100657284259796,
        0.48045292496681213,
        1.3862943649291992,
        2.0,
    ),
    "float64": (
        8.870704703729767e-10,
        1.4148208683655033e-08,
        2.0356395117692858e-07,
        2.643086619461515e-06,
        3.050546698219218e-05,
        0.0003080706092499764,
        0.0026667116293577547,
        0.019236258215176695,
        0.11100821732963985,
        0.4804530139182031,
        1.3862943611198906,
        2.0,
    ),
}


def _exp2(x):
    """2 to a power, within 0.95 units in the last place, 0.99 in 64 bits.

    Where vectors have no instructions for it, it is 0 below 2**-125.5, in 64 bits below 2**-1021.5.
    What is left when a whole exponent is taken off lies in [-1/2, 1/2], where a polynomial gives
    twice its power; the exponent is added to its bits.
    """
    if _kind(x) == "float32" and _scales():
        x = T.bind(x)
        fraction = T.bind(_by_vectors("fraction", "float32", x))
        power = _polynomial(fraction, [c / 2 for c in _EXP2["float32"]])
        return _by_vectors("scaled", "float32", power, x - fraction)
    wide = _kind(x) == "float64"
    low, high, bias, shift = (-1022, 1025, 1022, 52) if wide else (-126, 129, 126, 23)
    magic, bits = (6755399441055744.0, "int64") if wide else (12582912.0, "int32")
    at = _exact(magic + bias, _kind(x))
    most = T.reinterpret(bits, _exact(magic + bias + high, _kind(x)))

    def number(n):
        return _exact(n, _kind(x))

    x = T.bind(x)
    x = T.bind(_select(x < number(low), number(low), x))
    whole = T.reinterpret(bits, x + at)  # its last bits are the nearest exponent, and the bias
    whole = T.bind(T.min(whole, most))
    fraction = T.bind(x - (T.reinterpret(_kind(x), whole) - at))
    twice = _polynomial(fraction, _EXP2["float64" if wide else "float32"])
    return twice * T.reinterpret(_kind(x), T.shift_left(whole, T.Cast(bits, shift)))


def _exp(x):
    """e to a power; in 32 bits, the exponent is split so that no digit of it is lost."""
    if _kind(x) != "float32":
        return T.exp(x)
    x = T.bind(x)
    x = _select(x < T.float32(-105), T.float32(-105), _select(x > 90, T.float32(90), x))
    x = T.bind(x)
    whole = T.bind(T.floor(x * T.float32(1.4426950408889634) + T.float32(0.5)))
    r = x - whole * T.float32(0.693359375)
    r = T.bind(r + whole * T.float32(2.12194440e-4))
    y = T.float32(1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        y = y * r + T.float32(c)
    y = y * r * r + r + T.float32(1)
    n = T.bind(T.Cast("int32", whole))
    half = T.bind(T.shift_right(n, T.int32(1)))
    for power in (half, n - half):
        y = y * T.reinterpret("float32", T.shift_left(power + 127, T.int32(23)))
    return y


def _mantissa(x):
    """The exponent of a number as a float, and its mantissa, between the roots of 1/2 and 2."""
    tiny = x < _exact(2.0**-126, "float32")
    whole = T.bind(T.reinterpret("int32", _select(tiny, x * _exact(2.0**25, "float32"), x)))
    exponent = T.bind(T.shift_right(whole - T.int32(0x3F3504F3), T.int32(23)))
    mantissa = T.reinterpret("float32", whole - T.shift_left(exponent, T.int32(23)))
    return T.Cast("float32", exponent - _select(tiny, T.int32(25), T.int32(0))), mantissa


def _near_one(m):
    """The logarithm of a mantissa: what it has above 1, and what of that is too much.

    By the series of the inverse hyperbolic tangent of (m - 1) / (m + 1).
    """
    f = T.bind(m - 1.0)
    s = T.bind(f / (m + 1.0))
    z = T.bind(s * s)
    tail = z * _polynomial(z, [2.0 / (2 * n + 1) for n in range(5, 0, -1)])
    half = T.bind(f * f * 0.5)
    return _sealed(f), _sealed(half), _sealed(T.bind(s * (half + tail)))


def _outside(x, found):
    """A logarithm, where a number has none, too."""
    inf = T.Cast(_kind(x), float("inf"))
    found = _select(x > 0.0, _select(x == inf, inf, found), T.Cast(_kind(x), float("nan")))
    return _select(x == 0.0, 0.0 - inf, _select(_nan(x), x, found))


def _log2(x):
    """The binary logarithm, within 2 units in the last place."""
    if _kind(x) == "float64":
        return _wide_log("log2", x)
    x = T.bind(_sealed(x))
    exponent, mantissa = _mantissa(x)
    f, half, rest = _near_one(T.bind(mantissa))
    return _outside(x, exponent + (f - (half - rest)) * 1.4426950408889634)


def _log(x):
    """The natural logarithm, within 1 unit in the last place."""
    if _kind(x) == "float64":
        return _wide_log("log", x)
    x = T.bind(_sealed(x))
    exponent, mantissa = _mantissa(x)
    f, half, rest = _near_one(T.bind(mantissa))
    high, low = 0.693145751953125, 1.428606820309417e-06  # of log(2)
    return _outside(x, exponent * high - ((half - (rest + exponent * low)) - f))


def _expm1(x):
    """exp(x) - 1, also where x is small."""
    u = _exp(x)
    near = (u - 1.0) * x / _log(u)
    plain = _select(T.And(_abs(x) < 1.0, u > 0.0), near, u - 1.0)
    return _select(u == 1.0, x, plain)


def _log1p(x):
    """log(1 + x), also where x is small.

    The sum goes by way of its bits: TVM takes 1 from it as if it were exact.
    """
    bits = "int64" if _kind(x) == "float64" else "int32"
    x = T.bind(x)
    u = T.bind(T.reinterpret(_kind(x), T.reinterpret(bits, 1.0 + x)))
    found = T.bind(_log(u))
    near = found * x / (u - 1.0)
    return _select(u == 1.0, x, _select(_abs(x) < 1.0, near, found))


def _sqrt(x):
    """The square root."""
    return T.sqrt(x)


def _rsqrt(x):
    """1 over the square root."""
    return 1.0 / T.sqrt(x)


_TANH = (
    0.06672623753547668,
    0.2007163017988205,
    0.5000022649765015,
    0.9999946355819702,
    1.5,
)


def _tanh(x):
    """The hyperbolic tangent, within 2 units in the last place: (e - 1) / (e + 1), e = exp(2 |x|).

    In 32 bits, |x| is a multiple of log(2) / 2 and a rest r, and h = 3/4 (exp(2 r) - 1): with 3/4
    of both, what is divided by is not rounded where its last digit counts most. In 64 bits, what
    is small goes without cancellation.
    """
    y = _abs(x)
    if _kind(x) == "float64":
        e = _expm1(2.0 * y)
        large = 1.0 - 2.0 / (_exp2(y * 2.885390081777927) + 1.0)
        found = _select(y < 0.625, e / (e + 2.0), large)
        return _select(x < 0, 0.0 - found, found)
    y = T.bind(_select(y > 9.5, T.float32(9.5), y))
    at = T.float32(12582912.0 + 127)
    whole = T.bind(y * T.float32(2.885390081777927) + at)  # its last bits: the power, and 127
    r = T.bind(y - (whole - at) * T.float32(0.34657359027997264))
    h = r * r * _polynomial(r, _TANH) + r * 1.5
    power = T.bind(T.shift_left(T.reinterpret("int32", whole), T.int32(23)))
    part = T.reinterpret("float32", power - T.int32(1 << 22))  # 3/4 of the power
    above = T.bind(T.reinterpret("float32", power) * h + (part - T.float32(0.75)))
    sign = T.bitwise_and(T.reinterpret("int32", x), T.int32(-(2**31)))
    found = T.reinterpret("int32", above / (above + T.float32(1.5)))
    return T.reinterpret("float32", T.bitwise_or(found, sign))


def _sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + _exp2(x * -1.4426950408889634))


def _relu(x):
    """max(x, 0); NaN is passed on."""
    return _select(x < 0, T.Cast(_kind(x), 0), x)


def _silu(x):
    """x * sigmoid(x)."""
    return x / (1.0 + _exp2(x * -1.4426950408889634))


def _softplus(x):
    """log(1 + exp(x)).

    What is added to x or 0 is the logarithm of a number from 1 to 2, by the series of `_near_one`.
    """
    u = T.bind(_exp(0.0 - _abs(x)))
    s = T.bind(u / (u + 2.0))
    z = T.bind(s * s)
    terms = 17 if _kind(x) == "float64" else 8
    tail = _polynomial(z, [2.0 / (2 * n + 1) for n in range(terms - 1, 0, -1)])
    return _select(x > 0, x, T.Cast(_kind(x), 0)) + (2.0 * s + s * z * tail)


def _erf(x):
    """The error function."""
    return T.erf(x)


def _gelu(x):
    """The Gaussian error linear unit, by erf."""
    return 0.5 * x * (1.0 + T.erf(x * 0.7071067811865476))


def _abs(x):
    """The size of a number: of a float, its bits without the sign."""
    kind = _kind(x)
    if kind.startswith("int"):
        return _select(x < 0, 0 - x, x)
    bits = kind.replace("float", "int")
    most = tvm.tirx.const(2 ** (int(bits[3:]) - 1) - 1, bits)
    return T.reinterpret(kind, T.bitwise_and(T.reinterpret(bits, x), most))


def _sign(x):
    """-1, 0 or 1; NaN is passed on."""
    one = T.Cast(_kind(x), 1)
    return _select(x > 0, one, _select(x < 0, 0 - one, x))


def _floor(x):
    """The greatest integer that is no greater."""
    return T.floor(x)


def _ceil(x):
    """The least integer that is no less."""
    return T.ceil(x)


def _round(x):
    """The nearest integer, half to even."""
    down = T.bind(T.floor(x))
    rest = T.bind(x - down)
    even = T.floor(down * 0.5) * 2.0 == down
    up = T.Or(rest > 0.5, T.And(rest == 0.5, T.Not(even)))
    return _select(up, down + 1.0, down)


def _seed():
    """Where a chain of random bits begins."""
    return T.int64(0x9E3779B97F4A7C15 - 2**64)


def _uniform(state):
    """24 bits as a number in [0, 1)."""
    bits = T.bitwise_and(T.shift_right(state, T.int64(40)), T.int64(2**24 - 1))
    return T.Cast("float32", bits) * T.float32(1.0 / 16777216.0)


def _block(rows, columns, lanes):
    """How many rows and vectors of columns a product computes at once, in registers."""
    vectors = next(v for v in (4, 3, 2, 1) if v * 2 <= _sums() and columns % (v * lanes) == 0)
    most = max(1, _sums() // vectors)
    return next(r for r in range(min(most, rows), 0, -1) if rows % r == 0), vectors


def _vectors(buffer, i, j, lanes):
    """A vector of a row of a tile."""
    return buffer[i, T.ramp(j, 1, lanes)]


def _held(high, vectors, lanes, dtype):
    """Room for a few rows of vectors: small enough, each, to be kept in registers."""
    return [T.alloc_buffer((vectors * lanes,), dtype) for _ in range(high)]


def _every(row, lanes):
    """A loop over the places of the vectors of a row.

    A place is no number of the text: to that TVM adds 0, and sees no vector in the sum.
    """
    return T.unroll(int(row.shape[0]) // lanes)


def _nth(row, v, lanes):
    """A vector of a row."""
    return row[T.ramp(v * lanes, 1, lanes)]


def _keep(row, v, x, lanes):
    """Makes a vector of a row what is given."""
    T.buffer_store(row, x, [T.ramp(v * lanes, 1, lanes)])


def _each(size):
    """A loop over lanes as vectors, if there are several."""
    return T.vectorized(size) if size > 1 else T.serial(size)


def _beside(size):
    """A loop over neighbours in memory as vectors: counted in 64 bits, as places there are, since
    what is cast is no vector of neighbours to TVM."""
    return T.vectorized(T.int64(size)) if size > 1 else T.serial(size)


def _either(condition, a, b):
    """One of two, told when a kernel is built."""
    return a if condition else b


def _halved(paired, size, columns):
    """The shape of every two rows in one; no more than an element if there are no pairs."""
    return (-(-size // 2), columns) if paired else (1, 1)


def _evened(paired, rows, size):
    """The shape of rows of pairs; no more than an element if there are no pairs."""
    return (rows, size + size % 2) if paired else (1, 1)


def _two(buffer, i, k):
    """A pair of neighbours of a row."""
    return T.reinterpret("int32", buffer[i, T.ramp(k * 2, 1, 2)])


def _narrowed(x):
    """The bits of a number that is rounded to bf16."""
    return T.call_extern("uint16", "narrowed", x)


def _lay(room, at, rows, size):
    """Puts rows into a tile whose rows are pairs; a last one lacks a neighbour, which is 0."""
    with T.serial(rows) as i, T.serial(size) as k:
        T.buffer_store(room, at(i, k), [i, k])
    if size % 2:
        with T.serial(rows) as i:
            T.buffer_store(room, T.Cast("uint16", 0), [i, size])


def _joined(low, high):
    """A pair of the bits of two numbers."""
    return T.bitwise_or(T.Cast("int32", low), T.shift_left(T.Cast("int32", high), T.int32(16)))


def _weave(room, at, size, columns, along):
    """Puts every two rows into one of pairs; a last row lacks a neighbour, which is 0.

    Where what is read lies `along` columns, so do the loops.
    """

    def put(k, j, high):
        T.buffer_store(room, _joined(at(k * 2, j), high), [k, j])

    if along:
        with T.serial(columns) as j, T.serial(size // 2) as k:
            put(k, j, at(k * 2 + 1, j))
    else:
        with T.serial(size // 2) as k, T.serial(columns) as j:
            put(k, j, at(k * 2 + 1, j))
    if size % 2:
        with T.serial(columns) as j:
            put(size // 2, j, 0)


def _weave_vectors(room, tile, size, columns, lanes):
    """Rounds every two rows of a tile to one of pairs."""

    def put(k, high):
        with T.serial(columns // lanes) as column:
            j = column * lanes
            x = T.call_extern(f"int32x{lanes}", "pairs", tile[k * 2, T.ramp(j, 1, lanes)], high(j))
            T.buffer_store(room, x, [k, T.ramp(j, 1, lanes)])

    with T.serial(size // 2) as k:
        put(k, lambda j: tile[k * 2 + 1, T.ramp(j, 1, lanes)])
    if size % 2:
        put(size // 2, lambda j: T.broadcast(T.float32(0), lanes))


def _multiplied(sum_, x, y):
    """A sum and the products of two vectors, of numbers or of pairs."""
    if _kind(y).startswith("int32"):
        return T.call_extern(_kind(sum_), "dot_of_pairs", sum_, x, y)
    return sum_ + x * y


def _first(tile, start, paired, *spans):
    """The first lane of a tile that is in some span of coordinates; behind it, if there is none.

    If lanes are `paired`, the first of two.
    """
    found = T.int64(tile)
    for low, high in spans:
        low, high = _lanes(tile, start, low, high)
        found = T.min(found, T.Select(low < high, low, T.int64(tile)))
    return T.Cast("int32", found - T.truncmod(found, T.int64(2)) if paired else found)


def _last(tile, start, paired, *spans):
    """The lane behind the last that is in some span; 0, if there is none."""
    found = T.int64(0)
    for low, high in spans:
        low, high = _lanes(tile, start, low, high)
        found = T.max(found, T.Select(low < high, high, T.int64(0)))
    if paired:
        found = T.min(found + T.truncmod(found, T.int64(2)), T.int64(tile))
    return T.Cast("int32", found)


def _lanes(tile, start, low, high):
    """The lanes of a tile that are in a span of coordinates."""
    low, high = (
        x - start if isinstance(x, tvm.ir.Expr) else T.int64(x) - start for x in (low, high)
    )
    return T.max(low, T.int64(0)), T.min(high, T.int64(tile))


def _begun(held, begin, i, j, lanes, dtype):
    """Rows of vectors at what a function gives, or at 0."""
    for r, row in enumerate(held):
        with _every(row, lanes) as v:
            x = T.broadcast(T.Cast(dtype, 0), lanes)
            if begin is not None:
                x = begin(i + r, T.ramp(j + v * lanes, 1, lanes))
            _keep(row, v, x, lanes)


def _added(held, a, b, i, j, k, lanes):
    """Adds the products of a column of `a` and a row of `b` to rows of vectors."""
    for r, row in enumerate(held):
        x = T.bind(T.broadcast(a(i + r, k), lanes))
        with _every(row, lanes) as v:
            y = _vectors(b, k, j + v * lanes, lanes)
            _keep(row, v, _multiplied(_nth(row, v, lanes), x, y), lanes)


def _put(held, c, i, j, lanes):
    """Puts rows of vectors into a tile."""
    for r, row in enumerate(held):
        with _every(row, lanes) as v:
            T.buffer_store(c, _nth(row, v, lanes), [i + r, T.ramp(j + v * lanes, 1, lanes)])


def _fetch(a, row, rows, high, inner, turned):
    """Asks for as much of the next tile as a block of rows is of this one, by 64 bytes."""
    step = 8 if _kind(a(0, 0)) == "float64" else 16
    if turned:
        part = -(-inner * high // rows)
        places = [(y, inner + row * part + x) for x in range(part) for y in range(0, rows, step)]
    else:
        places = [(rows + row * high + x, y) for x in range(high) for y in range(0, inner, step)]
    for i, k in places:
        T.evaluate(T.call_extern("int32", "fetch", T.address_of(a(i, k))))


def _ask(row, size):
    """Asks for a row that is read later, by 64 bytes."""
    for at in range(0, size, 512 // tvm.DataType(_kind(row(0))).bits):
        T.evaluate(T.call_extern("int32", "fetch", T.address_of(row(at))))


def _take(held, room, taken, j, lanes):
    """Takes rows of vectors into a row of numbers.

    What is taken so far has a place, not a name: TVM looks through names, at each in all those that
    it is made of, and so at twice as many with each row.
    """
    (best,) = _held(1, int(held[0].shape[0]) // lanes, lanes, held[0].dtype)
    with _every(best, lanes) as v:
        _keep(best, v, _nth(held[0], v, lanes), lanes)
        for row in held[1:]:
            _keep(best, v, taken(_nth(best, v, lanes), _nth(row, v, lanes)), lanes)
        at = T.ramp(j + v * lanes, 1, lanes)
        T.buffer_store(room, taken(room[at], _nth(best, v, lanes)), [at])


def _placed(stored, dtype, columns, lanes):
    """Whether numbers of an operand are read in memory: one by one, and as they lie there."""
    return stored == dtype and columns >= lanes


def _dot(
    c,
    a,
    b,
    rows,
    columns,
    inner,
    lanes,
    dtype,
    begin,
    turned,
    some_rows=None,
    some_inner=None,
    extremes=(),
    ahead=False,
):
    """`c[i, j] = begin(i, j) + sum over k of a(i, k) * b[k, j]`; without a `begin`, the sum.

    A few rows and vectors of columns are kept in registers. Where columns make no vector, vectors
    go along that axis of `a` that lies last in memory: its rows, if it is `turned`. Of rows or of
    `k`, `some` are the first for each vector, and what is behind the last; other rows may become
    anything. `extremes` are rows of numbers, and what takes one of `c` into that of its column.
    `ahead`: whether `a` is in memory, where the next tile has what lies behind this one.
    """
    if columns >= lanes and (some_rows or some_inner):
        _dot_of_some(c, a, b, rows, columns, inner, lanes, dtype, begin, some_rows, some_inner)
        return
    if columns >= lanes:
        if str(b.dtype) == "int32":
            inner = -(-inner // 2)
        high, vectors = _block(rows, columns, lanes)
        with T.serial(rows // high) as row, T.serial(columns // (vectors * lanes)) as column:
            i, j = row * high, column * vectors * lanes
            held = _held(high, vectors, lanes, dtype)
            _begun(held, begin, i, j, lanes, dtype)
            with T.serial(inner) as k:
                _added(held, a, b, i, j, k, lanes)
            _put(held, c, i, j, lanes)
            for room, taken in extremes:
                _take(held, room, taken, j, lanes)
            if ahead:
                _fetch(a, row, rows, high, inner, turned)
        return
    start = begin or (lambda i, j: T.Cast(dtype, 0))
    with T.serial(columns) as j:
        if turned:
            _down(c, a, b, rows, inner, j, lanes, dtype, start)
        else:
            _along(c, a, b, rows, inner, j, lanes, dtype, start)
        for room, taken in extremes:
            with T.serial(rows) as i:
                T.buffer_store(room, taken(room[j], c[i, j]), [j])


def _dot_of_some(c, a, b, rows, columns, inner, lanes, dtype, begin, some_rows, some_inner):
    """A product of which each vector of columns has some rows, or adds some up.

    Places are of 64 bits, in which a sum of them stays as it is written.
    """
    two = 2 if str(b.dtype) == "int32" else 1  # numbers in one
    inner = -(-inner // two)
    most = _sums() // 2 if some_rows else _sums()
    high = next(r for r in range(min(most, rows), 0, -1) if rows % r == 0)
    with T.serial(T.int64(columns // lanes)) as column:
        low, end = (T.Cast("int64", x[column]) for x in some_rows or some_inner)
        first, blocks, start, count = 0, rows // high, 0, inner
        if some_rows:
            first = T.truncdiv(low, T.int64(high))
            blocks = T.truncdiv(end + T.int64(high - 1), T.int64(high)) - first
        else:
            start = T.truncdiv(low, T.int64(two))
            count = T.truncdiv(end + T.int64(two - 1), T.int64(two)) - start
        with T.serial(blocks) as row:
            i, j = (first + row) * high, column * lanes
            held = _held(high, 1, lanes, dtype)
            _begun(held, begin, i, j, lanes, dtype)
            with T.serial(count) as at:
                _added(held, a, b, i, j, start + at, lanes)
            _put(held, c, i, j, lanes)


def _flat(buffer):
    """A tile as one row of numbers, of which vectors are taken at any distance."""
    size = 1
    for extent in buffer.shape:
        size *= int(extent)
    return T.decl_buffer((size,), buffer.dtype, data=buffer.data)


def _down(c, a, b, rows, inner, j, lanes, dtype, start):
    """A column of a product, in vectors of rows."""
    with T.serial(rows) as i:
        T.buffer_store(c, start(i, j), [i, j])
    flat, columns = _flat(c), int(c.shape[1])
    vectors = next(v for v in (4, 3, 2, 1) if rows // lanes % v == 0)
    with T.serial(rows // lanes // vectors) as block:
        (held,) = _held(1, vectors, lanes, dtype)

        def place(v):
            return T.ramp((block * vectors + v) * lanes * columns + j, columns, lanes)

        with _every(held, lanes) as v:
            _keep(held, v, flat[place(v)], lanes)
        with T.serial(inner) as k:
            x = T.bind(T.broadcast(b[k, j], lanes))
            with _every(held, lanes) as v:
                y = a(T.ramp((block * vectors + v) * lanes, 1, lanes), k)
                _keep(held, v, _nth(held, v, lanes) + y * x, lanes)
        with _every(held, lanes) as v:
            T.buffer_store(flat, _nth(held, v, lanes), [place(v)])
    with T.serial(rows % lanes) as rest, T.serial(inner) as k:
        i = rows // lanes * lanes + rest
        T.buffer_store(c, c[i, j] + a(i, k) * b[k, j], [i, j])


def _along(c, a, b, rows, inner, j, lanes, dtype, start):
    """A column of a product, in vectors of what is added up."""
    flat, columns = _flat(b), int(b.shape[1])
    high = next(r for r in (4, 2, 1) if rows % r == 0)
    with T.serial(rows // high) as row:
        held = _held(high, 1, lanes, dtype)
        _begun(held, None, 0, 0, lanes, dtype)
        with T.serial(inner // lanes) as part:
            k = part * lanes
            x = T.bind(flat[T.ramp(k * columns + j, columns, lanes)])
            for i, r in enumerate(held):
                y = a(row * high + i, T.ramp(k, 1, lanes))
                with _every(r, lanes) as v:
                    _keep(r, v, _nth(r, v, lanes) + y * x, lanes)
        for i, r in enumerate(held):
            with _every(r, lanes) as v:
                x = T.call_extern(dtype, "total", _nth(r, v, lanes)) + start(row * high + i, j)
                T.buffer_store(c, x, [row * high + i, j])
        with T.serial(inner % lanes) as rest:
            k = inner // lanes * lanes + rest
            for i in range(high):
                x = c[row * high + i, j] + a(row * high + i, k) * b[k, j]
                T.buffer_store(c, x, [row * high + i, j])


def _width(size, lanes):
    """How many lanes along a tile make a vector: the most that divide it."""
    return next(w for w in (lanes, lanes // 2, lanes // 4, 2, 1) if w and size % w == 0)


def _ramp(start, width):
    """Neighbouring lanes; one is no vector."""
    return T.ramp(start, 1, width) if width > 1 else start


def _plus(a, b):
    """A sum."""
    return a + b


def _times(a, b):
    """A product."""
    return a * b


def _any_of(a, b):
    """Whether one of two truths holds, which have a byte each."""
    return T.Cast("int8", T.Or(a != 0, b != 0))


def _all_of(a, b):
    """Whether both of two truths hold, which have a byte each."""
    return T.Cast("int8", T.And(a != 0, b != 0))


def _across(buffer, index, width, combine):
    """What the lanes of a vector are together."""
    while width > 1:
        width //= 2
        with _each(width) as lane:
            found = combine(buffer[(*index, lane)], buffer[(*index, lane + width)])
            T.buffer_store(buffer, found, [*index, lane])
    return buffer[(*index, 0)]


def _high(rows):
    """How many of few rows are computed at once."""
    return next((r for r in (4, 3, 2, *range(min(rows, 8), 4, -1)) if rows % r == 0), 1)


def _inner(c, a, b, rows, columns, inner, lanes, dtype, begin):
    """`c[i, j] = begin(i, j) + sum over k of a(i, k) * b(j, k)`, vectors going along `k`.

    As many sums have names as a vector has lanes, and so are in registers; what their lanes are
    together makes one vector.
    """
    high = _high(rows)
    wide = next(w for w in (16, 8, 4, 2, 1) if w * high <= max(lanes, high) and columns % w == 0)
    zero = T.broadcast(T.Cast(dtype, 0), lanes)
    with T.serial(rows // high) as row, T.serial(columns // wide) as column:
        i, j = row * high, column * wide
        sums = [zero] * (high * wide)
        for part in range(inner // lanes):
            k = T.ramp(part * lanes, 1, lanes)
            x = [T.bind(a(i + r, k)) for r in range(high)]
            for w in range(wide):
                y = T.bind(b(j + w, k))
                for r in range(high):
                    at = r * wide + w
                    sums[at] = T.bind(x[r] * y + sums[at] if part else x[r] * y)
        (found,) = _held(1, -(-high * wide // lanes), lanes, dtype)
        with T.unroll(1) as start:  # see `_every`
            for v in range(-(-high * wide // lanes)):
                some = [*sums[v * lanes : (v + 1) * lanes], *[zero] * lanes][:lanes]
                total = T.call_extern(f"{dtype}x{lanes}", "sums", *some)
                _keep(found, start + v, total if inner >= lanes else zero, lanes)
        for r in range(high):
            x = found[_ramp(r * wide, wide)]
            if begin is not None:
                x = x + begin(i + r, _ramp(j, wide))
            T.buffer_store(c, x, [i + r, _ramp(j, wide)])
        if inner % lanes:
            with T.serial(wide) as w, T.serial(inner % lanes) as rest:
                k = inner // lanes * lanes + rest
                y = T.bind(b(j + w, k))
                for r in range(high):
                    T.buffer_store(c, c[i + r, j + w] + a(i + r, k) * y, [i + r, j + w])


def _outer(c, a, b, rows, columns, inner, lanes, dtype, begin):
    """`c[i, j] = begin(i, j) + sum over k of a(i, k) * b(k, j)`, vectors going along `j`."""
    high = _high(rows)
    most = max(1, _sums() // high) * lanes
    with T.serial(rows // high) as row:
        i = row * high
        for j in range(0, columns, most):
            size = min(most, columns - j)
            parts = [(p, min(lanes, size - p)) for p in range(0, size, lanes)]
            held = [T.alloc_buffer((size,), dtype) for _ in range(high)]
            with T.unroll(1) as start:  # see `_every`
                for r, one in enumerate(held):
                    for p, width in parts:
                        x = T.Cast(dtype, 0)
                        x = T.broadcast(x, width) if width > 1 else x
                        if begin is not None:
                            x = begin(i + r, _ramp(j + p, width))
                        T.buffer_store(one, x, [_ramp(start + p, width)])
            with T.serial(inner) as k, T.unroll(1) as start:
                y = [T.bind(b(k, _ramp(j + p, width))) for p, width in parts]
                for r, one in enumerate(held):
                    x = T.bind(a(i + r, k))
                    for (p, width), z in zip(parts, y, strict=True):
                        of = T.broadcast(x, width) if width > 1 else x
                        place = _ramp(start + p, width)
                        T.buffer_store(one, one[place] + of * z, [place])
            with T.unroll(1) as start:
                for r, one in enumerate(held):
                    for p, width in parts:
                        x = one[_ramp(start + p, width)]
                        T.buffer_store(c, x, [i + r, _ramp(j + p, width)])
