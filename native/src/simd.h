// One vector type for every instruction set, by the compiler's vector extensions. This header is
// compiled once per target; NORIA_TARGET keeps the copies apart.
//
// Nothing here, nor in what includes it, may call inline functions of the standard library: the linker
// would keep one copy for all targets, perhaps one the machine cannot run. Its types are harmless.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

#define NORIA_INLINE inline __attribute__((always_inline))

namespace noria::NORIA_TARGET {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
inline constexpr int accumulators = 24;  // of 32 registers
#elif defined(__AVX2__)
inline constexpr int vector_bytes = 32;
inline constexpr int accumulators = 12;  // of 16
#elif defined(__aarch64__)
inline constexpr int vector_bytes = 16;
inline constexpr int accumulators = 24;
#else
inline constexpr int vector_bytes = 16;
inline constexpr int accumulators = 12;
#endif

template <class T>
struct Simd;

template <>
struct Simd<float> {
  typedef float Vector __attribute__((vector_size(vector_bytes)));
  typedef uint32_t Bits __attribute__((vector_size(vector_bytes)));
};

template <>
struct Simd<double> {
  typedef double Vector __attribute__((vector_size(vector_bytes)));
  typedef uint64_t Bits __attribute__((vector_size(vector_bytes)));
};

template <class T>
using Vector = typename Simd<T>::Vector;
template <class T>
using Bits = typename Simd<T>::Bits;
template <class T>
inline constexpr int width = vector_bytes / int(sizeof(T));

template <class T>
NORIA_INLINE Vector<T> load(const T* from) {
  Vector<T> v;
  memcpy(&v, from, sizeof v);
  return v;
}

template <class T>
NORIA_INLINE void store(T* to, Vector<T> v) {
  memcpy(to, &v, sizeof v);
}

// The first `count` elements; the rest are zero.
template <class T>
NORIA_INLINE Vector<T> load_some(const T* from, int64_t count) {
  if (count >= width<T>) return load(from);
  Vector<T> v = {};
  for (int64_t i = 0; i < count; ++i) v[i] = from[i];
  return v;
}

template <class T>
NORIA_INLINE void store_some(T* to, Vector<T> v, int64_t count) {
  if (count >= width<T>) return store(to, v);
  for (int64_t i = 0; i < count; ++i) to[i] = v[i];
}

// W of a panel's weights as numbers.
template <class T>
NORIA_INLINE Vector<T> load_weights(const T* from) {
  return load(from);
}

typedef int8_t Bytes __attribute__((vector_size(width<float>)));

template <class T>
NORIA_INLINE Vector<T> load_weights(const int8_t* from) {
#if defined(__AVX512F__)
  // Without the masks, which cost nothing, GCC 12 warns of its own header.
  return Vector<T>(_mm512_maskz_cvtepi32_ps(
      0xFFFF, _mm512_maskz_cvtepi8_epi32(0xFFFF, _mm_loadu_si128((const __m128i*)from))));
#elif defined(__AVX2__)
  return Vector<T>(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)from))));
#else
  Bytes bytes;
  memcpy(&bytes, from, sizeof bytes);
  return __builtin_convertvector(bytes, Vector<T>);
#endif
}

// a * b + c, rounded once wherever the target can: the same bits on all of those. Baseline x86-64 has no
// such instruction and rounds twice.
#if defined(__AVX512F__)
NORIA_INLINE Vector<float> fma(Vector<float> a, Vector<float> b, Vector<float> c) {
  return Vector<float>(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(c)));
}
NORIA_INLINE Vector<double> fma(Vector<double> a, Vector<double> b, Vector<double> c) {
  return Vector<double>(_mm512_fmadd_pd(__m512d(a), __m512d(b), __m512d(c)));
}
NORIA_INLINE Vector<float> spread(float x) { return Vector<float>(_mm512_set1_ps(x)); }
NORIA_INLINE Vector<double> spread(double x) { return Vector<double>(_mm512_set1_pd(x)); }
#elif defined(__AVX2__)
NORIA_INLINE Vector<float> fma(Vector<float> a, Vector<float> b, Vector<float> c) {
  return Vector<float>(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c)));
}
NORIA_INLINE Vector<double> fma(Vector<double> a, Vector<double> b, Vector<double> c) {
  return Vector<double>(_mm256_fmadd_pd(__m256d(a), __m256d(b), __m256d(c)));
}
NORIA_INLINE Vector<float> spread(float x) { return Vector<float>(_mm256_set1_ps(x)); }
NORIA_INLINE Vector<double> spread(double x) { return Vector<double>(_mm256_set1_pd(x)); }
#elif defined(__ARM_NEON) && defined(__aarch64__)
NORIA_INLINE Vector<float> fma(Vector<float> a, Vector<float> b, Vector<float> c) {
  return Vector<float>(vfmaq_f32(float32x4_t(c), float32x4_t(a), float32x4_t(b)));
}
NORIA_INLINE Vector<double> fma(Vector<double> a, Vector<double> b, Vector<double> c) {
  return Vector<double>(vfmaq_f64(float64x2_t(c), float64x2_t(a), float64x2_t(b)));
}
NORIA_INLINE Vector<float> spread(float x) { return Vector<float>{x, x, x, x}; }
NORIA_INLINE Vector<double> spread(double x) { return Vector<double>{x, x}; }
#else
template <class V>
NORIA_INLINE V fma(V a, V b, V c) {
  return a * b + c;
}
NORIA_INLINE Vector<float> spread(float x) { return Vector<float>{x, x, x, x}; }
NORIA_INLINE Vector<double> spread(double x) { return Vector<double>{x, x}; }
#endif

// The larger, the smaller; a NaN in x stays one. One instruction where compilers see no more than a choice.
#if defined(__AVX512F__)
NORIA_INLINE Vector<float> at_least(Vector<float> bound, Vector<float> x) {
  return Vector<float>(_mm512_maskz_max_ps(0xFFFF, __m512(bound), __m512(x)));
}
NORIA_INLINE Vector<double> at_least(Vector<double> bound, Vector<double> x) {
  return Vector<double>(_mm512_maskz_max_pd(0xFF, __m512d(bound), __m512d(x)));
}
NORIA_INLINE Vector<float> at_most(Vector<float> bound, Vector<float> x) {
  return Vector<float>(_mm512_maskz_min_ps(0xFFFF, __m512(bound), __m512(x)));
}
NORIA_INLINE Vector<double> at_most(Vector<double> bound, Vector<double> x) {
  return Vector<double>(_mm512_maskz_min_pd(0xFF, __m512d(bound), __m512d(x)));
}
#elif defined(__AVX2__)
NORIA_INLINE Vector<float> at_least(Vector<float> bound, Vector<float> x) {
  return Vector<float>(_mm256_max_ps(__m256(bound), __m256(x)));
}
NORIA_INLINE Vector<double> at_least(Vector<double> bound, Vector<double> x) {
  return Vector<double>(_mm256_max_pd(__m256d(bound), __m256d(x)));
}
NORIA_INLINE Vector<float> at_most(Vector<float> bound, Vector<float> x) {
  return Vector<float>(_mm256_min_ps(__m256(bound), __m256(x)));
}
NORIA_INLINE Vector<double> at_most(Vector<double> bound, Vector<double> x) {
  return Vector<double>(_mm256_min_pd(__m256d(bound), __m256d(x)));
}
#else
template <class V>
NORIA_INLINE V at_least(V bound, V x) {
  return x < bound ? bound : x;
}
template <class V>
NORIA_INLINE V at_most(V bound, V x) {
  return x > bound ? bound : x;
}
#endif

}  // namespace noria::NORIA_TARGET
