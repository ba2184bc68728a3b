#pragma once

#include "../vector_math.h"

namespace noria::NORIA_TARGET {

//     i, f, o = σ(…);  g = tanh(…);  c' = f·c + i·g;  h' = o·tanh(c')
template <class T>
struct Lstm {
  using V = Vector<T>;
  static constexpr int gates = 4;   // i, f, g, o
  static constexpr int slots = 4;   // pre-activations: the same
  static constexpr int kept = 5;    // for the way back: i, f, g, o, c'
  static constexpr int states = 2;  // h, c
  static constexpr int gate_of[] = {0, 1, 2, 3};

  static constexpr bool activates = true;
  static NORIA_INLINE void activate(V (&a)[kept]) {
    a[0] = sigmoid<T>(a[0]), a[1] = sigmoid<T>(a[1]), a[2] = tanh<T>(a[2]), a[3] = sigmoid<T>(a[3]);
  }

  static constexpr int computed[] = {4};  // by forward(), of what is kept
  static NORIA_INLINE void forward(V (&a)[kept], const V (&before)[states], V (&after)[states]) {
    const V i = a[0], f = a[1], g = a[2], o = a[3];
    const V c = fma(f, before[1], i * g);
    after[0] = o * tanh<T>(c);
    after[1] = a[4] = c;
  }

  // d_state: with respect to (h', c'), becomes that with respect to (h, c), the recurrent product apart.
  static NORIA_INLINE void backward(const V (&saved)[kept], const V (&before)[states], V (&d_state)[states],
                                    V (&d_a)[slots]) {
    const V one = spread(T(1));
    const V i = saved[0], f = saved[1], g = saved[2], o = saved[3];
    const V tanh_c = tanh<T>(saved[4]);
    const V d_h = d_state[0];
    const V d_c = fma(d_h * o, one - tanh_c * tanh_c, d_state[1]);
    d_a[0] = d_c * g * (i * (one - i));
    d_a[1] = d_c * before[1] * (f * (one - f));
    d_a[2] = d_c * i * (one - g * g);
    d_a[3] = d_h * tanh_c * (o * (one - o));
    d_state[0] = V{};
    d_state[1] = d_c * f;
  }
};

}  // namespace noria::NORIA_TARGET
