// Matrix products on packed panels. A panel holds the weights of width<T> neurons: for every k, the
// vectors of its G gates side by side, or first those of half its gates and then the rest. Each output is one
// chain of fused multiply-adds, k ascending, whatever tile it falls into: its bits do not depend on the
// number of rows.
#pragma once

#include <type_traits>
#include <utility>

#include "simd.h"

namespace noria::NORIA_TARGET {

// c[row][panel][gate] = start[row][panel][gate] + Σ_k a[row][k] · w[panel][k][gate]
// The last axis, neurons of a panel, is left out; strides count elements. start may be c itself. Where there
// is a `next`, its a and w go on with the sum, which stays in the registers.
// Transposed products read a[k][row], whose stride over k is a_row. Weights of eight bits, [panel][k /
// 2][gate] with both k of a neuron side by side, come with a scale: c = start + scale[panel][gate] · Σ.
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
  const Product* next = nullptr;
};

// How many of a panel's gates lie side by side. Few registers are better spent on six rows of two vectors
// than on three rows of four, which load more; and what a tile reads should be contiguous.
constexpr int together(int gates) { return gates == 4 && accumulators == 12 ? 2 : gates; }

// Where the weights of a gate at k begin in a panel.
NORIA_INLINE int64_t in_panel(int gates, int64_t depth, int64_t k, int gate) {
  const int some = together(gates);
  return (gate / some * depth + k) * some + gate % some;
}

// R rows, P panels and, of their G gates, N from `gate` on.
template <class T, int R, int P, int G, int N, bool Transposed>
void tile(const Product<T>& product, int64_t row, int64_t panel, int gate) {
  constexpr int W = width<T>, side_by_side = together(G);
  const T* from = product.start + row * product.start_row + panel * product.start_panel + gate * W;
  const auto start = [&](int r, int p, int g) {
    return load(from + r * product.start_row + p * product.start_panel + g * W);
  };
  Vector<T> sum[R][P * N];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
      for (int g = 0; g < N; ++g) sum[r][p * N + g] = start(r, p, g);

  for (const Product<T>* factors = &product; factors; factors = factors->next) {
    const int64_t apart = factors->w_panel / (G / side_by_side);
    const int64_t a_row = factors->a_row, a_step = Transposed ? a_row : 1, depth = factors->depth;
    const T* a[R];
    const T* w[P];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) a[r] = factors->a + (Transposed ? row + r : (row + r) * a_row);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
      w[p] = factors->w + (panel + p) * factors->w_panel + gate / side_by_side * apart;
    for (int64_t k = 0; k < depth; ++k) {
      Vector<T> weight[P * N];
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
        for (int g = 0; g < N; ++g) {
          const T* column = w[p] + g / side_by_side * apart + k * (side_by_side * W);
          weight[p * N + g] = load(column + g % side_by_side * W);
        }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const Vector<T> x = spread(a[r][k * a_step]);
#pragma GCC unroll 24
        for (int v = 0; v < P * N; ++v) sum[r][v] = fma(x, weight[v], sum[r][v]);
      }
    }
  }

  T* to = product.c + row * product.c_row + panel * product.c_panel + gate * W;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
      for (int g = 0; g < N; ++g)
        store(to + r * product.c_row + p * product.c_panel + g * W, sum[r][p * N + g]);
}

constexpr int max_rows(int panels, int gates) {
  const int rows = accumulators / (panels * gates);
  return rows > 8 ? 8 : rows;
}

template <class T, int P, int G, int N, bool Transposed, int R = max_rows(P, N)>
NORIA_INLINE void tile_of(int64_t rows, const Product<T>& product, int64_t row, int64_t panel, int gate) {
  if (rows == R) return tile<T, R, P, G, N, Transposed>(product, row, panel, gate);
  if constexpr (R > 1) tile_of<T, P, G, N, Transposed, R - 1>(rows, product, row, panel, gate);
}

