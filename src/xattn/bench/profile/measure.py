"""Running a kernel of the ladder once on the simulated core, with everything recorded that a profile shows."""

from __future__ import annotations

from xattn import __version__
from xattn.bench.profile.record import Profile
from xattn.bench.profile.recording import Recorder, Recording
from xattn.bench.record import CYCLES_ARE
from xattn.bench.single import INPUT, run_once
from xattn.bench.stages import stage_cycles
from xattn.kernels.registry import compiled, kernel_spec


def profile_kernel(name: str, tokens: int, width: int, clock_hz: float) -> tuple[Profile, Recording]:
    """Profile one run on a synthetic tile `[tokens, width]`; times are at `clock_hz`.

    InputError names the kernels there are and the shapes that this one takes; KernelFaultError when it fails.
    """
    spec, program = kernel_spec(name), compiled(name, tokens, width)
    recorder = Recorder(program)
    run = run_once(spec, program, tokens, width, recorder.step)
    recording = recorder.finish(run.cycles)
    profile = Profile(
        xattn=__version__,
        name=name,
        tokens=tokens,
        width=width,
        input=INPUT,
        cycles_are=CYCLES_ARE,
        exact=run.exact,
        clock_hz=clock_hz,
        seconds=run.cycles / clock_hz,
        stall_cycles=run.stalls,
        stages=stage_cycles(program, recording.cycles_at, recording.stalls_at),
        findings=list(run.findings),
    )
    return profile, recording
