// Nearest upsampling by two, as in many YOLO exports of its time: a custom layer in FP32 and FP16, and,
// compiled with -DUPSAMPLE_INT8=1, in INT8 too. For TensorRT 7.1 to 10 (IPluginV2DynamicExt).
//
// It only copies, so it needs no kernel and no nvcc: every element goes to two columns of its row, then
// every row to two rows. In INT8 the scales of input and output must be one, or values would change.

#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <cstring>
#include <string>

#ifndef UPSAMPLE_INT8
#define UPSAMPLE_INT8 0
#endif

namespace {

using namespace nvinfer1;

char const* const NAME = "UpsampleNearest";
char const* const VERSION = "1";

size_t elementSize(DataType type) {
    return type == DataType::kFLOAT ? 4 : type == DataType::kHALF ? 2 : 1;
}

size_t count(Dims const& dims, int first, int last) {
    size_t product = 1;
    for (int axis = first; axis < last; ++axis) product *= dims.d[axis];
    return product;
}

class Upsample : public IPluginV2DynamicExt {
public:
    Upsample* clone() const noexcept override {
        auto copy = new Upsample;
        copy->namespace_ = namespace_;
        return copy;
    }

    DimsExprs getOutputDimensions(int32_t, DimsExprs const* inputs, int32_t,
                                  IExprBuilder& builder) noexcept override {
        DimsExprs output(inputs[0]);
        auto two = builder.constant(2);
        for (int axis = output.nbDims - 2; axis < output.nbDims; ++axis)
            output.d[axis] = builder.operation(DimensionOperation::kPROD, *output.d[axis], *two);
        return output;
    }

    bool supportsFormatCombination(int32_t position, PluginTensorDesc const* tensors, int32_t,
                                   int32_t) noexcept override {
        auto const& one = tensors[position];
        if (one.format != TensorFormat::kLINEAR || one.type != tensors[0].type) return false;
        if (one.type == DataType::kFLOAT || one.type == DataType::kHALF) return true;
        return UPSAMPLE_INT8 && one.type == DataType::kINT8;
    }

    void configurePlugin(DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*,
                         int32_t) noexcept override {}

    size_t getWorkspaceSize(PluginTensorDesc const* inputs, int32_t, PluginTensorDesc const*,
                            int32_t) const noexcept override {
        auto const& dims = inputs[0].dims;
        return 2 * count(dims, 0, dims.nbDims) * elementSize(inputs[0].type);
    }

    int32_t enqueue(PluginTensorDesc const* inputs, PluginTensorDesc const* outputs,
                    void const* const* from, void* const* to, void* workspace,
                    cudaStream_t stream) noexcept override {
        if (inputs[0].type == DataType::kINT8 && inputs[0].scale != outputs[0].scale) return 1;
        auto const& dims = inputs[0].dims;
        size_t const size = elementSize(inputs[0].type);
        size_t const rows = count(dims, 0, dims.nbDims - 1);
        size_t const row = 2 * dims.d[dims.nbDims - 1] * size;
        for (size_t shift = 0; shift < 2; ++shift)
            if (copy(workspace, shift * size, 2 * size, from[0], size, size, rows * row / 2 / size, stream))
                return 1;
        for (size_t shift = 0; shift < 2; ++shift)
            if (copy(to[0], shift * row, 2 * row, workspace, row, row, rows, stream)) return 1;
        return 0;
    }

    DataType getOutputDataType(int32_t, DataType const* inputs, int32_t) const noexcept override {
        return inputs[0];
    }

    char const* getPluginType() const noexcept override { return NAME; }
    char const* getPluginVersion() const noexcept override { return VERSION; }
    int32_t getNbOutputs() const noexcept override { return 1; }
    int32_t initialize() noexcept override { return 0; }
    void terminate() noexcept override {}
    size_t getSerializationSize() const noexcept override { return 0; }
    void serialize(void*) const noexcept override {}
    void destroy() noexcept override { delete this; }
    void setPluginNamespace(char const* name) noexcept override { namespace_ = name; }
    char const* getPluginNamespace() const noexcept override { return namespace_.c_str(); }

private:
    // Copies `blocks` blocks of `size` bytes: the one at i * fromStep goes to offset + i * toStep.
    static bool copy(void* to, size_t offset, size_t toStep, void const* from, size_t fromStep, size_t size,
                     size_t blocks, cudaStream_t stream) {
        return cudaMemcpy2DAsync(static_cast<char*>(to) + offset, toStep, from, fromStep, size, blocks,
                                 cudaMemcpyDeviceToDevice, stream) != cudaSuccess;
    }

    std::string namespace_;
};

class UpsampleCreator : public IPluginCreator {
public:
    char const* getPluginName() const noexcept override { return NAME; }
    char const* getPluginVersion() const noexcept override { return VERSION; }
    PluginFieldCollection const* getFieldNames() noexcept override { return &fields_; }

    IPluginV2* createPlugin(char const*, PluginFieldCollection const*) noexcept override {
        return named(new Upsample);
    }

    IPluginV2* deserializePlugin(char const*, void const*, size_t) noexcept override {
        return named(new Upsample);
    }

    void setPluginNamespace(char const* name) noexcept override { namespace_ = name; }
    char const* getPluginNamespace() const noexcept override { return namespace_.c_str(); }

private:
    IPluginV2* named(Upsample* plugin) const {
        plugin->setPluginNamespace(namespace_.c_str());
        return plugin;
    }

    std::string namespace_;
    PluginFieldCollection fields_{};
};

REGISTER_TENSORRT_PLUGIN(UpsampleCreator);

}  // namespace