// All rows of P panels, N gates at a time, in tiles of nearly equal height.
template <class T, int P, int G, int N, bool Transposed>
void multiply_rows(const Product<T>& product, int64_t rows, int64_t panel) {
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

template <class T, int P, int G, bool Transposed>
void multiply_panels(const Product<T>& product, int64_t rows, int64_t panel) {
  if constexpr (P == 1 && together(G) < G)
    if (rows > max_rows(P, G)) return multiply_rows<T, P, G, together(G), Transposed>(product, rows, panel);
  multiply_rows<T, P, G, G, Transposed>(product, rows, panel);
}

// How many panels to take at once: few rows need many panels to keep the multipliers busy.
template <int G>
NORIA_INLINE int64_t panels_at_once(int64_t rows) {
  int64_t panels = G >= 3 ? 1 : (accumulators >= 24 ? 4 : 2);
  while (panels < 8 && panels * G <= 8 && rows <= max_rows(int(panels) * 2, G)) panels *= 2;
  return panels;
}

// Multiplies panels [panel, panel + count) of all rows; returns how many it did (1, 2, 4 or 8 <= count).
template <class T, int G, bool Transposed = false>
int64_t multiply_some(const Product<T>& product, int64_t rows, int64_t panel, int64_t count) {
  if constexpr (max_rows(8, G) >= 1)
    if (count >= 8) return multiply_panels<T, 8, G, Transposed>(product, rows, panel), 8;
  if constexpr (max_rows(4, G) >= 1)
    if (count >= 4) return multiply_panels<T, 4, G, Transposed>(product, rows, panel), 4;
  if constexpr (max_rows(2, G) >= 1)
    if (count >= 2) return multiply_panels<T, 2, G, Transposed>(product, rows, panel), 2;
  return multiply_panels<T, 1, G, Transposed>(product, rows, panel), 1;
}

template <class T, int G, bool Transposed = false>
void multiply(const Product<T>& product, int64_t rows, int64_t first_panel, int64_t last_panel) {
  if (rows == 0) return;
  const int64_t at_once = panels_at_once<G>(rows);
  for (int64_t panel = first_panel; panel < last_panel;) {
    const int64_t left = last_panel - panel;
    panel += multiply_some<T, G, Transposed>(product, rows, panel, left < at_once ? left : at_once);
  }
}

// Inputs of products with weights of eight bits: rounded to sixteen bits, so many k at a time, whose sums
// then fit into 32 bits. Sums of integers are exact: their order is free.
constexpr int64_t integers_at_once = 512;
static_assert(integers_at_once * 127 * 32767 < INT32_MAX);

// How many k are stored, and where one stands in its panel.
template <class Weight>
NORIA_INLINE int64_t stored_depth(int64_t depth) {
  return sizeof(Weight) == 1 ? (depth + 1) / 2 * 2 : depth;
}

// row → integers (an even number of them) times the power of two that is returned: NaN unless all are finite.
inline float round_row(const float* row, int64_t count, int16_t* integers) {
  constexpr int W = width<float>;
  const Integers magnitude = Integers{} + 0x7fffffff;
  Integers largest = {};  // as an integer, NaN is larger than infinity, and that than any number
  for (int64_t k = 0; k < count; k += W) {
    const Integers size = (Integers)load_some(row + k, count - k) & magnitude;
    largest = size > largest ? size : largest;
  }
  int32_t most = 0;
  for (int i = 0; i < W; ++i) most = largest[i] > most ? largest[i] : most;
  const int32_t exponent = most >> 23;  // the largest is below 2^(exponent - 126)
  const bool vanishes = exponent < 16, finite = exponent < 255;
  const int32_t up = (127 + 15 + 126 - exponent) << 23, down = (127 - 15 - 126 + exponent) << 23;
  float factor = 0, back = __builtin_nanf("");
  if (finite) memcpy(&back, &down, sizeof back);
  if (finite && !vanishes) memcpy(&factor, &up, sizeof factor);
  const Vector<float> rounder = spread(0x1.8p23f), limit = spread(32767.0f);
  for (int64_t k = 0; k < (count + 1) / 2 * 2; k += W) {
    Vector<float> value = load_some(row + k, count - k) * spread(factor);
    value = at_most(limit, at_least(-limit, value));
    // Adding 1.5 · 2^23 leaves the integer in the lowest bits.
    const Integers bits = (Integers)(value + rounder);
    for (int64_t i = 0; i < W && k + i < (count + 1) / 2 * 2; ++i) integers[k + i] = int16_t(bits[i]);
  }
  return vanishes ? 0.0f : back;
}

// R rows, P panels: c = from + scale · back · Σ integers · weights, over `pairs` of k.
template <int R, int P, int G>
void tile_of_integers(const Product<float, int8_t>& product, int64_t pairs, const int8_t* weights,
                      const int16_t (*integers)[integers_at_once], const float* back, const float* from,
                      int64_t from_row, int64_t from_panel, int64_t row, int64_t panel) {
  constexpr int W = width<float>;
  Integers sum[R][P * G] = {};
  for (int64_t k = 0; k < pairs; ++k)
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      int32_t pair;
      memcpy(&pair, &integers[r][2 * k], sizeof pair);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g)
          sum[r][p * G + g] = multiply_pairs(weights + (panel + p) * product.w_panel + (k * G + g) * 2 * W,
                                             pair, sum[r][p * G + g]);
    }
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < P; ++p)
      for (int g = 0; g < G; ++g) {
        const Vector<float> value = __builtin_convertvector(sum[r][p * G + g], Vector<float>);
        const Vector<float> start = load(from + (row + r) * from_row + (panel + p) * from_panel + g * W);
        store(product.c + (row + r) * product.c_row + (panel + p) * product.c_panel + g * W,
              fma(load(product.scale + ((panel + p) * G + g) * W) * spread(back[r]), value, start));
      }
}

