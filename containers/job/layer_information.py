"""What TensorRT tells of an engine's layers → the layers of layers.json (job/protocol.py).

The inspector (8.2 and later; trtexec's --exportLayerInfo writes the same) tells types, formats and tactics;
before it, the verbose log of a build does (7.x to 8.1); a profile has the names alone. No engine is needed
here: the host reads with it what another program recorded.
"""

import re

PRECISIONS = (  # in the order in which words are looked for
    (re.compile(r"INT ?8", re.IGNORECASE), "int8"),
    (re.compile(r"FP ?8", re.IGNORECASE), "fp8"),
    (re.compile(r"BF ?16|bfloat16", re.IGNORECASE), "bf16"),
    (re.compile(r"FP ?16|Half|Float16", re.IGNORECASE), "fp16"),
    (re.compile(r"FP ?32|Float", re.IGNORECASE), "fp32"),
    (re.compile(r"INT ?32", re.IGNORECASE), "int32"),
    (re.compile(r"INT ?64", re.IGNORECASE), "int64"),
    (re.compile(r"Bool", re.IGNORECASE), "bool"),
    (re.compile(r"INT ?4", re.IGNORECASE), "int4"),
    (re.compile(r"FP ?4", re.IGNORECASE), "fp4"),
)
# What kernels call what they compute in; `_i8i8_i8i32_` multiplies int8, `_f32f32_tf32f32_` TF32.
TACTICS = (
    (re.compile(r"i8i8|i8f32|i8f16|int8|imma|i16832|s8s8", re.IGNORECASE), "int8"),
    (re.compile(r"e4m3|fp8", re.IGNORECASE), "fp8"),
    (re.compile(r"tf32|s1688|xf32", re.IGNORECASE), "tf32"),
    (re.compile(r"bf16", re.IGNORECASE), "bf16"),
    (re.compile(r"f16f16|fp16|h884|h1688|h16816|hcudnn|half|hmma|s16816|s884", re.IGNORECASE), "fp16"),
    (re.compile(r"f32f32|fp32|sgemm|scudnn|ffma|sfma", re.IGNORECASE), "fp32"),
)
LINE = re.compile(r"Layer\((?P<type>[^)]*)\): (?P<name>.*), Tactic: (?P<tactic>[-\w]+), (?P<tensors>.*)$")
TENSOR = re.compile(r"(?:^|, )(?P<name>.*?)\[(?P<type>Float|Half|Int8|Int32|Bool)(?P<form>[^\]]*)\]")
# TensorRT's names for what it compiled as a whole: inside it nothing is told.
OPAQUE = re.compile(r"ForeignNode|Myelin|myelin", re.IGNORECASE)


def inspected(information, network):
    """Returns the layers of the inspector's JSON: plain names where the engine was built without details."""
    find = Finder(network)
    found = []
    for one in information.get("Layers", []):
        if not isinstance(one, dict):
            found.append(_layer(find, str(one)))
            continue
        inputs, outputs = ([_tensor(tensor) for tensor in one.get(key, [])] for key in ("Inputs", "Outputs"))
        weights = one.get("Weights")
        stored = precision_of(weights.get("Type", "")) if isinstance(weights, dict) else None
        made = _layer(find, one.get("Name", ""), one.get("Metadata") or "")
        made.update(
            type=one.get("ParameterType") or one.get("LayerType"),
            kernel=one.get("LayerType"),
            tactic=one.get("TacticName") or one.get("TacticValue"),
            inputs=inputs,
            outputs=outputs,
        )
        made["opaque"] = made["opaque"] or bool(OPAQUE.search(str(made["kernel"])))
        made["precision"] = None if made["opaque"] else computed_in(inputs, stored, one.get("TacticName"))
        found.append(made)
    return found


def logged(lines, network):
    """Returns the layers of the verbose log's `Layer(Type): name, Tactic: N, inputs -> outputs`."""
    find = Finder(network)
    found = []
    for line in lines:
        match = LINE.search(line)
        if match is None:
            continue
        sides = match.group("tensors").rpartition(" -> ")[::2]
        inputs, outputs = ([_logged_tensor(one) for one in TENSOR.finditer(side)] for side in sides)
        made = _layer(find, match.group("name"))
        made.update(
            type=match.group("type"),
            kernel=match.group("type"),
            tactic=match.group("tactic"),
            inputs=inputs,
            outputs=outputs,
        )
        made["precision"] = None if made["opaque"] else computed_in(inputs, None, None)
        found.append(made)
    return found


