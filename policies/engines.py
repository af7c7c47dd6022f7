"""Compile ONNX graphs ahead of time; TensorRT for RTX builds on a machine without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from policies.spaces import ContractError

Builder = Callable[[list[Path], Path], list[dict[str, Any]]]


def build_tensorrt_rtx(graphs: list[Path], out: Path) -> list[dict[str, Any]]:
    """One strongly typed engine a graph into `out`/tensorrt_rtx-<version>/; not run, so parity is open."""
    try:
        import tensorrt_rtx_bindings as tensorrt_rtx
    except ImportError as error:
        raise ContractError(
            f"TensorRT for RTX is not installed ({error}); pip install 'como_ros[gpu]'"
        ) from error
    folder = out / f"tensorrt_rtx-{tensorrt_rtx.__version__}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for graph in graphs:
        engine = _build(tensorrt_rtx, graph)
        (folder / graph.with_suffix(".engine").name).write_bytes(engine)
        name = f"{folder.name}/{graph.name}"
        rows.append({"name": name, "cosine": None, "max_abs": None, "ok": True, "bytes": len(engine)})
    return rows


def _build(trt: Any, graph: Path) -> bytes:
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph.read_bytes()):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise ContractError(f"TensorRT for RTX cannot read {graph.name}: {reasons}")
    built = builder.build_serialized_network(network, builder.create_builder_config())
    if built is None:
        raise ContractError(f"TensorRT for RTX could not build {graph.name}; see its messages above")
    return bytes(built)


BUILDERS: dict[str, Builder] = {"tensorrt_rtx": build_tensorrt_rtx}
