// Stacks of layers that feed each other: odd sizes under the sanitizers, gradients by differences, bits.
#include <cmath>
#include <string>
#include <vector>

#include "testing.h"

namespace noria::testing {
namespace {

enum class Wiring { full, indirect, diagonal_and_full };

struct Kind {
  std::vector<Cell> cells;
  std::vector<int64_t> hidden;
  Wiring wiring;
  bool carries_state, ragged, masked, normalised = false;
};

bool has_c(Cell cell) { return cell == Cell::lstm || cell == Cell::own; }

// An own cell, as a compiler would write it: two gates, the parts of the second apart, and a parameter p.
//     c' = c/2 + p·tanh(a);  h' = tanh(x_n + c'·r_n)
template <class T>
struct Handwritten {
  static int width() {
    const std::string isa = instruction_set();
    return (isa == "avx512" ? 64 : isa == "avx2" ? 32 : 16) / int(sizeof(T));
  }

  static void forward(const OwnForward<T>& tile) {
    const int W = width();
    for (int64_t row = 0; row < tile.rows; ++row)
      for (int64_t at = 0; at < tile.panels * W; ++at) {
        T* gate = tile.gates + row * tile.gates_row + at / W * kept * W + at % W;
        const int64_t state = row * tile.state_row + at;
        const T a = std::tanh(gate[W]), r_n = gate[2 * W];
        const T c = tile.before[1][state] / 2 + tile.parameters[at] * a;
        const T h = std::tanh(gate[0] + c * r_n);
        tile.after[0][state] = h, tile.after[1][state] = c;
        gate[0] = h, gate[W] = a, gate[2 * W] = r_n, gate[3 * W] = c;
      }
  }

  static void backward(const OwnBackward<T>& tile) {
    const int W = width();
    for (int64_t row = 0; row < tile.rows; ++row)
      for (int64_t at = 0; at < tile.panels * W; ++at) {
        const T* gate = tile.kept + row * tile.kept_row + at / W * kept * W + at % W;
        const int64_t state = row * tile.d_state_row + at;
        const T h = gate[0], a = gate[W], r_n = gate[2 * W], c = gate[3 * W], p = tile.parameters[at];
        const T d_n = tile.d_state[0][state] * (1 - h * h), d_c = tile.d_state[1][state] + d_n * r_n;
        T* d_a = tile.d_a + row * tile.d_a_row + at;
        d_a[0] = d_n, d_a[tile.d_a_slot] = d_c * p * (1 - a * a), d_a[2 * tile.d_a_slot] = d_n * c;
        tile.d_parameters[row * tile.d_parameters_row + at] = d_c * a;
        tile.d_state[0][state] = 0, tile.d_state[1][state] = d_c / 2;
      }
  }

