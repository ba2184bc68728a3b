// What every call needs: memory, the order of the batch's rows, and the threads that share the work.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "job.h"

namespace noria {

// Of the instruction set in use.
template <class T>
const Kernels<T>& kernels();

template <class T>
struct Scratch {
  explicit Scratch(int64_t count) : data(static_cast<T*>(allocate(count * int64_t(sizeof(T))))) {}
  ~Scratch() { release(data); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* const data;
};

template <class T>
int gates_of(const LayerInputs<T>& layer) {
  if (layer.cell == Cell::own) return layer.own->gates;
  return layer.cell == Cell::lstm ? 4 : layer.cell == Cell::gru ? 3 : 1;
}

// Sorts the rows by length and numbers their steps.
struct Plan {
  std::vector<int64_t> order, length, active, offset;

  Plan(int64_t batch, int64_t time, const int64_t* lengths) : order(size_t(batch)), offset(1, 0) {
    std::iota(order.begin(), order.end(), int64_t(0));
    if (lengths)
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
    for (int64_t row : order) length.push_back(lengths ? lengths[row] : time);
    const int64_t steps = length.empty() ? 0 : length[0];
    int64_t running = batch;
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
Sharing share_out(const StackInputs<T>& in, const Plan& plan) {
  double multiplications = 0, recurrent = 0;  // of one row's step
  for (int64_t l = 0; l < in.layer_count; ++l) {
    const LayerInputs<T>& layer = in.layers[l];
    const double neurons = double(gates_of(layer)) * double(layer.hidden);
    double depth = 0;
    for (int64_t b = 0; b < layer.block_count; ++b) depth += double(layer.blocks[b].size);
    multiplications += neurons * (double(layer.input) + std::max(depth, 1.0));
    recurrent += neurons * (std::max(depth, double(layer.hidden)) + (l ? double(layer.input) : 0.0));
  }
  const double all = double(plan.total()) * multiplications;
  const int wanted = int(std::min(double(thread_count()), all / multiplications_worth_a_thread));
  double meetings = 0;
  for (int64_t l = 0; l < in.layer_count; ++l) meetings += in.layers[l].weight_norm ? 2 : 1;
  const bool heavy_steps = double(in.batch) * recurrent >= meetings * multiplications_worth_a_meeting;
  if (in.batch < 2 * wanted && heavy_steps) return {wanted, true};
  return {std::max(1, int(std::min(int64_t(wanted), in.batch))), false};
}

// Completes the job with the plan.
template <class T, class SomeJob>
void describe(const StackInputs<T>& in, const Plan& plan, SomeJob& job) {
  job.x = in.x;
  job.batch = in.batch;
  job.time = in.time;
  job.reverse = in.reverse;
  job.layer_count = in.layer_count;
  job.steps = int64_t(plan.active.size());
  job.total = plan.total();
  job.order = plan.order.data();
  job.length = plan.length.data();
  job.active = plan.active.data();
  job.offset = plan.offset.data();
}

// The threads that share a job; they wait on its barrier.
template <class T, class SomeJob>
class TeamOf {
 public:
  TeamOf(const StackInputs<T>& in, const Plan& plan, SomeJob& job) : TeamOf(share_out(in, plan), plan, job) {}
  TeamOf(const TeamOf&) = delete;
  TeamOf& operator=(const TeamOf&) = delete;

  // Calls work(job, part) for every part at the same time.
  void run(void (*work)(const SomeJob&, int)) {
    const Call call{job_, work};
    team_.run(
        [](const void* argument, int part) {
          const FlushDenormals flush;
          const Call& the = *static_cast<const Call*>(argument);
          the.work(the.job, part);
        },
        &call);
  }

 private:
  struct Call {
    const SomeJob& job;
    void (*work)(const SomeJob&, int);
  };

  TeamOf(Sharing sharing, const Plan& plan, SomeJob& job)
      : job_(job), team_(sharing.parts), barrier_(team_.size()), all_{0, job.batch} {
    if (team_.size() > 1) shares_ = plan.shares(team_.size());
    job.parts = team_.size();
    job.barrier = &barrier_;
    job.by_neuron = sharing.by_neuron && team_.size() > 1;
    job.row_share = team_.size() > 1 ? shares_.data() : all_;
  }

  SomeJob& job_;
  Team team_;
  Barrier barrier_;
  const int64_t all_[2];
  std::vector<int64_t> shares_;
};

}  // namespace noria
