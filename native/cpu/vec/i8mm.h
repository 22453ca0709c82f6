#pragma once

// The same primitives; the set's flags say what more there is.
#include "cpu/vec/neon.h"
