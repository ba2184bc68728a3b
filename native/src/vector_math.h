// exp, sigmoid and tanh on vectors: the same operations in the same order on every target.
#pragma once

#include "simd.h"

namespace noria::NORIA_TARGET {

template <class T>
struct ExpConstants;

// exp(r) = 1 + r + r² q(r) for |r| <= ln 2 / 2; q is a Chebyshev fit.
template <>
struct ExpConstants<float> {
  static constexpr float lowest = -87.0f, highest = 88.0f;
  static constexpr float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr float rounder = 0x1.8p23f;  // adding it rounds to an integer
  static constexpr int mantissa_bits = 23;
  static constexpr float q[] = {1.39263256e-3f, 8.36329275e-3f, 4.16665538e-2f, 1.66665763e-1f, 0.5f};
};

template <>
struct ExpConstants<double> {
  static constexpr double lowest = -708.0, highest = 709.0;
  static constexpr double log2_e = 1.4426950408889634074;
  static constexpr double ln2_high = 0x1.62e42fefa3800p-1, ln2_low = 5.4979230187083711747e-14;
  static constexpr double rounder = 0x1.8p52;
  static constexpr int mantissa_bits = 52;
  static constexpr double q[] = {2.51005692758136826e-8, 2.76203274282682382e-7, 2.75572680728900983e-6,
                                 2.48015207925726928e-5, 1.98412698633032233e-4, 1.38888889175382958e-3,
                                 8.33333333333001176e-3, 4.16666666666234768e-2, 1.66666666666666675e-1,
                                 0.500000000000000104};
};

template <class T>
struct Exponential {
  Vector<T> power;   // 2^n
  Vector<T> excess;  // exp(r) - 1, where x = n ln 2 + r
};

// (exp(r) - 1 - r) / r² in few dependent steps.
NORIA_INLINE Vector<float> remainder(Vector<float> r, Vector<float> square) {
  constexpr auto& q = ExpConstants<float>::q;
  const Vector<float> high = fma(spread(q[0]), r, spread(q[1]));
  const Vector<float> low = fma(spread(q[2]), r, spread(q[3]));
  return fma(fma(high, square, low), r, spread(q[4]));
}
NORIA_INLINE Vector<double> remainder(Vector<double> r, Vector<double>) {
  constexpr auto& c = ExpConstants<double>::q;
  Vector<double> q = spread(c[0]);
#pragma GCC unroll 16
  for (unsigned i = 1; i < sizeof c / sizeof(double); ++i) q = fma(q, r, spread(c[i]));
  return q;
}

// x is held above where the result vanishes, and the caller keeps it from overflowing; a NaN passes through.
template <class T>
NORIA_INLINE Exponential<T> exponential(Vector<T> x) {
  using C = ExpConstants<T>;
  const Vector<T> rounder = spread(C::rounder);
  x = at_least(spread(C::lowest), x);
  const Vector<T> rounded = fma(x, spread(C::log2_e), rounder);
  const Vector<T> n = rounded - rounder;
  Vector<T> r = fma(n, spread(-C::ln2_high), x);
  r = fma(n, spread(-C::ln2_low), r);
  const Vector<T> square = r * r;
  const Vector<T> excess = fma(square, remainder(r, square), r);
  const Vector<T> one = spread(T(1));
  const Bits<T> power = ((Bits<T>)rounded << C::mantissa_bits) + (Bits<T>)one;
  return {(Vector<T>)power, excess};
}

template <class T>
NORIA_INLINE Vector<T> exp(Vector<T> x) {
  const Exponential<T> e = exponential<T>(at_most(spread(ExpConstants<T>::highest), x));
  return fma(e.power, e.excess, e.power);
}

template <class T>
NORIA_INLINE Vector<T> sigmoid(Vector<T> x) {
  const Vector<T> one = spread(T(1));
  return one / (one + exp<T>(-x));
}

// tanh|x| = -m / (m + 2) with m = exp(-2|x|) - 1, which keeps its precision near 0.
template <class T>
NORIA_INLINE Vector<T> tanh(Vector<T> x) {
  const Bits<T> sign_bit = (Bits<T>)spread(T(-0.0));
  const Bits<T> sign = (Bits<T>)x & sign_bit;
  const Vector<T> magnitude = (Vector<T>)((Bits<T>)x & ~sign_bit);
  const Exponential<T> e = exponential<T>(spread(T(-2)) * magnitude);
  const Vector<T> m = fma(e.power, e.excess, e.power - spread(T(1)));
  const Vector<T> ratio = m / (m + spread(T(2)));
  return (Vector<T>)(((Bits<T>)ratio & ~sign_bit) | sign);
}

}  // namespace noria::NORIA_TARGET
