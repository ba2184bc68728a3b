// Matrix products on packed panels. A panel holds the weights of width<T> neurons: for every k, the
// vectors of its G gates side by side. Each output is one chain of fused multiply-adds, k ascending,
// whatever tile it falls into: its bits do not depend on the number of rows.
#pragma once

#include <type_traits>
#include <utility>

#include "simd.h"

namespace noria::NORIA_TARGET {

// c[row][panel][gate] = start[row][panel][gate] + Σ_k a[row][k] · w[panel][k][gate]
// The last axis, neurons of a panel, is left out; strides count elements. start may be c itself.
// Transposed products read a[k][row], whose stride over k is a_row. Weights of another type than T come with
// a scale: c = start + scale[panel][gate] · Σ.
template <class T, class Weight = T>
struct Product {
  int64_t depth;
  const T* a;
  int64_t a_row;
  const Weight* w;
  int64_t w_panel;
  const T* start;
  int64_t start_row, start_panel;
  T* c;
  int64_t c_row, c_panel;
  const T* scale = nullptr;
};

// R rows, P panels and, of their G gates, N from `gate` on.
template <class T, int R, int P, int G, int N, bool Transposed, class Weight>
void tile(const Product<T, Weight>& product, int64_t row, int64_t panel, int gate) {
  constexpr int W = width<T>;
  constexpr bool scaled = !std::is_same_v<T, Weight>;
  const T* from = product.start + row * product.start_row + panel * product.start_panel + gate * W;
  const auto start = [&](int r, int p, int g) {
    return load(from + r * product.start_row + p * product.start_panel + g * W);
  };
  const T* a[R];
  const Weight* w[P];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) a[r] = product.a + (Transposed ? row + r : (row + r) * product.a_row);
  const int64_t a_step = Transposed ? product.a_row : 1;
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) w[p] = product.w + (panel + p) * product.w_panel + gate * W;

  Vector<T> sum[R][P * N];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
      for (int g = 0; g < N; ++g) sum[r][p * N + g] = scaled ? Vector<T>{} : start(r, p, g);

  const int64_t depth = product.depth;
  for (int64_t k = 0; k < depth; ++k) {
    Vector<T> weight[P * N];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
      for (int g = 0; g < N; ++g) weight[p * N + g] = load_weights<T>(w[p] + k * (G * W) + g * W);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vector<T> x = spread(a[r][k * a_step]);
#pragma GCC unroll 24
      for (int v = 0; v < P * N; ++v) sum[r][v] = fma(x, weight[v], sum[r][v]);
    }
  }

  T* to = product.c + row * product.c_row + panel * product.c_panel + gate * W;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
      for (int g = 0; g < N; ++g) {
        Vector<T> value = sum[r][p * N + g];
        if constexpr (scaled)
          value = fma(load(product.scale + ((panel + p) * G + gate + g) * W), value, start(r, p, g));
        store(to + r * product.c_row + p * product.c_panel + g * W, value);
      }
}

constexpr int max_rows(int panels, int gates) {
  const int rows = accumulators / (panels * gates);
  return rows > 8 ? 8 : rows;
}

template <class T, int P, int G, int N, bool Transposed, class Weight, int R = max_rows(P, N)>
NORIA_INLINE void tile_of(int64_t rows, const Product<T, Weight>& product, int64_t row, int64_t panel,
                          int gate) {
  if (rows == R) return tile<T, R, P, G, N, Transposed>(product, row, panel, gate);
  if constexpr (R > 1) tile_of<T, P, G, N, Transposed, Weight, R - 1>(rows, product, row, panel, gate);
}

// All rows of P panels, N gates at a time, in tiles of nearly equal height.
template <class T, int P, int G, int N, bool Transposed, class Weight>
void multiply_rows(const Product<T, Weight>& product, int64_t rows, int64_t panel) {
  constexpr int highest = max_rows(P, N);
  const int64_t tiles = (rows + highest - 1) / highest;
  for (int gate = 0; gate < G; gate += N) {
    int64_t row = 0;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t height = (rows - row + tiles - i - 1) / (tiles - i);
      tile_of<T, P, G, N, Transposed>(height, product, row, panel, gate);
      row += height;
    }
  }
}

