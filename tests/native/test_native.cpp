// The native core without Python: odd sizes under the sanitizers, gradients by differences, bits by memcmp.
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include "testing.h"

namespace {

using namespace noria;
using namespace noria::testing;

template <class T>
struct Case {
  Case(Cell cell, Recurrence recurrence, Sizes sizes, bool ragged, bool masked, bool reverse)
      : kind(cell),
        across(recurrence),
        size(sizes),
        backwards(reverse),
        rows(gates_of(cell) * sizes.hidden),
        weights(recurrence == Recurrence::dense      ? rows * sizes.hidden
                : recurrence == Recurrence::diagonal ? rows
                                                     : 0),
        x(draw<T>(sizes.batch * sizes.time * sizes.input, 1)),
        weight_ih(draw<T>(rows * sizes.input, 2)),
        weight_hh(draw<T>(weights, 3)),
        bias_ih(draw<T>(rows, 4)),
        bias_hh(draw<T>(rows, 5)),
        h(draw<T>(sizes.batch * sizes.hidden, 6)),
        c(draw<T>(sizes.batch * sizes.hidden, 7)),
        mask(draw<T>(masked ? sizes.batch * sizes.hidden : 0, 8)),
        lengths(ragged ? sizes.batch : 0) {
    for (int64_t b = 0; b < lengths.count; ++b)
      lengths.data[b] = b == 0 ? sizes.time : (b * 5) % (sizes.time + 1);
  }

  ScanInputs<T> inputs() const {
    return {.cell = kind,
            .recurrence = across,
            .sizes = size,
            .reverse = backwards,
            .x = x.data,
            .weight_ih = weight_ih.data,
            .weight_hh = across == Recurrence::none ? nullptr : weight_hh.data,
            .bias_ih = bias_ih.data,
            .bias_hh = bias_hh.data,
            .state = {h.data, kind == Cell::lstm ? c.data : nullptr},
            .lengths = lengths.count ? lengths.data : nullptr,
            .mask = mask.count ? mask.data : nullptr,
            .packed = nullptr};
  }

