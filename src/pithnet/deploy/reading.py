"""ONNX files, read back."""

from __future__ import annotations

from pathlib import Path

import onnx

from pithnet.errors import ModelError


def facts_of(path: str | Path) -> dict[str, str]:
    """Returns the metadata of an ONNX file.

    Raises:
        ModelError: The file is missing or not ONNX.
    """
    return {p.key: p.value for p in read_proto(path, weights=False).metadata_props}


def read_proto(path: str | Path, weights: bool = True) -> onnx.ModelProto:
    """Returns an ONNX file's content.

    Args:
        path: The file.
        weights: Whether tensors that lie in files beside it are read, too.

    Raises:
        ModelError: The file is missing or not ONNX.
    """
    try:
        proto = onnx.load(str(path), load_external_data=weights)
    except OSError as e:
        raise ModelError(f"{path} cannot be read: {e.strerror or e}") from None
    except Exception:
        raise ModelError(f"{path} is not an ONNX file; write one with pithnet export") from None
    if not proto.graph.node:
        raise ModelError(f"{path} is not an ONNX file, or holds no operator; write one with pithnet export")
    return proto
