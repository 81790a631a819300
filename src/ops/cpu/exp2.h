// The polynomial by which the files of intrinsics take 2^x on [0, 1]: largest relative error 1.5e-7. Highest power
// first.
#pragma once

namespace throughline::ops::cpu {

constexpr float kExp2[] = {1.86713005e-3F, 9.01703071e-3F, 5.57999127e-2F, 2.40164444e-1F, 6.93151295e-1F, 1.0F};

}  // namespace throughline::ops::cpu