def named(names, network):
    """Returns layers of which only the names are known."""
    find = Finder(network)
    return [_layer(find, name) for name in names]


def timed(told, known, network):
    """Returns `layers` of protocol.TIMES_KEYS from the {name: seconds} of each run.

    `known` are those of layers.json: they know by their metadata what a name alone does not tell.
    """
    names = sorted({name for run in told for name in run})
    tensors = {one["name"]: one["tensors"] for one in named(names, network) + known}
    found = []
    for name in names:
        seconds = sorted(run.get(name, 0.0) for run in told)
        middle = (seconds[(len(seconds) - 1) // 2] + seconds[len(seconds) // 2]) / 2
        found.append({"name": name, "tensors": tensors[name], "seconds": middle})
    return found


def _layer(find, name, metadata=""):
    origin = find(metadata) or find(name)
    return {
        "name": name,
        "type": None,
        "kernel": None,
        "origin": origin,
        "tensors": [tensor for one in origin for tensor in find.network[one]],
        "opaque": bool(OPAQUE.search(name)),
        "precision": None,
        "tactic": None,
        "inputs": [],
        "outputs": [],
    }


def _tensor(one):
    """One input or output: TensorRT 8 to 10 say "Format/Datatype", 11 splits it."""
    if not isinstance(one, dict):
        return {"name": str(one), "precision": None, "format": None}
    keys = ("Format/Datatype", "Format/DataType", "Datatype", "DataType", "Format")
    told = [str(one[key]) for key in keys if one.get(key)]
    precision = next(filter(None, (precision_of(text) for text in told)), None)
    return {"name": one.get("Name", ""), "precision": precision, "format": " ".join(told) or None}


def _logged_tensor(match):
    form = match.group("type") + match.group("form")
    return {
        "name": match.group("name"),
        "precision": precision_of(match.group("type")),
        "format": form,
    }


def precision_of(text):
    """Returns the precision that a format or type names, None where it names none."""
    return next((name for pattern, name in PRECISIONS if pattern.search(text)), None)


def computed_in(inputs, weights, tactic):
    """Returns the precision in which a layer computes.

    Its kernel's name (`tactic`) says it best (a float layer may multiply in TF32), then the type of its weights,
    then that of its first input: the last convolution of a head is int8 with a float output.
    """
    words = str(tactic or "")
    kernel = next((name for pattern, name in TACTICS if pattern.search(words)), None)
    first = inputs[0]["precision"] if inputs else None
    if weights is not None and weights != "fp32":
        return weights
    if kernel == "tf32" or first is None:
        return kernel or weights or first
    return weights or (kernel if kernel and first not in ("int32", "int64", "bool") else first)


class Finder(object):
    """Finds the layers of the network in the name that TensorRT gave to what it made of them.

    `/a/Conv + PWN(PWN(/a/Sigmoid), /a/Mul)` was made of three. Names may hold any character, so known
    names are looked for, the longest first, and only where a name can begin and end.
    """

    def __init__(self, network):
        self.network = network
        names = sorted(filter(None, network), key=len, reverse=True)
        alternatives = "|".join(re.escape(name) for name in names)
        pattern = r"(?:(?<=[\s(\[{,+|])|(?<=\.\.\.)|^)(?:%s)(?=[\s)\]},+|\x1e\x1d]|\.\.\.|$)" % alternatives
        self._pattern = re.compile(pattern) if names else None

    def __call__(self, text):
        """Returns the names found in `text`, in order, each once.

        That is a layer's name, or its metadata: `[ONNX Layer: /a/Conv]\\x1e[ONNX Layer: /a/Mul]`.
        """
        if self._pattern is None:
            return []
        found = []
        for name in self._pattern.findall(text):
            if name not in found:
                found.append(name)
        return found
