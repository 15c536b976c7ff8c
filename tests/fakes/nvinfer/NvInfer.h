// What a plugin of kind IPluginV2DynamicExt sees of TensorRT, declared from its documentation: names,
// types and virtual functions, in no order that a real library would share. For tests without TensorRT.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "NvInferVersion.h"

namespace nvinfer1 {

enum class DataType : int32_t { kFLOAT = 0, kHALF = 1, kINT8 = 2, kINT32 = 3, kBOOL = 4 };
enum class TensorFormat : int32_t { kLINEAR = 0, kCHW2 = 1, kHWC8 = 2, kCHW4 = 3 };
enum class DimensionOperation : int32_t { kSUM = 0, kPROD = 1 };

struct Dims {
    int32_t nbDims;
    int32_t d[8];
};

struct IDimensionExpr {
    virtual bool isConstant() const noexcept = 0;
    virtual int32_t getConstantValue() const noexcept = 0;
    virtual ~IDimensionExpr() = default;
};

struct IExprBuilder {
    virtual IDimensionExpr const* constant(int32_t value) noexcept = 0;
    virtual IDimensionExpr const* operation(DimensionOperation op, IDimensionExpr const& first,
                                            IDimensionExpr const& second) noexcept = 0;
    virtual ~IExprBuilder() = default;
};

struct DimsExprs {
    int32_t nbDims;
    IDimensionExpr const* d[8];
};

struct PluginTensorDesc {
    Dims dims;
    DataType type;
    TensorFormat format;
    float scale;
};

struct DynamicPluginTensorDesc {
    PluginTensorDesc desc;
    Dims min, max;
};

struct PluginField;
struct PluginFieldCollection {
    int32_t nbFields;
    PluginField const* fields;
};

class IPluginV2 {
public:
    virtual char const* getPluginType() const noexcept = 0;
    virtual char const* getPluginVersion() const noexcept = 0;
    virtual int32_t getNbOutputs() const noexcept = 0;
    virtual int32_t initialize() noexcept = 0;
    virtual void terminate() noexcept = 0;
    virtual size_t getSerializationSize() const noexcept = 0;
    virtual void serialize(void* buffer) const noexcept = 0;
    virtual void destroy() noexcept = 0;
    virtual IPluginV2* clone() const noexcept = 0;
    virtual void setPluginNamespace(char const* name) noexcept = 0;
    virtual char const* getPluginNamespace() const noexcept = 0;

protected:
    virtual ~IPluginV2() = default;
};

class IPluginV2Ext : public IPluginV2 {
public:
    virtual DataType getOutputDataType(int32_t index, DataType const* inputs, int32_t count) const noexcept = 0;
    IPluginV2Ext* clone() const noexcept override = 0;
};

class IPluginV2DynamicExt : public IPluginV2Ext {
public:
    IPluginV2DynamicExt* clone() const noexcept override = 0;
    virtual DimsExprs getOutputDimensions(int32_t index, DimsExprs const* inputs, int32_t count,
                                          IExprBuilder& builder) noexcept = 0;
    virtual bool supportsFormatCombination(int32_t position, PluginTensorDesc const* tensors, int32_t inputs,
                                           int32_t outputs) noexcept = 0;
    virtual void configurePlugin(DynamicPluginTensorDesc const* in, int32_t inputs,
                                 DynamicPluginTensorDesc const* out, int32_t outputs) noexcept = 0;
    virtual size_t getWorkspaceSize(PluginTensorDesc const* in, int32_t inputs, PluginTensorDesc const* out,
                                    int32_t outputs) const noexcept = 0;
    virtual int32_t enqueue(PluginTensorDesc const* in, PluginTensorDesc const* out, void const* const* from,
                            void* const* to, void* workspace, cudaStream_t stream) noexcept = 0;
};

class IPluginCreator {
public:
    virtual char const* getPluginName() const noexcept = 0;
    virtual char const* getPluginVersion() const noexcept = 0;
    virtual PluginFieldCollection const* getFieldNames() noexcept = 0;
    virtual IPluginV2* createPlugin(char const* name, PluginFieldCollection const* fields) noexcept = 0;
    virtual IPluginV2* deserializePlugin(char const* name, void const* data, size_t size) noexcept = 0;
    virtual void setPluginNamespace(char const* name) noexcept = 0;
    virtual char const* getPluginNamespace() const noexcept = 0;
    virtual ~IPluginCreator() = default;
};

// The fake's registry: one plugin a process, told by these two functions.
extern "C" inline IPluginCreator*& fake_tensorrt_creator() {
    static IPluginCreator* creator = nullptr;
    return creator;
}

extern "C" __attribute__((used, visibility("default"))) inline char const* fake_tensorrt_plugin() {
    static std::string told;
    auto creator = fake_tensorrt_creator();
    told = creator ? std::string(creator->getPluginName()) + " " + creator->getPluginVersion() : "";
    return told.c_str();
}

template <typename Creator>
struct PluginRegistrar {
    PluginRegistrar() { fake_tensorrt_creator() = &creator; }
    Creator creator{};
};

}  // namespace nvinfer1

#define REGISTER_TENSORRT_PLUGIN(name) static nvinfer1::PluginRegistrar<name> pluginRegistrar##name {}
