#include "mlx/weight.h"

#include <stdexcept>

#include "load/format.h"
#include "mlx/quantized_matmul.h"
#include "mlx/repack.h"
#include "program/parameter_parts.h"

namespace cidery::mlx {
namespace {

using load::Part;
using program::Parameter;
using program::StorageKind;

mx::array load_factors(const Part& part, const load::FileSet& files, const Compute& compute) {
  return convert(read_array(part, files), compute.dtype);
}

Weight::Storage load_dense(const Part& part, const load::FileSet& files, const Compute& compute) {
  mx::array values = read_array(part, files);
  if (part.transforms.add != 0) {
    values = mx::add(mx::astype(values, mx::float32), mx::array(part.transforms.add));
  }
  return DenseWeight{convert(values, compute.dtype)};
}

Weight::Storage load_affine(const Parameter& parameter, const program::ParameterParts& parts,
                            const load::FileSet& files, const Compute& compute) {
  const auto [kind, bits, group, format] = parameter.storage;
  return AffineWeight{read_array(*parts.weight, files),
                      load_factors(*parts.scales, files, compute),
                      load_factors(*parts.biases, files, compute), static_cast<int>(bits),
                      static_cast<int>(group)};
}

Weight::Storage load_mxfp4(const program::ParameterParts& parts, const load::FileSet& files) {
  Part exponents = *parts.scales;
  exponents.format = load::Format::u8;
  return Mxfp4Weight{read_array(*parts.weight, files), read_array(exponents, files)};
}

Weight::Storage load_block(const Parameter& parameter, const Part& part,
                           const load::FileSet& files, const Compute& compute) {
  const load::FormatLayout& layout = load::layout_of(part.format);
  const mx::Shape shape = to_shape(parameter.shape);
  const uint64_t size = element_count(shape) / layout.values * layout.bytes;
  if (load::FileSet::size_bytes(part) != size) {
    program::parameter_mismatch(parameter, "its pieces do not add up to its shape");
  }
  std::vector<std::byte> blocks(size);
  files.read(part, blocks);
  const bool vector = shape.size() < 2;
  if (part.transforms.add == 0 && !vector) {
    return repack_blocks(part.format, blocks, shape, compute.dtype);
  }
  const mx::array values = dequantize_blocks(part.format, blocks, shape);
  return DenseWeight{convert(mx::add(values, mx::array(part.transforms.add)), compute.dtype)};
}

}  // namespace

mx::array Weight::matmul(const mx::array& x) const {
  if (const auto* dense = std::get_if<DenseWeight>(&storage_)) {
    return mx::matmul(x, mx::transpose(dense->values));
  }
  if (const auto* affine = std::get_if<AffineWeight>(&storage_)) {
    if (mx::default_device() == mx::Device::cpu) return affine_matmul(x, *affine);
    return mx::astype(mx::quantized_matmul(x, affine->words, affine->scales, affine->biases, true,
                                           affine->group, affine->bits),
                      x.dtype());
  }
  const auto& blocks = std::get<Mxfp4Weight>(storage_);
  return mx::quantized_matmul(x, blocks.words, blocks.scales, std::nullopt, true, 32, 4, "mxfp4");
}

mx::array Weight::lookup(const mx::array& tokens, mx::Dtype dtype) const {
  if (const auto* dense = std::get_if<DenseWeight>(&storage_)) {
    return mx::astype(mx::take(dense->values, tokens, 0), dtype);
  }
  if (const auto* affine = std::get_if<AffineWeight>(&storage_)) {
    return mx::astype(mx::dequantize(mx::take(affine->words, tokens, 0),
                                     mx::take(affine->scales, tokens, 0),
                                     mx::take(affine->biases, tokens, 0), affine->group,
                                     affine->bits),
                      dtype);
  }
  const auto& blocks = std::get<Mxfp4Weight>(storage_);
  return mx::dequantize(mx::take(blocks.words, tokens, 0), mx::take(blocks.scales, tokens, 0),
                        std::nullopt, 32, 4, "mxfp4", std::nullopt, dtype);
}

const mx::array& Weight::vector() const {
  const auto* dense = std::get_if<DenseWeight>(&storage_);
  if (dense == nullptr) throw std::logic_error("a quantized matrix is used as a vector");
  return dense->values;
}

uint64_t Weight::size_bytes() const noexcept {
  if (const auto* dense = std::get_if<DenseWeight>(&storage_)) return dense->values.nbytes();
  if (const auto* affine = std::get_if<AffineWeight>(&storage_)) {
    return affine->words.nbytes() + affine->scales.nbytes() + affine->biases.nbytes();
  }
  const auto& blocks = std::get<Mxfp4Weight>(storage_);
  return blocks.words.nbytes() + blocks.scales.nbytes();
}

uint32_t Weight::array_count() const noexcept {
  if (std::holds_alternative<DenseWeight>(storage_)) return 1;
  return std::holds_alternative<AffineWeight>(storage_) ? 3 : 2;
}

Weight load_weight(const Parameter& parameter, const load::ParameterSource& source,
                   const load::FileSet& files, const Compute& compute) {
  const program::ParameterParts parts = program::check_parts(parameter, source);
  switch (parameter.storage.kind) {
    case StorageKind::dense: return Weight(load_dense(*parts.weight, files, compute));
    case StorageKind::affine: return Weight(load_affine(parameter, parts, files, compute));
    case StorageKind::mxfp4: return Weight(load_mxfp4(parts, files));
    case StorageKind::block: return Weight(load_block(parameter, *parts.weight, files, compute));
  }
  program::parameter_mismatch(parameter, "its storage is unknown");
}

}  // namespace cidery::mlx
