#pragma once

#include "../vector_math.h"

namespace noria::NORIA_TARGET {

//     r, z = σ(…);  n = tanh(a_n + r·b_n);  h' = (1 − z)·n + z·h
// a_n comes from the input alone and b_n from h alone, so the two products of gate n have a slot each.
template <class T>
struct Gru {
  using V = Vector<T>;
  static constexpr int gates = 3;   // r, z, n
  static constexpr int slots = 4;   // a_n, r, z, b_n: the input's are the first three, the state's the last
  static constexpr int kept = 4;    // for the way back: n, r, z, b_n
  static constexpr int states = 1;  // h
  static constexpr int gate_of[] = {2, 0, 1, 2};

  static constexpr bool activates = true;
  static NORIA_INLINE void activate(V (&a)[kept]) { a[1] = sigmoid<T>(a[1]), a[2] = sigmoid<T>(a[2]); }

  static constexpr int computed[] = {0};  // by forward(), of what is kept
  static NORIA_INLINE void forward(V (&a)[kept], const V (&before)[states], V (&after)[states]) {
    const V r = a[1], z = a[2];
    const V n = tanh<T>(fma(r, a[3], a[0]));
    after[0] = fma(z, before[0] - n, n);
    a[0] = n;
  }

  static NORIA_INLINE void backward(const V (&saved)[kept], const V (&before)[states], V (&d_state)[states],
                                    V (&d_a)[slots]) {
    const V one = spread(T(1));
    const V n = saved[0], r = saved[1], z = saved[2], b_n = saved[3];
    const V d_h = d_state[0];
    const V d_n = d_h * (one - z) * (one - n * n);
    d_a[0] = d_n;
    d_a[1] = d_n * b_n * (r * (one - r));
    d_a[2] = d_h * (before[0] - n) * (z * (one - z));
    d_a[3] = d_n * r;
    d_state[0] = d_h * z;
  }
};

}  // namespace noria::NORIA_TARGET
