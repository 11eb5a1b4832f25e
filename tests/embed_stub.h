// A stand-in for the headers of TensorFlow Lite and LCE that docs/embed/classify.cc includes, with the names and types of the real
// ones. It reads real .tflite files and computes networks of RESHAPE and FULLY_CONNECTED, in float32 or int8; it refuses others.

#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteNoType = 0, kTfLiteFloat32 = 1, kTfLiteInt32 = 2, kTfLiteInt8 = 9 };
union TfLitePtrUnion { char* raw; float* f; std::int32_t* i32; std::int8_t* int8; };
struct TfLiteQuantizationParams { float scale; std::int32_t zero_point; };
struct TfLiteTensor { TfLiteType type; TfLitePtrUnion data; TfLiteQuantizationParams params; std::size_t bytes; const char* name; };

namespace stub {

// A flatbuffer: positions of tables and vectors in the file's bytes.
struct Bytes {
  std::string content;
  template <typename T>
  T Get(std::size_t at) const {
    T value;
    std::memcpy(&value, &content.at(at + sizeof(T) - 1) - (sizeof(T) - 1), sizeof(T));
    return value;
  }
  std::size_t Follow(std::size_t at) const { return at + Get<std::uint32_t>(at); }
  // The position of a table's field; 0 if the table has none.
  std::size_t Field(std::size_t table, int number) const {
    const std::size_t fields = table - Get<std::int32_t>(table);
    if (4u + 2 * number >= Get<std::uint16_t>(fields)) return 0;
    const std::uint16_t offset = Get<std::uint16_t>(fields + 4 + 2 * number);
    return offset ? table + offset : 0;
  }
  template <typename T>
  std::vector<T> Vector(std::size_t table, int number) const {
    const std::size_t field = Field(table, number);
    std::vector<T> values;
    if (!field) return values;
    const std::size_t at = Follow(field);
    for (std::uint32_t i = 0; i < Get<std::uint32_t>(at); ++i) values.push_back(Get<T>(at + 4 + i * sizeof(T)));
    return values;
  }
  std::vector<std::size_t> Tables(std::size_t table, int number) const {
    std::vector<std::size_t> tables;
    const std::size_t at = Follow(Field(table, number));
    for (std::uint32_t i = 0; i < Get<std::uint32_t>(at); ++i) tables.push_back(Follow(at + 4 + 4 * i));
    return tables;
  }
  std::string Text(std::size_t table, int number) const {
    const std::vector<char> text = Vector<char>(table, number);
    return std::string(text.begin(), text.end());
  }
};

}  // namespace stub

