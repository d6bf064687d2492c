"""Exported kernels, called by programs in C, and what objects for other machines hold."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

MAIN: Final = """\
#include "{header}"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static char *in;

typedef struct {{ char *out; int32_t code; }} call;

static void *run(void *given) {{
  call *c = given;
  char *out = c->out;
{tables}
  c->code = {function}({arguments});
  return NULL;
}}

int main(void) {{
  FILE *file = fopen("{folder}/in", "rb");
  in = malloc({reads} + 1);
  if (file == NULL || fread(in, 1, {reads}, file) != {reads}) return 9;
  fclose(file);
  call calls[2];
  pthread_t other;
  for (int i = 0; i < 2; i++) calls[i].out = calloc({writes} + 1, 1);
  if (pthread_create(&other, NULL, run, &calls[0])) return 9;
  run(&calls[1]);
  pthread_join(other, NULL);
  if (calls[0].code != calls[1].code) return 8;
  file = fopen("{folder}/out", "wb");
  for (int i = 0; i < 2; i++) fwrite(calls[i].out, 1, {writes}, file);
  fclose(file);
  return calls[0].code;
}}
"""


@dataclass(frozen=True)
class Program:
    """A program that calls an exported function from two threads at once.

    `command` runs it, `compiler` makes it, of `library`, which may be an object or a text in C.
    """

    folder: Path
    function: str
    library: Path
    compiler: Sequence[str] = ("cc",)
    command: Sequence[str] = ()

    def __call__(
        self,
        inputs: Mapping[str, np.ndarray | None],
        outputs: Mapping[str, np.ndarray],
        numbers: Sequence[int | float],
        threads: int = 2,
    ) -> int:
        """What the function returns; `outputs` are filled with what the second thread found.

        Tensors may have any strides; None is a null pointer. Fails if the threads differ.
        """
        tables, arguments, data, at = [], [], b"", 0
        for name, array in (*inputs.items(), *outputs.items()):
            if array is None:
                arguments += ["NULL", "NULL"]
                continue
            begin = "in" if name in inputs else "out"
            if name in inputs:
                whole = _whole(array)
                place, data = len(data), data + whole.tobytes() + bytes(-whole.nbytes % 64)
            else:
                place, at = at, at + _whole(array).nbytes
            arguments.append(f"(void *)({begin} + {place})")
            steps = ", ".join(str(s // array.itemsize) for s in array.strides)
            if array.flags.c_contiguous:
                arguments.append("NULL")
            else:
                tables.append(f"  int64_t {name}_steps[] = {{{steps}}};")
                arguments.append(f"{name}_steps")
        arguments += [*map(str, numbers), str(threads)]
        (self.folder / "in").write_bytes(data)
        text = MAIN.format(
            header=self.library.with_suffix(".h").name,
            folder=self.folder,
            function=self.function,
            tables="\n".join(tables),
            arguments=", ".join(arguments),
            reads=len(data),
            writes=at,
        )
        (self.folder / "main.c").write_text(text)
        made = self.folder / "main"
        path = [f"-Wl,-rpath,{self.folder}"] if self.library.suffix == ".so" else []
        files = [str(self.folder / "main.c"), str(self.library)]
        options = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", f"-I{self.folder}"]
        command = [*self.compiler, *options, *files, *path, "-o", str(made), "-lm", "-lpthread"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        code = subprocess.run([*self.command, str(made)], check=False).returncode
        found = (self.folder / "out").read_bytes() if 0 <= code < 8 else b""
        for array in outputs.values():
            whole = _whole(array)
            one, other = found[: whole.nbytes], found[at : at + whole.nbytes]
            assert one == other or code, "two threads at once give different results"
            if found:
                whole[...] = np.frombuffer(one, whole.dtype)
            found = found[whole.nbytes :]
        return code


def _whole(array: np.ndarray) -> np.ndarray:
    """All elements of what an array is a view of, as they lie in memory."""
    found = array
    while isinstance(found.base, np.ndarray):
        found = found.base
    return found.reshape(-1)


# Objects


@dataclass(frozen=True)
class Unit:
    """What an object holds: its machine, the symbols that others see, and those that it lacks."""

    machine: int | str
    defined: frozenset[str]
    undefined: frozenset[str]


def unit(path: Path) -> Unit:
    """The content of an object in ELF of 64 bits, or of wasm."""
    data = path.read_bytes()
    return _wasm(data) if data[:4] == b"\0asm" else _elf(data)


def _elf(data: bytes) -> Unit:
    assert data[:6] == b"\x7fELF\x02\x01"
    (start,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size) for i in range(count)]
    table = next(s for s in sections if s[1] == 2)
    texts = sections[table[6]]
    defined, undefined = set(), set()
    for place in range(table[4], table[4] + table[5], 24):
        name, info, other, section = struct.unpack_from("<IBBH", data, place)
        begin = texts[4] + name
        text = data[begin : data.index(b"\0", begin)].decode()
        if text and info >> 4 and other & 3 == 0:  # not local, not hidden
            (undefined if section == 0 else defined).add(text)
    return Unit(struct.unpack_from("<H", data, 18)[0], frozenset(defined), frozenset(undefined))


@dataclass
class _Bytes:
    """Bytes that are read from a place on."""

    data: bytes
    place: int = 0

    def number(self) -> int:
        """A number of seven bits a byte, the lowest first."""
        value = shift = 0
        while True:
            byte = self.data[self.place]
            self.place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def text(self) -> str:
        """A length, and so many bytes."""
        size = self.number()
        self.place += size
        return self.data[self.place - size : self.place].decode()

    def limits(self) -> None:
        """A least, and perhaps a most."""
        for _ in range(1 + (self.number() & 1)):
            self.number()


def _wasm(data: bytes) -> Unit:
    """The functions that linkers see: those of the table of symbols."""
    read = _Bytes(data, 8)
    imported: list[str] = []
    defined, undefined = set(), set()
    while read.place < len(data):
        kind, size = read.number(), read.number()
        end = read.place + size
        if kind == 2:
            for _ in range(read.number()):
                read.text()
                name, what = read.text(), read.number()
                if what == 0:
                    imported.append(name)
                    read.number()
                elif what == 3:
                    read.number(), read.number()
                else:
                    _ = read.number() if what == 1 else 0
                    read.limits()
        elif kind == 0 and read.text() == "linking":
            read.number()
            while read.place < end:
                part, size = read.number(), read.number()
                after = read.place + size
                if part == 8:
                    for _ in range(read.number()):
                        what, flags = read.number(), read.number()
                        lacking, named, own = flags & 0x10, flags & 0x40, flags & 6
                        if what == 1:
                            read.text()
                            for _ in range(0 if lacking else 3):
                                read.number()
                            continue
                        index = read.number()
                        if what == 3:
                            continue
                        name = read.text() if named or not lacking else imported[index]
                        if what == 0 and lacking:
                            undefined.add(name)
                        elif what == 0 and not own:
                            defined.add(name)
                read.place = after
        read.place = end
    return Unit("wasm", frozenset(defined), frozenset(undefined))


def missing(*tools: str) -> str | None:
    """Which of some programs are not there, as a reason to skip."""
    found = [t for t in tools if shutil.which(t) is None]
    return f"no {' and no '.join(found)} here" if found else None
