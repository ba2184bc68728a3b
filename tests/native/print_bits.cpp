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

// Of a layer whose pre-activations are normalised, and of the way back.
uint64_t bits_of_normalised(Cell cell, Sizes sizes) {
  const int64_t rows = gates_of(cell) * sizes.hidden, states = cell == Cell::lstm ? 2 : 1;
  const Array<float> x = draw_exactly(sizes.batch * sizes.time * sizes.input, 1);
  const Array<float> weight_ih = draw_exactly(rows * sizes.input, 2);
  const Array<float> weight_hh = draw_exactly(rows * sizes.hidden, 3);
  const Array<float> bias_ih = draw_exactly(rows, 4), bias_hh = draw_exactly(rows, 5);
  const Array<float> gain = draw_exactly((cell == Cell::gru ? 4 : gates_of(cell)) * sizes.hidden, 8);
  const Array<float> h = draw_exactly(sizes.batch * sizes.hidden, 6);
  const Array<float> c = draw_exactly(sizes.batch * sizes.hidden, 7);
  const RecurrentBlock<float> block = {0, sizes.hidden, Recurrence::dense, weight_hh.data};
  const LayerInputs<float> layer{.cell = cell,
                                 .own = nullptr,
                                 .input = sizes.input,
                                 .hidden = sizes.hidden,
                                 .carries_state = true,
                                 .weight_ih = weight_ih.data,
                                 .bias_ih = bias_ih.data,
                                 .bias_hh = bias_hh.data,
                                 .parameters = nullptr,
                                 .weight_norm = gain.data,
                                 .block_count = 1,
                                 .blocks = &block,
                                 .state = {h.data, states > 1 ? c.data : nullptr},
                                 .recurrent_mask = nullptr,
                                 .input_mask = nullptr};
  const StackInputs<float> inputs{.batch = sizes.batch,
                                  .time = sizes.time,
                                  .reverse = false,
                                  .x = x.data,
                                  .lengths = nullptr,
                                  .layer_count = 1,
                                  .layers = &layer,
                                  .packed = nullptr};
  Array<float> y(sizes.batch * sizes.time * sizes.hidden), last_h(h.count), last_c(c.count);
  float* saved = static_cast<float*>(allocate(stack_saved_size(inputs) * int64_t(sizeof(float))));
  const LayerOutputs<float> outputs{y.data, {last_h.data, last_c.data}};
  stack_scan(inputs, {&outputs, saved});

  Array<float> d_x(x.count), d_weight_ih(weight_ih.count), d_weight_hh(weight_hh.count), d_bias_ih(rows);
  Array<float> d_bias_hh(rows), d_gain(gain.count), d_h(h.count), d_c(c.count);
  float* blocks[] = {d_weight_hh.data};
  const LayerResults<float> results{y.data, {h.data, c.data}};
  const LayerGradients<float> gradients{d_weight_ih.data, d_bias_ih.data, d_bias_hh.data,      nullptr,
                                        d_gain.data,      blocks,         {d_h.data, d_c.data}};
  stack_scan_backward(inputs, &results, saved, y.data, {d_x.data, &gradients});
  release(saved);
  uint64_t bits = hash(hash(14695981039346656037u, y), last_h);
  for (const Array<float>* array : {&d_x, &d_weight_ih, &d_weight_hh, &d_bias_ih, &d_gain, &d_h})
    bits = hash(bits, *array);
  return bits;
}

}  // namespace

int main() {
  const char* const names[] = {"lstm", "gru", "rnn_tanh", "rnn_relu"};
  for (const Cell cell : {Cell::lstm, Cell::gru, Cell::rnn_tanh, Cell::rnn_relu}) {
    std::printf("%s", names[int(cell)]);
    for (const Sizes sizes : {Sizes{1, 20, 7, 63}, Sizes{5, 9, 33, 40}, Sizes{17, 3, 1, 1}})
      std::printf(" %016" PRIx64 " %016" PRIx64, bits_of(cell, sizes), bits_of_normalised(cell, sizes));
    std::printf("\n");
  }
}
