"""Other implementations of attention on a host's processors, side by side: one file each, and one that runs them.

A peer is a module with a `PEER`; to add one, write the file and name it in `MODULES`.
"""

from xattn.bench.peers.peer import Peer, Tensors
from xattn.bench.peers.run import MODULES, host_models, measure_host, measure_peers, peers

__all__ = ["MODULES", "Peer", "Tensors", "host_models", "measure_host", "measure_peers", "peers"]
