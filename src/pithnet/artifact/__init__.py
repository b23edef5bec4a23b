"""The .pith container: one file, data only, that gives a model back bit for bit (docs/format.md)."""

from pithnet.artifact.architecture import own_architecture, with_architecture
from pithnet.artifact.decoder import decode
from pithnet.artifact.encoder import check_storable, encode, encode_and_inspect
from pithnet.artifact.files import decode_file, inspect_file, read, save
from pithnet.artifact.inspection import Inspection, TensorReport, inspect
from pithnet.artifact.loading import load
from pithnet.artifact.metadata import Metadata
from pithnet.artifact.state import float32_bytes, plain_state
from pithnet.artifact.tensor_files import save_state, save_widths

__all__ = [
    "Inspection",
    "Metadata",
    "TensorReport",
    "check_storable",
    "decode",
    "decode_file",
    "encode",
    "encode_and_inspect",
    "float32_bytes",
    "inspect",
    "inspect_file",
    "load",
    "own_architecture",
    "plain_state",
    "read",
    "save",
    "save_state",
    "save_widths",
    "with_architecture",
]
