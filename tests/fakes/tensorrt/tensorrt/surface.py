"""Which names a version has."""

import json
from pathlib import Path

EXTRACTED = Path(__file__).parents[3] / "data" / "tensorrt_surfaces" / "surfaces.json"

SINCE = {  # from NVIDIA's documentation and headers, where that is after 5.0; see docs/reference/tensorrt.md
    "Severity.VERBOSE": "5.1",
    "ILogger.VERBOSE": "5.1",
    "IInt8EntropyCalibrator2": "5.1",
    "IInt8MinMaxCalibrator": "6.0",
    "IBuilderConfig": "6.0",
    "BuilderFlag": "6.0",
    "BuilderFlag.TF32": "7.1",
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": "8.2",
    "Builder.build_engine": "6.0",
    "Builder.build_serialized_network": "8.0",
    "Builder.create_builder_config": "6.0",
    "Builder.create_optimization_profile": "6.0",
    "IOptimizationProfile": "6.0",
    "NetworkDefinitionCreationFlag": "6.0",
    "INetworkDefinition.add_loop": "7.0",
    "INetworkDefinition.add_quantize": "8.0",
    "INetworkDefinition.has_implicit_batch_dimension": "6.0",
    "ICudaEngine.has_implicit_batch_dimension": "6.0",
    "ICudaEngine.create_engine_inspector": "8.2",
    "IExecutionContext.execute_v2": "6.0",
    "IExecutionContext.execute_async_v2": "6.0",
    "IExecutionContext.get_binding_shape": "6.0",
    "IExecutionContext.set_binding_shape": "6.0",
    "EngineInspector": "8.2",
    "LayerInformationFormat": "8.2",
    "ProfilingVerbosity": "8.0",
    "ProfilingVerbosity.DETAILED": "8.2",
    "IBuilderConfig.profiling_verbosity": "8.0",
    "IBuilderConfig.set_calibration_profile": "7.1",
    "IBuilderConfig.set_tactic_sources": "7.2",
    "TacticSource": "7.2",
    "IBuilderConfig.create_timing_cache": "8.0",
    "IBuilderConfig.set_timing_cache": "8.0",
    "IBuilderConfig.get_timing_cache": "8.0",
    "ITimingCache": "8.0",
    "IBuilderConfig.set_memory_pool_limit": "8.4",
    "MemoryPoolType": "8.4",
    "OnnxParser.parse_from_file": "7.1",
}
UNTIL = {  # gone in 8.0
    "Builder." + name
    for name in (
        "max_workspace_size",
        "fp16_mode",
        "int8_mode",
        "int8_calibrator",
        "strict_type_constraints",
        "build_cuda_engine",
    )
}


def number(version):
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def extracted():
    with EXTRACTED.open(encoding="utf-8") as stream:
        return json.load(stream)


def has(known, version, name, owner=""):
    """Whether a version has `owner.name`, or the module's `name`.

    Args:
        known: of `extracted`.
        version: of TensorRT.
        name: of a class or of one's attribute.
        owner: the class, "" for the module.
    """
    wanted = number(version)
    full = owner + "." + name if owner else name
    if wanted < number(known["versions"][0]):
        if full in UNTIL:
            return wanted < (8,)
        if wanted < number(SINCE.get(full, "0")):
            return False
        version = known["versions"][0]
    if number(version) == (
        9,
        3,
        0,
    ):  # no wheel of 9 is on the index; its names are 8.6's, one more, and no UFF
        if full == "NetworkDefinitionCreationFlag.STRONGLY_TYPED":
            return True
        if (owner or name) in ("UffParser", "UffInputOrder"):
            return False
        version = "8.6.1"
    order = known["versions"]
    runs = known["classes"].get(owner, {}).get(name, ())
    return any(order.index(run[0]) <= order.index(version) <= order.index(run[1]) for run in runs)


def reduced(classes, version):
    """Removes from `classes` what the version lacks; returns those that it has."""
    known = extracted()
    left = {}
    for name, kind in classes.items():
        # A nested class is listed as that; those of the module by their plain names.
        if not has(known, version, name) and name != "Severity":
            continue
        owner = "ILogger.Severity" if name == "Severity" else name
        for attribute in [var for var in vars(kind) if not var.startswith("_")]:
            if not has(known, version, attribute, owner):
                delattr(kind, attribute)
        left[name] = kind
    left.pop("Severity")
    return left
