"""Words that are no names in a text for C."""

from __future__ import annotations

from typing import Final

KEYWORDS: Final = frozenset(
    """auto break case char const continue default do double else enum extern float for goto if
    inline int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while bool true false NULL errno stdin stdout stderr EOF I asm typeof
    alignas alignof constexpr nullptr thread_local static_assert class new delete this template
    typename namespace using private public protected virtual operator friend try catch throw
    and or not xor bitand bitor compl and_eq or_eq not_eq xor_eq export mutable explicit
    status main claim malloc free memset memcpy posix_memalign sysconf pthread_create pthread_join
    fetch exp exp2 log log2 log1p tanh sin cos erf pow sqrt floor ceil half
    linux unix i386 mixed size_t ptrdiff_t intptr_t uintptr_t int8_t int16_t int32_t int64_t
    uint8_t uint16_t uint32_t uint64_t NAN INFINITY HUGE_VAL RAND_MAX EXIT_SUCCESS EXIT_FAILURE
    M_E M_LOG2E M_LOG10E M_LN2 M_LN10 M_PI M_PI_2 M_PI_4 M_1_PI M_2_PI M_2_SQRTPI M_SQRT2
    M_SQRT1_2 INT8_MIN INT8_MAX INT16_MIN INT16_MAX INT32_MIN INT32_MAX INT64_MIN INT64_MAX
    UINT8_MAX UINT16_MAX UINT32_MAX UINT64_MAX SIZE_MAX""".split()
)
"""Words that are no names of arguments or functions in C or C++, or have another meaning here."""