constexpr int64_t weights_at_once = 16 * 1024;  // bytes: half of a usual L1 cache

// The same; when several tiles read the weights, so many k at a time that these stay in the L1 cache.
template <class T, int P, int G, int N, bool Transposed, class Weight>
void multiply_depth(const Product<T, Weight>& product, int64_t rows, int64_t panel) {
  constexpr int64_t longest = weights_at_once / (P * N * vector_bytes);
  if (rows <= max_rows(P, N) || product.depth <= longest + longest / 2 || !std::is_same_v<T, Weight>)
    return multiply_rows<T, P, G, N, Transposed>(product, rows, panel);
  Product<T, Weight> part = product;
  for (int64_t left = product.depth; left > 0; left -= part.depth) {
    part.depth = left > longest + longest / 2 ? longest : left;
    multiply_rows<T, P, G, N, Transposed>(part, rows, panel);
    part.a += part.depth * (Transposed ? product.a_row : 1);
    part.w += part.depth * G * width<T>;
    part.start = product.c, part.start_row = product.c_row, part.start_panel = product.c_panel;
  }
}

// Few registers are better spent on six rows of two vectors than on three rows of four, which load more.
template <class T, int P, int G, bool Transposed, class Weight>
void multiply_panels(const Product<T, Weight>& product, int64_t rows, int64_t panel) {
  constexpr bool halves = P == 1 && G == 4 && accumulators == 12;
  if constexpr (halves)
    if (rows > max_rows(P, G)) return multiply_depth<T, P, G, 2, Transposed>(product, rows, panel);
  multiply_depth<T, P, G, G, Transposed>(product, rows, panel);
}

// How many panels to take at once: few rows need many panels to keep the multipliers busy.
template <int G>
NORIA_INLINE int64_t panels_at_once(int64_t rows) {
  int64_t panels = G >= 3 ? 1 : (accumulators >= 24 ? 4 : 2);
  while (panels < 8 && panels * G <= 8 && rows <= max_rows(int(panels) * 2, G)) panels *= 2;
  return panels;
}

// Multiplies panels [panel, panel + count) of all rows; returns how many it did (1, 2, 4 or 8 <= count).
template <class T, int G, bool Transposed = false, class Weight>
int64_t multiply_some(const Product<T, Weight>& product, int64_t rows, int64_t panel, int64_t count) {
  if constexpr (max_rows(8, G) >= 1)
    if (count >= 8) return multiply_panels<T, 8, G, Transposed>(product, rows, panel), 8;
  if constexpr (max_rows(4, G) >= 1)
    if (count >= 4) return multiply_panels<T, 4, G, Transposed>(product, rows, panel), 4;
  if constexpr (max_rows(2, G) >= 1)
    if (count >= 2) return multiply_panels<T, 2, G, Transposed>(product, rows, panel), 2;
  return multiply_panels<T, 1, G, Transposed>(product, rows, panel), 1;
}

template <class T, int G, bool Transposed = false, class Weight>
void multiply(const Product<T, Weight>& product, int64_t rows, int64_t first_panel, int64_t last_panel) {
  if (rows == 0) return;
  const int64_t at_once = panels_at_once<G>(rows);
  for (int64_t panel = first_panel; panel < last_panel;) {
    const int64_t left = last_panel - panel;
    panel += multiply_some<T, G, Transposed>(product, rows, panel, left < at_once ? left : at_once);
  }
}

// The elements of a and b in turns, from their first halves or their second.
template <class T, int first, int... i>
NORIA_INLINE Vector<T> interleave(Vector<T> a, Vector<T> b, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(a, b, (first + i / 2 + (i % 2) * width<T>)...);
}

// Transposes a square of vectors; every pass brings one bit of the index to its place.
template <class T>
NORIA_INLINE void transpose(Vector<T> (&rows)[width<T>]) {
  constexpr int W = width<T>;
  constexpr std::make_integer_sequence<int, W> all;
#pragma GCC unroll 4
  for (int pass = 1; pass < W; pass *= 2) {
    Vector<T> next[W];
#pragma GCC unroll 8
    for (int i = 0; i < W / 2; ++i) {
      next[2 * i] = interleave<T, 0>(rows[i], rows[i + W / 2], all);
      next[2 * i + 1] = interleave<T, W / 2>(rows[i], rows[i + W / 2], all);
    }
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i) rows[i] = next[i];
  }
}

