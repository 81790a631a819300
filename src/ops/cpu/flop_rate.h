// How fast this machine multiplies and adds in fp32 right now: the roof over rollouts of small models.
//
// Independent fused multiply-adds in registers, on ATen's threads as the kernels run; a multiplication and an addition
// count as two operations. As with the memory's speed (bandwidth.h), a benchmark measures it between its timed runs.
// Units: 10^9 operations a second. Not thread-safe.
#pragma once

namespace throughline::ops {

double multiply_add_gflop_s(int passes = 5);  // the median of so many passes of a few milliseconds

}  // namespace throughline::ops
