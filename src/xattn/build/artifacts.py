"""Everything that a build gives, as files by name."""

from __future__ import annotations

import hashlib

import msgspec

from xattn import __version__
from xattn.array.mlir_design import mlir_module
from xattn.array.mlir_dialect import NEWEST, Dialect
from xattn.array.mlir_ir import custom_form
from xattn.build.designs import BLOCK_ORDER, KernelUse
from xattn.build.images import STACK_BYTES, Images, build_images
from xattn.build.manifest import INSTRUCTIONS, MANIFEST, BufferEntry, BuildRequest, CoreEntry, FileEntry, Manifest
from xattn.build.peano.compile import find_peano
from xattn.build.peano.images import build_peano_images
from xattn.build.peano.sources import c_sources
from xattn.errors import InputError
from xattn.kernels.registry import kernel_spec
from xattn.numerics.lut import c_header, exp_table


def make_artifacts(request: BuildRequest) -> dict[str, bytes]:
    """The files of a build by name; the manifest last. InputError when the request cannot be built."""
    images, version = _images(request)
    files = {f"{request.kernel}.o": ("object: the kernel, callable by the C convention", images.object)}
    cores = []
    names: dict[bytes, str] = {}
    for core, program in zip(images.design.cores, images.cores, strict=True):
        name = names.setdefault(program, f"core_{core.tile.column}_{core.tile.row}.elf")
        files[name] = ("program of a core: the lock protocol around the kernel", program)
        cores.append(CoreEntry(core.tile.column, core.tile.row, name))
    stem = f"{request.kernel}_{request.design}"
    files |= {
        f"{stem}.pdi": ("image that configures the array", images.pdi),
        f"{stem}.xclbin": ("container that XRT loads", images.xclbin),
        f"{stem}.mlir": ("the design for mlir-aie, which links the object", _mlir(request, images)),
        INSTRUCTIONS: ("instruction stream of one run", images.instructions),
        "exp_lut.h": ("exp table of the integer softmax, for C", c_header(exp_table()).encode()),
    }
    if request.toolchain != BuildRequest.toolchain:
        sources = c_sources(request.kernel).items()
        files |= {name: ("C source of the kernel", data) for name, data in sources if name not in files}
    manifest = _manifest(request, version, images, tuple(cores), files)
    return {name: data for name, (_, data) in files.items()} | {MANIFEST: manifest}


def _images(request: BuildRequest) -> tuple[Images, str]:
    """The design, built with the request's toolchain, and that one's version."""
    scalars = dict(request.scalars)
    wanted = (request.kernel, request.design, request.tokens, request.width, scalars, request.symbol, request.blocks)
    if request.toolchain == "peano":
        c_sources(kernel_spec(request.kernel).name)  # a kernel that is not there in C is no reason to install Peano
        tool = find_peano(request.kernel)
        return build_peano_images(*wanted, tool), tool.version
    if request.toolchain != BuildRequest.toolchain:
        raise InputError(f"no toolchain is called {request.toolchain!r}; there are xattn and peano")
    return build_images(*wanted), __version__


def _mlir(request: BuildRequest, images: Images) -> bytes:
    try:
        dialect = Dialect(request.dialect) if request.dialect else NEWEST
    except ValueError:
        known = ", ".join(dialect.value for dialect in Dialect)
        raise InputError(f"no dialect is called {request.dialect!r}; there are {known}") from None
    return custom_form(mlir_module(images.placement, f"{request.kernel}.o", dialect)).encode()


def _manifest(
    request: BuildRequest,
    version: str,
    images: Images,
    cores: tuple[CoreEntry, ...],
    files: dict[str, tuple[str, bytes]],
) -> bytes:
    design = images.design
    listed = tuple(
        FileEntry(name, what, len(data), hashlib.sha256(data).hexdigest()) for name, (what, data) in files.items()
    )
    manifest = Manifest(
        xattn=__version__,
        kernel=request.kernel,
        summary=kernel_spec(request.kernel).summary,
        symbol=images.kernel.name,
        tokens=request.tokens,
        width=request.width,
        scalars=dict(images.kernel.scalars),
        design=design.name,
        columns=design.columns,
        blocks=request.blocks,
        block_order=BLOCK_ORDER,
        buffers_deep=max(fifo.depth for fifo in design.fifos if fifo.name in design.cores[0].arguments),
        stack_bytes=STACK_BYTES,
        cores=cores,
        buffers=tuple(_buffers(images)),
        files=listed,
        toolchain=request.toolchain,
        toolchain_version=version,
    )
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def _direction(name: str, kernel: KernelUse) -> str:
    if name in kernel.in_place:
        return "in and out"
    return "out" if name in kernel.outputs else "in"


def _buffers(images: Images) -> list[BufferEntry]:
    sizes = {port.name: port.bytes for port in images.kernel.ports}
    return [
        BufferEntry(
            index,
            buffer.name,
            _direction(buffer.name, images.kernel),
            buffer.bytes,
            buffer.bytes // sizes[buffer.name],
        )
        for index, buffer in enumerate(images.design.buffers)
    ]
