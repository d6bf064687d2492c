"""Kernels and the function around them as one text in C, for any compiler."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, Final

from attnc.backends.tvm.export.build import compiled
from attnc.backends.tvm.export.entry import Entry
from attnc.backends.tvm.export.header import declaration
from attnc.backends.tvm.export.interface import MEMORY
from attnc.backends.tvm.export.unread import without_unread

AROUND: Final = """\
static inline void *TVMBackendAllocWorkspace(int device, int id, uint64_t size, int code, int n) {
  (void)device, (void)id, (void)code, (void)n;
  return malloc(size + 1);
}
static inline int TVMBackendFreeWorkspace(int device, int id, void *p) {
  (void)device, (void)id;
  free(p);
  return 0;
}
static inline int64_t attnc_processors(void) { return 1; }
static inline void *attnc_take(int64_t size) { return malloc((size_t)size + 1); }
static inline int32_t attnc_leave(void *p) {
  free(p);
  return 0;
}
static inline void *attnc_at(void *p, int64_t start) { return (char *)p + start; }
static inline int64_t attnc_quotient(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return b == 0 ? 0 : (int64_t)(0 - (uint64_t)a);
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}
"""
"""What kernels and the function ask of their surroundings."""

DECLARED: Final = re.compile(
    r'#ifdef __cplusplus\nextern "C"\n#endif\nTVM_DLL ([\w *]+?\b(\w+)\([^)]*\))( \{|;\n)'
)
"""The head of a function, or its declaration."""


def in_c(entry: Entry, target: Any, header: str) -> str:
    """The text, which includes the header of that name."""
    by_c: Any = import_module("attnc.backends.tvm.c_build")
    text: str = compiled(entry, target, by_c._ready, vectors=False).inspect_source()
    own = {entry.inner, *(name.name_hint for name in entry.calls)}

    def head(found: re.Match[str]) -> str:
        return f"static {found[1]}{found[3]}" if found[2] in own else ""

    text = DECLARED.sub(head, text[text.index("#ifdef __cplusplus") :])
    lines = [x for x in text.splitlines() if not x.lstrip().startswith("#pragma unroll")]
    arguments = ["&status", *(_passed(a.type, a.name) for a in entry.interface.arguments)]
    parts = [
        f'#include "{header}"',
        by_c._prelude(text) + AROUND,
        "\n".join(without_unread(lines)),
        "\n".join(declaration(entry.interface, " {")),
        f"  int32_t status = {MEMORY};",
        f"  {entry.inner}({', '.join(arguments)});",
        "  return status;",
        "}",
    ]
    return "\n".join(parts) + "\n"


def _passed(kind: str, name: str) -> str:
    return f"(void *){name}" if kind.endswith("*") else name
