// The card of el-larq's models: labels and preprocessing, from the JSON object in the metadata "el_larq_card".
// A program that has a JSON library can use that instead of the parser here.

#ifndef EL_LARQ_CARD_H_
#define EL_LARQ_CARD_H_

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace el_larq {

// How a picture of 8 bits becomes the input of a network; docs/embed/README.md has the formulas.
struct Preprocessing {
  int height = 0, width = 0, channels = 0;
  std::vector<float> mean, std;  // one number, or one per channel; empty: each picture's own
  double crop = 1.0;             // the fraction that is kept of the largest centred part with the input's aspect ratio
  bool bgr = false;              // the order of the input's channels
  bool bicubic = false;          // instead of bilinear
  bool stretch = false;          // the whole picture, whatever its aspect ratio, as detectors take it
};

struct Card {
  std::vector<std::string> labels;  // empty if the classes have no names
  bool has_preprocessing = false;
  Preprocessing preprocessing;
};

struct Json {
  enum Kind { kNull, kBool, kNumber, kString, kArray, kObject } kind = kNull;
  double number = 0;  // 1 for true
  std::string text;
  std::vector<Json> items;
  std::map<std::string, Json> fields;

  // A field of an object; null if there is none.
  const Json& operator[](const std::string& name) const {
    static const Json null;
    auto found = fields.find(name);
    return found == fields.end() ? null : found->second;
  }
};

class JsonParser {
 public:
  explicit JsonParser(const std::string& text) : text_(text) {}

  Json Parse() {
    Json value = Value(0);
    if (Peek() != '\0' || at_ < text_.size()) Fail();
    return value;
  }

 private:
  [[noreturn]] static void Fail() { throw std::runtime_error("the model's card is damaged"); }

  char Peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  void Expect(char wanted) {
    if (Peek() != wanted) Fail();
    ++at_;
  }

  bool Word(const std::string& word) {
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }

  Json Value(int depth) {
    if (depth > 64) Fail();
    Json value;
    switch (Peek()) {
      case '{':
        value.kind = Json::kObject;
        ++at_;
        for (bool more = Peek() != '}'; more; more = Peek() == ',') {
          if (!value.fields.empty()) Expect(',');
          if (Peek() != '"') Fail();
          std::string name = String();
          Expect(':');
          value.fields[name] = Value(depth + 1);
        }
        Expect('}');
        return value;
      case '[':
        value.kind = Json::kArray;
        ++at_;
        for (bool more = Peek() != ']'; more; more = Peek() == ',') {
          if (!value.items.empty()) Expect(',');
          value.items.push_back(Value(depth + 1));
        }
        Expect(']');
        return value;
      case '"':
        value.kind = Json::kString;
        value.text = String();
        return value;
      default:
        if (Word("null")) return value;
        value.kind = Json::kBool;
        if (Word("true")) {
          value.number = 1;
          return value;
        }
        if (Word("false")) return value;
        return Number();
    }
  }

  Json Number() {
    Json value;
    value.kind = Json::kNumber;
    const char* begin = text_.c_str() + at_;
    char* end = nullptr;
    value.number = std::strtod(begin, &end);
    if (end == begin) Fail();
    at_ += static_cast<std::size_t>(end - begin);
    return value;
  }

  std::string String() {
    std::string result;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] != '\\') {
        result += text_[at_];
        continue;
      }
      const char escape = ++at_ < text_.size() ? text_[at_] : '\0';
      const std::string names = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
      const std::size_t known = escape ? names.find(escape) : std::string::npos;
      if (known != std::string::npos) {
        result += values[known];
      } else if (escape == 'u') {
        unsigned code = Unit();
        if (code >= 0xD800 && code < 0xDC00 && text_.compare(at_ + 1, 2, "\\u") == 0) {
          at_ += 2;
          code = 0x10000 + ((code - 0xD800) << 10) + (Unit() - 0xDC00);
        }
        AppendUtf8(code, &result);
      } else {
        Fail();
      }
    }
    if (at_ >= text_.size()) Fail();
    ++at_;
    return result;
  }

  // The four hexadecimal digits behind \u; ends at the last of them.
  unsigned Unit() {
    unsigned code = 0;
    for (int digit = 0; digit < 4; ++digit) {
      const std::string digits = "0123456789abcdef";
      if (++at_ >= text_.size()) Fail();
      const char lower = text_[at_] >= 'A' && text_[at_] <= 'F' ? static_cast<char>(text_[at_] + 32) : text_[at_];
      const std::size_t value = digits.find(lower);
      if (value == std::string::npos) Fail();
      code = code * 16 + static_cast<unsigned>(value);
    }
    return code;
  }

  static void AppendUtf8(unsigned code, std::string* text) {
    const int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    const unsigned heads[] = {0, 0xC0, 0xE0, 0xF0};
    *text += static_cast<char>(heads[more] | (code >> (6 * more)));
    for (int shift = 6 * (more - 1); shift >= 0; shift -= 6) *text += static_cast<char>(0x80 | ((code >> shift) & 0x3F));
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

// A side of the input; 0 for what is not an integer from 1 to 8192.
inline int Side(const Json& json) {
  const bool fits = json.kind == Json::kNumber && json.number >= 1 && json.number <= 8192;
  return fits && json.number == static_cast<int>(json.number) ? static_cast<int>(json.number) : 0;
}

// One number, or one per channel.
inline std::vector<float> Numbers(const Json& json) {
  std::vector<float> numbers;
  if (json.kind == Json::kNumber) numbers.push_back(static_cast<float>(json.number));
  for (const Json& item : json.items) numbers.push_back(static_cast<float>(item.number));
  return numbers;
}

// Throws std::runtime_error if the card is damaged, or asks for something that this program does not know.
inline Card ParseCard(const std::string& text) {
  Card card;
  if (text.empty()) return card;
  const Json json = JsonParser(text).Parse();
  for (const Json& label : json["labels"].items) card.labels.push_back(label.text);
  const Json& fields = json["preprocessing"];
  card.has_preprocessing = fields.kind == Json::kObject;
  if (!card.has_preprocessing) return card;
  Preprocessing& how = card.preprocessing;
  for (const auto& field : fields.fields) {
    const std::string& name = field.first;
    const Json& value = field.second;
    if (name == "height") how.height = Side(value);
    else if (name == "width") how.width = Side(value);
    else if (name == "channels") how.channels = Side(value);
    else if (name == "mean") how.mean = Numbers(value);
    else if (name == "std") how.std = Numbers(value);
    else if (name == "crop") how.crop = value.number;
    else if (name == "channel_order" && (value.text == "rgb" || value.text == "bgr")) how.bgr = value.text == "bgr";
    else if (name == "resampling" && (value.text == "bilinear" || value.text == "bicubic")) how.bicubic = value.text == "bicubic";
    else if (name == "stretch" && value.kind == Json::kBool) how.stretch = value.number != 0;
    else throw std::runtime_error("the model's card has a preprocessing that this program does not know: " + name);
  }
  const std::size_t channels = static_cast<std::size_t>(how.channels);
  for (const std::vector<float>* numbers : {&how.mean, &how.std}) {
    if (numbers->size() > 1 && numbers->size() != channels) throw std::runtime_error("the model's card is damaged");
    for (float number : *numbers) {
      if (!std::isfinite(number) || (numbers == &how.std && number <= 0)) throw std::runtime_error("the model's card is damaged");
    }
  }
  const bool sizes = how.height > 0 && how.width > 0 && (how.channels == 1 || how.channels == 3);
  if (!sizes || how.mean.empty() != how.std.empty() || !(how.crop > 0 && how.crop <= 1)) {
    throw std::runtime_error("the model's card is damaged");
  }
  return card;
}

}  // namespace el_larq

#endif  // EL_LARQ_CARD_H_
