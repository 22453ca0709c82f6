#include "mlx/loaded_array.h"

#include <limits>

namespace cidery::mlx {
namespace {

/// More than any machine holds, and far from overflow when multiplied by an element's size.
constexpr uint64_t max_elements = uint64_t{1} << 48;

}  // namespace

mx::array allocate(mx::Shape shape, mx::Dtype dtype) {
  const size_t size = element_count(shape) * mx::size_of(dtype);
  return mx::array(mx::allocator::malloc(size), std::move(shape), dtype);
}

std::span<std::byte> bytes(mx::array& array) { return {array.data<std::byte>(), array.nbytes()}; }

std::span<float> floats(mx::array& array) { return {array.data<float>(), array.size()}; }

mx::Shape to_shape(std::span<const uint32_t> shape) {
  mx::Shape result;
  uint64_t elements = 1;
  for (const uint32_t extent : shape) {
    if (extent == 0 || extent > max_elements / elements ||
        extent > static_cast<uint32_t>(std::numeric_limits<mx::ShapeElem>::max())) {
      throw Error("parameter_mismatch", "a tensor has an empty dimension or is absurdly large");
    }
    elements *= extent;
    result.push_back(static_cast<mx::ShapeElem>(extent));
  }
  return result;
}

uint64_t element_count(const mx::Shape& shape) noexcept {
  uint64_t elements = 1;
  for (const auto extent : shape) elements *= static_cast<uint64_t>(extent);
  return elements;
}

std::optional<mx::Dtype> plain_dtype(load::Format format) noexcept {
  switch (format) {
    case load::Format::f32: return mx::float32;
    case load::Format::f16: return mx::float16;
    case load::Format::bf16: return mx::bfloat16;
    case load::Format::u32: return mx::uint32;
    case load::Format::u8: return mx::uint8;
    default: return std::nullopt;
  }
}

mx::array read_array(const load::Part& part, const load::FileSet& files) {
  const auto dtype = plain_dtype(part.format);
  if (!dtype) throw Error("parameter_mismatch", "MLX does not compute with a tensor's format");
  const mx::Shape shape = to_shape(part.shape);
  if (load::FileSet::size_bytes(part) != element_count(shape) * mx::size_of(*dtype)) {
    throw Error("parameter_mismatch", "a tensor's pieces do not add up to its shape");
  }
  mx::array array = allocate(shape, *dtype);
  files.read(part, bytes(array));
  return array;
}

mx::array convert(const mx::array& array, mx::Dtype dtype) {
  mx::array result = array.dtype() == dtype ? array : mx::astype(array, dtype);
  result.eval();
  return result;
}

}  // namespace cidery::mlx
