#include <utility>

#include "plan.h"

namespace noria {

// Between the calls the states are where a step leaves them: on side 1.
template <class T>
struct Stepper<T>::Everything {
  StackInputs<T> in;
  std::vector<std::vector<RecurrentBlock<T>>> blocks;
  std::vector<LayerInputs<T>> given;
  std::vector<OwnCell<T>> own;
  std::vector<ForwardLayer<T>> layers;
  const Plan plan;
  ForwardJob<T> job{};
  std::unique_ptr<Scratch<T>> scratch;

  explicit Everything(const StackInputs<T>& inputs)
      : in(inputs),
        given(inputs.layers, inputs.layers + inputs.layer_count),
        layers(given.size()),
        plan(inputs.batch, 1, nullptr) {
    in.time = 1;
    in.reverse = false;
    in.lengths = nullptr;
    in.layers = given.data();
    blocks.reserve(given.size());
    own.reserve(given.size());
    for (size_t l = 0; l < given.size(); ++l) {
      LayerInputs<T>& layer = given[l];
      blocks.emplace_back(layer.blocks, layer.blocks + layer.block_count);
      layer.blocks = blocks.back().data();
      if (layer.own) layer.own = &own.emplace_back(*layer.own);
      std::fill(std::begin(layer.state), std::end(layer.state), nullptr);
      layers[l].in = layer;
    }
    job.layers = layers.data();
    job.packed = in.packed;
    job.int8 = in.int8;
    describe(in, plan, job);
    scratch = std::make_unique<Scratch<T>>(kernels<T>().layout_forward(job, nullptr));
    kernels<T>().layout_forward(job, scratch->data);
    start();
  }

  void run(void (*work)(const ForwardJob<T>&, int)) { TeamOf<T, ForwardJob<T>>(in, plan, job).run(work); }

  void turn_sides() {
    for (ForwardLayer<T>& layer : layers) {
      std::swap(layer.h[0], layer.h[1]);
      std::swap(layer.masked[0], layer.masked[1]);
    }
  }

  void start() {
    run(kernels<T>().start_forward);
    turn_sides();
  }

  void step(const T* x, const int64_t* index, T* y) {
    job.x = x;
    job.index = index;
    layers.back().out.y = y;
    turn_sides();
    run(kernels<T>().run_forward);
  }
};

template <class T>
Stepper<T>::Stepper(const StackInputs<T>& inputs) : all_(std::make_unique<Everything>(inputs)) {}
template <class T>
Stepper<T>::~Stepper() = default;
template <class T>
Stepper<T>::Stepper(Stepper&&) noexcept = default;
template <class T>
Stepper<T>& Stepper<T>::operator=(Stepper&&) noexcept = default;

template <class T>
void Stepper<T>::step(const T* x, T* y) {
  all_->step(x, nullptr, y);
}

template <class T>
void Stepper<T>::step_index(const int64_t* index, T* y) {
  all_->step(nullptr, index, y);
}

template <class T>
void Stepper<T>::set_state(const T* const (*state)[most_states]) {
  for (size_t l = 0; l < all_->layers.size(); ++l)
    std::copy(state[l], state[l] + most_states, all_->layers[l].in.state);
  all_->start();
}

template <class T>
void Stepper<T>::get_state(T* const (*state)[most_states]) {
  for (size_t l = 0; l < all_->layers.size(); ++l)
    std::copy(state[l], state[l] + most_states, all_->layers[l].out.state);
  all_->run(kernels<T>().finish_forward);
}

template class Stepper<float>;
template class Stepper<double>;

}  // namespace noria
