// Classifies pictures with a .tflite of el-larq, or finds objects in them: all that a program needs in addition to TensorFlow Lite
// and LCE.
//
//   classify model.tflite picture.ppm...      one line per picture: the number of the best class and its label. With a detector: the
//                                             number of objects, and a line for each: score, left, top, right, bottom in pixels, label
//   camera | classify model.tflite -          pictures from standard input, one PPM after another
//   classify --prepare model.tflite picture.ppm > input.raw       what the network is given for a picture
//   classify --raw model.tflite inputs.raw    inputs as the model takes them, one after another: the outputs' bytes in hexadecimal,
//                                             one line per input. el-larq predict --target uses this.
//
// Pictures are binary PPM or PGM (P6, P5) with 8 bits: the simplest form of raw pixels, which cameras' tools can write. They are
// prepared as the model's card says, a JSON object in the file's metadata under "el_larq_card".

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "card.h"
#include "larq_compute_engine/tflite/kernels/lce_ops_register.h"
#include "preprocess.h"
#include "tensorflow/lite/interpreter.h"
#include "tensorflow/lite/kernels/register.h"
#include "tensorflow/lite/model.h"

namespace {

using el_larq::Picture;

[[noreturn]] void Fail(const std::string& reason) { throw std::runtime_error(reason); }

// A number in the head of a PPM, where # begins a comment.
int HeadNumber(std::istream& in) {
  while (in >> std::ws && in.peek() == '#') in.ignore(1 << 16, '\n');
  int number = 0;
  in >> number;
  return in ? number : 0;
}

// The next picture of a stream; false at its end.
bool ReadPicture(std::istream& in, Picture* picture) {
  char magic[2];
  if (!in.read(magic, 2)) return false;
  if (magic[0] != 'P' || (magic[1] != '5' && magic[1] != '6')) Fail("not a binary PPM or PGM (P6, P5)");
  picture->channels = magic[1] == '6' ? 3 : 1;
  picture->width = HeadNumber(in);
  picture->height = HeadNumber(in);
  const int largest = HeadNumber(in);
  const bool fits = picture->width > 0 && picture->height > 0 && picture->width <= 100000000 / picture->height;
  if (!fits || largest != 255) Fail("not a PPM of 8 bits with at most 100 million pixels");
  in.get();
  picture->pixels.resize(static_cast<std::size_t>(picture->width) * picture->height * picture->channels);
  in.read(reinterpret_cast<char*>(picture->pixels.data()), static_cast<std::streamsize>(picture->pixels.size()));
  if (!in) Fail("the picture has fewer pixels than it declares");
  return true;
}

class Model {
 public:
  explicit Model(const char* path) : model_(tflite::FlatBufferModel::VerifyAndBuildFromFile(path)) {
    if (model_ == nullptr) Fail("the model cannot be read");
    // Without this line the model is refused: "Encountered unresolved custom op: LceQuantize".
    compute_engine::tflite::RegisterLCECustomOps(&resolver_);
    tflite::InterpreterBuilder builder(*model_, resolver_);
    builder.SetNumThreads(1);
    if (builder(&interpreter_) != kTfLiteOk || interpreter_->AllocateTensors() != kTfLiteOk) Fail("the model is refused");
    if (interpreter_->inputs().size() != 1 || interpreter_->outputs().empty()) Fail("the model has not one input and an output");
  }

  el_larq::Card ReadCard() const {
    std::map<std::string, std::string> metadata = model_->ReadAllMetadata();
    return el_larq::ParseCard(metadata["el_larq_card"]);
  }

  std::size_t input_bytes() const { return interpreter_->input_tensor(0)->bytes; }
  std::size_t outputs() const { return interpreter_->outputs().size(); }
  const TfLiteTensor& output(std::size_t index) const { return *interpreter_->output_tensor(index); }

  // A detector's output, as float32; null if there is none of that name.
  const TfLiteTensor* output(const std::string& name) const {
    for (std::size_t index = 0; index < outputs(); ++index) {
      if (output(index).type == kTfLiteFloat32 && output(index).name == name) return &output(index);
    }
    return nullptr;
  }

  // The bytes that the network takes for a picture.
  std::vector<char> Prepare(const Picture& picture, const el_larq::Preprocessing& how) const {
    const TfLiteTensor* input = interpreter_->input_tensor(0);
    const std::size_t wanted = static_cast<std::size_t>(how.height) * how.width * how.channels;
    const std::size_t size = input->type == kTfLiteInt8 ? 1 : sizeof(float);
    if (wanted * size != input->bytes) Fail("the card's preprocessing is for another size of input");
    const std::vector<float> values = el_larq::Prepare(picture, how);
    std::vector<char> bytes;
    if (input->type == kTfLiteFloat32) {
      const char* begin = reinterpret_cast<const char*>(values.data());
      bytes.assign(begin, begin + values.size() * sizeof(float));
    } else if (input->type == kTfLiteInt8) {
      const std::vector<std::int8_t> small = el_larq::Quantize(values, input->params.scale, input->params.zero_point);
      bytes.assign(small.begin(), small.end());
    } else {
      Fail("the input is neither float32 nor int8");
    }
    return bytes;
  }

  void Run(const char* input) {
    std::memcpy(interpreter_->input_tensor(0)->data.raw, input, input_bytes());
    if (interpreter_->Invoke() != kTfLiteOk) Fail("the inference failed");
  }

