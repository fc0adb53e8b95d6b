"""What a diagnosis says of pretended machines: complete ones, and such as lack one thing each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from fake_pyxrt import Fake
from machine_tree import ADDRESS, Tree

from xattn.build.peano.tools import Tools
from xattn.devices.diagnosis import Diagnosis, Machine, diagnose
from xattn.devices.diagnosis.check import Check
from xattn.devices.diagnosis.npu_checks import npu_checks
from xattn.devices.diagnosis.python_checks import python_checks
from xattn.devices.diagnosis.tool_checks import tool_checks
from xattn.devices.generations import GENERATIONS, generation_of_name, generation_of_pci


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "root")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    machine = Fake()
    monkeypatch.setitem(sys.modules, "pyxrt", machine.module)
    return machine


def looked_at(tree: Tree, opens: bool = True) -> dict[str, Check]:
    machine = Machine(tree.root, may_open=lambda _: opens, is_superuser=False)
    return {check.name: check for check in npu_checks(machine)}


def test_a_machine_with_everything(tree: Tree, fake: Fake) -> None:
    checks = looked_at(tree)
    assert all(check.state == "ok" and check.is_needed and not check.remedy for check in checks.values())
    processor = "AMD Ryzen 9 8945HS w/ Radeon 780M Graphics"
    assert checks["NPU"].found == f"XDNA1 (Phoenix or Hawk Point) at {ADDRESS}, RyzenAI-npu1; processor {processor}"
    assert checks["driver amdxdna"].found == f"bound to {ADDRESS}; Linux 6.14.0-24-generic"
    assert checks["firmware"].found == "1.5.5.391"
    assert checks["device node"].found == "/dev/accel/accel0"
    assert checks["permission"].found == "owned by group render, of which this user is a member"
    assert checks["locked memory"].found == "no limit"
    assert checks["XRT devices"].found == "1 seen by XRT"
    assert fake.calls == [], "nothing is opened"


def test_an_empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyxrt", None)
    checks = npu_checks(Machine(tmp_path, is_superuser=False))
    assert {check.name: check.state for check in checks} == {
        "NPU": "missing",
        "driver amdxdna": "unknown",
        "firmware": "unknown",
        "device node": "unknown",
        "permission": "unknown",
        "locked memory": "ok",
        "XRT (pyxrt)": "missing",
        "XRT devices": "unknown",
    }
    assert not Diagnosis(checks).is_npu_usable
    assert checks[0].remedy.startswith("Linux is needed, 6.14 or newer, and an AMD processor")


def _as(number: int, revision: int, name: str) -> Callable[[Tree], None]:
    return lambda tree: tree.device(number, revision, name, "1.0.0.63")


def _without_driver(tree: Tree) -> None:
    tree.unbind()
    (tree.root / "sys/module/amdxdna/version").unlink()
    (tree.root / "sys/module/amdxdna").rmdir()
    tree.driver.rmdir()


def _bound_to_vfio(tree: Tree) -> None:
    tree.unbind()
    (tree.root / "sys/bus/pci/drivers/vfio-pci").mkdir()
    (tree.pci / "driver").symlink_to(tree.root / "sys/bus/pci/drivers/vfio-pci")


def _without_firmware(tree: Tree) -> None:
    tree.unbind()
    (tree.root / "lib/firmware/amdnpu/1502_00/npu.sbin.zst").unlink()


LACKS = [
    (_as(0x17F0, 0x10, "RyzenAI-npu4"), "NPU", "wrong", "XDNA2 (Strix Point)", "for the AIE2 cores of XDNA1"),
    (_as(0x17F0, 0x11, "RyzenAI-npu5"), "NPU", "wrong", "XDNA2 (Strix Halo)", "XDNA1"),
    (_as(0x17F0, 0x20, "RyzenAI-npu6"), "NPU", "wrong", "XDNA2 (Krackan Point)", "XDNA1"),
    (_as(0x1234, 0x00, ""), "NPU", "missing", "accel0 in /dev/accel are others", "Ryzen 7040"),
    (_without_driver, "driver amdxdna", "missing", "not loaded; Linux 6.14.0", "modprobe amdxdna"),
    (Tree.unbind, "driver amdxdna", "wrong", f"has not taken {ADDRESS}", "dmesg"),
    (_bound_to_vfio, "driver amdxdna", "wrong", "bound to vfio-pci", "bind it to amdxdna"),
    (_without_firmware, "firmware", "missing", "no file in amdnpu/1502_00", "linux-firmware"),
    (Tree.unbind, "firmware", "unknown", "npu.sbin.zst of amdnpu/1502_00 are there", ""),
    (Tree.unbind, "device node", "missing", "nothing in /dev/accel", "in a container, hand it in"),
    (lambda tree: tree.limit("8388608"), "locked memory", "wrong", "8,192 KiB, and XRT locks 64 MiB", "limits.conf"),
]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("change", "name", "state", "found", "remedy"), LACKS)
def test_what_is_missing_is_named_with_what_to_do(
    change: Callable[[Tree], None], name: str, state: str, found: str, remedy: str, tree: Tree
) -> None:
    change(tree)
    checks = looked_at(tree)
    assert checks[name].state == state
    assert found in checks[name].found and remedy in checks[name].remedy
    assert not Diagnosis(list(checks.values())).is_npu_usable


@pytest.mark.usefixtures("fake")
def test_who_may_not_open_the_node_is_told_the_group(tree: Tree) -> None:
    tree.groups(os.getgid(), member=False)
    check = looked_at(tree, opens=False)["permission"]
    assert (check.state, check.found) == ("wrong", "owned by group render, of which this user is not a member")
    assert check.remedy == "sudo usermod -aG render $USER, and log in anew"
    tree.groups(os.getgid(), member=True)
    assert "udev" in looked_at(tree, opens=False)["permission"].remedy
    tree.write("etc/group", "")
    assert f"group {os.getgid()}" in looked_at(tree)["permission"].found


@pytest.mark.usefixtures("fake")
def test_limits_do_not_hold_for_the_superuser(tree: Tree) -> None:
    tree.limit("65536")
    machine = Machine(tree.root, is_superuser=True)
    assert {check.name: check.state for check in npu_checks(machine)}["locked memory"] == "ok"
    tree.limit(str(64 << 20))
    assert looked_at(tree)["locked memory"].found == "64 MiB"


def test_why_pyxrt_is_missing(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyxrt", None)
    assert "install AMD's XRT" in looked_at(tree)["XRT (pyxrt)"].remedy
    xrt = Path("opt", "xilinx", "xrt")
    tree.write(f"{xrt}/version.json", '{"BUILD_VERSION": "2.20.0"}')
    module = tree.write(f"{xrt}/python/pyxrt.cpython-27-x86_64-linux-gnu.so", "")
    check = looked_at(tree)["XRT (pyxrt)"]
    assert check.found.startswith("XRT 2.20.0; ") and "for another Python (pyxrt.cpython-27" in check.remedy
    module.rename(module.with_name(f"pyxrt.cpython-{sys.version_info[0]}{sys.version_info[1]}-x86_64-linux-gnu.so"))
    assert looked_at(tree)["XRT (pyxrt)"].remedy == f"set up the environment: source {tree.root / xrt / 'setup.sh'}"
    tree.write(f"{xrt}/version.json", "[]")
    assert looked_at(tree)["XRT (pyxrt)"].found.startswith("no XRT; ")


def test_what_xrt_sees_counts(tree: Tree, fake: Fake) -> None:
    fake.devices = 0
    check = looked_at(tree)["XRT devices"]
    assert check.state == "missing" and "xrt_plugin-amdxdna" in check.remedy

    def fails() -> int:
        raise RuntimeError("mmap failed\n(err=-11)")

    fake.module.enumerate_devices = fails  # type: ignore[attr-defined]
    check = looked_at(tree)["XRT devices"]
    assert (check.state, check.found) == ("wrong", "mmap failed (err=-11)")


@pytest.mark.usefixtures("fake")
def test_an_xdna1_is_preferred_to_others(tree: Tree) -> None:
    other = tree.root / "sys/bus/pci/devices/0000:00:01.0"
    other.mkdir()
    for name, text in (("vendor", "0x1022"), ("device", "0x17f0"), ("revision", "0x10")):
        (other / name).write_text(text)
    assert looked_at(tree)["NPU"].state == "ok"


def test_generations_are_known_by_both_names() -> None:
    names = {"npu1": "XDNA1", "npu4": "XDNA2", "npu5": "XDNA2", "npu6": "XDNA2"}
    assert {name: generation_of_name(f"RyzenAI-{name}").architecture for name in names} == names  # type: ignore[union-attr]
    assert generation_of_name("NPU Strix Halo").name == "Strix Halo"  # type: ignore[union-attr]
    assert generation_of_name("Alveo U50") is None
    assert [generation.is_supported for generation in GENERATIONS] == [True, False, False, False]
    assert generation_of_pci(0x17F0, 0x99).name == "Strix Point"  # type: ignore[union-attr]
    assert generation_of_pci(0x7D1D, 0) is None


# --- Python and tools -----------------------------------------------------------------------------------------------


REQUIREMENTS = [
    "numpy>=1.26",
    'llvmlite<0.51,>=0.50; extra == "jit"',
    "scipy>=1.12 ; extra == 'whisper'",
    'soundfile>=0.12; extra == "whisper"',
    'tomli>=2; (python_version < "3.3") and extra == "config"',
    'pytest; extra == "dev"',
]


@pytest.mark.parametrize(
    ("versions", "state", "found"),
    [
        ({"llvmlite": "0.50.1"}, "ok", "llvmlite 0.50.1"),
        ({}, "missing", "no llvmlite"),
        ({"llvmlite": "0.51.0rc1"}, "missing", "llvmlite 0.51.0rc1 is not <0.51,>=0.50"),
        ({"llvmlite": "0.9"}, "missing", "llvmlite 0.9 is not <0.51,>=0.50"),
    ],
)
def test_an_extra_is_there_when_all_of_it_is(versions: dict[str, str], state: str, found: str) -> None:
    def version_of(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    checks = {check.name: check for check in python_checks(lambda: REQUIREMENTS, version_of)}
    assert list(checks) == ["Python", "xattn", "extra jit", "extra whisper"]
    assert (checks["extra jit"].state, checks["extra jit"].found) == (state, found)
    assert checks["extra jit"].remedy == ("" if state == "ok" else 'pip install "xattn[jit]"')
    assert checks["extra whisper"].found == "no scipy, no soundfile"
    assert not any(check.is_needed for check in checks.values())


def test_without_package_metadata_extras_are_not_known() -> None:
    def none() -> list[str]:
        raise metadata.PackageNotFoundError("xattn")

    assert [check.state for check in python_checks(none)] == ["ok", "ok", "unknown"]


def _program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


PEANO = "clang version 20.0.0 (https://github.com/Xilinx/llvm-aie 2aeb159)"


def test_tools_are_found_where_they_can_be(tmp_path: Path) -> None:
    plain = _program(tmp_path / "usr/clang", "Debian clang version 19.1.7")
    nothing = Tools({"PATH": str(plain.parent)}, (tmp_path / "site-packages",))
    assert [check.state for check in tool_checks(nothing)] == ["missing"] * 3
    assert not any(check.is_needed for check in tool_checks(nothing))
    packages = tmp_path / "site-packages"
    _program(packages / "llvm-aie/bin/clang", PEANO)
    _program(packages / "mlir_aie/bin/aiecc", "")
    (packages / "mlir_aie-1.4.0.dist-info").mkdir()
    header = packages / "mlir_aie/include/aie_api/aie.hpp"
    header.parent.mkdir(parents=True)
    header.write_text("")
    found = tool_checks(Tools({"PATH": str(plain.parent)}, (packages,)))
    assert [check.state for check in found] == ["ok"] * 3
    assert found[0].found == f"{PEANO}; {packages / 'llvm-aie/bin/clang'}"
    assert found[1].found == str(packages / "mlir_aie/include")
    assert found[2].found == f"1.4.0; {packages / 'mlir_aie/bin/aiecc'}"


def test_the_environment_comes_before_packages_and_path(tmp_path: Path) -> None:
    programs = {name: _program(tmp_path / name / "bin/clang", f"{PEANO} {name}") for name in ("own", "other", "path")}
    path = {"PATH": str(programs["path"].parent)}
    for variables, expected in [
        ({"PEANO_INSTALL_DIR": str(tmp_path / "own"), "PEANO": str(tmp_path / "other")}, "own"),
        ({"PEANO": str(tmp_path / "other")}, "other"),
        ({"PEANO": str(programs["other"])}, "other"),
        ({"PEANO_INSTALL_DIR": str(tmp_path / "nothing")}, "path"),
    ]:
        tool = Tools({**path, **variables}, ()).peano()
        assert tool is not None and tool.path == programs[expected] and tool.version.endswith(expected)


def test_a_clang_without_its_project_in_its_version_shows_its_targets(tmp_path: Path) -> None:
    clang = _program(tmp_path / "bin/clang", "")
    tools = Tools({"PEANO_INSTALL_DIR": str(tmp_path), "PATH": ""}, ())
    for targets, is_peano in (("    aie2    - AI Engine AIE2", True), ("    aarch64 - AArch64", False)):
        clang.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo clang version 21 || echo '  Targets:\n{targets}'\n")
        tool = tools.peano()
        assert (tool is not None and tool.version == "clang version 21") == is_peano


def test_a_compiler_that_does_not_run_is_none(tmp_path: Path) -> None:
    broken = tmp_path / "bin/clang"
    broken.parent.mkdir()
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    assert Tools({"PEANO_INSTALL_DIR": str(tmp_path), "PATH": ""}, ()).peano() is None


def test_this_machine_can_be_looked_at() -> None:
    names = [check.name for check in diagnose().checks]
    assert len(names) == len(set(names)) and {"Python", "NPU", "XRT (pyxrt)", "mlir-aie"} <= set(names)
