"""The simulator is fast enough to be used: bundles a second of one processor, all default checks on."""

from __future__ import annotations

import time

import pytest
from programs import DATA, core_for

# a dot product as a compiler lays it out without pipelining: loads, their latency, a product, a branch with its slots
SCALAR = """
    mova r3, #0
    mova m0, #0
    .align 16
    again:
    lda.s8 r1, [p0], m0
    lda.s8 r2, [p1], m0
    nop*5
    add r0, r0, #-1
    mul r4, r1, r2
    jnz r0, #again
    add r3, r3, r4
    nop*4
"""


@pytest.mark.slow
def test_scalar_bundles_per_second() -> None:
    rates = []
    for _ in range(3):
        core, _ = core_for(SCALAR, {"p0": DATA, "p1": DATA + 0x4000, "r0": 20_000}, {DATA: bytes(65536)})
        start = time.process_time()
        result = core.run(0)
        rates.append(result.bundles / (time.process_time() - start))
        assert result.bundles > 300_000 and not result.findings
    print(f"{max(rates) / 1e6:.2f} M bundles/s")
    assert max(rates) > 300_000
