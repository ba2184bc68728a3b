// What is no scan: linear layers, the functions on arrays, and the table of this target.
#include "gemm.h"

#include "targets.h"
#include "vector_math.h"

#define NORIA_TEXT_OF(x) #x
#define NORIA_TEXT(x) NORIA_TEXT_OF(x)

namespace noria::NORIA_TARGET {
namespace {

constexpr int64_t rows_at_once = 64;

template <class T>
int64_t linear_room(int64_t inputs, int64_t outputs) {
  const int64_t padded = (outputs + width<T> - 1) / width<T> * width<T>;
  return padded * (inputs + 1 + rows_at_once);
}

template <class T>
void linear(int64_t rows, int64_t inputs, int64_t outputs, const T* x, const T* weight, const T* bias, T* y,
            T* room) {
  constexpr int W = width<T>;
  const int only_gate = 0;
  const int64_t panels = (outputs + W - 1) / W, padded = panels * W;
  T* packed = room;
  T* start = packed + padded * inputs;
  T* sums = start + padded;
  pack_gates(weight, outputs, inputs, 1, &only_gate, 0, panels, packed);
  for (int64_t j = 0; j < padded; j += W)
    store(start + j, bias ? load_some(bias + j, outputs - j) : Vector<T>{});
  for (int64_t row = 0; row < rows; row += rows_at_once) {
    const int64_t count = rows - row < rows_at_once ? rows - row : rows_at_once;
    const Product<T> product = {.depth = inputs,
                                .a = x + row * inputs,
                                .a_row = inputs,
                                .w = packed,
                                .w_panel = inputs * W,
                                .start = start,
                                .start_row = 0,
                                .start_panel = W,
                                .c = sums,
                                .c_row = padded,
                                .c_panel = W};
    multiply<T, 1>(product, count, 0, panels);
    for (int64_t i = 0; i < count; ++i)
      memcpy(y + (row + i) * outputs, sums + i * padded, size_t(outputs) * sizeof(T));
  }
}

template <class T>
void sigmoid_all(int64_t count, const T* x, T* y) {
  for (int64_t i = 0; i < count; i += width<T>)
    store_some(y + i, sigmoid<T>(load_some(x + i, count - i)), count - i);
}

template <class T>
void tanh_all(int64_t count, const T* x, T* y) {
  for (int64_t i = 0; i < count; i += width<T>)
    store_some(y + i, tanh<T>(load_some(x + i, count - i)), count - i);
}

}  // namespace

template <class T>
const Kernels<T>& kernels() {
  static constexpr Kernels<T> table = {.name = NORIA_TEXT(NORIA_TARGET),
                                       .saved_row = saved_row<T>,
                                       .packed_size = packed_size<T>,
                                       .pack = pack<T>,
                                       .layout_forward = layout_forward<T>,
                                       .start_forward = start_forward<T>,
                                       .run_forward = run_forward<T>,
                                       .finish_forward = finish_forward<T>,
                                       .layout_backward = layout_backward<T>,
                                       .backward = backward<T>,
                                       .linear_room = linear_room<T>,
                                       .linear = linear<T>,
                                       .sigmoid = sigmoid_all<T>,
                                       .tanh = tanh_all<T>};
  return table;
}

template const Kernels<float>& kernels<float>();
template const Kernels<double>& kernels<double>();

}  // namespace noria::NORIA_TARGET