 private:
  std::unique_ptr<tflite::FlatBufferModel> model_;
  tflite::ops::builtin::BuiltinOpResolver resolver_;
  std::unique_ptr<tflite::Interpreter> interpreter_;
};

template <typename T>
int Best(const T* values, std::size_t count) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < count; ++i) {
    if (values[i] > values[best]) best = i;
  }
  return static_cast<int>(best);
}

int Best(const TfLiteTensor& output) {
  if (output.type == kTfLiteFloat32) return Best(output.data.f, output.bytes / sizeof(float));
  if (output.type == kTfLiteInt8) return Best(output.data.int8, output.bytes);
  Fail("the output is neither float32 nor int8");
}

const char* Label(const el_larq::Card& card, int number) {
  return number >= 0 && number < static_cast<int>(card.labels.size()) ? card.labels[number].c_str() : "";
}

// Objects with lower scores are not printed.
constexpr float kLeastScore = 0.5f;

// The operator TFLite_Detection_PostProcess is in the file: objects are sorted by score, and none is there twice.
void PrintObjects(const Model& model, const el_larq::Card& card, const Picture& picture) {
  const TfLiteTensor *boxes = model.output("boxes"), *classes = model.output("classes"), *scores = model.output("scores");
  const std::size_t rows = scores->bytes / sizeof(float);
  std::size_t found = 0;
  const float count = model.output("count")->data.f[0];
  while (found < rows && static_cast<float>(found) < count && scores->data.f[found] >= kLeastScore) ++found;
  if (classes->bytes < found * sizeof(float) || boxes->bytes < 4 * found * sizeof(float)) Fail("the outputs do not belong together");
  std::printf("%d objects\n", static_cast<int>(found));
  // A box has fractions of what the network sees: ymin, xmin, ymax, xmax, not limited to it.
  const el_larq::Box seen = el_larq::Centre(picture, card.preprocessing);
  const auto limited = [](float fraction) { return std::min(std::max(fraction, 0.0f), 1.0f); };
  for (std::size_t index = 0; index < found; ++index) {
    const float* box = boxes->data.f + 4 * index;
    const float top = seen.top + limited(box[0]) * (seen.bottom - seen.top), left = seen.left + limited(box[1]) * (seen.right - seen.left);
    const float bottom = seen.top + limited(box[2]) * (seen.bottom - seen.top), right = seen.left + limited(box[3]) * (seen.right - seen.left);
    const char* label = Label(card, static_cast<int>(classes->data.f[index]));
    std::printf("%.4f %.1f %.1f %.1f %.1f %s\n", scores->data.f[index], left, top, right, bottom, label);
  }
}

void Classify(Model& model, const el_larq::Card& card, const Picture& picture) {
  model.Run(model.Prepare(picture, card.preprocessing).data());
  if (model.output("boxes") && model.output("classes") && model.output("scores") && model.output("count")) {
    PrintObjects(model, card, picture);
  } else {
    const int best = Best(model.output(0));
    std::printf("%d %s\n", best, Label(card, best));
  }
  std::fflush(stdout);  // a reader of a camera's labels does not wait for the next ones
}

void ClassifyStream(Model& model, const el_larq::Card& card, std::istream& in) {
  Picture picture;
  while (ReadPicture(in, &picture)) Classify(model, card, picture);
}

// One line per input: "outputs", and each output's bytes in hexadecimal.
void RunRaw(Model& model, const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail("the inputs cannot be read");
  std::vector<char> input(model.input_bytes());
  while (file.peek() != std::ifstream::traits_type::eof()) {
    if (!file.read(input.data(), static_cast<std::streamsize>(input.size()))) Fail("the inputs have not as many bytes as the model takes");
    model.Run(input.data());
    std::string line = "outputs";
    for (std::size_t index = 0; index < model.outputs(); ++index) {
      const TfLiteTensor& output = model.output(index);
      line += ' ';
      for (std::size_t at = 0; at < output.bytes; ++at) {
        const unsigned byte = static_cast<unsigned char>(output.data.raw[at]);
        line += "0123456789abcdef"[byte >> 4];
        line += "0123456789abcdef"[byte & 15];
      }
    }
    std::puts(line.c_str());
  }
}

void Main(const std::vector<std::string>& words) {
  const bool raw = !words.empty() && words[0] == "--raw", prepare = !words.empty() && words[0] == "--prepare";
  const std::size_t first = raw || prepare ? 1 : 0;
  if (words.size() < first + 2 || (first == 1 && words.size() != 3)) {
    Fail("usage: classify model.tflite picture.ppm... | classify model.tflite - | classify --prepare model.tflite picture.ppm | "
         "classify --raw model.tflite inputs.raw");
  }
  Model model(words[first].c_str());
  if (raw) return RunRaw(model, words[2].c_str());
  const el_larq::Card card = model.ReadCard();
  if (!card.has_preprocessing) Fail("the model's card does not say how pictures are prepared");
  for (std::size_t index = first + 1; index < words.size(); ++index) {
    if (words[index] == "-" && !prepare) {
      ClassifyStream(model, card, std::cin);
      continue;
    }
    std::ifstream file(words[index], std::ios::binary);
    Picture picture;
    if (!file || !ReadPicture(file, &picture)) Fail(words[index] + ": cannot be read");
    if (!prepare) {
      Classify(model, card, picture);
      continue;
    }
    const std::vector<char> bytes = model.Prepare(picture, card.preprocessing);
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Main(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "classify: %s\n", error.what());
    return 1;
  }
  return 0;
}
