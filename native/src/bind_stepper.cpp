#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "draw.h"

namespace noria {
namespace {

template <class T>
struct Kind;
template <>
struct Kind<float> {
  static constexpr const char *formats = "f", *name = "float32";
};
template <>
struct Kind<double> {
  static constexpr const char *formats = "d", *name = "float64";
};
template <>
struct Kind<int64_t> {
  static constexpr const char *formats = sizeof(long) == 8 ? "lq" : "q", *name = "int64";
};

std::string text_of(const Py_ssize_t* sizes, int count) {
  std::string text = "(";
  for (int i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + (count == 1 ? ",)" : ")");
}

// The memory of a dense array of one kind and shape. Python's buffers cost a fraction of what DLPack does.
template <class T>
class Buffer {
 public:
  Buffer(const char* name, nb::handle array, const Py_ssize_t* shape, int dimensions, bool writable) {
    if (PyObject_GetBuffer(array.ptr(), &view_, PyBUF_ND | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0))) {
      PyErr_Clear();
      raise("KernelError",
            std::string(name) + " is no dense" + (writable ? ", writable" : "") +
                " array in C order: give a numpy array, by numpy.ascontiguousarray if need be");
    }
    const char* format = view_.format;
    const bool right_kind =
        format[0] && !format[1] && std::string(Kind<T>::formats).find(format[0]) != std::string::npos;
    bool right_shape = view_.ndim == dimensions;
    for (int i = 0; right_shape && i < dimensions; ++i) right_shape = view_.shape[i] == shape[i];
    if (right_kind && right_shape) return;
    const std::string found = text_of(view_.shape, view_.ndim), kind = format;
    PyBuffer_Release(&view_);
    if (!right_shape)
      raise("ShapeError",
            std::string(name) + " has shape " + found + ", expected " + text_of(shape, dimensions));
    raise("KernelError", std::string(name) + " holds '" + kind + "', expected " + Kind<T>::name);
  }
  ~Buffer() { PyBuffer_Release(&view_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() const { return static_cast<T*>(view_.buf); }

 private:
  Py_buffer view_;
};

// Other threads may run while a step takes longer than handing the interpreter over does.
constexpr double multiplications_worth_a_release = 2e5;

// Temperature, top_k, top_p and repetition_penalty.
using DrawArguments = std::tuple<double, int64_t, double, double>;

Draw draw_of(const DrawArguments& how) {
  const auto& [temperature, top_k, top_p, repetition_penalty] = how;
  return {temperature, top_k, top_p, repetition_penalty};
}

[[noreturn]] void raise_no_numbers() {
  raise("KernelError", "the log-probabilities to draw from are not all numbers, or none is possible");
}

template <class T>
using Changed = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

template <class T>
Output<int64_t> bound_draw(const DrawArguments& how, Input<T> logits, Input<double> uniforms,
                           std::optional<Lengths> recent) {
  Output<int64_t> drawn = new_array<int64_t>({logits.shape(0)});
  if (!draw<T>(draw_of(how), int64_t(logits.shape(0)), int64_t(logits.shape(1)), logits.data(), nullptr,
               recent ? recent->data() : nullptr, recent ? int64_t(recent->shape(1)) : 0, uniforms.data(),
               drawn.data()))
    raise_no_numbers();
  return drawn;
}

template <class T>
class BoundStepper {
 public:
  BoundStepper(const std::vector<Layer<T>>& layers, Input<T> packed, bool int8, int64_t batch)
      : packed_(packed), stepper_(inputs_of(StackArguments<T>(layers), packed, int8, batch)) {
    double multiplications = 0;
    for (const auto& [cell, code, carries_state, hidden, weight_ih, bias_ih, bias_hh, parameters, weight_norm,
                      weight_hh, recurrent_mask, input_mask] : layers) {
      multiplications += double(weight_ih.size());
      for (const auto& [source, weight] : weight_hh) multiplications += double(weight.size());
      hidden_.push_back(size_t(hidden));
      states_.push_back(code ? size_t(std::get<1>(*code)) : Cell(cell) == Cell::lstm ? 2 : 1);
    }
    input_ = Py_ssize_t(std::get<4>(layers[0]).shape(1));
    shape_[0] = Py_ssize_t(batch);
    shape_[1] = Py_ssize_t(hidden_.back());
    long_step_ = double(batch) * multiplications > multiplications_worth_a_release;
    new_output_ = nb::module_::import_("functools")
                      .attr("partial")(nb::module_::import_("numpy").attr("empty"),
                                       nb::make_tuple(shape_[0], shape_[1]), Kind<T>::name);
  }

  nb::object step(nb::handle x, nb::object out) {
    const Py_ssize_t shape[2] = {shape_[0], input_};
    const Buffer<T> from("x", x, shape, 2, false);
    return into(std::move(out), [&](T* y) { stepper_.step(from.data(), y); });
  }

  nb::object step_index(nb::handle index, nb::object out) {
    const Buffer<int64_t> from("index", index, shape_, 1, false);
    for (Py_ssize_t b = 0; b < shape_[0]; ++b)
      if (const int64_t i = from.data()[b]; i < 0 || i >= input_)
        raise("ShapeError",
              "index holds " + std::to_string(i) + ", expected 0.." + std::to_string(input_ - 1));
    return into(std::move(out), [&](T* y) { stepper_.step_index(from.data(), y); });
  }

  // Draws N outcomes of each row and reads each at once. logits (B, V), where the first is drawn from, are
  // then those after the last; recent (B, R) is a ring, filled from `written` on. The caller has checked all
  // arrays.
  Output<int64_t> write(const DrawArguments& how, Changed<T> logits, Input<T> barred, Input<double> uniforms,
                        Changed<int64_t> recent, int64_t written) {
    const size_t count = uniforms.shape(0);
    const int64_t batch = shape_[0], ring = int64_t(recent.shape(1));
    const Draw draws = draw_of(how);
    Output<int64_t> drawn = new_array<int64_t>({count, size_t(batch)});
    bool found = true;
    {
      const Turn turn(taken_);
      const nb::gil_scoped_release released;
      for (size_t n = 0; n < count && found; ++n, ++written) {
        int64_t* chosen = drawn.data() + int64_t(n) * batch;
        found = draw<T>(draws, batch, input_, logits.data(), barred.data(), recent.data(), ring,
                        uniforms.data() + int64_t(n) * batch, chosen);
        if (!found) break;
        for (int64_t b = 0; b < batch; ++b) recent.data()[b * ring + written % ring] = chosen[b];
        stepper_.step_index(chosen, logits.data());
      }
    }
    if (!found) raise_no_numbers();
    return drawn;
  }

  std::vector<std::vector<Output<T>>> state() {
    const Turn turn(taken_);
    std::vector<std::vector<Output<T>>> arrays(hidden_.size());
    std::vector<T*> pointers(most_states * hidden_.size());
    for (size_t l = 0; l < arrays.size(); ++l)
      for (size_t k = 0; k < states_[l]; ++k) {
        arrays[l].push_back(new_array<T>({size_t(shape_[0]), hidden_[l]}));
        pointers[most_states * l + k] = arrays[l][k].data();
      }
    stepper_.get_state(reinterpret_cast<T* const(*)[most_states]>(pointers.data()));
    return arrays;
  }

  void set_state(const std::vector<std::vector<Input<T>>>& arrays) {
    const Turn turn(taken_);
    std::vector<const T*> pointers(most_states * hidden_.size());
    for (size_t l = 0; l < arrays.size(); ++l)
      for (size_t k = 0; k < arrays[l].size(); ++k) pointers[most_states * l + k] = arrays[l][k].data();
    stepper_.set_state(reinterpret_cast<const T* const(*)[most_states]>(pointers.data()));
  }

 private:
  // One caller at a time.
  class Turn {
   public:
    explicit Turn(std::atomic<bool>& taken) : taken_(taken) {
      if (taken.exchange(true))
        raise("KernelError", "this stepper is at work in another thread: give each its own");
    }
    ~Turn() { taken_.store(false); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    std::atomic<bool>& taken_;
  };

  static StackInputs<T> inputs_of(StackArguments<T>&& arguments, const Input<T>& packed, bool int8,
                                  int64_t batch) {
    StackInputs<T> inputs = arguments.inputs(nullptr, {}, std::nullopt);
    inputs.batch = batch;
    inputs.int8 = int8;
    inputs.packed = checked("weights", packed, stack_packed_size(inputs));
    return inputs;
  }

  template <class Step>
  nb::object into(nb::object out, Step step) {
    if (out.is_none()) out = new_output_();
    const Buffer<T> y("out", out, shape_, 2, true);
    const Turn turn(taken_);
    if (long_step_) {
      const nb::gil_scoped_release released;
      step(y.data());
    } else {
      step(y.data());
    }
    return out;
  }

  Input<T> packed_;
  Stepper<T> stepper_;
  std::vector<size_t> hidden_, states_;
  Py_ssize_t input_, shape_[2];  // I; B and H of the last layer
  bool long_step_;
  nb::object new_output_;
  std::atomic<bool> taken_{false};
};

template <class T>
void bind(nb::module_& module, const char* name) {
  nb::class_<BoundStepper<T>>(module, name)
      .def(nb::init<const std::vector<Layer<T>>&, Input<T>, bool, int64_t>())
      .def("step", &BoundStepper<T>::step, nb::arg("x"), nb::arg("out") = nb::none())
      .def("step_index", &BoundStepper<T>::step_index, nb::arg("index"), nb::arg("out") = nb::none())
      .def("write", &BoundStepper<T>::write)
      .def("state", &BoundStepper<T>::state)
      .def("set_state", &BoundStepper<T>::set_state);
}

}  // namespace

void bind_steppers(nb::module_& module) {
  module.def("draw_float32", bound_draw<float>, nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  module.def("draw_float64", bound_draw<double>, nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  bind<float>(module, "Stepper_float32");
  bind<double>(module, "Stepper_float64");
}

}  // namespace noria
