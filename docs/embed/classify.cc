// Runs a .tflite of el-larq once and prints its best class: all that a program needs in addition to TensorFlow Lite and LCE.
//
//   classify model.tflite image.raw     image.raw: float32 or int8 values, height x width x channels, as the model takes them
//
// The labels come from the card, a JSON object in the file's metadata under "el_larq_card". Here its "labels" are found by
// hand, to need no JSON library; a larger program would use one.

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "larq_compute_engine/tflite/kernels/lce_ops_register.h"
#include "tensorflow/lite/interpreter.h"
#include "tensorflow/lite/kernels/register.h"
#include "tensorflow/lite/model.h"

namespace {

// The strings of a JSON array "labels": ["a", "b"]; escapes other than \" and \\ stay as they are.
std::vector<std::string> Labels(const std::string& card) {
  std::vector<std::string> labels;
  std::size_t at = card.find("\"labels\"");
  if (at == std::string::npos || (at = card.find('[', at)) == std::string::npos) return labels;
  for (++at; at < card.size() && card[at] != ']'; ++at) {
    if (card[at] != '"') continue;
    std::string label;
    for (++at; at < card.size() && card[at] != '"'; ++at) {
      if (card[at] == '\\' && at + 1 < card.size() && (card[at + 1] == '"' || card[at + 1] == '\\')) ++at;
      label += card[at];
    }
    labels.push_back(label);
  }
  return labels;
}

template <typename T>
int Best(const T* values, int count) {
  int best = 0;
  for (int i = 1; i < count; ++i) {
    if (values[i] > values[best]) best = i;
  }
  return best;
}

int Fail(const char* reason) {
  std::fprintf(stderr, "classify: %s\n", reason);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return Fail("usage: classify model.tflite image.raw");

  std::unique_ptr<tflite::FlatBufferModel> model = tflite::FlatBufferModel::VerifyAndBuildFromFile(argv[1]);
  if (model == nullptr) return Fail("the model cannot be read");

  // Without this line the model is refused: "Encountered unresolved custom op: LceQuantize".
  tflite::ops::builtin::BuiltinOpResolver resolver;
  compute_engine::tflite::RegisterLCECustomOps(&resolver);

  std::unique_ptr<tflite::Interpreter> interpreter;
  tflite::InterpreterBuilder builder(*model, resolver);
  builder.SetNumThreads(1);
  if (builder(&interpreter) != kTfLiteOk || interpreter->AllocateTensors() != kTfLiteOk) return Fail("the model is refused");

  TfLiteTensor* input = interpreter->input_tensor(0);
  std::ifstream file(argv[2], std::ios::binary);
  std::vector<char> image((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (image.size() != input->bytes) return Fail("the image has not as many bytes as the model takes");
  std::memcpy(input->data.raw, image.data(), image.size());

  if (interpreter->Invoke() != kTfLiteOk) return Fail("the inference failed");

  const TfLiteTensor* output = interpreter->output_tensor(0);
  int best = 0;
  if (output->type == kTfLiteFloat32) {
    best = Best(output->data.f, static_cast<int>(output->bytes / sizeof(float)));
  } else if (output->type == kTfLiteInt8) {
    best = Best(output->data.int8, static_cast<int>(output->bytes));
  } else {
    return Fail("the output is neither float32 nor int8");
  }

  std::map<std::string, std::string> metadata = model->ReadAllMetadata();
  std::vector<std::string> labels = Labels(metadata["el_larq_card"]);
  std::printf("%d %s\n", best, best < static_cast<int>(labels.size()) ? labels[best].c_str() : "");
  return 0;
}
