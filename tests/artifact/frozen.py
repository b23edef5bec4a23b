"""What format 1.0 fixed for ever: files out there hold these numbers, names and layouts.

A later 1.x adds entries; no entry ever changes or goes (docs/format.md, *Versions*).
"""

from __future__ import annotations

CODINGS = {
    0: "raw",
    1: "deflate",
    2: "raw16",
    3: "constant",
    4: "float",
    5: "fixed",
    6: "fixed-each",
    7: "grid",
    8: "palette",
    9: "row-grid",
    10: "column-grid",
}
SYMBOL_CODERS = {1: "huffman", 2: "rans", 3: "neighbours", 4: "lanes"}
POSITION_CODERS = {1: "constant", 2: "bitmap", 3: "gaps", 4: "kernels"}
_DTYPES = "float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"
DTYPES = dict(enumerate(_DTYPES))
HEADER_KEYS = list("altkzndcrys")
VERSION_BYTES = [1, 2]
# The sha256 of each layout: names, dtypes and shapes, as tests/artifact/test_zoo_layouts.py writes them.
LAYOUTS = {
    "digits-cnn": "5874b4cb024d0c88",
    "resnet20": "1c5aef4a5e73b743",
    "resnet32": "1fd3636f512a27eb",
    "resnet44": "b5e249adc096458a",
    "resnet56": "b7879b77f20f4d93",
    "resnet110": "b6a1e4380db07a1c",
    "resnet20b": "8489d7175aad272a",
    "resnet32b": "12b00de24315d265",
    "resnet44b": "72e76ed6630b416d",
    "resnet56b": "860bc8592fbdf0e0",
    "resnet110b": "6d2f5519766523e6",
    "resnet18": "85e83806d95c14db",
    "mobilenetv2": "c10c836475ab521c",
    "vgg16": "7c069a2c97618ac6",
    "vgg19": "5f8cea982786b3bc",
    "vgg16-imagenet": "edd35b150f903cc8",
}


def changed(what: str) -> str:
    """Returns what to do where an entry is not as it was."""
    return (
        f"{what} is not that of format 1.0, and files out there hold it: put it back. What is new gets a "
        "number or a name that none ever had, a line in tests/artifact/frozen.py and a row under Versions in "
        "docs/format.md; what older readers would misread needs a new version byte"
    )
