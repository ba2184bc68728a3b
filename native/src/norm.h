// Layer normalisation of a row's pre-activations, each slot over the layer's neurons by itself:
//     a' = gain · â + bias        â = (a − mean) / √(variance + ε)
// A row's sums are made in one order, whatever the width of a vector: in chains of 64 bytes, folded in
// halves.
#pragma once

#include <utility>

#include "noria.h"
#include "simd.h"

namespace noria::NORIA_TARGET {

// The lanes that hold neurons of the last panel.
template <class T>
NORIA_INLINE Bits<T> last_lanes(int64_t hidden) {
  Bits<T> lanes = {};
  for (int64_t i = 0; i <= (hidden - 1) % width<T>; ++i) lanes[i] = ~lanes[i];
  return lanes;
}

template <class T, int apart, int... i>
NORIA_INLINE Vector<T> fold(Vector<T> v, std::integer_sequence<int, i...> all) {
  v = v + __builtin_shufflevector(v, v, (i ^ apart)...);
  if constexpr (apart > 1)
    return fold<T, apart / 2>(v, all);
  else
    return v;
}

// In every lane of total[n] Σ visit(panel, n) over a row's neurons, without the padding.
template <class T, int N, class Visit>
NORIA_INLINE void sum_neurons(int64_t hidden, Vector<T> (&total)[N], Visit visit) {
  constexpr int W = width<T>, chains = 64 / vector_bytes;
  const int64_t panels = (hidden + W - 1) / W;
  const Bits<T> lanes = last_lanes<T>(hidden);
  Vector<T> sum[N][chains] = {};
  for (int64_t panel = 0; panel < panels; panel += chains)
#pragma GCC unroll 4
    for (int c = 0; c < chains; ++c) {
      if (panel + c >= panels) break;
      const bool last = panel + c + 1 == panels;
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) {
        const Vector<T> value = visit(panel + c, n);
        sum[n][c] = sum[n][c] + (last ? (Vector<T>)((Bits<T>)value & lanes) : value);
      }
    }
  for (int n = 0; n < N; ++n) {
#pragma GCC unroll 2
    for (int some = chains / 2; some > 0; some /= 2)
      for (int c = 0; c < some; ++c) sum[n][c] = sum[n][c] + sum[n][c + some];
    total[n] = fold<T, W / 2>(sum[n][0], std::make_integer_sequence<int, W>());
  }
}

NORIA_INLINE float square_root(float x) { return __builtin_sqrtf(x); }
NORIA_INLINE double square_root(double x) { return __builtin_sqrt(x); }

// Of one slot of a row, as they are kept for the way back.
template <class T>
struct Statistics {
  T mean, scale;  // scale: 1 / √(variance + ε)
};

// A row of S slots: sums (panels, S, W), gains and biases (panels, S, 2, W).
template <class T>
struct NormRow {
  int64_t hidden;
  int S;
  const T *sums, *norm;

  NORIA_INLINE Vector<T> sum(int64_t panel, int slot) const {
    return load(sums + (panel * S + slot) * width<T>);
  }
  NORIA_INLINE Vector<T> gain(int64_t panel, int slot) const {
    return load(norm + (panel * S + slot) * 2 * width<T>);
  }
  NORIA_INLINE Vector<T> bias(int64_t panel, int slot) const {
    return load(norm + ((panel * S + slot) * 2 + 1) * width<T>);
  }

  // Of N slots from `first` on.
  template <int N>
  NORIA_INLINE void measure(int first, Statistics<T>* found) const {
    const T neurons = T(hidden);
    Vector<T> mean[N], variance[N];
    sum_neurons<T, N>(hidden, mean, [&](int64_t panel, int n) { return sum(panel, first + n); });
    for (int n = 0; n < N; ++n) mean[n] = mean[n] / spread(neurons);
    sum_neurons<T, N>(hidden, variance, [&](int64_t panel, int n) {
      const Vector<T> off = sum(panel, first + n) - mean[n];
      return off * off;
    });
    for (int n = 0; n < N; ++n)
      found[n] = {mean[n][0], T(1) / square_root(variance[n][0] / neurons + T(norm_epsilon))};
  }

  // â of one slot.
  NORIA_INLINE Vector<T> normal(int64_t panel, int slot, Statistics<T> of) const {
    return (sum(panel, slot) - spread(of.mean)) * spread(of.scale);
  }

  // N slots' a' of panels [first_panel, last_panel), into (panels, K, W).
  template <int N>
  NORIA_INLINE void apply(int first, const Statistics<T>* of, int64_t first_panel, int64_t last_panel, int K,
                          T* to) const {
    for (int64_t panel = first_panel; panel < last_panel; ++panel)
      for (int n = 0; n < N; ++n) {
        const int slot = first + n;
        store(to + (panel * K + slot) * width<T>,
              fma(normal(panel, slot, of[n]), gain(panel, slot), bias(panel, slot)));
      }
  }

  // From the gradient of N slots' a', d (S, Hp), to that of a, d_a (S, Hp), some panels of it.
  template <int N>
  NORIA_INLINE void back(int first, const Statistics<T>* of, const T* d, int64_t padded, int64_t first_panel,
                         int64_t last_panel, T* d_a) const {
    constexpr int W = width<T>;
    Vector<T> centre[N], slope[N];
    const auto d_normal = [&](int64_t panel, int slot) {
      return load(d + slot * padded + panel * W) * gain(panel, slot);
    };
    sum_neurons<T, N>(hidden, centre, [&](int64_t panel, int n) { return d_normal(panel, first + n); });
    sum_neurons<T, N>(hidden, slope, [&](int64_t panel, int n) {
      return d_normal(panel, first + n) * normal(panel, first + n, of[n]);
    });
    for (int n = 0; n < N; ++n) {
      centre[n] = centre[n] / spread(T(hidden));
      slope[n] = slope[n] / spread(T(hidden));
    }
    for (int64_t panel = first_panel; panel < last_panel; ++panel)
      for (int n = 0; n < N; ++n) {
        const int slot = first + n;
        const Vector<T> off = fma(-normal(panel, slot, of[n]), slope[n], d_normal(panel, slot) - centre[n]);
        Vector<T> found = off * spread(of[n].scale);
        // Padding meets weights of zero, which an infinite input would turn into NaN.
        if ((panel + 1) * W > hidden) found = (Vector<T>)((Bits<T>)found & last_lanes<T>(hidden));
        store(d_a + slot * padded + panel * W, found);
      }
  }
};

}  // namespace noria::NORIA_TARGET
