#include "bindings.h"

#include <string>

namespace noria {
namespace {

template <class T>
std::vector<size_t> shape_of(const Input<T>& array) {
  return std::vector<size_t>(array.shape_ptr(), array.shape_ptr() + array.ndim());
}

// What the door has checked: kinds, sizes, and that all arrays are dense.
template <class T>
struct Arguments {
  int cell, recurrence;
  bool reverse;
  Input<T> x, weight_ih;
  std::optional<Input<T>> weight_hh;
  Input<T> bias_ih, bias_hh;
  std::vector<Input<T>> state;
  std::optional<Lengths> lengths;
  std::optional<Input<T>> mask;

  size_t batch() const { return x.shape(0); }
  size_t time() const { return x.shape(1); }
  size_t input() const { return x.shape(2); }
  size_t hidden() const { return state[0].shape(1); }

  ScanInputs<T> inputs() const {
    return {.cell = Cell(cell),
            .recurrence = Recurrence(recurrence),
            .sizes = {int64_t(batch()), int64_t(time()), int64_t(input()), int64_t(hidden())},
            .reverse = reverse,
            .x = x.data(),
            .weight_ih = weight_ih.data(),
            .weight_hh = weight_hh ? weight_hh->data() : nullptr,
            .bias_ih = bias_ih.data(),
            .bias_hh = bias_hh.data(),
            .state = {state[0].data(), state.size() > 1 ? state[1].data() : nullptr},
            .lengths = lengths ? lengths->data() : nullptr,
            .mask = mask ? mask->data() : nullptr,
            .packed = nullptr};
  }
};

// y, h, c and what is saved; an array that does not apply is empty.
template <class T>
nb::tuple run_scan(const ScanInputs<T>& inputs, bool save) {
  const auto [batch, time, input, hidden] = inputs.sizes;
  const size_t rows = size_t(batch), neurons = size_t(hidden);
  Output<T> y = new_array<T>({rows, size_t(time), neurons});
  Output<T> h = new_array<T>({rows, neurons});
  Output<T> c = new_array<T>({inputs.state[1] ? rows : 0, neurons});
  Output<T> saved = new_array<T>({save ? size_t(saved_size(inputs)) : 0});
  {
    nb::gil_scoped_release released;
    scan(inputs, ScanOutputs<T>{y.data(), {h.data(), c.data()}, save ? saved.data() : nullptr});
  }
  return nb::make_tuple(y, h, c, saved);
}

template <class T>
nb::tuple bound_scan(int cell, int recurrence, bool reverse, Input<T> x, Input<T> weight_ih,
                     std::optional<Input<T>> weight_hh, Input<T> bias_ih, Input<T> bias_hh,
                     std::vector<Input<T>> state, std::optional<Lengths> lengths,
                     std::optional<Input<T>> mask, bool save) {
  const Arguments<T> arguments{cell,    recurrence, reverse, x,       weight_ih, weight_hh,
                               bias_ih, bias_hh,    state,   lengths, mask};
  return run_scan(arguments.inputs(), save);
}

template <class T>
Output<T> bound_pack(int cell, int recurrence, int64_t hidden, Input<T> weight_ih,
                     std::optional<Input<T>> weight_hh, Input<T> bias_ih, Input<T> bias_hh, bool int8) {
  ScanInputs<T> inputs{};
  inputs.cell = Cell(cell);
  inputs.recurrence = Recurrence(recurrence);
  inputs.sizes = {0, 0, int64_t(weight_ih.shape(1)), hidden};
  inputs.weight_ih = weight_ih.data();
  inputs.weight_hh = weight_hh ? weight_hh->data() : nullptr;
  inputs.bias_ih = bias_ih.data();
  inputs.bias_hh = bias_hh.data();
  inputs.int8 = int8;
  Output<T> packed = new_array<T>({size_t(packed_size(inputs))});
  pack(inputs, packed.data());
  return packed;
}

template <class T>
nb::tuple bound_scan_packed(int cell, int recurrence, bool reverse, Input<T> x, Input<T> packed, bool int8,
                            Input<T> h, std::optional<Input<T>> c, std::optional<Lengths> lengths) {
  ScanInputs<T> inputs{};
  inputs.cell = Cell(cell);
  inputs.recurrence = Recurrence(recurrence);
  inputs.sizes = {int64_t(x.shape(0)), int64_t(x.shape(1)), int64_t(x.shape(2)), int64_t(h.shape(1))};
  inputs.reverse = reverse;
  inputs.x = x.data();
  inputs.int8 = int8;
  inputs.packed = checked("weights", packed, packed_size(inputs));
  inputs.state[0] = h.data();
  inputs.state[1] = c ? c->data() : nullptr;
  inputs.lengths = lengths ? lengths->data() : nullptr;
  return run_scan(inputs, false);
}

template <class T>
nb::tuple bound_scan_backward(int cell, int recurrence, bool reverse, Input<T> x, Input<T> weight_ih,
                              std::optional<Input<T>> weight_hh, Input<T> bias_ih, Input<T> bias_hh,
                              std::vector<Input<T>> state, std::optional<Lengths> lengths,
                              std::optional<Input<T>> mask, Input<T> y, Input<T> saved, Input<T> grad_y,
                              std::vector<Input<T>> grad_state) {
  const Arguments<T> arguments{cell,    recurrence, reverse, x,       weight_ih, weight_hh,
                               bias_ih, bias_hh,    state,   lengths, mask};
  checked("gates", saved, saved_size(arguments.inputs()));
  Output<T> d_x = new_array<T>(shape_of(x));
  Output<T> d_weight_ih = new_array<T>(shape_of(weight_ih));
  Output<T> d_weight_hh = new_array<T>(weight_hh ? shape_of(*weight_hh) : std::vector<size_t>{0});
  Output<T> d_bias_ih = new_array<T>(shape_of(bias_ih));
  Output<T> d_bias_hh = new_array<T>(shape_of(bias_hh));
  Output<T> d_h = new_array<T>(shape_of(state[0]));
  Output<T> d_c = new_array<T>(state.size() > 1 ? shape_of(state[1]) : std::vector<size_t>{0});
  const T* const from_state[2] = {grad_state[0].data(),
                                  grad_state.size() > 1 ? grad_state[1].data() : nullptr};
  {
    nb::gil_scoped_release released;
    scan_backward(arguments.inputs(), y.data(), saved.data(), grad_y.data(), from_state,
                  ScanGradients<T>{d_x.data(),
                                   d_weight_ih.data(),
                                   d_weight_hh.data(),
                                   d_bias_ih.data(),
                                   d_bias_hh.data(),
                                   {d_h.data(), d_c.data()}});
  }
  return nb::make_tuple(d_x, d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh, d_h, d_c);
}

// The outputs of every layer (empty, unless saved, but the last), its final states, and what is saved.
template <class T>
nb::tuple run_stack(const StackInputs<T>& inputs, bool save) {
  std::vector<Output<T>> ys;
  std::vector<std::vector<Output<T>>> states;
  std::vector<LayerOutputs<T>> outputs;
  const size_t rows = size_t(inputs.batch), steps = size_t(inputs.time);
  for (int64_t l = 0; l < inputs.layer_count; ++l) {
    const LayerInputs<T>& layer = inputs.layers[l];
    const size_t neurons = size_t(layer.hidden);
    const bool kept = save || l + 1 == inputs.layer_count;
    ys.push_back(new_array<T>({kept ? rows : 0, steps, neurons}));
    states.emplace_back();
    for (const T* state : layer.state)
      if (state) states.back().push_back(new_array<T>({rows, neurons}));
    outputs.push_back({kept ? ys.back().data() : nullptr, {}});
    for (size_t k = 0; k < states.back().size(); ++k) outputs.back().state[k] = states.back()[k].data();
  }
  Output<T> saved = new_array<T>({save ? size_t(stack_saved_size(inputs)) : 0});
  {
    nb::gil_scoped_release released;
    stack_scan(inputs, StackOutputs<T>{outputs.data(), save ? saved.data() : nullptr});
  }
  return nb::make_tuple(ys, states, saved);
}

template <class T>
nb::tuple bound_scan_stack(std::vector<Layer<T>> layers, Input<T> x, std::vector<std::vector<Input<T>>> state,
                           std::optional<Lengths> lengths, bool reverse, bool save) {
  StackArguments<T> arguments(layers);
  return run_stack(arguments.inputs(&x, state, lengths, reverse), save);
}

template <class T>
Output<T> bound_pack_stack(std::vector<Layer<T>> layers, bool int8) {
  StackArguments<T> arguments(layers);
  StackInputs<T> inputs = arguments.inputs(nullptr, {}, std::nullopt);
  inputs.int8 = int8;
  Output<T> packed = new_array<T>({size_t(stack_packed_size(inputs))});
  stack_pack(inputs, packed.data());
  return packed;
}

// The layers give kinds and sizes; their weights are taken from `packed`.
template <class T>
nb::tuple bound_scan_stack_packed(std::vector<Layer<T>> layers, Input<T> packed, bool int8, Input<T> x,
                                  std::vector<std::vector<Input<T>>> state, std::optional<Lengths> lengths) {
  StackArguments<T> arguments(layers);
  StackInputs<T> inputs = arguments.inputs(&x, state, lengths);
  inputs.int8 = int8;
  inputs.packed = checked("weights", packed, stack_packed_size(inputs));
  return run_stack(inputs, false);
}

// Of x; of every layer's weight_ih, bias_ih, bias_hh, parameters, weight_norm, recurrent blocks and states.
template <class T>
nb::tuple bound_scan_stack_backward(std::vector<Layer<T>> layers, Input<T> x,
                                    std::vector<std::vector<Input<T>>> state, std::optional<Lengths> lengths,
                                    bool reverse, std::vector<Input<T>> ys, Input<T> saved, Input<T> grad_y,
                                    std::vector<std::vector<Input<T>>> grad_state) {
  StackArguments<T> arguments(layers);
  const StackInputs<T> inputs = arguments.inputs(&x, state, lengths, reverse);
  checked("gates", saved, stack_saved_size(inputs));
  Output<T> d_x = new_array<T>(shape_of(x));
  std::vector<std::tuple<Output<T>, Output<T>, Output<T>, Output<T>, Output<T>, std::vector<Output<T>>,
                         std::vector<Output<T>>>>
      found;
  std::vector<std::vector<T*>> block_pointers(layers.size());
  std::vector<LayerGradients<T>> gradients;
  std::vector<LayerResults<T>> results;
  for (size_t l = 0; l < layers.size(); ++l) {
    const auto& [cell, code, carries_state, hidden, weight_ih, bias_ih, bias_hh, parameters, weight_norm,
                 weight_hh, recurrent_mask, input_mask] = layers[l];
    const auto like = [](const std::optional<Input<T>>& array) {
      return new_array<T>(array ? shape_of(*array) : std::vector<size_t>{0});
    };
    std::vector<Output<T>> blocks, states;
    for (const auto& [source, weight] : weight_hh) {
      blocks.push_back(new_array<T>(shape_of(weight)));
      block_pointers[l].push_back(blocks.back().data());
    }
    for (const Input<T>& array : state[l]) states.push_back(new_array<T>(shape_of(array)));
    found.emplace_back(new_array<T>(shape_of(weight_ih)), new_array<T>(shape_of(bias_ih)), like(bias_hh),
                       like(parameters), like(weight_norm), std::move(blocks), std::move(states));
    auto& [d_weight_ih, d_bias_ih, d_bias_hh, d_parameters, d_weight_norm, d_blocks, d_state] = found.back();
    gradients.push_back({d_weight_ih.data(),
                         d_bias_ih.data(),
                         bias_hh ? d_bias_hh.data() : nullptr,
                         d_parameters.data(),
                         d_weight_norm.data(),
                         block_pointers[l].data(),
                         {}});
    results.push_back({ys[l].data(), {}});
    for (size_t k = 0; k < d_state.size(); ++k) {
      gradients.back().state[k] = d_state[k].data();
      results.back().grad_state[k] = grad_state[l][k].data();
    }
  }
  {
    nb::gil_scoped_release released;
    stack_scan_backward(inputs, results.data(), saved.data(), grad_y.data(),
                        StackGradients<T>{d_x.data(), gradients.data()});
  }
  return nb::make_tuple(d_x, found);
}

template <class T>
Output<T> bound_linear(Input<T> x, Input<T> weight, std::optional<Input<T>> bias) {
  Output<T> y = new_array<T>({x.shape(0), weight.shape(0)});
  {
    nb::gil_scoped_release released;
    linear<T>(int64_t(x.shape(0)), int64_t(weight.shape(1)), int64_t(weight.shape(0)), x.data(),
              weight.data(), bias ? bias->data() : nullptr, y.data());
  }
  return y;
}

template <class T>
Output<T> apply(void (*function)(int64_t, const T*, T*), const Input<T>& x) {
  Output<T> y = new_array<T>({x.shape(0)});
  function(int64_t(x.shape(0)), x.data(), y.data());
  return y;
}

template <class T>
void bind(nb::module_& module, const char* type) {
  const auto name = [type](const char* function) { return std::string(function) + "_" + type; };
  module.def(name("scan").c_str(), bound_scan<T>);
  module.def(name("pack").c_str(), bound_pack<T>);
  module.def(name("scan_packed").c_str(), bound_scan_packed<T>);
  module.def(name("scan_backward").c_str(), bound_scan_backward<T>);
  module.def(name("scan_stack").c_str(), bound_scan_stack<T>);
  module.def(name("pack_stack").c_str(), bound_pack_stack<T>);
  module.def(name("scan_stack_packed").c_str(), bound_scan_stack_packed<T>);
  module.def(name("scan_stack_backward").c_str(), bound_scan_stack_backward<T>);
  module.def(name("linear").c_str(), bound_linear<T>);
  module.def(name("sigmoid").c_str(), [](Input<T> x) { return apply<T>(sigmoid<T>, x); });
  module.def(name("tanh").c_str(), [](Input<T> x) { return apply<T>(tanh<T>, x); });
}

}  // namespace
}  // namespace noria

NB_MODULE(_native, module) {
  noria::bind<float>(module, "float32");
  noria::bind<double>(module, "float64");
  noria::bind_steppers(module);
  module.def("thread_count", &noria::thread_count);
  module.def("set_thread_count", &noria::set_thread_count);
  module.def("instruction_set", [] { return std::string(noria::instruction_set()); });
}
