#pragma once

// The same primitives; the set's flags say that VNNI is there.
#include "cpu/vec/avx512.h"
