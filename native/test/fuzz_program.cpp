#include <cstdlib>

#include "test/fuzz_main.h"
#include "test/program_words.h"

/// Any bytes: decode_program throws Error `program_invalid`, or returns a program that encodes to
/// bytes which decode to the same again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cidery;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    const auto encoded = test::encode_program(program::decode_program(bytes));
    if (test::encode_program(program::decode_program(encoded)) != encoded) std::abort();
  } catch (const Error& error) {
    if (error.code() != "program_invalid") std::abort();
  }
  return 0;
}

#ifndef CIDERY_LIBFUZZER
int main(int count, char** arguments) {
  using namespace cidery::test;
  const int one = fuzz_main(count, arguments, encode_program(whole_program()));
  return one != 0 ? one : fuzz_main(count, arguments, encode_program(rank_program()));
}
#endif
