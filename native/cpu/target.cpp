// Compiled once for each instruction set, with the flags and CIDERY_SET of native/cpu/sets.json.
// Everything here is inside two namespaces and no header of the standard library is read: the
// linker could keep this file's copy of a shared inline function for the whole program, and a
// processor without the set would then run it.
#include <stddef.h>
#include <stdint.h>

#include "cpu/kernels.h"

#if defined(__SANITIZE_ADDRESS__)
// With what the sanitizers add to each access, optimizing takes longer than all that it saves.
#pragma GCC optimize("O0")
#undef __OPTIMIZE__
#endif

#if defined(__x86_64__)
// GCC 12 warns of registers that its own header leaves undefined on purpose.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define NAME_OF(set) #set
#define SET_NAME(set) NAME_OF(set)
#define PRIMITIVES(set) NAME_OF(cpu/vec/set.h)

namespace cidery::cpu {
namespace CIDERY_SET {
namespace {

#include PRIMITIVES(CIDERY_SET)

#if !defined(ALWAYS_INLINE)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define ALWAYS_INLINE_LAMBDA __attribute__((always_inline))
#endif

#include "cpu/kernels/formats.inl.h"
#include "cpu/kernels/math.inl.h"
#include "cpu/kernels/prepare.inl.h"
#include "cpu/kernels/tile.inl.h"
#include "cpu/kernels/dense.inl.h"
#include "cpu/kernels/matmul.inl.h"
#include "cpu/kernels/bound.inl.h"
#include "cpu/kernels/lookup.inl.h"
#include "cpu/kernels/pointwise.inl.h"
#include "cpu/kernels/norm.inl.h"
#include "cpu/kernels/cache.inl.h"
#include "cpu/kernels/attention_tile.inl.h"
#include "cpu/kernels/attention_f32.inl.h"
#include "cpu/kernels/attention_ahead.inl.h"
#include "cpu/kernels/attention_weights.inl.h"
#include "cpu/kernels/attention_u8.inl.h"
#include "cpu/kernels/attention.inl.h"

}  // namespace

extern const Kernels kernels;
constinit const Kernels kernels = {
    SET_NAME(CIDERY_SET), row_tile,   quantize_rows, sum_groups,  matmul_fast, matmul_precise,
    find_margins,         bound,      lookup,        norm,        rope,        write_cache,
    attend,               merge_attention, activate, add_scaled,  softcap,     round_all,
    widen_all,            largest};

}  // namespace CIDERY_SET
}  // namespace cidery::cpu