  static constexpr int kept = 4;
  static constexpr OwnCell<T> cell = {.gates = 2,
                                      .slots = 3,
                                      .states = 2,
                                      .parameters = 1,
                                      .kept = kept,
                                      .gate_of = {1, 0, 1},
                                      .forward = forward,
                                      .backward = backward};
};

int64_t rows_of(Cell cell) { return cell == Cell::own ? 2 : gates_of(cell); }
int64_t slots_of(Cell cell) { return cell == Cell::own ? 3 : cell == Cell::gru ? 4 : gates_of(cell); }

// The arrays of a layer.
template <class T>
struct Layer {
  Array<T> weight_ih, bias_ih, bias_hh, parameters, weight_norm, h, c, recurrent_mask, input_mask;
  std::vector<Array<T>> weight_hh;
  std::vector<RecurrentBlock<T>> blocks;
};

template <class T>
struct Stack {
  Stack(const Kind& a_kind, int64_t batch_size, int64_t steps, int64_t width)
      : kind(a_kind),
        batch(batch_size),
        time(steps),
        input(width),
        x(draw<T>(batch * time * input, 1)),
        lengths(kind.ragged ? batch : 0) {
    for (int64_t b = 0; b < lengths.count; ++b) lengths.data[b] = b == 0 ? time : (b * 5) % (time + 1);
    unsigned seed = 10;
    for (size_t l = 0; l < kind.cells.size(); ++l) {
      const int64_t hidden = kind.hidden[l], rows = rows_of(kind.cells[l]) * hidden;
      const int64_t below = l ? kind.hidden[l - 1] : input;
      layers.push_back({draw<T>(rows * below, seed + 1),
                        draw<T>(rows, seed + 2),
                        draw<T>(rows, seed + 3),
                        draw<T>(hidden, seed + 9),
                        draw<T>(kind.normalised ? slots_of(kind.cells[l]) * hidden : 0, seed + 20),
                        draw<T>(batch * hidden, seed + 4),
                        draw<T>(batch * hidden, seed + 5),
                        draw<T>(kind.masked ? batch * hidden : 0, seed + 6),
                        draw<T>(kind.masked && l ? batch * below : 0, seed + 7),
                        {},
                        {}});
      for (size_t k = 0; k < kind.cells.size(); ++k) {
        if (kind.wiring == Wiring::indirect && k <= l) continue;
        const bool diagonal = kind.wiring == Wiring::diagonal_and_full && k == l;
        layers[l].weight_hh.push_back(
            draw<T>(diagonal ? rows : rows * kind.hidden[k], seed + 8 + unsigned(k)));
        layers[l].blocks.push_back({int64_t(k), kind.hidden[k],
                                    diagonal ? Recurrence::diagonal : Recurrence::dense,
                                    layers[l].weight_hh.back().data});
      }
      seed += 30;
    }
    // The arrays moved while their vectors grew.
    for (Layer<T>& layer : layers)
      for (size_t k = 0; k < layer.blocks.size(); ++k) layer.blocks[k].weight = layer.weight_hh[k].data;
    for (size_t l = 0; l < layers.size(); ++l) {
      const Layer<T>& layer = layers[l];
      const bool linear = kind.cells[l] == Cell::linear;
      descriptions.push_back(
          {.cell = kind.cells[l],
           .own = kind.cells[l] == Cell::own ? &Handwritten<T>::cell : nullptr,
           .input = l ? kind.hidden[l - 1] : input,
           .hidden = kind.hidden[l],
           .carries_state = kind.carries_state,
           .weight_ih = layer.weight_ih.data,
           .bias_ih = layer.bias_ih.data,
           .bias_hh = linear ? nullptr : layer.bias_hh.data,
           .parameters = layer.parameters.data,
           .weight_norm = layer.weight_norm.count ? layer.weight_norm.data : nullptr,
           .block_count = int64_t(layer.blocks.size()),
           .blocks = layer.blocks.data(),
           .state = {layer.h.data, has_c(kind.cells[l]) ? layer.c.data : nullptr},
           .recurrent_mask = layer.recurrent_mask.count ? layer.recurrent_mask.data : nullptr,
           .input_mask = layer.input_mask.count ? layer.input_mask.data : nullptr});
    }
  }

  StackInputs<T> inputs() const {
    return {.batch = batch,
            .time = time,
            .reverse = false,
            .x = x.data,
            .lengths = lengths.count ? lengths.data : nullptr,
            .layer_count = int64_t(layers.size()),
            .layers = descriptions.data(),
            .packed = nullptr};
  }

