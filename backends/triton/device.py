# mypy: ignore-errors
"""Helpers that kernels call; those that a module uses are copied into it."""

import triton
import triton.language as tl


@triton.jit
def _larger(a, b):
    """The larger of two; NaN is passed on."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _smaller(a, b):
    """The smaller of two; NaN is passed on."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _largest(x, axis: tl.constexpr):
    """The largest along an axis; NaN is passed on."""
    return tl.reduce(x, axis, _larger)


@triton.jit
def _smallest(x, axis: tl.constexpr):
    """The smallest along an axis; NaN is passed on."""
    return tl.reduce(x, axis, _smaller)


@triton.jit
def _times(a, b):
    return a * b


@triton.jit
def _product(x, axis: tl.constexpr):
    """The product along an axis."""
    return tl.reduce(x, axis, _times)


@triton.jit
def _running_max(x, axis: tl.constexpr, reverse: tl.constexpr):
    """The largest up to each lane, or from it on; NaN is passed on."""
    return tl.associative_scan(x, axis, _larger, reverse=reverse)


@triton.jit
def _running_min(x, axis: tl.constexpr, reverse: tl.constexpr):
    """The smallest up to each lane, or from it on; NaN is passed on."""
    return tl.associative_scan(x, axis, _smaller, reverse=reverse)


@triton.jit
def _first_largest(x, where, coordinate, axis: tl.constexpr):
    """The first coordinate of the largest value, NaN the largest, of those where that holds."""
    nan = where & (x != x)
    some = tl.max(nan.to(tl.int32), axis, keep_dims=True) != 0
    low = float("-inf") if x.dtype.is_floating() else -(2**31)
    top = tl.max(tl.where(where & (x == x), x, low), axis, keep_dims=True)
    hit = tl.where(some, nan, where & (x == top))
    far = 2**31 - 1
    found = tl.min(tl.where(hit, coordinate, far), axis)
    return tl.where(found == far, 0, found)


@triton.jit
def _first_smallest(x, where, coordinate, axis: tl.constexpr):
    """The first coordinate of the smallest value, NaN the smallest, of those where that holds."""
    return _first_largest(-x, where, coordinate, axis)


@triton.jit
def _ranked(x, here, coordinate, count: tl.constexpr):
    """Coordinates along the last axis, largest first, ties to the lowest, NaN largest.

    Those where `here` does not hold come nowhere; what is left of `count` lanes is 0.
    """
    last: tl.constexpr = len(x.shape) - 1
    a, b = tl.expand_dims(x, last + 1), tl.expand_dims(x, last)
    odd, other = a != a, b != b
    first = tl.expand_dims(coordinate, 0) < tl.expand_dims(coordinate, 1)
    tie = ((a == b) | (odd & other)) & first
    ahead = (b > a) | (other & (odd == 0)) | tie
    ahead = ahead & tl.expand_dims(here, last)
    place = tl.where(here, tl.sum(ahead.to(tl.int32), last + 1), -1)
    hit = tl.expand_dims(place, last + 1) == tl.arange(0, count)
    return tl.sum(tl.where(hit, tl.expand_dims(coordinate, 1), 0), last)


@triton.jit
def _log2(x):
    """The logarithm to the base 2, that of a power of 2 exact."""
    found = tl.log2(x)
    whole = tl.floor(found + 0.5)
    return tl.where(tl.exp2(whole) == x, whole, found)


@triton.jit
def _floordiv(a, b):
    """The quotient of integers, rounded down; by 0 anything but undefined."""
    b = b + (b == 0)
    return a // b - ((a % b != 0) & ((a < 0) != (b < 0)))


@triton.jit
def _floormod(a, b):
    """What rounding the quotient of integers down leaves; by 0 anything but undefined."""
    b = b + (b == 0)
    rest = a % b
    return tl.where((rest != 0) & ((rest < 0) != (b < 0)), rest + b, rest)


@triton.jit
def _floor_of(a, b):
    """The quotient of floats, rounded down."""
    return tl.floor(a / b)


@triton.jit
def _rest_of(a, b):
    """What rounding the quotient of floats down leaves."""
    return a - tl.floor(a / b) * b


@triton.jit
def _whole_power(x, n: tl.constexpr):
    """A power with a small whole exponent."""
    result = tl.full(x.shape, 1, x.dtype)
    for _ in tl.static_range(n):
        result = result * x
    return result


@triton.jit
def _pow(x, y):
    """A power of floats, by logarithms in 64 bits."""
    by, wide = tl.broadcast(tl.cast(y, tl.float64), tl.cast(x, tl.float64))
    size = tl.exp2(by * tl.log2(tl.abs(wide)))
    whole = tl.floor(by) == by
    odd = whole & (tl.floor(by * 0.5) * 2.0 != by)
    size = tl.where((wide < 0) & odd, -size, size)
    size = tl.where((wide < 0) & (whole == 0), float("nan"), size)
    size = tl.where((by == 0) | (wide == 1), 1.0, size)
    return size.to(y.dtype)


