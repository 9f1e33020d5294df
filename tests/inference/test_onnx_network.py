"""Files that call themselves ours and are not, and those that mean harm."""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from basrelief.errors import DataError, DeviceError
from basrelief.inference.load import load
from basrelief.inference.onnx_network import OnnxFile, load_onnx

FACTS = {
    "basrelief": 1, "network": "masknet", "resolution": [4, 6], "classes": ["figure"], "activations": {},
    "targets": ["mask"], "heads": ["mask"], "background": False, "depth_max": None, "depth_unit": None,
    "depth_kind": None, "settings": {"metric": "mask/iou", "mask_values": []},
}  # fmt: skip


def model(facts: Any = FACTS, change: Callable[[Any], None] | None = None) -> onnx.ModelProto:
    """Return the smallest file that passes for one of ours: the mean of an image's colours over 255."""
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels", "last"], ["grey"], keepdims=0),
        helper.make_node("Unsqueeze", ["grey", "first"], ["plane"]),
        helper.make_node("Div", ["plane", "most"], ["mask"]),
    ]
    values = [("last", [3], np.int64), ("first", [1], np.int64), ("most", [255], np.float32)]
    graph = helper.make_graph(
        nodes,
        "ours",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [onnx.numpy_helper.from_array(np.array(value, kind), name) for name, value, kind in values],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if facts is not None:
        helper.set_model_props(made, {"basrelief": facts if isinstance(facts, str) else json.dumps(facts)})
    if change:
        change(made)
    return made


def write(path: Path, made: onnx.ModelProto) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


def test_a_sound_file_is_a_network(tmp_path: Path) -> None:
    loaded = load(write(tmp_path / "a.onnx", model()), device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    probability = loaded.predictor(image).probability
    assert probability is not None
    assert np.allclose(probability, image.mean(2) / 255, atol=1e-6)
    assert loaded.home is None


def elsewhere(made: Any) -> None:
    tensor = made.graph.initializer[2]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../../../../../etc/passwd"), ("offset", "0"), ("length", "4")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def huge(made: Any) -> None:
    made.graph.initializer[2].dims[:] = [2**40, 2**20]


def shorter(made: Any) -> None:
    made.graph.initializer[2].dims[:] = [1000, 1000]


def looping(made: Any) -> None:
    body = helper.make_graph([], "body", [], [])
    made.graph.node.add().CopyFrom(helper.make_node("Loop", ["", ""], ["x"], body=body))


def unknown_operation(made: Any) -> None:
    made.graph.node[3].op_type = "Explode"


def other_domain(made: Any) -> None:
    made.graph.node[3].domain = "com.example"


def hidden_looping(made: Any) -> None:
    opset = [helper.make_opsetid("", 18)]
    made.functions.append(helper.make_function("own", "Again", ["x"], ["y"], [], opset))


def sparse(made: Any) -> None:
    value = onnx.numpy_helper.from_array(np.array([1], np.float32), "most")
    place = onnx.numpy_helper.from_array(np.array([0], np.int64), "place")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(value, place, [2**34]))
    del made.graph.initializer[2]


def sparse_constant(made: Any) -> None:
    sparse(made)
    node = made.graph.node.add()
    node.op_type = "Constant"
    attribute = node.attribute.add()
    attribute.name, attribute.type = "sparse_value", onnx.AttributeProto.SPARSE_TENSOR
    attribute.sparse_tensor.CopyFrom(made.graph.sparse_initializer[0])
    del made.graph.sparse_initializer[:]


def endless(made: Any) -> None:
    made.graph.node.extend([made.graph.node[0]] * 20_000)


def other_output(made: Any) -> None:
    made.graph.output[0].name = made.graph.node[3].output[0] = "depth"


def other_shape(made: Any) -> None:
    made.graph.node[2].op_type = "Identity"
    del made.graph.node[2].input[1:]
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("mask", TensorProto.FLOAT, None))


