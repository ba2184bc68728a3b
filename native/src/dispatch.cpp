// The public functions: choose the instruction set, plan the batch, share the work out.
#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <string_view>
#include <vector>

#include "plan.h"
#include "targets.h"

namespace noria {
namespace {

template <class T>
const Kernels<T>* find_kernels(std::string_view wanted) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512bw");
  if (wanted == "baseline") return &baseline::kernels<T>();
  if (has_avx512 && wanted != "avx2") return &avx512::kernels<T>();
  if (has_avx2) return &avx2::kernels<T>();
#endif
  (void)wanted;
  return &baseline::kernels<T>();
}

}  // namespace

template <class T>
const Kernels<T>& kernels() {
  static const Kernels<T>* found = [] {
    const char* wanted = std::getenv("NORIA_ISA");
    return find_kernels<T>(wanted ? wanted : "");
  }();
  return *found;
}

namespace {

// Completes the job with the plan and runs it; Layout and Run belong to the target.
template <class T, class SomeJob>
void run(const StackInputs<T>& in, SomeJob& job, int64_t (*layout)(SomeJob&, T*),
         void (*work)(const SomeJob&, int)) {
  const Plan plan(in.batch, in.time, in.lengths);
  describe(in, plan, job);
  TeamOf<T, SomeJob> team(in, plan, job);
  const Scratch<T> scratch(layout(job, nullptr));
  layout(job, scratch.data);
  team.run(work);
}

// Zeros where the scan does not reach: past each row's length.
template <class T>
void clear_padding(const StackInputs<T>& in, int64_t columns, T* array) {
  for (int64_t row = 0; in.lengths && row < in.batch; ++row)
    std::fill(array + (row * in.time + in.lengths[row]) * columns, array + (row + 1) * in.time * columns,
              T(0));
}

// The pieces of `saved`, a layer each.
template <class T, class SavedLayer>
int64_t place_saved(const StackInputs<T>& in, T* saved, SavedLayer saved_layer) {
  int64_t steps = in.batch * in.time;
  if (in.lengths) steps = std::accumulate(in.lengths, in.lengths + in.batch, int64_t(0));
  Arena<T> arena(saved);
  for (int64_t l = 0; l < in.layer_count; ++l) {
    const LayerInputs<T>& layer = in.layers[l];
    saved_layer(l, arena.take(steps * kernels<T>().saved_row(layer)));
  }
  return arena.used();
}

// A single layer as a stack of one.
template <class T>
struct StackOfOne {
  explicit StackOfOne(const ScanInputs<T>& in)
      : block{0, in.sizes.hidden, in.recurrence, in.weight_hh},
        layer{.cell = in.cell,
              .own = nullptr,
              .input = in.sizes.input,
              .hidden = in.sizes.hidden,
              .carries_state = true,
              .weight_ih = in.weight_ih,
              .bias_ih = in.bias_ih,
              .bias_hh = in.bias_hh,
              .parameters = nullptr,
              .weight_norm = nullptr,
              .block_count = in.recurrence == Recurrence::none ? 0 : 1,
              .blocks = &block,
              .state = {in.state[0], in.state[1]},
              .recurrent_mask = in.mask,
              .input_mask = nullptr},
        stack{.batch = in.sizes.batch,
              .time = in.sizes.time,
              .reverse = in.reverse,
              .x = in.x,
              .lengths = in.lengths,
              .layer_count = 1,
              .layers = &layer,
              .packed = in.packed,
              .int8 = in.int8} {}
  StackOfOne(const StackOfOne&) = delete;
  StackOfOne& operator=(const StackOfOne&) = delete;

  const RecurrentBlock<T> block;
  const LayerInputs<T> layer;
  const StackInputs<T> stack;
};

}  // namespace

template <class T>
int64_t stack_saved_size(const StackInputs<T>& in) {
  return place_saved<T>(in, nullptr, [](int64_t, T*) {});
}

template <class T>
int64_t stack_packed_size(const StackInputs<T>& in) {
  int64_t size = 0;
  for (int64_t l = 0; l < in.layer_count; ++l) size += kernels<T>().packed_size(in.layers[l], in.int8);
  return size;
}

template <class T>
void stack_pack(const StackInputs<T>& in, T* packed) {
  const FlushDenormals flush;
  for (int64_t l = 0; l < in.layer_count; ++l) {
    kernels<T>().pack(in.layers[l], in.int8, packed);
    packed += kernels<T>().packed_size(in.layers[l], in.int8);
  }
}

template <class T>
void stack_scan(const StackInputs<T>& in, const StackOutputs<T>& outputs) {
  std::vector<ForwardLayer<T>> layers(size_t(in.layer_count));
  for (size_t l = 0; l < layers.size(); ++l) {
    layers[l].in = in.layers[l];
    layers[l].out = outputs.layers[l];
  }
  if (outputs.saved)
    place_saved(in, outputs.saved, [&](int64_t l, T* saved) { layers[size_t(l)].saved = saved; });
  ForwardJob<T> job{};
  job.layers = layers.data();
  job.packed = in.packed;
  job.int8 = in.int8;
  clear_padding(in, layers.back().in.hidden, layers.back().out.y);
  run<T>(
      in, job, kernels<T>().layout_forward, +[](const ForwardJob<T>& the, int part) {
        kernels<T>().start_forward(the, part);
        kernels<T>().run_forward(the, part);
        kernels<T>().finish_forward(the, part);
      });
}