template <class T, int G>
void multiply(const Product<T, int8_t>& product, int64_t rows, int64_t first_panel, int64_t last_panel) {
  constexpr int panels_of_one = G == 1 ? 8 : 2, panels_of_two = G == 1 ? 4 : 1;
  alignas(64) int16_t integers[2][integers_at_once];
  float back[2];
  for (int64_t k = 0; k < product.depth || k == 0; k += integers_at_once) {
    const int64_t left = product.depth - k, count = left < integers_at_once ? left : integers_at_once;
    const float* from = k ? product.c : product.start;
    const int64_t from_row = k ? product.c_row : product.start_row;
    const int64_t from_panel = k ? product.c_panel : product.start_panel;
    for (int64_t row = 0; row < rows;) {
      const int taken = rows - row > 1 ? 2 : 1;
      for (int r = 0; r < taken; ++r)
        back[r] = round_row(product.a + (row + r) * product.a_row + k, count, integers[r]);
      const auto run = [&]<int R, int P>(int64_t panel) {
        tile_of_integers<R, P, G>(product, (count + 1) / 2, product.w + k * G * width<float>, integers, back,
                                  from, from_row, from_panel, row, panel);
      };
      int64_t panel = first_panel;
      if (taken == 2) {
        for (; panel + panels_of_two <= last_panel; panel += panels_of_two)
          run.template operator()<2, panels_of_two>(panel);
        for (; panel < last_panel; ++panel) run.template operator()<2, 1>(panel);
      } else {
        for (; panel + panels_of_one <= last_panel; panel += panels_of_one)
          run.template operator()<1, panels_of_one>(panel);
        for (; panel < last_panel; ++panel) run.template operator()<1, 1>(panel);
      }
      row += taken;
    }
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

// weight (gates * neurons, depth) → panels [first, last); slot s holds gate gate_of[s].
template <class T>
inline void pack_gates(const T* weight, int64_t neurons, int64_t depth, int slots, const int* gate_of,
                       int64_t first, int64_t last, T* packed) {
  constexpr int W = width<T>;
  constexpr int64_t some = 128;  // what is written for one gate is still in the L1 cache for the next
  for (int64_t panel = first; panel < last; ++panel)
    for (int64_t k = 0; k < depth; k += some)
      for (int s = 0; s < slots; ++s) {
        T* to = packed + panel * depth * slots * W;
        each_weight(
            weight, neurons, depth, panel, gate_of[s], k, k + some < depth ? k + some : depth,
            [&](int64_t i, Vector<T> weights) { store(to + in_panel(slots, depth, i, s) * W, weights); });
      }
}

// The same rounded to -127..127 times a scale of each row's own, [panel][slot][W]; → [panel][k /
// 2][slot][W][2].
inline void pack_gates(const float* weight, int64_t neurons, int64_t depth, int slots, const int* gate_of,
                       int64_t first, int64_t last, int8_t* packed, float* scale) {
  constexpr int W = width<float>;
  const Vector<float> rounder = spread(0x1.8p23f);  // adding it leaves the integer in the lowest bits
  const Bits<float> sign = (Bits<float>)spread(-0.0f);
  for (int64_t panel = first; panel < last; ++panel)
    for (int s = 0; s < slots; ++s) {
      int8_t* to = packed + (panel * stored_depth<int8_t>(depth) * slots + 2 * s) * W;
      Vector<float> largest = {};
      each_weight(weight, neurons, depth, panel, gate_of[s], 0, depth, [&](int64_t, Vector<float> weights) {
        const Vector<float> size = (Vector<float>)((Bits<float>)weights & ~sign);
        largest = size > largest ? size : largest;
      });
      store(scale + (panel * slots + s) * W, largest / spread(127.0f));
      const Vector<float> nonzero = largest > Vector<float>{} ? largest : spread(1.0f);
      each_weight(weight, neurons, depth, panel, gate_of[s], 0, depth, [&](int64_t k, Vector<float> weights) {
        const Bits<float> rounded = (Bits<float>)(weights / nonzero * spread(127.0f) + rounder);
        for (int i = 0; i < W; ++i) to[k / 2 * 2 * slots * W + 2 * i + k % 2] = int8_t(rounded[i]);
      });
      for (int i = 0; depth % 2 && i < W; ++i) to[depth / 2 * 2 * slots * W + 2 * i + 1] = 0;
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