namespace tflite {

class FlatBufferModel {
 public:
  static std::unique_ptr<FlatBufferModel> VerifyAndBuildFromFile(const char* filename) {
    std::ifstream file(filename, std::ios::binary);
    auto model = std::make_unique<FlatBufferModel>();
    model->bytes.content.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (model->bytes.content.size() < 8 || model->bytes.content.compare(4, 4, "TFL3") != 0) return nullptr;
    model->root = model->bytes.Follow(0);
    return model;
  }
  std::map<std::string, std::string> ReadAllMetadata() const {
    std::map<std::string, std::string> found;
    const std::vector<std::size_t> buffers = bytes.Tables(root, 4);
    if (!bytes.Field(root, 6)) return found;
    for (std::size_t entry : bytes.Tables(root, 6)) {
      const std::size_t number = bytes.Field(entry, 1);
      found[bytes.Text(entry, 0)] = bytes.Text(buffers.at(number ? bytes.Get<std::uint32_t>(number) : 0), 0);
    }
    return found;
  }
  stub::Bytes bytes;
  std::size_t root = 0;
};

class MutableOpResolver {};
namespace ops { namespace builtin { class BuiltinOpResolver : public MutableOpResolver {}; } }

class Interpreter {
 public:
  explicit Interpreter(const FlatBufferModel& model) : model_(model) {}
  TfLiteStatus AllocateTensors() {
    const stub::Bytes& bytes = model_.bytes;
    const std::size_t graph = bytes.Tables(model_.root, 2).at(0);
    const std::vector<std::size_t> buffers = bytes.Tables(model_.root, 4);
    for (std::size_t entry : bytes.Tables(graph, 0)) {
      std::size_t elements = 1;
      for (std::int32_t size : bytes.Vector<std::int32_t>(entry, 0)) elements *= static_cast<std::size_t>(size);
      const std::size_t type = bytes.Field(entry, 1), number = bytes.Field(entry, 2), quantization = bytes.Field(entry, 4);
      TfLiteTensor tensor{};
      const int kind = type ? bytes.Get<std::int8_t>(type) : 0;
      tensor.type = kind == 0 ? kTfLiteFloat32 : kind == 2 ? kTfLiteInt32 : kind == 9 ? kTfLiteInt8 : kTfLiteNoType;
      tensor.bytes = elements * (kind == 9 ? 1 : 4);
      if (quantization) {
        const std::size_t table = bytes.Follow(quantization);
        const std::vector<float> scales = bytes.Vector<float>(table, 2);
        const std::vector<std::int64_t> zeros = bytes.Vector<std::int64_t>(table, 3);
        scales_.push_back(scales);
        if (!scales.empty()) tensor.params = {scales[0], static_cast<std::int32_t>(zeros.at(0))};
      } else {
        scales_.push_back({});
      }
      std::string data = bytes.Text(buffers.at(number ? bytes.Get<std::uint32_t>(number) : 0), 0);
      if (data.size() != tensor.bytes) data.assign(tensor.bytes, '\0');
      memory_.push_back(std::make_unique<std::string>(data));
      tensor.data.raw = &(*memory_.back())[0];
      names_.push_back(std::make_unique<std::string>(bytes.Text(entry, 3)));
      tensor.name = names_.back()->c_str();
      tensors_.push_back(tensor);
    }
    for (std::int32_t index : bytes.Vector<std::int32_t>(graph, 1)) inputs_.push_back(index);
    for (std::int32_t index : bytes.Vector<std::int32_t>(graph, 2)) outputs_.push_back(index);
    const std::vector<std::size_t> codes = bytes.Tables(model_.root, 1);
    for (std::size_t entry : bytes.Tables(graph, 3)) {
      const std::size_t number = bytes.Field(entry, 0), code = codes.at(number ? bytes.Get<std::uint32_t>(number) : 0);
      const std::size_t name = bytes.Field(code, 0);
      operators_.push_back({name ? bytes.Get<std::int8_t>(name) : 0, bytes.Vector<std::int32_t>(entry, 1), bytes.Vector<std::int32_t>(entry, 2)});
      if (operators_.back().code != kFullyConnected && operators_.back().code != kReshape) return kTfLiteError;
    }
    return kTfLiteOk;
  }
  TfLiteStatus Invoke() {
    for (const Operator& op : operators_) {
      const TfLiteTensor& x = tensors_.at(op.inputs.at(0));
      TfLiteTensor& y = tensors_.at(op.outputs.at(0));
      if (op.code == kReshape) {
        std::memcpy(y.data.raw, x.data.raw, y.bytes);
        continue;
      }
      const TfLiteTensor& w = tensors_.at(op.inputs.at(1));
      const TfLiteTensor* bias = op.inputs.at(2) < 0 ? nullptr : &tensors_.at(op.inputs[2]);
      const std::size_t size = y.type == kTfLiteInt8 ? 1 : 4, rows = y.bytes / size, columns = x.bytes / size;
      for (std::size_t row = 0; row < rows; ++row) {
        if (y.type == kTfLiteFloat32) {
          double sum = bias ? bias->data.f[row] : 0;
          for (std::size_t i = 0; i < columns; ++i) sum += static_cast<double>(x.data.f[i]) * w.data.f[row * columns + i];
          y.data.f[row] = static_cast<float>(sum);
        } else {
          std::int64_t sum = bias ? bias->data.i32[row] : 0;
          for (std::size_t i = 0; i < columns; ++i) sum += (x.data.int8[i] - x.params.zero_point) * w.data.int8[row * columns + i];
          const std::vector<float>& scales = scales_.at(op.inputs[1]);
          const double scale = static_cast<double>(x.params.scale) * scales.at(scales.size() > 1 ? row : 0) / y.params.scale;
          const double value = std::nearbyint(static_cast<double>(sum) * scale) + y.params.zero_point;
          y.data.int8[row] = static_cast<std::int8_t>(std::min(std::max(value, -128.0), 127.0));
        }
      }
    }
    return kTfLiteOk;
  }
  const std::vector<int>& inputs() const { return inputs_; }
  const std::vector<int>& outputs() const { return outputs_; }
  TfLiteTensor* input_tensor(std::size_t index) { return &tensors_.at(inputs_.at(index)); }
  const TfLiteTensor* input_tensor(std::size_t index) const { return &tensors_.at(inputs_.at(index)); }
  const TfLiteTensor* output_tensor(std::size_t index) const { return &tensors_.at(outputs_.at(index)); }

 private:
  enum { kFullyConnected = 9, kReshape = 22 };
  struct Operator { int code; std::vector<std::int32_t> inputs, outputs; };
  const FlatBufferModel& model_;
  std::vector<TfLiteTensor> tensors_;
  std::vector<std::vector<float>> scales_;
  std::vector<std::unique_ptr<std::string>> memory_, names_;
  std::vector<int> inputs_, outputs_;
  std::vector<Operator> operators_;
};

class InterpreterBuilder {
 public:
  InterpreterBuilder(const FlatBufferModel& model, const MutableOpResolver&) : model_(model) {}
  TfLiteStatus operator()(std::unique_ptr<Interpreter>* interpreter) {
    *interpreter = std::make_unique<Interpreter>(model_);
    return kTfLiteOk;
  }
  TfLiteStatus SetNumThreads(int) { return kTfLiteOk; }

 private:
  const FlatBufferModel& model_;
};

}  // namespace tflite

namespace compute_engine { namespace tflite {
inline void RegisterLCECustomOps(::tflite::MutableOpResolver*, bool = false, bool = false) {}
} }
