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
from xattn.build.manifest import MANIFEST, BufferEntry, BuildRequest, CoreEntry, FileEntry, Manifest
from xattn.errors import InputError
from xattn.kernels.registry import kernel_spec
from xattn.numerics.lut import c_header, exp_table


def make_artifacts(request: BuildRequest) -> dict[str, bytes]:
    """The files of a build by name; the manifest last. InputError when the request cannot be built."""
    images = build_images(
        request.kernel,
        request.design,
        request.tokens,
        request.width,
        dict(request.scalars),
        request.symbol,
        request.blocks,
    )
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
        "insts.bin": ("instruction stream of one run", images.instructions),
        "exp_lut.h": ("exp table of the integer softmax, for C", c_header(exp_table()).encode()),
    }
    manifest = _manifest(request, images, tuple(cores), files)
    return {name: data for name, (_, data) in files.items()} | {MANIFEST: manifest}


def _mlir(request: BuildRequest, images: Images) -> bytes:
    try:
        dialect = Dialect(request.dialect) if request.dialect else NEWEST
    except ValueError:
        known = ", ".join(dialect.value for dialect in Dialect)
        raise InputError(f"no dialect is called {request.dialect!r}; there are {known}") from None
    return custom_form(mlir_module(images.placement, f"{request.kernel}.o", dialect)).encode()


def _manifest(
    request: BuildRequest, images: Images, cores: tuple[CoreEntry, ...], files: dict[str, tuple[str, bytes]]
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
