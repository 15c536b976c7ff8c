"""Enums, loggers, and what all classes of the bindings have in common."""

import os

VERSION = tuple(int(part) for part in os.environ["FAKE_TENSORRT"].split(".") if part.isdigit())


class _Value(int):
    """A value of an enum: an int that knows its name, as pybind's are printed."""

    def __new__(cls, value, owner, name):
        made = super().__new__(cls, value)
        made.text = f"{owner}.{name}"
        made.name = name
        return made

    def __str__(self):
        return self.text

    __repr__ = __str__


def _enum(kind):
    for name, value in list(vars(kind).items()):
        if not name.startswith("_"):
            setattr(kind, name, _Value(value, kind.__name__, name))
    return kind


class _Meta(type):
    """As pybind: an object whose base __init__ was not called by its own is refused at once."""

    def __call__(cls, *given, **named):
        made = super().__call__(*given, **named)
        if cls._must_be_initialised and not getattr(made, "_initialised", False):
            message = f"{cls.__name__}.__init__() must be called when overriding __init__"
            raise TypeError(message)
        return made


class _Bound(metaclass=_Meta):
    """A class of the bindings: its objects take no attributes but those that it declares."""

    _must_be_initialised = False

    def __setattr__(self, name, value):
        kind = type(self)
        if (
            kind.__module__.startswith("tensorrt.")
            and not name.startswith("_")
            and not hasattr(kind, name)
        ):
            message = f"'{kind.__name__}' object has no attribute '{name}'"
            raise AttributeError(message)
        super().__setattr__(name, value)


class _Field:
    """An attribute with a default; checks the type as pybind would."""

    def __init__(self, default, kinds=object):
        self.default, self.kinds = default, kinds

    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, owner, kind=None):
        return self if owner is None else getattr(owner, self.name, self.default)

    def __set__(self, owner, value):
        if value is not None and not isinstance(value, self.kinds):
            message = f"incompatible function arguments: {self.name[1:]} = {value!r}"
            raise TypeError(message)
        owner.__dict__[self.name] = value


@_enum
class DataType:
    FLOAT, HALF, INT8, INT32, BOOL, UINT8, FP8, BF16, INT64, INT4 = range(10)


# Values of the flags move from version to version: whoever hard-codes one is found out.
_MOVED = {8: 7, 9: 7, 7: 7}.get(VERSION[0], 6)


@_enum
class BuilderFlag:
    FP16, INT8, DEBUG, GPU_FALLBACK, REFIT, DISABLE_TIMING_CACHE = 0, 1, 2, 3, 4, 5 + (_MOVED == 7)
    STRICT_TYPES, TF32 = 30, _MOVED
    OBEY_PRECISION_CONSTRAINTS, PREFER_PRECISION_CONSTRAINTS = 10, 11
    BF16 = 17


@_enum
class NetworkDefinitionCreationFlag:
    EXPLICIT_BATCH = 0
    EXPLICIT_PRECISION = 1
    STRONGLY_TYPED = {9: 2, 10: 1}.get(VERSION[0], 0)


@_enum
class MemoryPoolType:
    WORKSPACE = 0


@_enum
class ProfilingVerbosity:
    LAYER_NAMES_ONLY, NONE, DETAILED = range(3)


@_enum
class LayerInformationFormat:
    ONELINE, JSON = range(2)


@_enum
class TacticSource:
    CUBLAS, CUBLAS_LT, CUDNN, EDGE_MASK_CONVOLUTIONS, JIT_CONVOLUTIONS = range(5)


@_enum
class TensorIOMode:
    NONE, INPUT, OUTPUT = range(3)


@_enum
class LayerType:
    (CONVOLUTION, ACTIVATION, POOLING, RESIZE, QUANTIZE, DEQUANTIZE, CONSTANT, CAST, ELEMENTWISE,
     PLUGIN_V2) = range(10)  # fmt: skip


@_enum
class Severity:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger(_Bound):
    _must_be_initialised = True
    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = (
        Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING, Severity.INFO, Severity.VERBOSE,
    )  # fmt: skip

    def __init__(self):
        self._initialised = True

    def log(self, severity, msg):
        raise RuntimeError('Tried to call pure virtual function "ILogger::log"')


class Logger(ILogger):
    min_severity = _Field(Severity.WARNING)

    def log(self, severity, msg):
        if severity <= self.min_severity:
            print(f"[TRT] {msg}")


def _say(logger, severity, text):
    if not getattr(logger, "_initialised", False):
        raise SystemError("a logger whose base __init__ was not called")
    if severity == 4 and VERSION < (5, 1):
        return
    try:
        logger.log(_Value(severity, "Severity", str(severity)), text)
    except BaseException:
        os.abort()  # the callback is noexcept


class IProfiler(_Bound):
    _must_be_initialised = True

    def __init__(self):
        self._initialised = True

    def report_layer_time(self, layer_name, ms):
        raise RuntimeError('Tried to call pure virtual function "IProfiler::reportLayerTime"')


class IHostMemory(bytes):
    """Has the buffer protocol, but no len()."""

    nbytes = property(lambda self: memoryview(self).nbytes)

    def __len__(self):
        raise TypeError("object of type 'IHostMemory' has no len()")


class IInt8Calibrator(_Bound):
    _must_be_initialised = True

    def __init__(self):
        self._initialised = True


class IInt8EntropyCalibrator(IInt8Calibrator):
    _header = "EntropyCalibration"


class IInt8EntropyCalibrator2(IInt8Calibrator):
    _header = "EntropyCalibration2"


class IInt8MinMaxCalibrator(IInt8Calibrator):
    _header = "MinMaxCalibration"


class IInt8LegacyCalibrator(IInt8Calibrator):
    _header = "LegacyCalibration"