template <class T>
void stack_scan_backward(const StackInputs<T>& in, const LayerResults<T>* results, const T* saved,
                         const T* grad_y, const StackGradients<T>& gradients) {
  std::vector<BackwardLayer<T>> layers(size_t(in.layer_count));
  for (size_t l = 0; l < layers.size(); ++l) {
    layers[l].in = in.layers[l];
    layers[l].y = results[l].y;
    std::copy(results[l].grad_state, results[l].grad_state + most_states, layers[l].grad_state);
    layers[l].out = gradients.layers[l];
  }
  layers.back().grad_y = grad_y;
  // The arena only counts; what is saved is read.
  place_saved(in, const_cast<T*>(saved), [&](int64_t l, T* piece) { layers[size_t(l)].saved = piece; });
  BackwardJob<T> job{};
  job.layers = layers.data();
  job.d_x = gradients.x;
  clear_padding(in, layers[0].in.input, gradients.x);
  run<T>(in, job, kernels<T>().layout_backward, kernels<T>().backward);
}

template <class T>
int64_t saved_size(const ScanInputs<T>& inputs) {
  return stack_saved_size(StackOfOne<T>(inputs).stack);
}

template <class T>
int64_t packed_size(const ScanInputs<T>& inputs) {
  return stack_packed_size(StackOfOne<T>(inputs).stack);
}

template <class T>
void pack(const ScanInputs<T>& inputs, T* packed) {
  stack_pack(StackOfOne<T>(inputs).stack, packed);
}

template <class T>
void scan(const ScanInputs<T>& inputs, const ScanOutputs<T>& outputs) {
  const LayerOutputs<T> layer = {outputs.y, {outputs.state[0], outputs.state[1]}};
  stack_scan(StackOfOne<T>(inputs).stack, StackOutputs<T>{&layer, outputs.saved});
}

template <class T>
void scan_backward(const ScanInputs<T>& inputs, const T* y, const T* saved, const T* grad_y,
                   const T* const (&grad_state)[2], const ScanGradients<T>& gradients) {
  const LayerResults<T> results = {y, {grad_state[0], grad_state[1]}};
  const LayerGradients<T> layer = {.weight_ih = gradients.weight_ih,
                                   .bias_ih = gradients.bias_ih,
                                   .bias_hh = gradients.bias_hh,
                                   .parameters = nullptr,
                                   .weight_norm = nullptr,
                                   .blocks = &gradients.weight_hh,
                                   .state = {gradients.state[0], gradients.state[1]}};
  stack_scan_backward(StackOfOne<T>(inputs).stack, &results, saved, grad_y,
                      StackGradients<T>{gradients.x, &layer});
}

template <class T>
void linear(int64_t rows, int64_t inputs, int64_t outputs, const T* x, const T* weight, const T* bias, T* y) {
  const FlushDenormals flush;
  const Scratch<T> room(kernels<T>().linear_room(inputs, outputs));
  kernels<T>().linear(rows, inputs, outputs, x, weight, bias, y, room.data);
}

template <class T>
void sigmoid(int64_t count, const T* x, T* y) {
  const FlushDenormals flush;
  kernels<T>().sigmoid(count, x, y);
}

template <class T>
void tanh(int64_t count, const T* x, T* y) {
  const FlushDenormals flush;
  kernels<T>().tanh(count, x, y);
}

const char* instruction_set() { return kernels<float>().name; }

#define NORIA_INSTANTIATE(T)                                                                            \
  template const Kernels<T>& kernels();                                                                 \
  template int64_t stack_saved_size(const StackInputs<T>&);                                             \
  template int64_t stack_packed_size(const StackInputs<T>&);                                            \
  template void stack_pack(const StackInputs<T>&, T*);                                                  \
  template void stack_scan(const StackInputs<T>&, const StackOutputs<T>&);                              \
  template void stack_scan_backward(const StackInputs<T>&, const LayerResults<T>*, const T*, const T*,  \
                                    const StackGradients<T>&);                                          \
  template int64_t saved_size(const ScanInputs<T>&);                                                    \
  template int64_t packed_size(const ScanInputs<T>&);                                                   \
  template void pack(const ScanInputs<T>&, T*);                                                         \
  template void scan(const ScanInputs<T>&, const ScanOutputs<T>&);                                      \
  template void scan_backward(const ScanInputs<T>&, const T*, const T*, const T*, const T* const(&)[2], \
                              const ScanGradients<T>&);                                                 \
  template void linear(int64_t, int64_t, int64_t, const T*, const T*, const T*, T*);                    \
  template void sigmoid(int64_t, const T*, T*);                                                         \
  template void tanh(int64_t, const T*, T*);

NORIA_INSTANTIATE(float)
NORIA_INSTANTIATE(double)

}  // namespace noria
