"""Examples that ``--help`` ends with, by command. Each is parsed in a test."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "basrelief inspect photos/",
        "basrelief study photos/ --minutes 20",
        "basrelief predict runs/latest new_photos/ --out out/",
    ),
    "inspect": (
        "basrelief inspect photos/",
        "basrelief inspect photos/ --html photos.html",
        "basrelief inspect rooms/ --depth-scale 0.001 --depth-unit m",
    ),
    "compose": (
        "basrelief compose rooms/ cutouts/ --out quartets/",
        "basrelief compose rooms/ cutouts/ --depths depths/ --positions 4 --out big/",
    ),
    "generate": (
        "basrelief generate scenes --count 500 --out scenes/",
        "basrelief generate purdue-shapes --count 1000 --out shapes-train.gz",
    ),
    "generate scenes": ("basrelief generate scenes --count 500 --out scenes/",),
    "generate purdue-shapes": (
        "basrelief generate purdue-shapes --count 1000 --out shapes-train.gz",
        "basrelief generate purdue-shapes --count 200 --seed 1 --out shapes-test.gz",
    ),
    "pack": (
        "basrelief pack photos/ --out photos-128/ --resolution 128",
        "basrelief pack annotations.json --categories person,dog --out store/",
    ),
    "study": (
        "basrelief study photos/ --minutes 20",
        "basrelief study photos/ --loss 'bce(mask)' --loss 'bce(mask) + 2*dice(mask)'",
        "basrelief study --recipe purdue-shapes --scale smoke",
        "basrelief study runs/photos --add-seeds 3",
    ),
    "report": (
        "basrelief report runs/photos",
        "basrelief report runs/photos --to pdf",
    ),
    "train": (
        "basrelief train photos/ --loss 'bce(mask) + 2*dice(mask)'",
        "basrelief train photos/ --network resunet --resolution 128 --epochs 40",
        "basrelief train rooms/ --loss 'rmse(depth)' --depth-scale 0.001 --depth-unit m",
    ),
    "lr-range": (
        "basrelief lr-range photos/ --loss 'bce(mask)'",
        "basrelief lr-range photos/ --network resunet --repeats 3",
    ),
    "evaluate": (
        "basrelief evaluate runs/latest",
        "basrelief evaluate runs/latest other_photos/ --out scores/",
    ),
    "compare": (
        "basrelief compare runs/a runs/b photos/",
        "basrelief compare runs/a network.onnx photos/ --metric mask/dice --out scores/",
    ),
    "predict": (
        "basrelief predict runs/latest new_photos/ --out out/",
        "basrelief predict runs/latest photo.jpg --cutout --preview --out out/",
        "basrelief predict runs/latest film.mp4 --every 10 --out frames/",
    ),
    "export": (
        "basrelief export runs/latest",
        "basrelief export runs/latest --to safetensors --out network.safetensors",
    ),
    "serve": (
        "basrelief serve runs/latest",
        "basrelief serve runs/latest --host 0.0.0.0 --token auto",
    ),
    "list": (
        "basrelief list losses",
        "basrelief list recipes --json",
    ),
    "summary": (
        "basrelief summary relief",
        "basrelief summary 'munet(blocks=8)' --resolution 128 --background",
    ),
    "doctor": (
        "basrelief doctor",
        "basrelief doctor --quick --json",
    ),
    "demo": ("basrelief demo",),
}
