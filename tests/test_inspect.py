"""Kernels are compiled for devices that are not there, and measured.

Seeded faults: a kernel that spills, a pointer that is not aligned, an integer that must not be
specialised and is, a loop that only waits, a launch that is refused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from attnc.backends.triton import disassembly
from attnc.backends.triton.disassembly import Code
from attnc.backends.triton.inspect import TARGETS, Report
from tests.support import ROOT

MATRIX = {"cuda:80": "mma", "cuda:90": "wgmma", "cuda:100": "tcgen05", "hip:gfx942": "mfma"}
KERNELS = ROOT / "tests" / "inspected"


def measured(what: str) -> Any:
    """What `inspected/measured.py` prints."""
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    paths = {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT), str(KERNELS)))}
    line = [sys.executable, str(KERNELS / "measured.py"), what]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=paths)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_attention_on_four_targets() -> None:
    found = measured("targets")
    assert found["launch"] == ["_k0", [8], 8, 2, {"enable_fp_fusion": True}]
    assert found["arguments"]["Q"] == [1000, 128]
    assert found["arguments"]["N"] == 1003
    assert found["arguments"]["T_m"] == 128
    assert found["stages"] == 1  # the module was told that it runs on an AMD device
    assert found["refused"] == "not on a GPU"
    assert sorted(found["reports"]) == sorted(TARGETS)
    for target, report in found["reports"].items():
        kind = MATRIX[target]
        assert list(report["matrix"]) == [kind]
        inner = disassembly.matrix(report["inner"])[kind]
        assert 0 < inner <= report["matrix"][kind]
        assert 200 < sum(report["inner"].values()) < sum(report["instructions"].values())
        assert 64 < report["registers"] <= 512
        assert report["spills"] <= 128
        # Two tiles of keys or of values at once, 16 KiB each; some devices hold one.
        assert 24 << 10 <= report["shared"] <= 112 << 10
        assert report["fits"]
        assert 0 < report["seconds"] < 200


@pytest.mark.slow
def test_what_changes_a_kernel() -> None:
    found = measured("changes")
    assert found["stages"]["shared"] > found["plain"]["shared"]
    assert found["plain"]["spills"] == 0
    assert found["spilt"]["spills"] > 500  # 256 numbers of the result in each thread
    assert found["spilt"]["inner"]["LDL"] > 100
    assert "LDL" not in found["plain"]["instructions"]

    def loads(name: str) -> int:
        return int(found[name]["instructions"]["LDG"])

    # 1024 numbers by 128 threads: two loads of 16 bytes each, or eight of 4.
    assert loads("one") == 2
    assert loads("two") == loads("misaligned") == 8
    assert loads("one unspecialised") == 8
    same = found["two unspecialised"]["instructions"]
    assert found["one unspecialised"]["instructions"] == same
    assert found["long unspecialised"]["instructions"] != same  # 64 bits
    assert found["one"]["loops"] == []
    assert found["one"]["inner"] == found["one"]["instructions"]


# Loops

SASS = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;      /* 0x0 */
        /*0010*/              @!P0 BRA 0x00f0 ;
        /*0020*/                   FADD R2, R2, R2 ;
        /*0030*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P1, [R3], R4 ;
        /*0040*/              @!P1 BRA 0x00d0 ;
        /*0050*/                   HGMMA.64x64x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*0060*/                   FADD R2, R2, R2 ;
        /*0070*/                   FADD R2, R2, R2 ;
        /*0080*/                   FADD R2, R2, R2 ;
        /*0090*/                   MUFU.EX2 R2, R2 ;
        /*00a0*/               @P2 BRA 0x0020 ;
        /*00b0*/                   HGMMA.64x64x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*00c0*/                   BRA 0x00f0 ;
        /*00d0*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P1, [R3], R4 ;
        /*00e0*/                   BRA 0x0040 ;
        /*00f0*/                   EXIT ;
        /*0100*/                   BRA 0x100;
"""


def test_loops_of_sass() -> None:
    """A wait that stands behind the kernel belongs to the loop that waits, and is none itself."""
    code = disassembly.sass(SASS)
    (loop,) = code.loops()
    assert loop == {"FADD": 4, "SYNCS": 2, "BRA": 3, "HGMMA": 1, "MUFU": 1}
    assert disassembly.matrix(loop) == {"wgmma": 1}
    assert disassembly.matrix(code.counted()) == {"wgmma": 2}
    assert code.after[-2:] == ((), (16,))


AMDGCN = """
\t.text
_k0:                                    ; @_k0
; %bb.0:
\ts_load_dwordx4 s[0:3], s[0:1], 0x0
.LBB0_1:                                ; =>This Inner Loop Header: Depth=1
\tv_mfma_f32_32x32x8_bf16 v[0:15], v[16:17], v[18:19], v[0:15]
\tv_exp_f32_e32 v1, v1
\tv_add_f32_e32 v1, v1, v2
\tv_add_f32_e32 v1, v1, v2
\tv_add_f32_e32 v1, v1, v2
\tv_add_f32_e32 v1, v1, v2
\ts_waitcnt lgkmcnt(0)
\ts_cbranch_scc1 .LBB0_1
; %bb.2:
\ts_endpgm
\t.section\t.rodata,"a",@progbits
\t.amdhsa_kernel _k0
\t.end_amdhsa_kernel
amdhsa.kernels:
  - .agpr_count:     16
    .vgpr_count:     144
    .vgpr_spill_count: 3
"""


def test_loops_of_amd_devices() -> None:
    code = disassembly.amdgcn(AMDGCN)
    (loop,) = code.loops()
    assert sum(loop.values()) == 8
    assert disassembly.matrix(loop) == {"mfma": 1}
    assert sum(code.counted().values()) == 10
    assert disassembly.amd_metadata(AMDGCN, "vgpr_count") == 144
    assert disassembly.amd_metadata(AMDGCN, "agpr_count") == 16
    with pytest.raises(ValueError, match="sgpr_count"):
        disassembly.amd_metadata(AMDGCN, "sgpr_count")


def test_nested_loops() -> None:
    """Of loops in each other the innermost counts; of several, the one with most products."""
    names = ("X", *("A",) * 9, *("HMMA",) * 9, "B", "C")
    on = [(place + 1,) for place in range(len(names) - 1)]
    on[9] = (10, 1)  # the first loop
    on[18] = (19, 10)  # the second
    on[19] = (20, 0)  # around both
    code = Code(names, (*on, ()))
    assert code.loops() == ({"A": 9}, {"HMMA": 9})
    report = Report("cuda:80", 1, 0, 0, {}, code.counted(), code.loops(), 0.0)
    assert report.inner == {"HMMA": 9}
    assert not Report("hip:gfx942", 1, 0, (64 << 10) + 1, {}, {}, (), 0.0).fits
