// The public functions: choose the instruction set, plan the batch, share the work out.
#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <string_view>
#include <vector>

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

template <class T>
const Kernels<T>& kernels() {
  static const Kernels<T>* found = [] {
    const char* wanted = std::getenv("NORIA_ISA");
    return find_kernels<T>(wanted ? wanted : "");
  }();
  return *found;
}

template <class T>
struct Scratch {
  explicit Scratch(int64_t count) : data(static_cast<T*>(allocate(count * int64_t(sizeof(T))))) {}
  ~Scratch() { release(data); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* const data;
};

int gates_of(Cell cell) { return cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1; }

// Sorts the rows by length and numbers their steps.
struct Plan {
  std::vector<int64_t> order, length, active, offset;

  Plan(const Sizes& sizes, const int64_t* lengths) : order(size_t(sizes.batch)), offset(1, 0) {
    std::iota(order.begin(), order.end(), int64_t(0));
    if (lengths)
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
    for (int64_t row : order) length.push_back(lengths ? lengths[row] : sizes.time);
    const int64_t steps = length.empty() ? 0 : length[0];
    int64_t running = sizes.batch;
    for (int64_t t = 0; t < steps; ++t) {
      while (length[size_t(running) - 1] <= t) --running;
      active.push_back(running);
      offset.push_back(offset.back() + running);
    }
  }

  int64_t total() const { return offset.back(); }

  // Boundaries of `parts` runs of rows with about the same number of steps each.
  std::vector<int64_t> shares(int parts) const {
    std::vector<int64_t> boundaries(1, 0);
    int64_t row = 0, steps = 0;
    for (int part = 1; part < parts; ++part) {
      const int64_t enough = total() * part / parts;
      while (row < int64_t(length.size()) && steps + length[size_t(row)] / 2 < enough)
        steps += length[size_t(row++)];
      boundaries.push_back(row);
    }
    boundaries.push_back(int64_t(length.size()));
    return boundaries;
  }
};

// Threads cost some microseconds to wake, and a meeting at every step of a scan shared by neurons.
constexpr double multiplications_worth_a_thread = 5e5;
constexpr double multiplications_worth_a_meeting = 4e5;

struct Sharing {
  int parts;
  bool by_neuron;
};

template <class T>
Sharing share_out(const ScanInputs<T>& in, const Plan& plan) {
  const auto& [batch, time, input, hidden] = in.sizes;
  const double neurons = double(gates_of(in.cell)) * double(hidden);
  const double depth = double(input) + (in.recurrence == Recurrence::dense ? double(hidden) : 1.0);
  const double all = double(plan.total()) * neurons * depth;
  const int wanted = int(std::min(double(thread_count()), all / multiplications_worth_a_thread));
  const bool heavy_steps = double(batch) * neurons * double(hidden) >= multiplications_worth_a_meeting;
  if (batch < 2 * wanted && heavy_steps) return {wanted, true};
  return {std::max(1, int(std::min(int64_t(wanted), batch))), false};
}

// Completes the job with the plan and runs it; Layout and Run belong to the target.
template <class T, class SomeJob>
void run(SomeJob& job, int64_t (*layout)(SomeJob&, T*), void (*work)(const SomeJob&, int)) {
  const Plan plan(job.in.sizes, job.in.lengths);
  const Sharing sharing = share_out(job.in, plan);
  Team team(sharing.parts);
  Barrier barrier(team.size());
  const std::vector<int64_t> shares = plan.shares(team.size());
  job.steps = int64_t(plan.active.size());
  job.total = plan.total();
  job.order = plan.order.data();
  job.length = plan.length.data();
  job.active = plan.active.data();
  job.offset = plan.offset.data();
  job.parts = team.size();
  job.barrier = &barrier;
  job.by_neuron = sharing.by_neuron && team.size() > 1;
  job.row_share = shares.data();
  const Scratch<T> scratch(layout(job, nullptr));
  layout(job, scratch.data);

  struct Call {
    const SomeJob& job;
    void (*work)(const SomeJob&, int);
  } const call{job, work};
  team.run(
      [](const void* argument, int part) {
        const FlushDenormals flush;
        const Call& the = *static_cast<const Call*>(argument);
        the.work(the.job, part);
      },
      &call);
}

// Zeros where the scan does not reach: past each row's length.
template <class T>
void clear_padding(const ScanInputs<T>& in, int64_t columns, T* array) {
  const int64_t time = in.sizes.time;
  for (int64_t row = 0; in.lengths && row < in.sizes.batch; ++row)
    std::fill(array + (row * time + in.lengths[row]) * columns, array + (row + 1) * time * columns, T(0));
}

}  // namespace

template <class T>
int64_t saved_size(const ScanInputs<T>& in) {
  int64_t steps = in.sizes.batch * in.sizes.time;
  if (in.lengths) steps = std::accumulate(in.lengths, in.lengths + in.sizes.batch, int64_t(0));
  return steps * kernels<T>().saved_row(in.cell, in.sizes.hidden);
}

template <class T>
int64_t packed_size(const ScanInputs<T>& inputs) {
  return kernels<T>().packed_size(inputs);
}

template <class T>
void pack(const ScanInputs<T>& inputs, T* packed) {
  kernels<T>().pack(inputs, packed);
}

template <class T>
void scan(const ScanInputs<T>& inputs, const ScanOutputs<T>& outputs) {
  ForwardJob<T> job{};
  job.in = inputs;
  job.out = outputs;
  clear_padding(inputs, inputs.sizes.hidden, outputs.y);
  run<T>(job, kernels<T>().layout_forward, kernels<T>().forward);
}

template <class T>
void scan_backward(const ScanInputs<T>& inputs, const T* y, const T* saved, const T* grad_y,
                   const T* const (&grad_state)[2], const ScanGradients<T>& gradients) {
  BackwardJob<T> job{};
  job.in = inputs;
  job.y = y;
  job.saved = saved;
  job.grad_y = grad_y;
  std::copy(grad_state, grad_state + 2, job.grad_state);
  job.out = gradients;
  clear_padding(inputs, inputs.sizes.input, gradients.x);
  run<T>(job, kernels<T>().layout_backward, kernels<T>().backward);
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
