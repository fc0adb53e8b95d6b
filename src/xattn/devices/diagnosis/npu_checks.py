"""Can an NPU be used here? From the hardware up to XRT, each line with what to do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from xattn.devices.diagnosis.check import Check, State
from xattn.devices.diagnosis.machine import (
    DRIVER,
    Machine,
    PciNpu,
    firmware_files,
    group_of,
    is_driver_loaded,
    kernel_release,
    locked_memory_limit,
    other_accelerators,
    pci_npus,
    processor_name,
    text_of,
)

GROUP = "NPU"
FIRST_KERNEL = "6.14"  # the first Linux with the driver
LOCKED_BYTES = 64 << 20  # XRT maps so much at once, locked
XRT = Path("opt", "xilinx", "xrt")  # where AMD's packages put it, below the root


def npu_checks(machine: Machine) -> list[Check]:
    """Hardware, driver, firmware, device node, permission, limits, XRT. All are needed."""
    npus = pci_npus(machine.root)
    npu = next((npu for npu in npus if npu.generation.is_supported), npus[0] if npus else None)
    return [
        _hardware(machine, npu),
        _driver(machine, npu),
        _firmware(machine, npu),
        _node(machine, npu),
        _permission(machine, npu),
        _locked_memory(machine),
        *_xrt(machine),
    ]


def _check(name: str, state: State, found: str, remedy: str = "") -> Check:
    return Check(GROUP, name, state, found, remedy, is_needed=True)


def _unknown(name: str) -> Check:
    return _check(name, "unknown", "not known without an NPU")


def _hardware(machine: Machine, npu: PciNpu | None) -> Check:
    processor = processor_name(machine.root)
    where = f"; processor {processor}" if processor else ""
    if npu is None:
        nodes = other_accelerators(machine.root)
        others = f"; {', '.join(nodes)} in /dev/accel are others" if nodes else ""
        remedy = (
            "an AMD processor with an XDNA1 NPU is needed (Ryzen 7040, 8040, 8000G); look into the BIOS for a switch"
        )
        if not kernel_release(machine.root):
            remedy = f"Linux is needed, {FIRST_KERNEL} or newer, and {remedy}"
        return _check("NPU", "missing", f"no NPU of AMD on the PCI bus{others}{where}", remedy)
    found = f"{npu.generation.title} at {npu.address}{f', {npu.name}' if npu.name else ''}{where}"
    if not npu.generation.is_supported:
        return _check("NPU", "wrong", found, "programs here are for the AIE2 cores of XDNA1 (Phoenix, Hawk Point)")
    return _check("NPU", "ok", found)


def _driver(machine: Machine, npu: PciNpu | None) -> Check:
    name, kernel = f"driver {DRIVER}", kernel_release(machine.root)
    if npu is None:
        return _unknown(name)
    if npu.driver == DRIVER:
        return _check(name, "ok", f"bound to {npu.address}; Linux {kernel}")
    if npu.driver:
        return _check(name, "wrong", f"{npu.address} is bound to {npu.driver}", f"bind it to {DRIVER}")
    if is_driver_loaded(machine.root):
        return _check(
            name, "wrong", f"loaded, but has not taken {npu.address}", f"look for its reason: dmesg | grep {DRIVER}"
        )
    return _check(
        name,
        "missing",
        f"not loaded; Linux {kernel or 'unknown'}",
        f"modprobe {DRIVER}; it is in Linux from {FIRST_KERNEL} on, and in AMD's xdna-driver for older ones",
    )


def _firmware(machine: Machine, npu: PciNpu | None) -> Check:
    if npu is None:
        return _unknown("firmware")
    if npu.driver == DRIVER:
        return _check("firmware", "ok", npu.firmware or "loaded; this driver does not tell its version")
    files = firmware_files(machine.root, npu)
    if files:
        return _check("firmware", "unknown", f"not loaded; {', '.join(files)} of {npu.firmware_folder} are there")
    return _check(
        "firmware",
        "missing",
        f"no file in {npu.firmware_folder}",
        "install the firmware of your distribution (linux-firmware, amdnpu)",
    )


def _node(machine: Machine, npu: PciNpu | None) -> Check:
    if npu is None:
        return _unknown("device node")
    if npu.node is None:
        found = ", ".join(other_accelerators(machine.root)) or "nothing"
        return _check(
            "device node",
            "missing",
            f"none of {npu.address} ({found} in /dev/accel)",
            "the driver makes it; in a container, hand it in (--device /dev/accel/accel0)",
        )
    return _check("device node", "ok", f"/dev/accel/{npu.node.name}")


def _permission(machine: Machine, npu: PciNpu | None) -> Check:
    if npu is None or npu.node is None:
        return _check("permission", "unknown", "not known without a device node")
    group, is_member = group_of(machine.root, npu.node)
    who = f"owned by group {group}, of which this user is {'' if is_member else 'not '}a member"
    if machine.may_open(npu.node):
        return _check("permission", "ok", who)
    remedy = f"sudo usermod -aG {group} $USER, and log in anew"
    if is_member or group == "root":
        remedy = "a udev rule should give the node to group render, mode 0660"
    return _check("permission", "wrong", who, remedy)


def _locked_memory(machine: Machine) -> Check:
    limit = locked_memory_limit(machine.root)
    if machine.is_superuser or limit is None:
        return _check("locked memory", "ok", "no limit")
    if limit >= LOCKED_BYTES:
        return _check("locked memory", "ok", f"{limit >> 20:,} MiB")
    return _check(
        "locked memory",
        "wrong",
        f"{limit >> 10:,} KiB, and XRT locks {LOCKED_BYTES >> 20} MiB",
        "memlock unlimited for this user in /etc/security/limits.conf, and log in anew (ulimit -l shows it)",
    )


def _xrt(machine: Machine) -> Iterator[Check]:
    """The Python module, and what it sees."""
    folder = machine.root / XRT
    version = _xrt_version(folder)
    try:
        pyxrt = import_module("pyxrt")
    except ImportError as error:
        yield _check("XRT (pyxrt)", "missing", f"{version or 'no XRT'}; {error}", _pyxrt_remedy(folder))
        yield _check("XRT devices", "unknown", "not known without pyxrt")
        return
    yield _check("XRT (pyxrt)", "ok", f"{version or 'XRT'}; {getattr(pyxrt, '__file__', None) or 'pyxrt'}")
    try:
        count = int(pyxrt.enumerate_devices())
    except Exception as error:  # pyxrt raises whatever C++ threw
        yield _check("XRT devices", "wrong", " ".join(str(error).split()), "see the lines above, then xrt-smi examine")
        return
    if count:
        yield _check("XRT devices", "ok", f"{count} seen by XRT")
    else:
        remedy = "install XRT's plug-in for NPUs (xrt_plugin-amdxdna); xrt-smi examine lists what it sees"
        yield _check("XRT devices", "missing", "none seen by XRT", remedy)


def _xrt_version(folder: Path) -> str:
    try:
        facts = json.loads(text_of(folder / "version.json"))
        return f"XRT {facts.get('BUILD_VERSION') or facts['VERSION']}"
    except (ValueError, KeyError, AttributeError, TypeError):
        return ""


def _pyxrt_remedy(folder: Path) -> str:
    """A module for another Python is a common reason, and so is an environment that was not set up."""
    modules = sorted(path.name for path in (folder / "python").glob("pyxrt*")) if folder.is_dir() else []
    tag = f"cpython-{sys.version_info[0]}{sys.version_info[1]}"
    tagged = [name for name in modules if "cpython-" in name]
    if tagged and not any(tag in name for name in tagged):
        return f"XRT's module is for another Python ({', '.join(tagged)}), this is {tag}: use that Python"
    if modules:
        return f"set up the environment: source {folder / 'setup.sh'}"
    return "install AMD's XRT with its Python module (xrt-npu or xrt-base, and xrt_plugin-amdxdna)"
