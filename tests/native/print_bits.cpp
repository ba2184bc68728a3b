// One line a cell: a hash of what scans give in float32, to compare the bits of instruction sets and
// machines.
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "testing.h"

using namespace noria;
using namespace noria::testing;

namespace {

// Of integers, so that every machine starts from the same bits.
Array<float> draw_exactly(int64_t size, unsigned seed) {
  std::mt19937 random(seed);
  Array<float> array(size);
  for (int64_t i = 0; i < size; ++i) array.data[i] = float(int(random() % 4096) - 2048) / 2048.0f;
  return array;
}

uint64_t hash(uint64_t so_far, const Array<float>& array) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(array.data);
  for (int64_t i = 0; i < array.count * int64_t(sizeof(float)); ++i)
    so_far = (so_far ^ bytes[i]) * 1099511628211u;
  return so_far;
}

uint64_t bits_of(Cell cell, Sizes sizes) {
  const int64_t rows = gates_of(cell) * sizes.hidden;
  const Array<float> x = draw_exactly(sizes.batch * sizes.time * sizes.input, 1);
  const Array<float> weight_ih = draw_exactly(rows * sizes.input, 2);
  const Array<float> weight_hh = draw_exactly(rows * sizes.hidden, 3);
  const Array<float> bias_ih = draw_exactly(rows, 4), bias_hh = draw_exactly(rows, 5);
  const Array<float> h = draw_exactly(sizes.batch * sizes.hidden, 6);
  const Array<float> c = draw_exactly(sizes.batch * sizes.hidden, 7);
  const ScanInputs<float> inputs{.cell = cell,
                                 .recurrence = Recurrence::dense,
                                 .sizes = sizes,
                                 .reverse = false,
                                 .x = x.data,
                                 .weight_ih = weight_ih.data,
                                 .weight_hh = weight_hh.data,
                                 .bias_ih = bias_ih.data,
                                 .bias_hh = bias_hh.data,
                                 .state = {h.data, cell == Cell::lstm ? c.data : nullptr},
                                 .lengths = nullptr,
                                 .mask = nullptr,
                                 .packed = nullptr};
  Array<float> y(sizes.batch * sizes.time * sizes.hidden), last_h(h.count), last_c(c.count);
  scan(inputs,
       {.y = y.data, .state = {last_h.data, cell == Cell::lstm ? last_c.data : nullptr}, .saved = nullptr});
  return hash(hash(hash(14695981039346656037u, y), last_h), last_c);
}

}  // namespace

int main() {
  const char* const names[] = {"lstm", "gru", "rnn_tanh", "rnn_relu"};
  for (const Cell cell : {Cell::lstm, Cell::gru, Cell::rnn_tanh, Cell::rnn_relu}) {
    std::printf("%s", names[int(cell)]);
    for (const Sizes sizes : {Sizes{1, 20, 7, 63}, Sizes{5, 9, 33, 40}, Sizes{17, 3, 1, 1}})
      std::printf(" %016" PRIx64, bits_of(cell, sizes));
    std::printf("\n");
  }
}