  Kind kind;
  int64_t batch, time, input;
  Array<T> x;
  Array<int64_t> lengths;
  std::vector<Layer<T>> layers;
  std::vector<LayerInputs<T>> descriptions;
};

template <class T>
struct Result {
  std::vector<Array<T>> y, h, c;
  bool operator==(const Result& other) const {
    return y.back() == other.y.back() && h == other.h && c == other.c;
  }
};

template <class T>
Result<T> run(const Stack<T>& stack, StackInputs<T> inputs, T* saved = nullptr) {
  Result<T> result;
  for (int64_t hidden : stack.kind.hidden) {
    result.y.emplace_back(stack.batch * stack.time * hidden);
    result.h.emplace_back(stack.batch * hidden);
    result.c.emplace_back(stack.batch * hidden);
  }
  std::vector<LayerOutputs<T>> outputs;
  for (size_t l = 0; l < result.y.size(); ++l)
    outputs.push_back({saved || l + 1 == result.y.size() ? result.y[l].data : nullptr,
                       {result.h[l].data, result.c[l].data}});
  stack_scan(inputs, StackOutputs<T>{outputs.data(), saved});
  return result;
}

// Weights that the gradients belong to: Σ grad_y · y + Σ grad_h · h + Σ grad_c · c.
template <class T>
struct Directions {
  explicit Directions(const Stack<T>& stack)
      : y(draw<T>(stack.batch * stack.time * stack.kind.hidden.back(), 5)) {
    for (int64_t hidden : stack.kind.hidden) {
      h.push_back(draw<T>(stack.batch * hidden, 6));
      c.push_back(draw<T>(stack.batch * hidden, 7));
    }
  }
  double objective(const Stack<T>& stack) const {
    const Result<T> result = run(stack, stack.inputs());
    double sum = 0;
    const auto add = [&](const Array<T>& direction, const Array<T>& values) {
      for (int64_t i = 0; i < values.count; ++i) sum += double(direction.data[i]) * double(values.data[i]);
    };
    add(y, result.y.back());
    for (size_t l = 0; l < h.size(); ++l) {
      add(h[l], result.h[l]);
      if (has_c(stack.kind.cells[l])) add(c[l], result.c[l]);
    }
    return sum;
  }
  Array<T> y;
  std::vector<Array<T>> h, c;
};

template <class T>
struct Found {
  explicit Found(const Stack<T>& stack) : x(stack.x.count), layers(stack.layers) {}
  Array<T> x;
  std::vector<Layer<T>> layers;  // gradients in the places of what they are of
};

template <class T>
Found<T> gradients_of(const Stack<T>& stack, const Result<T>& result, const T* saved,
                      const Directions<T>& directions) {
  Found<T> found(stack);
  std::vector<std::vector<T*>> blocks;
  std::vector<LayerGradients<T>> gradients;
  std::vector<LayerResults<T>> results;
  for (size_t l = 0; l < found.layers.size(); ++l) {
    Layer<T>& layer = found.layers[l];
    blocks.emplace_back();
    for (Array<T>& block : layer.weight_hh) blocks.back().push_back(block.data);
  }
  for (size_t l = 0; l < found.layers.size(); ++l) {
    Layer<T>& layer = found.layers[l];
    gradients.push_back({layer.weight_ih.data,
                         layer.bias_ih.data,
                         stack.kind.cells[l] == Cell::linear ? nullptr : layer.bias_hh.data,
                         layer.parameters.data,
                         layer.weight_norm.data,
                         blocks[l].data(),
                         {layer.h.data, layer.c.data}});
    results.push_back({result.y[l].data, {directions.h[l].data, directions.c[l].data}});
  }
  stack_scan_backward(stack.inputs(), results.data(), saved, directions.y.data,
                      StackGradients<T>{found.x.data, gradients.data()});
  return found;
}

// Without masks and lengths, which a stepper does not have.
template <class T>
void check_steps(const Stack<T>& stack, const StackInputs<T>& packed, const Result<T>& whole,
                 const char* name) {
  Result<T> result;
  std::vector<const T*> given;
  std::vector<T*> found;
  for (size_t l = 0; l < stack.layers.size(); ++l) {
    result.h.emplace_back(stack.batch * stack.kind.hidden[l]);
    result.c.emplace_back(stack.batch * stack.kind.hidden[l]);
  }
  for (size_t l = 0; l < stack.layers.size(); ++l) {
    given.insert(given.end(), packed.layers[l].state, packed.layers[l].state + most_states);
    found.insert(found.end(), {result.h[l].data, result.c[l].data});
    found.resize(given.size());
  }
  Stepper<T> stepper(packed);
  stepper.set_state(reinterpret_cast<const T* const(*)[most_states]>(given.data()));
  const int64_t last = stack.kind.hidden.back();
  result.y.emplace_back(stack.batch * stack.time * last);
  Array<T> x(stack.batch * stack.input), y(stack.batch * last);
  for (int64_t t = 0; t < stack.time; ++t) {
    for (int64_t b = 0; b < stack.batch; ++b)
      for (int64_t i = 0; i < stack.input; ++i)
        x.data[b * stack.input + i] = stack.x.data[(b * stack.time + t) * stack.input + i];
    stepper.step(x.data, y.data);
    for (int64_t b = 0; b < stack.batch; ++b)
      for (int64_t j = 0; j < last; ++j)
        result.y.back().data[(b * stack.time + t) * last + j] = y.data[b * last + j];
  }
  stepper.get_state(reinterpret_cast<T* const(*)[most_states]>(found.data()));
  check(result == whole, "steps give the bits of the whole", name);
}

template <class T>
void check_stack(Stack<T> stack, bool by_differences, const char* name) {
  const StackInputs<T> inputs = stack.inputs();
  T* saved = static_cast<T*>(allocate(stack_saved_size(inputs) * int64_t(sizeof(T))));
  const Result<T> result = run(stack, inputs, saved);
  check(run(stack, inputs) == result, "saving changes nothing in a stack", name);

  T* packed = static_cast<T*>(allocate(stack_packed_size(inputs) * int64_t(sizeof(T))));
  stack_pack(inputs, packed);
  StackInputs<T> ready = inputs;
  ready.packed = packed;
  check(run(stack, ready) == result, "packing a stack beforehand changes nothing", name);
  if (!stack.kind.ragged && !stack.kind.masked && stack.batch > 0) check_steps(stack, ready, result, name);
  release(packed);

  const Directions<T> directions(stack);
  const Found<T> found = gradients_of(stack, result, saved, directions);
  const int before = thread_count();
  for (int threads : {2, 3}) {
    set_thread_count(threads);
    check(run(stack, inputs) == result, "threads change nothing in a stack", name);
    const Found<T> other = gradients_of(stack, result, saved, directions);
    check(other.x == found.x && other.layers[0].weight_ih == found.layers[0].weight_ih &&
              other.layers[0].weight_norm == found.layers[0].weight_norm,
          "threads change no gradient of a stack", name);
  }
  set_thread_count(before);
  release(saved);
  if (!by_differences) return;

  const auto compare = [&](Array<T>& variable, const Array<T>& gradient, const char* what) {
    for (int64_t i = 0; i < variable.count; i += 1 + variable.count / 5) {
      const T here = variable.data[i], step = T(1e-5);
      variable.data[i] = here + step;
      const double above = directions.objective(stack);
      variable.data[i] = here - step;
      const double below = directions.objective(stack);
      variable.data[i] = here;
      const double slope = (above - below) / (2 * double(step));
      check(std::abs(slope - double(gradient.data[i])) < 1e-6 * (1 + std::abs(slope)), what, name);
    }
  };
  compare(stack.x, found.x, "gradient of a stack's x");
  for (size_t l = 0; l < stack.layers.size(); ++l) {
    Layer<T>& layer = stack.layers[l];
    const Layer<T>& gradient = found.layers[l];
    compare(layer.weight_ih, gradient.weight_ih, "gradient of a stack's weight_ih");
    compare(layer.bias_ih, gradient.bias_ih, "gradient of a stack's bias_ih");
    if (stack.kind.cells[l] != Cell::linear)
      compare(layer.bias_hh, gradient.bias_hh, "gradient of a stack's bias_hh");
    compare(layer.weight_norm, gradient.weight_norm, "gradient of a stack's weight_norm");
    for (size_t k = 0; k < layer.weight_hh.size(); ++k)
      compare(layer.weight_hh[k], gradient.weight_hh[k], "gradient of a stack's weight_hh");
    compare(layer.h, gradient.h, "gradient of a stack's h");
    if (stack.kind.cells[l] == Cell::own)
      compare(layer.parameters, gradient.parameters, "gradient of an own cell's parameters");
    if (has_c(stack.kind.cells[l])) compare(layer.c, gradient.c, "gradient of a stack's c");
  }
}

}  // namespace

void check_stacks() {
  const std::vector<std::vector<Cell>> mixes = {{Cell::lstm, Cell::gru, Cell::linear},
                                                {Cell::gru, Cell::rnn_tanh},
                                                {Cell::rnn_tanh, Cell::lstm, Cell::lstm},
                                                {Cell::own, Cell::gru, Cell::own}};
  const std::vector<std::vector<int64_t>> sizes = {{5, 19, 2}, {17, 1}, {9, 3, 8}, {17, 3, 9}};
  const int64_t shapes[][3] = {{3, 4, 2}, {1, 1, 1}, {6, 5, 17}, {0, 3, 2}, {2, 0, 2}};
  for (size_t mix = 0; mix < mixes.size(); ++mix)
    for (Wiring wiring : {Wiring::full, Wiring::indirect, Wiring::diagonal_and_full})
      for (const auto& [batch, time, input] : shapes)
        for (int flags = 0; flags < 16; ++flags) {
          const Kind kind = {mixes[mix],      sizes[mix],      wiring,         (flags & 1) == 0,
                             (flags & 2) > 0, (flags & 4) > 0, (flags & 8) > 0};
          check_stack(Stack<double>(kind, batch, time, input), true, "double");
          check_stack(Stack<float>(kind, batch, time, input), false, "float");
        }
  // Large enough for neurons and rows to be shared by threads, and for more than one block of steps.
  const Kind wide = {{Cell::lstm, Cell::gru, Cell::linear}, {260, 240, 3}, Wiring::full, true, false, true};
  check_stack(Stack<float>(wide, 2, 5, 40), false, "neurons shared");
  check_stack(Stack<float>(wide, 9, 5, 40), false, "rows shared");
  const Kind plain = {{Cell::lstm, Cell::gru, Cell::linear}, {260, 240, 3}, Wiring::full, true, false, false};
  check_stack(Stack<float>(plain, 1, 3, 40), false, "neurons of steps shared");
  const Kind own = {{Cell::own, Cell::own}, {400, 390}, Wiring::full, true, false, false};
  check_stack(Stack<float>(own, 2, 5, 40), false, "an own cell's neurons shared");
  const Kind long_own = {{Cell::own, Cell::lstm}, {20, 5}, Wiring::full, true, true, true};
  check_stack(Stack<float>(long_own, 9, 700, 3), false, "an own cell's many steps");
  const Kind narrow = {{Cell::lstm, Cell::rnn_tanh}, {20, 5}, Wiring::full, true, true, true};
  check_stack(Stack<float>(narrow, 9, 700, 3), false, "many steps");
  for (Kind kind : {wide, plain, own, long_own, narrow}) {
    kind.normalised = true;
    const bool many = kind.hidden[0] < 100;
    check_stack(Stack<float>(kind, many ? 9 : 2, many ? 700 : 4, 3), false, "normalised");
  }
}

}  // namespace noria::testing
