"""The generations of AMD's NPUs: how PCI and the driver name them, and whether their cores are the AIE2 of XDNA1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Generation:
    """A generation: `pci` are its PCI device ids with revisions (None: any), `names` those in XRT and in the driver."""

    name: str
    architecture: str
    pci: tuple[tuple[int, int | None], ...]
    names: tuple[str, ...]

    @property
    def is_supported(self) -> bool:
        """Whether programs of this project are for its cores."""
        return self.architecture == "XDNA1"

    @property
    def title(self) -> str:
        """Architecture and name, as "XDNA1 (Phoenix or Hawk Point)"."""
        return f"{self.architecture} ({self.name})"


# Phoenix and Hawk Point are one to PCI and driver: only the processor's own name tells them apart.
GENERATIONS = (
    Generation("Phoenix or Hawk Point", "XDNA1", ((0x1502, None),), ("npu1", "phoenix", "hawk")),
    Generation("Strix Halo", "XDNA2", ((0x17F0, 0x11),), ("npu5", "strix halo")),
    Generation("Krackan Point", "XDNA2", ((0x17F0, 0x20),), ("npu6", "krackan")),
    Generation("Strix Point", "XDNA2", ((0x17F0, None),), ("npu2", "npu4", "strix", "gorgon")),
)


def generation_of_pci(device: int, revision: int) -> Generation | None:
    """The generation of a PCI device of AMD; None for a device that is no NPU known here."""
    for generation in GENERATIONS:
        if any(device == known and of in (None, revision) for known, of in generation.pci):
            return generation
    return None


def generation_of_name(name: str) -> Generation | None:
    """The generation that XRT ("NPU Phoenix") or the driver ("RyzenAI-npu1") means; None for a name not known."""
    small = name.lower()
    for generation in GENERATIONS:
        if any(known in small for known in generation.names):
            return generation
    return None
