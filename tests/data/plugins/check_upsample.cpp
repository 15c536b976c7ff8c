// Runs upsample.cpp on host memory: its formats, its shape and every value. Exits with the line that failed.
#include "upsample.cpp"

#include <vector>

#define CHECK(condition) \
    if (!(condition)) return __LINE__ % 250 + 1

struct Constant : IDimensionExpr {
    explicit Constant(int32_t value) : value(value) {}
    bool isConstant() const noexcept override { return true; }
    int32_t getConstantValue() const noexcept override { return value; }
    int32_t value;
};

struct Builder : IExprBuilder {
    IDimensionExpr const* constant(int32_t value) noexcept override { return new Constant(value); }
    IDimensionExpr const* operation(DimensionOperation, IDimensionExpr const& one,
                                    IDimensionExpr const& other) noexcept override {
        return new Constant(one.getConstantValue() * other.getConstantValue());
    }
};

template <typename Value>
int copies(IPluginV2DynamicExt& plugin, DataType type) {
    int32_t const n = 2, c = 3, h = 4, w = 5;
    std::vector<Value> from(n * c * h * w), to(4 * from.size(), Value(-1));
    for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<Value>(i % 101);
    PluginTensorDesc in{{4, {n, c, h, w}}, type, TensorFormat::kLINEAR, 0.5f};
    PluginTensorDesc out{{4, {n, c, 2 * h, 2 * w}}, type, TensorFormat::kLINEAR, 0.5f};
    std::vector<char> workspace(plugin.getWorkspaceSize(&in, 1, &out, 1));
    void const* inputs[] = {from.data()};
    void* outputs[] = {to.data()};
    CHECK(plugin.enqueue(&in, &out, inputs, outputs, workspace.data(), nullptr) == 0);
    for (int32_t row = 0; row < n * c * 2 * h; ++row)
        for (int32_t column = 0; column < 2 * w; ++column)
            CHECK(to[row * 2 * w + column] == from[row / 2 * w + column / 2]);
    if (type == DataType::kINT8) {
        out.scale = 0.25f;  // the values would have to change
        CHECK(plugin.enqueue(&in, &out, inputs, outputs, workspace.data(), nullptr) != 0);
    }
    return 0;
}

int main() {
    auto& plugin = *static_cast<IPluginV2DynamicExt*>(fake_tensorrt_creator()->createPlugin("up", nullptr));
    auto supports = [&](DataType in, DataType out, TensorFormat format) {
        PluginTensorDesc both[] = {{{}, in, format, 1}, {{}, out, format, 1}};
        return plugin.supportsFormatCombination(0, both, 1, 1) && plugin.supportsFormatCombination(1, both, 1, 1);
    };
    auto const linear = TensorFormat::kLINEAR;
    CHECK(supports(DataType::kFLOAT, DataType::kFLOAT, linear));
    CHECK(supports(DataType::kHALF, DataType::kHALF, linear));
    CHECK(!supports(DataType::kFLOAT, DataType::kHALF, linear));
    CHECK(!supports(DataType::kFLOAT, DataType::kFLOAT, TensorFormat::kCHW4));
    CHECK(supports(DataType::kINT8, DataType::kINT8, linear) == (UPSAMPLE_INT8 != 0));
    Builder builder;
    Constant one(1), c(8), h(10), w(12);
    DimsExprs shape{4, {&one, &c, &h, &w}};
    auto const grown = plugin.getOutputDimensions(0, &shape, 1, builder);
    CHECK(grown.d[1]->getConstantValue() == 8);
    CHECK(grown.d[2]->getConstantValue() == 20 && grown.d[3]->getConstantValue() == 24);
    if (int line = copies<float>(plugin, DataType::kFLOAT)) return line;
    if (int line = copies<uint16_t>(plugin, DataType::kHALF)) return line;
    if (int line = copies<int8_t>(plugin, DataType::kINT8)) return line;
    plugin.destroy();
    return 0;
}
