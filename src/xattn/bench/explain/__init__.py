"""Why a program takes the cycles it takes: bounds, loops, stalls, registers and a timeline, from one simulated run.

`explain_kernel` runs a kernel of the ladder; a foreign program is run by its caller under a `Tracer` and explained by
`explain_elf`. Both find everything in the bundles that the core executed; for kernels of ours the compiler adds names,
source lines and its own minima.
"""

from xattn.bench.explain.execution import Tracer
from xattn.bench.explain.measure import explain_elf, explain_kernel, explain_program
from xattn.bench.explain.record import Explanation, as_json
from xattn.bench.explain.render import as_text

__all__ = ["Explanation", "Tracer", "as_json", "as_text", "explain_elf", "explain_kernel", "explain_program"]