@triton.jit
def _sine(x, quarters: tl.constexpr, FLOAT: tl.constexpr):
    """sin(x + quarters * pi / 2) of an angle of 64 bits, in the kernel's floating type.

    In 32 bits, what whole quarter turns leave is narrow, and a polynomial has all of its digits
    (coefficients of Cephes, S. Moshier).
    """
    if tl.float64 == FLOAT:
        return tl.sin(x) if quarters == 0 else tl.cos(x)
    turns = tl.floor(x * 0.6366197723675814 + 0.5)
    r = (x - turns * 1.5707963267948966).to(tl.float32)
    z = r * r
    sine = r + r * z * (-1.6666654611e-1 + z * (8.3321608736e-3 - z * 1.9515295891e-4))
    tail = z * z * (4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5))
    cosine = 1.0 - 0.5 * z + tail
    quarter = (turns - 4.0 * tl.floor(turns * 0.25)).to(tl.int32) + quarters
    found = tl.where(quarter % 2 == 0, sine, cosine)
    return tl.where(quarter % 4 >= 2, -found, found)


@triton.jit
def _expm1(x):
    """exp(x) - 1, also where x is small."""
    u = tl.exp(x)
    near = (u - 1.0) * x / tl.log(u)
    return tl.where(u == 1.0, x, tl.where((tl.abs(x) < 1.0) & (u > 0.0), near, u - 1.0))


@triton.jit
def _log1p(x):
    """log(1 + x), also where x is small."""
    u = 1.0 + x
    near = tl.log(u) * x / (u - 1.0)
    return tl.where(u == 1.0, x, tl.where(tl.abs(x) < 1.0, near, tl.log(u)))


@triton.jit
def _tanh(x):
    """The hyperbolic tangent: by an exponential, or where x is small by a polynomial.

    In 32 bits (coefficients of Cephes, S. Moshier); in 64, without cancellation.
    """
    y = tl.abs(x)
    large = 1.0 - 2.0 / (tl.exp2(y * 2.885390081777927) + 1.0)
    if x.dtype == tl.float64:
        e = _expm1(2.0 * y)
        small = e / (e + 2.0)
    else:
        z = y * y
        tail = z * (1.33314422036e-1 + z * (-5.37397155531e-2 + z * 2.06390887954e-2))
        tail = -3.33332819422e-1 + tail - z * z * z * z * 5.70498872745e-3
        small = y + y * z * tail
    found = tl.where(y < 0.625, small, large)
    return tl.where(x < 0, -found, found)


@triton.jit
def _sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + tl.exp2(x * -1.4426950408889634))


@triton.jit
def _relu(x):
    """max(x, 0); NaN is passed on."""
    return tl.where(x < 0, tl.zeros_like(x), x)


@triton.jit
def _silu(x):
    """x * sigmoid(x)."""
    return x / (1.0 + tl.exp2(x * -1.4426950408889634))


@triton.jit
def _softplus(x):
    """log(1 + exp(x))."""
    return tl.where(x > 0, x, tl.zeros_like(x)) + _log1p(tl.exp(-tl.abs(x)))


@triton.jit
def _gelu(x):
    """The Gaussian error linear unit, by erf."""
    return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))


@triton.jit
def _sign(x):
    """-1, 0 or 1."""
    zero = tl.zeros_like(x)
    return tl.where(x > 0, zero + 1, tl.where(x < 0, zero - 1, x))


@triton.jit
def _round(x):
    """The nearest integer, half to even."""
    down = tl.floor(x)
    rest = x - down
    even = tl.floor(down * 0.5) * 2.0 == down
    up = (rest > 0.5) | ((rest == 0.5) & (even == 0))
    return tl.where(up, down + 1.0, down)


@triton.jit
def _seed():
    """Where a chain of random bits begins."""
    return tl.full((), -7046029254386353131, tl.int64)


@triton.jit
def _mixed(state, x):
    """One step of splitmix64 over 64 bits."""
    z = (state ^ x).to(tl.uint64, bitcast=True) + tl.full((), 0x9E3779B97F4A7C15, tl.uint64)
    z = (z ^ (z >> 30)) * tl.full((), 0xBF58476D1CE4E5B9, tl.uint64)
    z = (z ^ (z >> 27)) * tl.full((), 0x94D049BB133111EB, tl.uint64)
    return (z ^ (z >> 31)).to(tl.int64, bitcast=True)


@triton.jit
def _uniform(state):
    """24 bits as a number in [0, 1)."""
    return (state.to(tl.uint64, bitcast=True) >> 40).to(tl.float32) * (1.0 / 16777216.0)