def no_nodes(made: Any) -> None:
    del made.graph.node[:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (elsewhere, "another file"),
        (huge, "impossible sizes"),
        (shorter, "impossible sizes"),
        (looping, "Loop"),
        (unknown_operation, "onnxruntime says"),
        (other_domain, "com.example.Div"),
        (hidden_looping, "operators of its own"),
        (sparse, "sparse"),
        (sparse_constant, "a Constant node"),
        (endless, "20,004 steps"),
        (other_output, "gives depth"),
        (other_shape, "has the shape"),
        (no_nodes, "onnxruntime says"),
    ],
)
def test_a_changed_file_is_refused_in_words(tmp_path: Path, change: Callable[[Any], None], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_onnx(write(tmp_path / "a.onnx", model(change=change)), "cpu")
    assert "a.onnx" in str(caught.value)


GREEDY = """
import sys
from pathlib import Path
from basrelief.inference import onnx_network
onnx_network.available_bytes = lambda device: 2**29
for file in sys.argv[1:]:
    try:
        onnx_network.load_onnx(Path(file), "cpu")
    except onnx_network.DataError as error:
        print(error)
"""


def test_a_small_file_cannot_ask_for_all_of_the_memory(tmp_path: Path) -> None:
    """Each is a few hundred bytes and asks for 1.2 GB, where 0.25 GB are allowed."""
    count = 300_000_000
    ways = {
        "ConstantOfShape": (["count"], [("count", [count], np.int64)]),
        "Expand": (["one", "count"], [("one", [1], np.float32), ("count", [count], np.int64)]),
        "Range": (["zero", "count", "one"], [("zero", 0, np.int32), ("count", count, np.int32), ("one", 1, np.int32)]),
        "Pad": (["one", "count"], [("one", [1], np.float32), ("count", [0, count], np.int64)]),
    }

    def greedy(made: Any, operator: str) -> None:
        given, values = ways[operator]
        nodes = [helper.make_node(operator, given, ["large"]), helper.make_node("ReduceMax", ["large"], ["top"])]
        nodes += [helper.make_node("Cast", ["top"], ["level"], to=TensorProto.FLOAT)]
        made.graph.initializer.extend(onnx.numpy_helper.from_array(np.array(v, k), n) for n, v, k in values)
        made.graph.node[3].input[1] = "level"
        later = list(made.graph.node)
        del made.graph.node[:]
        made.graph.node.extend([*nodes, *later])

    files = [write(tmp_path / f"{way}.onnx", model(change=lambda made, way=way: greedy(made, way))) for way in ways]
    done = subprocess.run(
        [sys.executable, "-c", GREEDY, *map(str, files)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == len(ways), said
    for file, line in zip(files, said, strict=True):
        assert file.name in line
        assert "asks for more memory than the 0.2 GB" in line


@pytest.mark.parametrize(
    "facts",
    [None, "", "nothing", "[]", "{}", "[" * 100_000, {**FACTS, "resolution": [-1, 6]}, {**FACTS, "basrelief": 99},
     {**FACTS, "classes": 5}, {**FACTS, "targets": ["depth"]}],
)  # fmt: skip
def test_a_file_that_says_nothing_or_nonsense_of_its_run_is_refused(tmp_path: Path, facts: Any) -> None:
    with pytest.raises(DataError):
        load_onnx(write(tmp_path / "a.onnx", model(facts)), "cpu")


def test_bytes_that_are_no_onnx_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = model().SerializeToString()
    for content in (b"", b"\x00", rng.bytes(2000), whole[: len(whole) // 2], b"\x08" * 500, pickle.dumps([1])):
        (tmp_path / "a.onnx").write_bytes(content)
        with pytest.raises(DataError):
            load_onnx(tmp_path / "a.onnx", "cpu")
    with pytest.raises(DataError, match="cannot be read"):
        load_onnx(tmp_path / "none.onnx", "cpu")


def test_flipped_bytes_never_end_in_anything_but_a_message(tmp_path: Path) -> None:
    whole, rng = bytearray(model().SerializeToString()), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] = int(rng.integers(256))
        (tmp_path / "a.onnx").write_bytes(damaged)
        with contextlib.suppress(DataError):
            OnnxFile(tmp_path / "a.onnx", "cpu")


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.onnx", model())
    for device in ("mps", "tpu", "cuda:x"):
        with pytest.raises(DeviceError, match=device):
            load_onnx(file, device)


class Mark:
    """What a pickle of a stranger does when it is opened: here it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


def test_a_torch_program_is_never_opened(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with zipfile.ZipFile(tmp_path / "evil.pt2", "w") as archive:
        for name in ("evil/archive_format", "evil/version"):
            archive.writestr(name, "pt2" if name.endswith("format") else "0")
        archive.writestr("evil/data/constants/opaque_obj_0", pickle.dumps(Mark(mark)))
    with pytest.raises(DataError, match="can run code"):
        load(tmp_path / "evil.pt2")
    (tmp_path / "plain.pt2").write_bytes(pickle.dumps(Mark(mark)))
    with pytest.raises(DataError, match="can run code"):
        load(tmp_path / "plain.pt2")
    assert not mark.exists()
