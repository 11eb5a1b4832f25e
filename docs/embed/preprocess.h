// From a picture of 8 bits to the values that a network takes, as el-larq prepares its pictures in training: the same pixels, bit
// for bit, and the same values, bit for bit too where the card has mean and std.
//
// The arithmetic of resizing is Pillow's: weights of the filter in fixed point with 22 bits, one side after the other, 8 bits between.

#ifndef EL_LARQ_PREPROCESS_H_
#define EL_LARQ_PREPROCESS_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "card.h"

namespace el_larq {

// Pixels in rows, and in each pixel the channels: 1 (grey) or 3 (red, green, blue).
struct Picture {
  int width = 0, height = 0, channels = 0;
  std::vector<std::uint8_t> pixels;
};

// A rectangular part of a picture, in pixels.
struct Box {
  float left, top, right, bottom;
};

// The part of a picture that the network sees: the largest centred one with the input's aspect ratio, and of it the fraction `crop`.
inline Box Centre(const Picture& picture, const Preprocessing& how) {
  if (how.stretch) return {0, 0, static_cast<float>(picture.width), static_cast<float>(picture.height)};
  const double scale = std::min(static_cast<double>(picture.width) / how.width, static_cast<double>(picture.height) / how.height) * how.crop;
  const double width = std::min(how.width * scale, static_cast<double>(picture.width));
  const double height = std::min(how.height * scale, static_cast<double>(picture.height));
  const double left = (picture.width - width) / 2, top = (picture.height - height) / 2;
  return {static_cast<float>(left), static_cast<float>(top), static_cast<float>(left + width), static_cast<float>(top + height)};
}

inline double Filter(double x, bool bicubic) {
  x = std::fabs(x);
  if (!bicubic) return x < 1 ? 1 - x : 0;
  const double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// The pixels that contribute to one output pixel along one side, and their weights.
struct Taps {
  int first;
  std::vector<std::int32_t> weights;
};

constexpr int kBits = 22;

// For a part [begin, end) of a side of `size` pixels that becomes `wanted` pixels.
inline std::vector<Taps> MakeTaps(int size, float begin, float end, int wanted, bool bicubic) {
  const double scale = static_cast<double>(end - begin) / wanted;
  const double stretch = std::max(scale, 1.0);  // antialiasing: when shrinking, the filter covers all pixels
  const double reach = (bicubic ? 2.0 : 1.0) * stretch;
  std::vector<Taps> all;
  for (int to = 0; to < wanted; ++to) {
    const double centre = begin + (to + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - reach + 0.5), 0);
    const int last = std::min(static_cast<int>(centre + reach + 0.5), size);
    std::vector<double> weights;
    double sum = 0;
    for (int from = first; from < last; ++from) {
      weights.push_back(Filter((from - centre + 0.5) * (1.0 / stretch), bicubic));
      sum += weights.back();
    }
    Taps taps{first, {}};
    for (double weight : weights) {
      const double fixed = (sum != 0 ? weight / sum : weight) * (1 << kBits);
      taps.weights.push_back(static_cast<std::int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
    all.push_back(taps);
  }
  return all;
}

inline std::uint8_t Weighted(const std::uint8_t* from, std::ptrdiff_t step, const Taps& taps) {
  std::int32_t sum = 1 << (kBits - 1);
  for (std::size_t tap = 0; tap < taps.weights.size(); ++tap) sum += from[static_cast<std::ptrdiff_t>(tap) * step] * taps.weights[tap];
  return static_cast<std::uint8_t>(std::min(std::max(sum >> kBits, 0), 255));
}

// Each row of a picture with the pixels that the taps make of it.
inline Picture ResizeRows(const Picture& picture, const std::vector<Taps>& columns) {
  Picture result{static_cast<int>(columns.size()), picture.height, picture.channels, {}};
  for (int y = 0; y < picture.height; ++y) {
    for (const Taps& taps : columns) {
      const std::size_t from = (static_cast<std::size_t>(y) * picture.width + taps.first) * picture.channels;
      for (int c = 0; c < picture.channels; ++c) result.pixels.push_back(Weighted(&picture.pixels[from + c], picture.channels, taps));
    }
  }
  return result;
}

inline Picture ResizeColumns(const Picture& picture, const std::vector<Taps>& rows) {
  const std::size_t line = static_cast<std::size_t>(picture.width) * picture.channels;
  Picture result{picture.width, static_cast<int>(rows.size()), picture.channels, {}};
  for (const Taps& taps : rows) {
    for (std::size_t at = 0; at < line; ++at) {
      result.pixels.push_back(Weighted(&picture.pixels[taps.first * line + at], static_cast<std::ptrdiff_t>(line), taps));
    }
  }
  return result;
}

inline Picture Resize(const Picture& picture, const Box& part, int width, int height, bool bicubic) {
  const std::vector<Taps> columns = MakeTaps(picture.width, part.left, part.right, width, bicubic);
  const std::vector<Taps> rows = MakeTaps(picture.height, part.top, part.bottom, height, bicubic);
  // Values are rounded to 8 bits between, so the order matters. This is the order of Pillow 13; older versions always resized the rows first.
  const int shorter = picture.height - height, narrower = picture.width - width;
  if (shorter > 0 && shorter > 2 * narrower) return ResizeRows(ResizeColumns(picture, rows), columns);
  return ResizeColumns(ResizeRows(picture, columns), rows);
}

// The picture with 1 channel (luma of ITU-R 601) or 3.
inline Picture WithChannels(const Picture& picture, int channels) {
  if (picture.channels == channels) return picture;
  Picture result{picture.width, picture.height, channels, {}};
  const std::size_t count = static_cast<std::size_t>(picture.width) * picture.height;
  for (std::size_t at = 0; at < count; ++at) {
    if (channels == 1) {
      const std::uint8_t* rgb = &picture.pixels[3 * at];
      result.pixels.push_back(static_cast<std::uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16));
    } else {
      result.pixels.insert(result.pixels.end(), 3, picture.pixels[at]);
    }
  }
  return result;
}

// The network's float32 input: height x width x channels, in this order.
inline std::vector<float> Prepare(const Picture& picture, const Preprocessing& how) {
  const Picture seen = Resize(WithChannels(picture, how.channels), Centre(picture, how), how.width, how.height, how.bicubic);
  std::vector<float> mean = how.mean, std = how.std;
  if (mean.empty()) {  // the picture's own; a uniform one is not divided by zero
    double sum = 0, squares = 0;
    for (std::uint8_t value : seen.pixels) sum += value;
    const double own = sum / static_cast<double>(seen.pixels.size());
    for (std::uint8_t value : seen.pixels) squares += (value - own) * (value - own);
    mean = {static_cast<float>(own)};
    std = {std::max(static_cast<float>(std::sqrt(squares / static_cast<double>(seen.pixels.size()))), 1.0f)};
  }
  std::vector<float> input;
  for (std::size_t at = 0; at < seen.pixels.size(); ++at) {
    const std::size_t channel = at % how.channels;
    const std::size_t from = how.bgr ? at - channel + (how.channels - 1 - channel) : at;
    const float value = static_cast<float>(seen.pixels[from]) - mean[mean.size() > 1 ? channel : 0];
    input.push_back(value / std[std.size() > 1 ? channel : 0]);
  }
  return input;
}

// The input of an int8 model, whose scale and zero point are in the .tflite: x / scale + zero point, rounded, ties to even.
inline std::vector<std::int8_t> Quantize(const std::vector<float>& input, float scale, int zero_point) {
  std::vector<std::int8_t> result;
  for (float value : input) {
    const float rounded = std::nearbyint(value / scale + static_cast<float>(zero_point));
    result.push_back(static_cast<std::int8_t>(std::min(std::max(rounded, -128.0f), 127.0f)));
  }
  return result;
}

}  // namespace el_larq

#endif  // EL_LARQ_PREPROCESS_H_
