#pragma once

#include "../vector_math.h"

namespace noria::NORIA_TARGET {

//     h' = a
template <class T>
struct Linear {
  using V = Vector<T>;
  static constexpr int gates = 1;
  static constexpr int slots = 1;
  static constexpr int kept = 1;    // the room of a; the way back needs nothing
  static constexpr int states = 1;  // h
  static constexpr int gate_of[] = {0};

  static constexpr bool activates = false;
  static NORIA_INLINE void activate(V (&)[kept]) {}

  static constexpr int computed[] = {0};  // by forward(), of what is kept
  static NORIA_INLINE void forward(V (&a)[kept], const V (&)[states], V (&after)[states]) { after[0] = a[0]; }

  static NORIA_INLINE void backward(const V (&)[kept], const V (&)[states], V (&d_state)[states],
                                    V (&d_a)[slots]) {
    d_a[0] = d_state[0];
    d_state[0] = V{};
  }
};

}  // namespace noria::NORIA_TARGET
