"""From files and folders to subjects: each file is read as what its first bytes say.

The files of a folder are one subject, together with those of a single `.prj` folder of mlir-aie in it; other folders
in it are subjects of their own. What a folder holds besides is passed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from xattn.array.cdo import read_cdo
from xattn.array.description import file_kind
from xattn.array.image_file import configuration_of
from xattn.array.instructions import read_instructions
from xattn.array.xclbin import read_xclbin
from xattn.build.manifest import MANIFEST, read_manifest
from xattn.errors import FileFormatError, InputError, XattnError
from xattn.isa.elf import ElfImage, is_elf, read_elf
from xattn.isa.timing import PROGRAM_MEMORY_BYTES
from xattn.lint.mlir_text import read_mlir
from xattn.lint.subject import Image, Named, Subject

_SUFFIXES = {".xclbin", ".pdi", ".cdo", ".elf", ".o", ".a", ".mlir"}
_LARGEST = 64 << 20  # bytes; no file of a build comes near
_ARCHIVE, _ARCHIVE_HEAD, _MEMBER_HEAD = b"!<arch>\n", 8, 60


def read_subject(files: Mapping[str, bytes], name: str, *, lenient: bool = False) -> Subject:
    """The subject of these files by name. `lenient`: those that cannot be read become findings, others pass.

    FileFormatError for a file that is none of a build's.
    """
    subject = Subject(name)
    for file, data in files.items():
        subject.digests[file] = hashlib.sha256(data).hexdigest()
        try:
            known = _add(subject, file, data)
        except XattnError as error:
            if not lenient:
                raise FileFormatError(f"{file}: {error}") from None
            if Path(file).suffix in _SUFFIXES:
                subject.unreadable.append((file, str(error)))
            continue
        if not known and not lenient:
            raise FileFormatError(f"{file}: text with no aie.device in it, which is no design of the array")
    return subject


def _add(subject: Subject, file: str, data: bytes) -> bool:
    """Put a file's contents where they belong; False for a text that is no design."""
    if is_elf(data):
        _add_elf(subject, file, data)
    elif Path(file).name == MANIFEST:
        subject.manifest = read_manifest(data)
    elif Path(file).suffix in (".mlir", ".h", ".json", ".txt", ".py") and _is_text(data):
        design = read_mlir(data.decode())
        if design is None:
            return False
        subject.designs.append(Named(file, design))
    else:
        _add_array_file(subject, file, data)
    return True


def _is_text(data: bytes) -> bool:
    """Whether this is text of some language, and not an instruction stream in hexadecimal digits."""
    head = data.split(maxsplit=1)[:1]
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data and not (head and len(head[0]) == 8 and head[0].isalnum())


def _add_elf(subject: Subject, file: str, data: bytes) -> None:
    if data.startswith(_ARCHIVE):
        members = [read_elf(content, file) for content in _members(data) if is_elf(content)]
        subject.objects.append(Named(file, tuple(members)))
        return
    image = read_elf(data, file)
    if image.is_object:
        subject.objects.append(Named(file, (image,)))
        return
    _require_fit(image)
    subject.programs.append(Named(file, image))


def _require_fit(image: ElfImage) -> None:
    last = 0
    for address, code in sorted(image.code()):
        if address < last or address + len(code) > PROGRAM_MEMORY_BYTES:
            raise FileFormatError(
                f"{len(code)} bytes of code at {address:#x} lie over other code, or end behind program memory of "
                f"{PROGRAM_MEMORY_BYTES} bytes"
            )
        last = address + len(code)


def _members(data: bytes) -> Iterator[bytes]:
    """The files in an `ar` archive; its symbol table and its list of names are among them, and are no ELF files."""
    at = _ARCHIVE_HEAD
    while at + _MEMBER_HEAD <= len(data):
        size = data[at + 48 : at + 58].strip()
        if not size.isdigit() or at + _MEMBER_HEAD + int(size) > len(data):
            raise FileFormatError(f"an archive whose member at byte {at} is cut short")
        yield data[at + _MEMBER_HEAD : at + _MEMBER_HEAD + int(size)]
        at += _MEMBER_HEAD + int(size) + int(size) % 2


def _add_array_file(subject: Subject, file: str, data: bytes) -> None:
    kind = file_kind(data)
    if kind == "xclbin":
        subject.xclbins.append(Named(file, read_xclbin(data)))
        subject.images.append(Named(file, Image(configuration_of(file, data))))
    elif kind == "PDI":
        subject.images.append(Named(file, Image(configuration_of(file, data))))
    elif kind == "CDO":
        subject.images.append(Named(file, Image(read_cdo(data))))
    else:
        subject.streams.append(Named(file, read_instructions(data)))


def subjects_of(paths: Sequence[Path]) -> Iterator[Subject]:
    """A subject of all files named, and those of the folders. XattnError for what is not there or cannot be read."""
    named = [path for path in paths if not path.is_dir()]
    if named:
        files = {str(path): _contents(path) for path in named}
        yield read_subject(files, ", ".join(files))
    for path in paths:
        if path.is_dir():
            found = list(_folder(path))
            if not found:
                raise InputError(f"{path}: no file of a build is in this folder")
            yield from found


def _folder(folder: Path) -> Iterator[Subject]:
    inside = sorted(folder.iterdir())
    folders = [path for path in inside if path.is_dir() and not path.name.startswith(".")]
    projects = [path for path in folders if path.suffix == ".prj"]
    files = {path.name: _contents(path) for path in inside if _may_be_of_a_build(path)}
    if len(projects) == 1:
        (project,) = projects
        folders.remove(project)
        kept = [path for path in sorted(project.iterdir()) if _may_be_of_a_build(path)]
        files |= {f"{project.name}/{path.name}": _contents(path) for path in kept}
    subject = read_subject(files, str(folder), lenient=True)
    subject.is_folder = True
    if _has_anything(subject):
        yield subject
    for path in folders:
        yield from _folder(path)


def _may_be_of_a_build(path: Path) -> bool:
    known = path.suffix in _SUFFIXES or path.suffix in (".bin", ".txt") or path.name == MANIFEST
    return known and path.is_file() and path.stat().st_size <= _LARGEST


def _has_anything(subject: Subject) -> bool:
    lists = (subject.programs, subject.objects, subject.images, subject.streams, subject.designs, subject.unreadable)
    return subject.manifest is not None or any(lists)


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror or error}") from None
