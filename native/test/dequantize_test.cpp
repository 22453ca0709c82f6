#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "load/dequantize.h"
#include "load/format.h"
#include "test/check.h"

/// The block decoders against the values that PyPI's gguf package gives
/// (test/golden/gguf_blocks.py).
using namespace cidery;
using namespace cidery::load;
using cidery::test::check;
using cidery::test::check_throws;

namespace {

/// A safetensors file, read just as far as this test needs it.
class Golden {
 public:
  explicit Golden(const char* path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    uint64_t length = 0;
    if (bytes_.size() > sizeof length) std::memcpy(&length, bytes_.data(), sizeof length);
    check(length > 0 && length < bytes_.size(), std::string(path) + " is there");
    start_ = sizeof length + length;
    header_ = bytes_.substr(sizeof length, length);
  }

  std::span<const std::byte> tensor(const std::string& name) const {
    const std::string key = "\"data_offsets\":[";
    const size_t entry = header_.find("\"" + name + "\"");
    const size_t at = entry == std::string::npos ? entry : header_.find(key, entry);
    check(at != std::string::npos, name + " is in the file");
    if (at == std::string::npos) return {};
    size_t digits = 0;
    const uint64_t from = std::stoull(header_.substr(at + key.size()), &digits);
    const uint64_t to = std::stoull(header_.substr(at + key.size() + digits + 1));
    return std::as_bytes(std::span(bytes_)).subspan(start_ + from, to - from);
  }

 private:
  std::string bytes_, header_;
  size_t start_ = 0;
};

std::vector<float> floats_of(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// scale * word + bias is the value, to the last bit but for the sign of a zero.
void check_affine(const std::string& name, Format format, std::span<const std::byte> blocks,
                  const std::vector<float>& wanted) {
  std::vector<AffineGroup> groups(wanted.size() / AffineGroup::values);
  split_affine(format, blocks, groups);
  bool exact = true, in_range = true;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const AffineGroup& group = groups[i / AffineGroup::values];
    const uint8_t word = group.words[i % AffineGroup::values];
    exact = exact && group.scale * static_cast<float>(word) + group.bias == wanted[i];
    in_range = in_range && word >> affine_bits(format) == 0;
  }
  check(exact, name + " as affine groups");
  check(in_range, name + " has words of its bits");
}

void check_mxfp4(std::span<const std::byte> blocks, const std::vector<float>& wanted) {
  constexpr float magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  std::vector<FloatGroup> groups(wanted.size() / FloatGroup::values);
  split_mxfp4(blocks, groups);
  bool exact = true;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const FloatGroup& group = groups[i / FloatGroup::values];
    const uint8_t code = group.codes[i % FloatGroup::values];
    const float value = std::ldexp(magnitudes[code & 7], group.exponent - 127);
    exact = exact && (code < 8 ? value : -value) == wanted[i];
  }
  check(exact, "MXFP4 as 4-bit floats");
}

void check_golden() {
  const Golden golden("test/golden/blocks.safetensors");
  for (const FormatLayout& layout : format_layouts) {
    if (layout.values == 1) continue;
    const std::string name(layout.name);
    const auto blocks = golden.tensor(name + ".bytes");
    const auto wanted = floats_of(golden.tensor(name + ".values"));
    check(!wanted.empty() && blocks.size() / layout.bytes * layout.values == wanted.size(),
          name + " has whole blocks");
    std::vector<float> values(wanted.size());
    dequantize(layout.format, blocks, values);
    check(same_bits(values, wanted), name + " is dequantized bit for bit");
    if (affine_bits(layout.format) != 0) check_affine(name, layout.format, blocks, wanted);
    if (layout.format == Format::mxfp4) check_mxfp4(blocks, wanted);
  }
}

void check_half() {
  check(half_to_float(0x3c00) == 1 && half_to_float(0xc000) == -2, "halves: 1 and -2");
  check(half_to_float(0x0001) == 0x1p-24f && half_to_float(0x83ff) == -0x1.ff8p-15f,
        "halves: subnormal");
  check(half_to_float(0x7bff) == 65504 && std::isinf(half_to_float(0xfc00)), "halves: large");
  check(std::isnan(half_to_float(0x7e00)), "halves: not a number");
  check(std::signbit(half_to_float(0x8000)) && half_to_float(0x8000) == 0, "halves: -0");
}

void check_refusals() {
  const std::vector<std::byte> bytes(17);
  std::vector<float> values(32);
  std::vector<AffineGroup> groups(1);
  std::vector<FloatGroup> floats(2);
  check_throws("parameter_mismatch", "a cut block",
               [&] { dequantize(Format::q4_0, bytes, values); });
  check_throws("parameter_mismatch", "no block format",
               [&] { dequantize(Format::u8, bytes, values); });
  check_throws("parameter_mismatch", "a cut affine block",
               [&] { split_affine(Format::q4_0, bytes, groups); });
  check_throws("parameter_mismatch", "not affine",
               [&] { split_affine(Format::mxfp4, bytes, groups); });
  check_throws("parameter_mismatch", "too few MXFP4 blocks", [&] { split_mxfp4(bytes, floats); });
}

}  // namespace

int main() {
  check_golden();
  check_half();
  check_refusals();
  return cidery::test::summary("dequantize");
}
