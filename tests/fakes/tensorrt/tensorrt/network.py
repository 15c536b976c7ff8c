"""The network as its API tells it: tensors, layers, definition."""

from tensorrt import basics
from tensorrt.basics import VERSION, DataType, _Bound, _Field


class ITensor(_Bound):
    def __init__(self, name, dtype, shape):
        self._name, self._dtype, self._shape, self._range = name, dtype, shape, None
        self._original = name

    @property
    def name(self):
        return self._name

    @name.setter
    def name(self, name):
        self._name = name

    dtype = property(lambda self: getattr(DataType, self._dtype))
    shape = property(lambda self: self._shape)
    dynamic_range = property(lambda self: self._range)

    def set_dynamic_range(self, low, high):
        if not low < high:
            return False
        self._range = (low, high)
        return True


class ILayer(_Bound):
    def __init__(self, name, kind, outputs):
        self._name, self._kind, self._outputs = name, kind, outputs
        self._types = {}

    precision = _Field(None, type(DataType.FLOAT))
    name = property(lambda self: self._name)
    type = property(lambda self: getattr(basics.LayerType, self._kind))
    num_outputs = property(lambda self: len(self._outputs))

    def get_output(self, index):
        return self._outputs[index]

    def set_output_type(self, index, dtype):
        if self._outputs[index]._dtype not in ("FLOAT", "HALF"):
            raise ValueError("only floating-point outputs can be typed")
        self._types[index] = dtype

    def _fixed_outputs(self):
        """Returns the tensors that stay in fp32 where constraints are obeyed."""
        return {
            self._outputs[index].name
            for index, dtype in self._types.items()
            if "FLOAT" == dtype.name == getattr(self.precision, "name", None)
        }


class INetworkDefinition(_Bound):
    def __init__(self, flags):
        self._flags, self._model, self._inputs, self._layers, self._outputs = (
            flags,
            None,
            [],
            [],
            [],
        )

    num_inputs = property(lambda self: len(self._inputs))
    num_layers = property(lambda self: len(self._layers))
    num_outputs = property(lambda self: len(self._outputs))
    has_implicit_batch_dimension = property(lambda self: self._implicit)

    @property
    def _implicit(self):
        return VERSION[0] < 10 and not self._has("EXPLICIT_BATCH")

    def _has(self, flag):
        flags = getattr(basics, "NetworkDefinitionCreationFlag", None)
        value = getattr(flags, flag, None)
        return value is not None and bool(self._flags >> int(value) & 1)

    @property
    def _strong(self):
        return VERSION[0] >= 11 or self._has("STRONGLY_TYPED")

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._outputs[index]

    def get_layer(self, index):
        return self._layers[index]

    def add_loop(self):
        raise NotImplementedError

    def add_quantize(self, *given):
        raise NotImplementedError
