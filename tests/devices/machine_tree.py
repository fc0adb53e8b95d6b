"""A pretended machine: folders and files as Linux shows them."""

from __future__ import annotations

import os
from pathlib import Path

ADDRESS = "0000:c5:00.1"


class Tree:
    """A machine with a Phoenix NPU, its driver and everything else; tests take away or change what they are about."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pci = root / "sys/bus/pci/devices" / ADDRESS
        self.driver = root / "sys/bus/pci/drivers/amdxdna"
        self.driver.mkdir(parents=True)
        self.write("sys/module/amdxdna/version", "0.1")
        self.device(0x1502, 0x00, "RyzenAI-npu1", "1.5.5.391")
        (self.pci / "accel/accel0").mkdir(parents=True)
        self.write("dev/accel/accel0", "")
        self.write("proc/sys/kernel/osrelease", "6.14.0-24-generic\n")
        self.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD Ryzen 9 8945HS w/ Radeon 780M Graphics\n")
        self.groups(os.getgid(), member=True)
        self.limit("unlimited")
        self.write("lib/firmware/amdnpu/1502_00/npu.sbin.zst", "")
        self.write("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")  # a card of another maker

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def device(self, number: int, revision: int, name: str, firmware: str) -> None:
        for file, text in (
            ("vendor", "0x1022"),
            ("device", f"{number:#06x}"),
            ("revision", f"{revision:#04x}"),
            ("vbnv", name),
            ("fw_version", firmware),
        ):
            self.write(f"sys/bus/pci/devices/{ADDRESS}/{file}", text + "\n")
        if not (self.pci / "driver").exists():
            (self.pci / "driver").symlink_to(self.driver)

    def unbind(self) -> None:
        for name in ("driver", "fw_version", "vbnv"):
            (self.pci / name).unlink()
        (self.pci / "accel/accel0").rmdir()
        (self.root / "dev/accel/accel0").unlink()

    def groups(self, number: int, member: bool) -> None:
        """The node belongs to group render, which this process is in or not."""
        self.write("etc/group", f"root:x:99999:\nrender:x:{number}:\nbroken\n")
        self.write("proc/self/status", f"Name:\tx\nUid:\t1\nGid:\t77777\t77777\nGroups:\t4 {number if member else 5}\n")

    def limit(self, text: str) -> None:
        head = "Limit                     Soft Limit           Hard Limit           Units\n"
        self.write("proc/self/limits", f"{head}Max locked memory         {text:<20} unlimited            bytes\n")