// Calls visit(k, weights) for the vectors of a panel and gate, k ascending from `first` to `last`, of weight
// (gates * neurons, depth).
template <class T, class Visit>
NORIA_INLINE void each_weight(const T* weight, int64_t neurons, int64_t depth, int64_t panel, int gate,
                              int64_t first, int64_t last, Visit visit) {
  constexpr int W = width<T>;
  const int64_t left = neurons - panel * W;
  const T* from = weight + (gate * neurons + panel * W) * depth;
  for (int64_t k = first; k < last; k += W) {
    Vector<T> square[W] = {};
    if (left >= W && last - k >= W) {
#pragma GCC unroll 16
      for (int j = 0; j < W; ++j) square[j] = load(from + j * depth + k);
      transpose<T>(square);
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) visit(k + i, square[i]);
    } else {
      for (int j = 0; j < W && j < left; ++j) square[j] = load_some(from + j * depth + k, last - k);
      transpose<T>(square);
      for (int64_t i = 0; i < W && k + i < last; ++i) visit(k + i, square[i]);
    }
  }
}

// weight (gates * neurons, depth) → panels [first, last) of [panel][k][slot][W]; slot s holds gate
// gate_of[s].
template <class T>
inline void pack_gates(const T* weight, int64_t neurons, int64_t depth, int slots, const int* gate_of,
                       int64_t first, int64_t last, T* packed) {
  constexpr int W = width<T>;
  constexpr int64_t some = 128;  // what is written for one gate is still in the L1 cache for the next
  for (int64_t panel = first; panel < last; ++panel)
    for (int64_t k = 0; k < depth; k += some)
      for (int s = 0; s < slots; ++s) {
        T* to = packed + (panel * depth * slots + s) * W;
        each_weight(weight, neurons, depth, panel, gate_of[s], k, k + some < depth ? k + some : depth,
                    [&](int64_t i, Vector<T> weights) { store(to + i * slots * W, weights); });
      }
}

// The same rounded to -127..127 times a scale of each row's own, [panel][slot][W].
inline void pack_gates(const float* weight, int64_t neurons, int64_t depth, int slots, const int* gate_of,
                       int64_t first, int64_t last, int8_t* packed, float* scale) {
  constexpr int W = width<float>;
  const Vector<float> rounder = spread(0x1.8p23f);  // adding it leaves the integer in the lowest bits
  const Bits<float> sign = (Bits<float>)spread(-0.0f);
  for (int64_t panel = first; panel < last; ++panel)
    for (int s = 0; s < slots; ++s) {
      int8_t* to = packed + (panel * depth * slots + s) * W;
      Vector<float> largest = {};
      each_weight(weight, neurons, depth, panel, gate_of[s], 0, depth, [&](int64_t, Vector<float> weights) {
        const Vector<float> size = (Vector<float>)((Bits<float>)weights & ~sign);
        largest = size > largest ? size : largest;
      });
      store(scale + (panel * slots + s) * W, largest / spread(127.0f));
      const Vector<float> nonzero = largest > Vector<float>{} ? largest : spread(1.0f);
      each_weight(weight, neurons, depth, panel, gate_of[s], 0, depth, [&](int64_t k, Vector<float> weights) {
        const Bits<float> rounded = (Bits<float>)(weights / nonzero * spread(127.0f) + rounder);
        const Bytes bytes = __builtin_convertvector(rounded, Bytes);
        memcpy(to + k * slots * W, &bytes, sizeof bytes);
      });
    }
}

// A row (null: zeros), `columns` long, as row i → row i of the panels [panel][depth][W].
template <class T>
NORIA_INLINE void pack_row(const T* row, int64_t columns, int64_t i, int64_t depth, T* packed) {
  constexpr int W = width<T>;
  for (int64_t first = 0; first < columns; first += W)
    store(packed + first * depth + i * W, row ? load_some(row + first, columns - first) : Vector<T>{});
}

}  // namespace noria::NORIA_TARGET
