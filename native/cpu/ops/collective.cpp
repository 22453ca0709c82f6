#include "cpu/ops/collective.h"

#include <cstring>

#include "cpu/ops/divide.h"

namespace cidery::cpu {
namespace {

bool in_one_piece(const View& view, uint32_t rows) {
  return rows <= 1 || view.stride == view.width;
}

/// Copies `rows` rows of `width` columns on the pool.
void copy_rows(const Tools& tools, uint32_t rows, uint32_t width, const float* from,
               size_t from_stride, float* to, size_t to_stride) {
  const Division division = divide(rows, width / 8, tools.pool.threads());
  tools.pool.parallel_for(division.tasks, [&](uint32_t task, uint32_t) noexcept {
    const uint32_t first = task * division.together;
    const uint32_t end = std::min(first + division.together, rows);
    for (uint32_t row = first; row < end; ++row) {
      std::memcpy(to + row * to_stride, from + row * from_stride, width * sizeof(float));
    }
  });
}

void pack(const Tools& tools, const View& view, uint32_t rows, float* to) {
  copy_rows(tools, rows, view.width, view.data, view.stride, to, view.width);
}

void unpack(const Tools& tools, const float* from, const View& view, uint32_t rows) {
  copy_rows(tools, rows, view.width, from, view.width, view.data, view.stride);
}

}  // namespace

Status CollectiveRegion::run(const Tools& tools) const noexcept {
  const uint32_t rows = domain == program::Domain::tokens
                            ? tools.pass.rows()
                            : static_cast<uint32_t>(tools.pass.wanted.size());
  if (rows == 0) return {};
  switch (kind) {
    case CollectiveKind::sum: return sum(tools, rows);
    case CollectiveKind::rounded_sum:
      return room->group().all_sum(room->halves(), size_t{rows} * out.width, group::Element::bf16);
    case CollectiveKind::gather: return gather(tools, rows);
    case CollectiveKind::send: return send(tools, rows);
    case CollectiveKind::receive: return receive(tools, rows);
  }
  return {};
}

Status CollectiveRegion::sum(const Tools& tools, uint32_t rows) const noexcept {
  const size_t count = size_t{rows} * out.width;
  if (in_one_piece(out, rows)) {
    return room->group().all_sum(out.data, count, group::Element::f32);
  }
  pack(tools, out, rows, room->floats());
  Status status = room->group().all_sum(room->floats(), count, group::Element::f32);
  if (status.ok()) unpack(tools, room->floats(), out, rows);
  return status;
}

/// Parts arrive one behind the other, each with all its rows. Of one row that is the row itself.
Status CollectiveRegion::gather(const Tools& tools, uint32_t rows) const noexcept {
  const uint32_t rank = room->group().rank();
  size_t before = 0;
  for (uint32_t r = 0; r < layout.size(); ++r) {
    room->bytes()[r] = size_t{rows} * layout[r] * sizeof(float);
    if (r < rank) before += layout[r];
  }
  if (rows == 1) return room->group().all_gather(in.data, out.data, room->bytes());
  float* own = room->floats() + rows * before;
  pack(tools, in, rows, own);
  Status status = room->group().all_gather(own, room->floats(), room->bytes());
  if (!status.ok()) return status;
  const float* from = room->floats();
  float* to = out.data;
  for (const uint32_t width : layout) {
    if (to != in.data) copy_rows(tools, rows, width, from, width, to, out.stride);
    from += size_t{rows} * width;
    to += width;
  }
  return {};
}

Status CollectiveRegion::send(const Tools& tools, uint32_t rows) const noexcept {
  const float* from = in.data;
  if (!in_one_piece(in, rows)) {
    pack(tools, in, rows, room->floats());
    from = room->floats();
  }
  return room->group().send(from, size_t{rows} * in.width * sizeof(float), peer);
}

Status CollectiveRegion::receive(const Tools& tools, uint32_t rows) const noexcept {
  const size_t bytes = size_t{rows} * out.width * sizeof(float);
  if (in_one_piece(out, rows)) return room->group().receive(out.data, bytes, peer);
  Status status = room->group().receive(room->floats(), bytes, peer);
  if (status.ok()) unpack(tools, room->floats(), out, rows);
  return status;
}

}  // namespace cidery::cpu
