#pragma once

#include "../vector_math.h"

namespace noria::NORIA_TARGET {

template <class T>
struct Tanh {
  using V = Vector<T>;
  static NORIA_INLINE V value(V a) { return tanh<T>(a); }
  static NORIA_INLINE V slope(V h) { return spread(T(1)) - h * h; }
};

template <class T>
struct Relu {
  using V = Vector<T>;
  static NORIA_INLINE V value(V a) { return a <= V{} ? V{} : a; }  // a NaN stays one
  static NORIA_INLINE V slope(V h) { return h > V{} ? spread(T(1)) : V{}; }
};

//     h' = activation(a)
template <class T, template <class> class Activation>
struct Rnn {
  using V = Vector<T>;
  static constexpr int gates = 1;
  static constexpr int slots = 1;
  static constexpr int kept = 1;    // for the way back: h'
  static constexpr int states = 1;  // h
  static constexpr int gate_of[] = {0};

  static constexpr bool activates = false;
  static NORIA_INLINE void activate(V (&)[kept]) {}

  static constexpr int computed[] = {0};  // by forward(), of what is kept
  static NORIA_INLINE void forward(V (&a)[kept], const V (&)[states], V (&after)[states]) {
    after[0] = a[0] = Activation<T>::value(a[0]);
  }

  static NORIA_INLINE void backward(const V (&saved)[kept], const V (&)[states], V (&d_state)[states],
                                    V (&d_a)[slots]) {
    d_a[0] = d_state[0] * Activation<T>::slope(saved[0]);
    d_state[0] = V{};
  }
};

template <class T>
using RnnTanh = Rnn<T, Tanh>;
template <class T>
using RnnRelu = Rnn<T, Relu>;

}  // namespace noria::NORIA_TARGET
