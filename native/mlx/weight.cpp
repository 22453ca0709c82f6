#include "mlx/weight.h"

#include <algorithm>
#include <stdexcept>

#include "load/format.h"
#include "mlx/quantized_matmul.h"
#include "mlx/repack.h"

namespace cidery::mlx {
namespace {

using load::Part;
using load::Role;
using program::Parameter;
using program::StorageKind;

[[noreturn]] void mismatch(const Parameter& parameter, const char* what) {
  throw Error("parameter_mismatch", parameter.path + ": " + what);
}

const Part* find_part(const load::ParameterSource& source, Role role) {
  const auto found = std::ranges::find(source.parts, role, &Part::role);
  return found == source.parts.end() ? nullptr : &*found;
}

const Part& need_part(const Parameter& parameter, const load::ParameterSource& source, Role role) {
  const Part* part = find_part(source, role);
  if (part == nullptr) {
    mismatch(parameter, role == Role::weight ? "its weight is missing"
                        : role == Role::scales ? "its scales are missing"
                                               : "its biases are missing");
  }
  return *part;
}

/// The logical shape with its last dimension replaced by `columns`.
std::vector<uint32_t> with_columns(const Parameter& parameter, uint64_t columns) {
  std::vector<uint32_t> shape = parameter.shape;
  shape.back() = static_cast<uint32_t>(columns);
  return shape;
}

void check_part(const Parameter& parameter, const Part& part,
                const std::vector<uint32_t>& shape, const char* what) {
  if (part.shape != shape) mismatch(parameter, what);
  if (part.transforms.add != 0 && parameter.storage.kind != StorageKind::dense &&
      parameter.storage.kind != StorageKind::block) {
    mismatch(parameter, "a constant cannot be added to this storage");
  }
}

bool is_float(load::Format format) {
  return format == load::Format::f32 || format == load::Format::f16 || format == load::Format::bf16;
}

Weight::Storage load_dense(const Parameter& parameter, const load::ParameterSource& source,
                           const load::FileSet& files, const Compute& compute) {
  const Part& part = need_part(parameter, source, Role::weight);
  check_part(parameter, part, parameter.shape, "the shape of its tensor is not the declared one");
  if (!is_float(part.format)) mismatch(parameter, "its tensor is not F32, F16 or BF16");
  mx::array values = read_array(part, files);
  if (part.transforms.add != 0) {
    values = mx::add(mx::astype(values, mx::float32), mx::array(part.transforms.add));
  }
  return DenseWeight{convert(values, compute.dtype)};
}

mx::array load_factors(const Parameter& parameter, const Part& part, uint32_t groups,
                       const load::FileSet& files, const Compute& compute) {
  check_part(parameter, part, with_columns(parameter, groups),
             "the shape of its scales or biases does not fit its groups");
  if (!is_float(part.format)) mismatch(parameter, "its scales or biases are not F32, F16 or BF16");
  return convert(read_array(part, files), compute.dtype);
}

Weight::Storage load_affine(const Parameter& parameter, const load::ParameterSource& source,
                            const load::FileSet& files, const Compute& compute) {
  const auto [kind, bits, group, format] = parameter.storage;
  const bool known_bits = bits >= 2 && bits <= 8 && bits != 7;
  if (!known_bits || (group != 32 && group != 64 && group != 128)) {
    mismatch(parameter, "MLX has no affine storage of these bits and this group");
  }
  const uint32_t columns = parameter.shape.back();
  if (columns % group != 0) mismatch(parameter, "its columns are not whole groups");
  const Part& weight = need_part(parameter, source, Role::weight);
  check_part(parameter, weight, with_columns(parameter, uint64_t{columns} * bits / 32),
             "the shape of its packed words does not fit its bits");
  if (weight.format != load::Format::u32) mismatch(parameter, "its packed words are not U32");
  const Part& scales = need_part(parameter, source, Role::scales);
  const Part& biases = need_part(parameter, source, Role::biases);
  return AffineWeight{read_array(weight, files),
                      load_factors(parameter, scales, columns / group, files, compute),
                      load_factors(parameter, biases, columns / group, files, compute),
                      static_cast<int>(bits), static_cast<int>(group)};
}

Weight::Storage load_mxfp4(const Parameter& parameter, const load::ParameterSource& source,
                           const load::FileSet& files) {
  const uint32_t columns = parameter.shape.back();
  if (columns % 32 != 0) mismatch(parameter, "its columns are not whole groups");
  const Part& weight = need_part(parameter, source, Role::weight);
  check_part(parameter, weight, with_columns(parameter, columns / 8),
             "the shape of its packed words is not that of mxfp4");
  if (weight.format != load::Format::u32) mismatch(parameter, "its packed words are not U32");
  const Part& scales = need_part(parameter, source, Role::scales);
  check_part(parameter, scales, with_columns(parameter, columns / 32),
             "the shape of its scales is not that of mxfp4");
  if (scales.format != load::Format::u8 && scales.format != load::Format::f8_e8m0) {
    mismatch(parameter, "its scales are not U8");
  }
  Part exponents = scales;
  exponents.format = load::Format::u8;
  return Mxfp4Weight{read_array(weight, files), read_array(exponents, files)};
}

Weight::Storage load_block(const Parameter& parameter, const load::ParameterSource& source,
                           const load::FileSet& files, const Compute& compute) {
  const Part& part = need_part(parameter, source, Role::weight);
  check_part(parameter, part, parameter.shape, "the shape of its tensor is not the declared one");
  const auto declared = static_cast<uint32_t>(load::Format::q4_0) +
                        static_cast<uint32_t>(parameter.storage.format);
  if (static_cast<uint32_t>(part.format) != declared) {
    mismatch(parameter, "its block format is not the declared one");
  }
  const load::FormatLayout& layout = load::layout_of(part.format);
  const mx::Shape shape = to_shape(parameter.shape);
  if (parameter.shape.back() % layout.values != 0) {
    mismatch(parameter, "its columns are not whole blocks");
  }
  const uint64_t size = element_count(shape) / layout.values * layout.bytes;
  if (load::FileSet::size_bytes(part) != size) {
    mismatch(parameter, "its pieces do not add up to its shape");
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
  if (parameter.shape.empty()) mismatch(parameter, "it has no dimension");
  switch (parameter.storage.kind) {
    case StorageKind::dense: return Weight(load_dense(parameter, source, files, compute));
    case StorageKind::affine: return Weight(load_affine(parameter, source, files, compute));
    case StorageKind::mxfp4: return Weight(load_mxfp4(parameter, source, files));
    case StorageKind::block: return Weight(load_block(parameter, source, files, compute));
  }
  mismatch(parameter, "its storage is unknown");
}

}  // namespace cidery::mlx
