// What one call works on, for the code of every target. The rows of a batch are sorted by length, longest
// first, so that those still running at step t are the first active[t]; the steps of all rows, without
// their padding, are numbered offset[t] + row.
#pragma once

#include "noria.h"
#include "threads.h"

namespace noria {

// Hands out pieces of one block of memory; with a null block it only counts.
template <class T>
class Arena {
 public:
  explicit Arena(T* block) : block_(block) {}
  T* take(int64_t count) {
    T* piece = block_ ? block_ + used_ : nullptr;
    constexpr int64_t line = 64 / sizeof(T);
    used_ += (count + line - 1) / line * line;
    return piece;
  }
  int64_t used() const { return used_; }

 private:
  T* block_;
  int64_t used_ = 0;
};

struct Job {
  int64_t batch, time;
  bool reverse;

  int64_t steps;          // of the longest row
  int64_t total;          // of all rows
  const int64_t* order;   // row of the caller's batch
  const int64_t* length;  // sorted, descending
  const int64_t* active;  // (steps)
  const int64_t* offset;  // (steps + 1)

  int parts;
  Barrier* barrier;
  bool by_neuron;            // parts share the neurons, else the rows
  const int64_t* row_share;  // (parts + 1), when they share the rows

  int64_t layer_count;

  // Index in the caller's arrays of step t of sorted row s.
  int64_t at(int64_t s, int64_t t) const { return order[s] * time + (reverse ? length[s] - 1 - t : t); }
};

// N neurons are padded to whole vectors: Hp; their panels are Hp / W.
template <class T>
struct ForwardLayer {
  LayerInputs<T> in;
  LayerOutputs<T> out;
  T* saved;             // (total, panels, kept, W), then `sums` and `statistics` of all steps; or null
  T* packed;            // what the next four point into, unless the caller has packed
  const T* packed_ih;   // (panels, I, G, W); int8 weights: then the scales, (panels, G, W)
  const T* packed_hh;   // the same block after block: (panels, K, G, W); diagonal: (panels, G, W)
  const T* diagonal;    // among those, or null
  const T* bias;        // (panels, slots, W); zeros with a norm, which adds it
  const T* norm;        // gains and biases (panels, slots, 2, W); or null
  const T* parameters;  // of an own cell: (panels, P, W)
  T* h[2];              // (B, Hp) before and after the step, in turns
  T* masked[2];         // the same times the recurrent mask; without a mask, h itself
  T* mask;              // (B, Hp)
  T* handed_up;         // (B, Hp) h after the step times the mask of the layer above; without a mask, null
  T* up_mask;           // (B, Hp)
  T* c;                 // (states - 1, B, Hp)
  T* zeros;             // (B, Hp) for an own cell that carries no state, else null
  T* gates;             // (block in the first layer, else B; panels, kept, W), unless saved; with a norm B
  T* sums;              // with a norm: (block in the first layer, else B; panels, slots, W), unless saved
  T* statistics;        // of those: (B, slots, 2), unless saved
};

template <class T>
struct ForwardJob : Job {
  const T* x;
  const int64_t* index;  // (B, T) instead of x, which is then 1 at this place and 0 elsewhere; or null
  ForwardLayer<T>* layers;
  const T* packed;     // by the caller, or null
  bool int8;           // its weights are
  int64_t block_rows;  // input products are made for blocks of about so many rows
  T* x_rows;           // (block, I)
};

template <class T>
struct BackwardLayer {
  LayerInputs<T> in;
  const T* y;
  const T* saved;        // (total, panels, kept, W)
  const T* before_norm;  // with a norm, after it: (total, panels, slots, W)
  const T* statistics;   // after those: (total, slots, 2)
  const T* grad_y;       // of the last layer, else null
  const T* grad_state[most_states];
  LayerGradients<T> out;
  bool any_dense;           // among its blocks
  T* packed_ih;             // (input panels, G * Hp, W)
  T* packed_hh;             // block after block: (source panels, G * Hp, W); diagonal: (panels, G, W)
  const T* diagonal;        // among those, or null
  T* inputs;                // times the mask: (input panels, N, W)
  T* before;                // h(t-1): (panels, N, W)
  T* operand;               // the same times the mask; without a mask, `before` itself
  T* mask;                  // (B, Hp)
  T* input_mask;            // (B, Ip)
  T* d_state[most_states];  // (B, Hp)
  T* product;               // (B, Hp), when a mask stands between this layer and who reads it
  T* d_a;                   // (N, slots, Hp)
  T* norm;                  // gains and biases (panels, slots, 2, W); or null
  T* d_norm;                // gradients of what a norm gives: (N, slots, Hp); without a norm, d_a itself
  // Of an own cell: parameters (panels, P, W), their gradients (N, P, Hp), its first states and zeros (B,
  // Hp).
  T *parameters, *d_parameters, *first_states[most_states], *zeros;
  T* sums;  // gradients of weights and biases so far, for every strip; with one block, for every part
};

template <class T>
struct BackwardJob : Job {
  const T* x;
  T* d_x;
  BackwardLayer<T>* layers;
  int64_t block_rows;  // the way back is made in blocks of about so many steps of all rows
  int64_t room_rows;   // and of this many at most: N above
  bool one_block;
  T* room;  // each part's own
  int64_t part_room;
};

// The code of one target.
template <class T>
struct Kernels {
  const char* name;
  int64_t (*saved_row)(const LayerInputs<T>& inputs);
  int64_t (*packed_size)(const LayerInputs<T>& inputs, bool int8);
  void (*pack)(const LayerInputs<T>& inputs, bool int8, T* packed);
  int64_t (*layout_forward)(ForwardJob<T>& job, T* block);
  void (*start_forward)(const ForwardJob<T>& job, int part);   // packs, unless packed; reads the states
  void (*run_forward)(const ForwardJob<T>& job, int part);     // all steps
  void (*finish_forward)(const ForwardJob<T>& job, int part);  // hands the states over
  int64_t (*layout_backward)(BackwardJob<T>& job, T* block);
  void (*backward)(const BackwardJob<T>& job, int part);
  int64_t (*linear_room)(int64_t inputs, int64_t outputs);
  void (*linear)(int64_t rows, int64_t inputs, int64_t outputs, const T* x, const T* weight, const T* bias,
                 T* y, T* room);
  void (*sigmoid)(int64_t count, const T* x, T* y);
  void (*tanh)(int64_t count, const T* x, T* y);
};

}  // namespace noria
