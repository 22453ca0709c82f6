#include "mlx/collectives.h"

#include <cstring>
#include <numeric>

namespace cidery::mlx {
namespace {

void expect(Status status) {
  if (!status.ok()) throw Error(std::move(status.code), std::move(status.message));
}

}  // namespace

mx::array host_values(const mx::array& values) {
  mx::array host = mx::contiguous(mx::astype(values, mx::float32));
  host.eval();
  return host;
}

mx::array Collectives::sum(const mx::array& part) {
  const mx::array own = host_values(part);
  // Another's memory: what was computed may be in use elsewhere.
  mx::array sum = allocate(part.shape(), mx::float32);
  std::memcpy(bytes(sum).data(), own.data<std::byte>(), own.nbytes());
  expect(group_.all_sum(bytes(sum).data(), sum.size(), group::Element::f32));
  return mx::astype(sum, part.dtype());
}

mx::array Collectives::gather(const mx::array& own, std::span<const uint32_t> layout) {
  const mx::array mine = host_values(own);
  const int rows = own.shape(0);
  const auto columns = std::accumulate(layout.begin(), layout.end(), 0u);
  std::vector<size_t> sizes;
  for (const uint32_t width : layout) {
    sizes.push_back(size_t{width} * static_cast<size_t>(rows) * sizeof(float));
  }
  mx::array all = allocate({rows * static_cast<int>(columns)}, mx::float32);
  expect(group_.all_gather(mine.data<float>(), bytes(all).data(), sizes));
  std::vector<mx::array> parts;
  int begin = 0;
  for (const uint32_t width : layout) {
    const int end = begin + rows * static_cast<int>(width);
    parts.push_back(mx::reshape(mx::slice(all, {begin}, {end}), {rows, static_cast<int>(width)}));
    begin = end;
  }
  return mx::astype(mx::concatenate(parts, 1), own.dtype());
}

void Collectives::send(const mx::array& values, uint32_t to) {
  const mx::array host = host_values(values);
  expect(group_.send(host.data<float>(), host.nbytes(), to));
}

mx::array Collectives::receive(uint32_t rows, uint32_t columns, mx::Dtype dtype, uint32_t from) {
  mx::array values =
      allocate({static_cast<int>(rows), static_cast<int>(columns)}, mx::float32);
  expect(group_.receive(bytes(values).data(), values.nbytes(), from));
  return mx::astype(values, dtype);
}

}  // namespace cidery::mlx
