"""Where a kernel's cycles go, by stage of the computation: a table, a trace over time, a flame graph."""

from xattn.bench.profile.measure import profile_kernel
from xattn.bench.profile.record import Profile, as_json
from xattn.bench.profile.recording import Recording
from xattn.bench.profile.render import as_text

__all__ = ["Profile", "Recording", "as_json", "as_text", "profile_kernel"]
