// What the bindings share: arrays, and a stack's layers as Python gives them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "noria.h"

namespace nb = nanobind;

namespace noria {

template <class T>
using Input = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
using Lengths = nb::ndarray<const int64_t, nb::c_contig, nb::device::cpu>;
template <class T>
using Output = nb::ndarray<nb::numpy, T>;

[[noreturn]] inline void raise(const char* error, const std::string& message) {
  const nb::object type = nb::module_::import_("noria.errors").attr(error);
  PyErr_SetString(type.ptr(), message.c_str());
  throw nb::python_error();
}

// The numbers of an array that an earlier call made, once it is found as large as these sizes ask.
template <class T>
const T* checked(const char* name, const Input<T>& array, int64_t size) {
  if (int64_t(array.size()) != size)
    raise("ShapeError", std::string(name) + " has " + std::to_string(array.size()) + " numbers, expected " +
                            std::to_string(size) + ": give what was made for these sizes");
  return array.data();
}

template <class T>
Output<T> new_array(std::vector<size_t> shape) {
  size_t count = 1;
  for (size_t size : shape) count *= size;
  T* data = static_cast<T*>(allocate(int64_t(count * sizeof(T))));
  nb::capsule owner(data, [](void* memory) noexcept { release(memory); });
  return Output<T>(data, shape.size(), shape.data(), owner);
}

// An own cell: gates, states, parameters, kept, gate_of, and its code by address, of the element type that it
// is used with.
using OwnCode = std::tuple<int, int, int, int, std::vector<int>, uintptr_t, uintptr_t>;

template <class T>
OwnCell<T> own_cell(const OwnCode& code) {
  const auto& [gates, states, parameters, kept, gate_of, forward, backward] = code;
  OwnCell<T> own{.gates = gates,
                 .slots = int(gate_of.size()),
                 .states = states,
                 .parameters = parameters,
                 .kept = kept,
                 .gate_of = {},
                 .forward = reinterpret_cast<void (*)(const OwnForward<T>&)>(forward),
                 .backward = reinterpret_cast<void (*)(const OwnBackward<T>&)>(backward)};
  std::copy(gate_of.begin(), gate_of.end(), own.gate_of);
  return own;
}

// cell, own cell, carries_state, hidden, weight_ih, bias_ih, bias_hh, parameters, weight_norm, recurrent
// blocks with their sources, recurrent_mask, input_mask.
template <class T>
using Layer =
    std::tuple<int, std::optional<OwnCode>, bool, int64_t, Input<T>, Input<T>, std::optional<Input<T>>,
               std::optional<Input<T>>, std::optional<Input<T>>, std::vector<std::pair<int64_t, Input<T>>>,
               std::optional<Input<T>>, std::optional<Input<T>>>;

template <class T>
struct StackArguments {
  const std::vector<Layer<T>>& given;
  std::vector<std::vector<RecurrentBlock<T>>> blocks{};
  std::vector<OwnCell<T>> own{};
  std::vector<LayerInputs<T>> layers{};

  explicit StackArguments(const std::vector<Layer<T>>& stack) : given(stack), blocks(stack.size()) {
    own.reserve(stack.size());
    for (size_t l = 0; l < given.size(); ++l) {
      const auto& [cell, code, carries_state, hidden, weight_ih, bias_ih, bias_hh, parameters, weight_norm,
                   weight_hh, recurrent_mask, input_mask] = given[l];
      for (const auto& [source, weight] : weight_hh)
        blocks[l].push_back({source, std::get<3>(given[size_t(source)]),
                             weight.ndim() == 2 ? Recurrence::dense : Recurrence::diagonal, weight.data()});
      layers.push_back({.cell = Cell(cell),
                        .own = code ? &own.emplace_back(own_cell<T>(*code)) : nullptr,
                        .input = int64_t(weight_ih.shape(1)),
                        .hidden = hidden,
                        .carries_state = carries_state,
                        .weight_ih = weight_ih.data(),
                        .bias_ih = bias_ih.data(),
                        .bias_hh = bias_hh ? bias_hh->data() : nullptr,
                        .parameters = parameters ? parameters->data() : nullptr,
                        .weight_norm = weight_norm ? weight_norm->data() : nullptr,
                        .block_count = int64_t(blocks[l].size()),
                        .blocks = blocks[l].data(),
                        .state = {},
                        .recurrent_mask = recurrent_mask ? recurrent_mask->data() : nullptr,
                        .input_mask = input_mask ? input_mask->data() : nullptr});
    }
  }

  StackInputs<T> inputs(const Input<T>* x, const std::vector<std::vector<Input<T>>>& state,
                        const std::optional<Lengths>& lengths, bool reverse = false) {
    for (size_t l = 0; l < state.size(); ++l)
      for (size_t k = 0; k < state[l].size(); ++k) layers[l].state[k] = state[l][k].data();
    return {.batch = x ? int64_t(x->shape(0)) : 0,
            .time = x ? int64_t(x->shape(1)) : 0,
            .reverse = reverse,
            .x = x ? x->data() : nullptr,
            .lengths = lengths ? lengths->data() : nullptr,
            .layer_count = int64_t(layers.size()),
            .layers = layers.data(),
            .packed = nullptr,
            .int8 = false};
  }
};

void bind_steppers(nb::module_& module);

}  // namespace noria
