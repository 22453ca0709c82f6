#pragma once

namespace cidery::addon {

/// Starts a thread that waits for the other end of a pipe or socket to close and then leaves the
/// process by `_exit(exit_code)`, whatever the other threads do. Bytes that arrive are dropped.
/// Over a socket it also gives a sign of life, a byte, now and every 500 ms from then on.
/// The descriptor is duplicated: closing it afterwards changes nothing.
/// Throws Error `lifeline_invalid` when the descriptor is not open.
void watch_lifeline(int descriptor, int exit_code);

}  // namespace cidery::addon