  Cell kind;
  Recurrence across;
  Sizes size;
  bool backwards;
  int64_t rows, weights;
  Array<T> x, weight_ih, weight_hh, bias_ih, bias_hh, h, c, mask;
  Array<int64_t> lengths;
};

template <class T>
struct Result {
  explicit Result(const Case<T>& test)
      : y(test.x.count / (test.size.input ? test.size.input : 1) * test.size.hidden),
        h(test.h.count),
        c(test.h.count) {}
  Array<T> y, h, c;
};

template <class T>
Result<T> run(const Case<T>& test, T* saved = nullptr) {
  Result<T> result(test);
  scan(test.inputs(), ScanOutputs<T>{result.y.data, {result.h.data, result.c.data}, saved});
  return result;
}

// What the gradients belong to: Σ grad_y · y + Σ grad_h · h + Σ grad_c · c.
template <class T>
double objective(const Case<T>& test, const Array<T>& grad_y, const Array<T>& grad_h,
                 const Array<T>& grad_c) {
  const Result<T> result = run(test);
  double sum = 0;
  for (int64_t i = 0; i < grad_y.count; ++i) sum += double(grad_y.data[i]) * double(result.y.data[i]);
  for (int64_t i = 0; i < grad_h.count; ++i) sum += double(grad_h.data[i]) * double(result.h.data[i]);
  if (test.kind == Cell::lstm)
    for (int64_t i = 0; i < grad_c.count; ++i) sum += double(grad_c.data[i]) * double(result.c.data[i]);
  return sum;
}

template <class T>
void check_gradients(Case<T> test, bool by_differences, const char* name) {
  const auto inputs = test.inputs();
  T* saved = static_cast<T*>(allocate(saved_size(inputs) * int64_t(sizeof(T))));
  const Result<T> result = run(test, saved);
  check(run(test).y == result.y, "saving changes nothing", name);

  T* packed = static_cast<T*>(allocate(packed_size(inputs) * int64_t(sizeof(T))));
  pack(inputs, packed);
  ScanInputs<T> ready = inputs;
  ready.packed = packed;
  ready.weight_ih = ready.weight_hh = ready.bias_ih = ready.bias_hh = nullptr;
  Result<T> from_packed(test);
  scan(ready, ScanOutputs<T>{from_packed.y.data, {from_packed.h.data, from_packed.c.data}, nullptr});
  release(packed);
  check(from_packed.y == result.y, "packing beforehand changes nothing", name);

  const Array<T> grad_y = draw<T>(result.y.count, 9), grad_h = draw<T>(test.h.count, 10),
                 grad_c = draw<T>(test.h.count, 11);
  Array<T> x(test.x.count), weight_ih(test.weight_ih.count), weight_hh(test.weight_hh.count),
      bias_ih(test.rows), bias_hh(test.rows), h(test.h.count), c(test.h.count);
  const T* const grad_state[2] = {grad_h.data, grad_c.data};
  scan_backward(
      inputs, result.y.data, saved, grad_y.data, grad_state,
      ScanGradients<T>{x.data, weight_ih.data, weight_hh.data, bias_ih.data, bias_hh.data, {h.data, c.data}});
  release(saved);
  if (!by_differences) return;

  const auto compare = [&](Array<T>& variable, const Array<T>& gradient, const char* what) {
    for (int64_t i = 0; i < variable.count; i += 1 + variable.count / 7) {
      const T before = variable.data[i], step = T(1e-5);
      variable.data[i] = before + step;
      const double above = objective(test, grad_y, grad_h, grad_c);
      variable.data[i] = before - step;
      const double below = objective(test, grad_y, grad_h, grad_c);
      variable.data[i] = before;
      const double slope = (above - below) / (2 * double(step));
      check(std::abs(slope - double(gradient.data[i])) < 1e-6 * (1 + std::abs(slope)), what, name);
    }
  };
  compare(test.x, x, "gradient of x");
  compare(test.weight_ih, weight_ih, "gradient of weight_ih");
  compare(test.weight_hh, weight_hh, "gradient of weight_hh");
  compare(test.bias_ih, bias_ih, "gradient of bias_ih");
  compare(test.bias_hh, bias_hh, "gradient of bias_hh");
  compare(test.h, h, "gradient of h");
  if (test.kind == Cell::lstm) compare(test.c, c, "gradient of c");
}

void check_gradients_everywhere() {
  const Cell cells[] = {Cell::lstm, Cell::gru, Cell::rnn_tanh, Cell::rnn_relu};
  const Recurrence recurrences[] = {Recurrence::dense, Recurrence::diagonal, Recurrence::none};
  const Sizes odd_sizes[] = {{3, 4, 2, 19}, {1, 1, 1, 1}, {9, 5, 17, 8}, {0, 3, 2, 4}, {2, 0, 2, 4}};
  for (Cell cell : cells)
    for (Recurrence recurrence : recurrences)
      for (const Sizes& sizes : odd_sizes)
        for (int flags = 0; flags < 8; ++flags) {
          const bool ragged = flags & 1, masked = flags & 2, reverse = flags & 4;
          // relu has a kink that differences may straddle.
          check_gradients(Case<double>(cell, recurrence, sizes, ragged, masked, reverse),
                          cell != Cell::rnn_relu, "double");
          check_gradients(Case<float>(cell, recurrence, sizes, ragged, masked, reverse), false, "float");
        }
}

void check_threads() {
  const int before = thread_count();
  const Sizes sizes[] = {{1, 9, 40, 210}, {13, 11, 30, 65}, {9, 500, 3, 20}};
  for (Cell cell : {Cell::lstm, Cell::gru, Cell::rnn_tanh})
    for (const Sizes& size : sizes) {
      const Case<float> test(cell, Recurrence::dense, size, size.batch > 1, false, false);
      set_thread_count(1);
      const Result<float> alone = run(test);
      for (int threads : {2, 3}) {
        set_thread_count(threads);
        const Result<float> together = run(test);
        check(alone.y == together.y && alone.h == together.h, "threads change nothing", "scan");
        check_gradients(test, false, "threads");
      }
    }
  set_thread_count(before);
}

void check_linear() {
  for (int64_t rows : {0, 1, 65})
    for (int64_t outputs : {1, 17, 40}) {
      const int64_t inputs = 7;
      const Array<double> x = draw<double>(rows * inputs, 1), weight = draw<double>(outputs * inputs, 2),
                          bias = draw<double>(outputs, 3);
      Array<double> y(rows * outputs);
      linear(rows, inputs, outputs, x.data, weight.data, bias.data, y.data);
      for (int64_t i = 0; i < y.count; ++i) {
        double sum = bias.data[i % outputs];
        for (int64_t k = 0; k < inputs; ++k)
          sum += x.data[i / outputs * inputs + k] * weight.data[i % outputs * inputs + k];
        check(std::abs(sum - y.data[i]) < 1e-12, "value", "linear");
      }
    }
}

void check_functions() {
  const double infinite = std::numeric_limits<double>::infinity();
  const std::vector<double> x = {0, -0.3, 1e-9, 5, -30, 1e300, -infinite, infinite, 0.7};
  std::vector<double> y(x.size()), z(x.size());
  sigmoid(int64_t(x.size()), x.data(), y.data());
  tanh(int64_t(x.size()), x.data(), z.data());
  for (size_t i = 0; i < x.size(); ++i) {
    check(std::abs(y[i] - 1 / (1 + std::exp(-x[i]))) < 1e-15, "value", "sigmoid");
    check(std::abs(z[i] - std::tanh(x[i])) < 1e-15, "value", "tanh");
  }
}

}  // namespace

int main() {
  check_functions();
  check_linear();
  check_threads();
  check_gradients_everywhere();
  check_stacks();
  std::printf("%s: %s\n", instruction_set(), failures ? "failed" : "passed");
  return failures ? 1 : 0;
}
