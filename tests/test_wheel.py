"""What the wheel and the source archive hold; without extras, each command works or says which one it needs."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from support import write_folder
from wheels import ROOT, build, environment, without_sources

PACKAGE = ROOT / "src" / "basrelief"
SMALL = ["--network", "masknet", "--resolution", "16", "--epochs", "1", "--batch-size", "4", "--lr", "1e-3"]
# Commands are run one after another in one process, which loads torch once.
COMMANDS = """
import contextlib, io, json, sys
from basrelief import cli
found = []
for words in json.loads(sys.stdin.read()):
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["basrelief", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
    found.append([code, out.getvalue(), err.getvalue()])
print("\\n" + json.dumps(found))
"""


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    return build("wheel", tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.name == "nt":
        pytest.skip("the environment is made of symbolic links")
    return environment(tmp_path_factory.mktemp("core") / "venv", wheel)


def run_all(python: Path, folder: Path, *commands: list[str]) -> list[Said]:
    done = subprocess.run(
        [python, "-c", COMMANDS],
        input=json.dumps([[str(word) for word in words] for words in commands]),
        capture_output=True,
        text=True,
        cwd=folder,
        env=without_sources(),
    )
    assert done.returncode == 0, done.stderr
    return [Said(*line) for line in json.loads(done.stdout.splitlines()[-1])]


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "src/basrelief"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    wanted = {line.removeprefix("src/") for line in listed.stdout.splitlines() if (ROOT / line).exists()}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert wanted <= held
    assert {Path(name).suffix for name in held} <= {".py", ".typed", ".yaml", ".j2", ".css", ".js", ".json"}
    assert {"basrelief/py.typed", "basrelief/report/style.css", "basrelief/report/study.html.j2"} <= held
    assert any(name.startswith("basrelief/recipes/") and name.endswith(".yaml") for name in held)


def test_the_source_archive_holds_what_the_tests_read(tmp_path: Path) -> None:
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    with tarfile.open(build("sdist", tmp_path)) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    wanted = {name for name in listed.stdout.splitlines() if not name.startswith(".") and (ROOT / name).exists()}
    assert wanted - held == set()


@pytest.mark.slow
def test_without_extras_the_commands_of_the_core_work(python: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "discs")
    names = ("segmentation_models_pytorch", "pycocotools", "OpenEXR", "transformers", "onnx", "gradio", "cv2", "ray")
    code = f"import importlib.util as u, basrelief; print([n for n in {names} if u.find_spec(n)], basrelief.__file__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, env=without_sources(), check=True)
    assert done.stdout.startswith("[] ")
    assert str(python.parents[1]) in done.stdout
    commands = [
        ["list", "recipes"],
        ["inspect", "discs"],
        ["pack", "discs", "--resolution", "16", "--out", "store"],
        ["train", "discs", "--loss", "bce", *SMALL, "--out", "run"],
        ["evaluate", "run", "--out", "evaluated"],
        ["predict", "run", "discs/images", "--out", "predicted"],
        ["export", "run", "--to", "safetensors", "--out", "exported.safetensors"],
        ["study", "discs", "--loss", "bce", "--loss", "dice", *SMALL, "--seeds", "2", "--jobs", "1", "--out", "study"],
        ["report", "study", "--to", "markdown"],
        ["compare", "run", "study", "discs"],
        ["summary", "masknet"],
        ["generate", "scenes", "--count", "4", "--out", "scenes"],
    ]
    said = zip(commands, run_all(python, tmp_path, *commands), strict=True)
    assert [(words, line) for words, line in said if line.code != 0] == []
    assert (tmp_path / "study" / "report.html").exists()


def test_without_extras_each_command_says_which_one_it_needs(python: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "discs")
    (tmp_path / "exr" / "images").mkdir(parents=True)
    (tmp_path / "exr" / "depths").mkdir()
    for i in range(4):
        (tmp_path / "exr" / "images" / f"{i}.png").write_bytes((tmp_path / f"discs/images/0{i}.png").read_bytes())
        (tmp_path / "exr" / "depths" / f"{i}.exr").write_bytes(b"v/1\x01\x02\0\0\0")
    (tmp_path / "film.mp4").write_bytes(b"0")
    (tmp_path / "net.onnx").write_bytes(b"0")
    (tmp_path / "boxes.json").write_text('{"images": [], "annotations": [], "categories": []}')
    short = ["--resolution", "16", "--epochs", "1", "--lr", "1e-3"]
    asked: list[tuple[str, list[str]]] = [
        ("video", ["predict", "run", "film.mp4", "--out", "p"]),
        ("export", ["export", "run", "--to", "onnx", "--out", "a.onnx"]),
        ("export", ["predict", "net.onnx", "discs/images", "--out", "p"]),
        ("serve", ["serve", "run"]),
        ("encoders", ["train", "discs", "--network", "smp/unet:resnet18", "--loss", "bce", *short, "--out", "r"]),
        ("encoders", ["summary", "smp/unet:resnet18"]),
        ("coco", ["inspect", "boxes.json"]),
        ("coco", ["train", "boxes.json", "--loss", "bce", *short, "--out", "r"]),
        ("exr", ["pack", "exr", "--resolution", "16", "--out", "e"]),
        ("teacher", ["compose", "discs/images", "discs/images", "--teacher", "any", "--out", "q"]),
        ("ray", ["study", "discs", "--loss", "bce", "--loss", "dice", *SMALL, "--executor", "ray", "--out", "s"]),
    ]
    train = ["train", "discs", "--loss", "bce", *SMALL, "--out", "run"]
    _, *found = run_all(python, tmp_path, train, *(words for _, words in asked))
    wrong = [
        (words, said)
        for (extra, words), said in zip(asked, found, strict=True)
        if said.code not in (1, 2)
        or said.err.count(f'pip install "basrelief[{extra}]"') != 1
        or "Traceback" in said.err + said.out
    ]
    assert wrong == []
