"""What a Linux machine says of its NPU in /sys, /dev, /proc and /etc. Each probe takes the folder that stands for /."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xattn.devices.generations import Generation, generation_of_pci

DRIVER = "amdxdna"
_AMD = 0x1022
_LOCKED_MEMORY = re.compile(r"^Max locked memory\s+(\S+)", re.MULTILINE)


def may_read_and_write(path: Path) -> bool:
    """Whether this process may open a file for reading and writing."""
    return os.access(path, os.R_OK | os.W_OK)


@dataclass(frozen=True)
class Machine:
    """A machine by its root folder; who asks, and how it is found out what they may open."""

    root: Path = Path("/")
    may_open: Callable[[Path], bool] = may_read_and_write
    is_superuser: bool = field(default_factory=lambda: hasattr(os, "geteuid") and os.geteuid() == 0)


@dataclass(frozen=True)
class PciNpu:
    """An NPU on the PCI bus: address, generation, the driver bound to it, and what that says ("": nothing)."""

    address: str
    generation: Generation
    device: int
    revision: int
    driver: str = ""
    firmware: str = ""
    name: str = ""
    node: Path | None = None

    @property
    def firmware_folder(self) -> str:
        """Where the driver looks for its firmware, below the system's folder of firmware."""
        return f"amdnpu/{self.device:04x}_{self.revision:02x}"


def pci_npus(root: Path) -> list[PciNpu]:
    """All NPUs on the PCI bus whose generation is known here."""
    return list(_npus(root))


def _npus(root: Path) -> Iterator[PciNpu]:
    for folder in _listed(root / "sys/bus/pci/devices"):
        vendor, device, revision = (_number(folder / name) for name in ("vendor", "device", "revision"))
        if vendor != _AMD or device is None:
            continue
        generation = generation_of_pci(device, revision or 0)
        if generation is None:
            continue
        driver = folder / "driver"
        nodes = [root / "dev/accel" / entry.name for entry in _listed(folder / "accel")]
        yield PciNpu(
            folder.name,
            generation,
            device,
            revision or 0,
            driver.resolve().name if driver.exists() else "",
            text_of(folder / "fw_version"),
            text_of(folder / "vbnv"),
            next((node for node in nodes if node.exists()), None),
        )


def other_accelerators(root: Path) -> list[str]:
    """Names of the nodes in /dev/accel."""
    return [path.name for path in _listed(root / "dev/accel")]


def is_driver_loaded(root: Path) -> bool:
    """Whether the kernel has the driver, as a module or built in."""
    return (root / "sys/module" / DRIVER).exists() or (root / "sys/bus/pci/drivers" / DRIVER).exists()


def kernel_release(root: Path) -> str:
    """The version of the Linux kernel; "" where it is not Linux."""
    return text_of(root / "proc/sys/kernel/osrelease")


def processor_name(root: Path) -> str:
    """What the processor calls itself; "" where it is not known."""
    match = re.search(r"^model name\s*:\s*(.+)$", text_of(root / "proc/cpuinfo"), re.MULTILINE)
    return match[1].strip() if match else ""


def firmware_files(root: Path, npu: PciNpu) -> list[str]:
    """Names of the firmware files that the driver could load for an NPU."""
    return [path.name for path in _listed(root / "lib/firmware" / npu.firmware_folder) if ".sbin" in path.name]


def group_of(root: Path, path: Path) -> tuple[str, bool]:
    """The group that owns a file, by name, and whether this process is in it."""
    number = path.stat().st_gid
    names = {}
    for line in text_of(root / "etc/group").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            names[int(fields[2])] = fields[0]
    status = text_of(root / "proc/self/status")
    mine = {int(n) for line in re.findall(r"^(?:Groups|Gid):(.*)$", status, re.MULTILINE) for n in line.split()}
    return names.get(number, str(number)), number in mine


def locked_memory_limit(root: Path) -> int | None:
    """Bytes that this process may lock; None for no limit, or where it is not known."""
    match = _LOCKED_MEMORY.search(text_of(root / "proc/self/limits"))
    return int(match[1]) if match and match[1].isdigit() else None


def text_of(path: Path) -> str:
    """A small file's text without the space around it; "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(text_of(path), 0)
    except ValueError:
        return None


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
