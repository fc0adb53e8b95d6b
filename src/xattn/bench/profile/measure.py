"""Running a kernel of the ladder once on the simulated core, with everything recorded that a profile shows."""

from __future__ import annotations

import numpy as np

from xattn import __version__
from xattn.bench.activations import cut_tile, synthetic_activations
from xattn.bench.profile.record import Profile
from xattn.bench.profile.recording import Recorder, Recording
from xattn.bench.record import CYCLES_ARE
from xattn.bench.stages import stage_cycles
from xattn.devices import Host
from xattn.devices.simulator import SimulatedKernel
from xattn.kernels.registry import compiled, kernel_spec
from xattn.numerics.compat import DEFAULT_SHIFT

SEED = 0


def profile_kernel(name: str, tokens: int, width: int, clock_hz: float) -> tuple[Profile, Recording]:
    """Profile one run on a synthetic tile `[tokens, width]`; times are at `clock_hz`.

    InputError names the kernels there are and the shapes that this one takes; KernelFaultError when it fails.
    """
    spec, program = kernel_spec(name), compiled(name, tokens, width)
    recorder = Recorder(program)
    tile = cut_tile(synthetic_activations(SEED), 0, tokens, width)
    operands = (tile.q, tile.k, tile.v, DEFAULT_SHIFT)
    result = SimulatedKernel(spec, program, tokens, width, recorder.step).run(*operands)
    model = Host().load(spec, tokens, width).run(*operands)
    assert result.cycles is not None
    recording = recorder.finish(result.cycles)
    profile = Profile(
        xattn=__version__,
        name=name,
        tokens=tokens,
        width=width,
        input=f"synthetic activations, seed {SEED}",
        cycles_are=CYCLES_ARE,
        exact=bool(np.array_equal(result.output, model.output)),
        clock_hz=clock_hz,
        seconds=result.cycles / clock_hz,
        stall_cycles=result.stalls or 0,
        stages=stage_cycles(program, recording.cycles_at, recording.stalls_at),
        findings=list(result.findings),
    )
    return profile, recording
