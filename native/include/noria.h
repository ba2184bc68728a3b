// The native core: recurrent scans over plain arrays.
//
// B batch, T time, I input, H hidden, G gates (LSTM 4: i, f, g, o; GRU 3: r, z, n; the others 1). Every array
// is dense and row-major; T in a template is float or double. Functions may be called from several threads
// at once; each uses at most thread_count() threads and returns when they are done. The outputs are the same
// bits for any number of threads.
#pragma once

#include <cstdint>
#include <memory>

namespace noria {

enum class Cell { lstm, gru, rnn_tanh, rnn_relu, linear, own };

// h, and what else a cell carries.
inline constexpr int most_states = 6;
inline constexpr int most_gates = 8;

// Of layer normalisation: what is added to a variance.
inline constexpr double norm_epsilon = 1e-5;

// A tile of an own cell's step: some rows, and some panels of W neurons each. Strides count elements; panels
// of states and parameters follow each other. The compiled code reads this by place: every field is 8 bytes.
template <class T>
struct OwnForward {
  int64_t rows, panels;
  T* gates;  // (rows, panels, kept, W): the pre-activations in the first slots; on return what is kept
  int64_t gates_row;
  const T* parameters;           // (panels, parameters, W)
  int64_t state_row;             // of before and after
  const T* before[most_states];  // (rows, panels, W)
  T* after[most_states];         // may be `before` itself
};

template <class T>
struct OwnBackward {
  int64_t rows, panels;
  const T* kept;  // (rows, panels, kept, W)
  int64_t kept_row;
  const T* parameters;
  const T* before[most_states];  // (rows, panels, W), each with strides of its own
  int64_t before_row[most_states], before_panel[most_states];
  T* d_state[most_states];  // (rows, panels, W): from after to before the step
  int64_t d_state_row;
  T* d_a;  // (rows, slots, panels, W)
  int64_t d_a_row, d_a_slot;
  T* d_parameters;  // (rows, parameters, panels, W)
  int64_t d_parameters_row, d_parameters_slot;
};

// A cell whose element-wise code comes from the caller, compiled for the instruction set in use.
template <class T>
struct OwnCell {
  int gates, slots, states, parameters;
  int kept;  // at least slots; the last of them are the new states but h, where they are kept
  int gate_of[2 * most_gates];  // of the slots: the first `gates` are the input's, the last `gates` h(t-1)'s
  void (*forward)(const OwnForward<T>&);
  void (*backward)(const OwnBackward<T>&);
};

// How h(t-1) reaches h(t): every neuron every neuron, each neuron itself alone, or not at all.
enum class Recurrence { dense, diagonal, none };

struct Sizes {
  int64_t batch, time, input, hidden;
};

template <class T>
struct ScanInputs {
  Cell cell;
  Recurrence recurrence;
  Sizes sizes;
  bool reverse;            // row b runs from step lengths[b] - 1 down to 0
  const T* x;              // (B, T, I)
  const T* weight_ih;      // (G * H, I)
  const T* weight_hh;      // (G * H, H), diagonal (G * H), none: null
  const T* bias_ih;        // (G * H)
  const T* bias_hh;        // (G * H)
  const T* state[2];       // (B, H) each: h, and c for the LSTM
  const int64_t* lengths;  // (B), each 0..T, or null: all T
  const T* mask;           // (B, H) or null: multiplies h(t-1) in the recurrent product only
  const T* packed;         // from pack(), which then stands for weights and biases in scan(); or null
  bool int8 = false;       // float only: pack weights, or has packed them, as integers with a scale a row
};

template <class T>
struct ScanOutputs {
  T* y;         // (B, T, H); 0 past a row's length
  T* state[2];  // (B, H) each
  T* saved;     // saved_size() elements, 64-byte aligned, for scan_backward; or null
};

template <class T>
struct ScanGradients {
  T* x;          // (B, T, I); 0 past a row's length
  T* weight_ih;  // as the inputs
  T* weight_hh;
  T* bias_ih;
  T* bias_hh;
  T* state[2];
};

template <class T>
int64_t saved_size(const ScanInputs<T>& inputs);

// Weights and biases in the order scan() reads them: packed_size() elements, 64-byte aligned. Of the inputs,
// cell, recurrence, the sizes I and H, weights, biases and int8 count.
template <class T>
int64_t packed_size(const ScanInputs<T>& inputs);
template <class T>
void pack(const ScanInputs<T>& inputs, T* packed);

template <class T>
void scan(const ScanInputs<T>& inputs, const ScanOutputs<T>& outputs);

// grad_y (B, T, H); grad_state (B, H) each; y and saved as scan() left them.
template <class T>
void scan_backward(const ScanInputs<T>& inputs, const T* y, const T* saved, const T* grad_y,
                   const T* const (&grad_state)[2], const ScanGradients<T>& gradients);

// R from layer `source` of a stack, K = `size` neurons, to the layer that has the block.
template <class T>
struct RecurrentBlock {
  int64_t source, size;
  Recurrence recurrence;  // dense; diagonal from the layer itself
  const T* weight;        // (G * H, K); diagonal (G * H)
};

template <class T>
struct LayerInputs {
  Cell cell;
  const OwnCell<T>* own;  // Cell::own: which
  int64_t input, hidden;  // above the first layer, I is H of the layer below
  bool carries_state;     // false: its own state is zero at every step
  const T* weight_ih;     // (G * H, I)
  const T* bias_ih;       // (G * H)
  const T* bias_hh;       // (G * H) or null: zeros
  const T* parameters;    // of an own cell: (P, H)
  // Null, or (slots, H): every pre-activation that the cell reads is normalised over the layer's neurons
  // before its biases are added, and multiplied by these. Slots: an LSTM's i, f, g, o; a GRU's a_n, r, z,
  // b_n.
  const T* weight_norm;
  int64_t block_count;
  const RecurrentBlock<T>* blocks;
  const T* state[most_states];  // (B, H) each: h, and c for the LSTM
  const T* recurrent_mask;      // (B, H) or null: multiplies h(t-1) in every recurrent product that reads it
  const T* input_mask;          // (B, I) or null: multiplies what the layer below hands up; null in the first
};

// Layers that advance together: at step t a layer reads h(t) of the layer below and h(t-1) of any.
template <class T>
struct StackInputs {
  int64_t batch, time;
  bool reverse;            // row b runs from step lengths[b] - 1 down to 0
  const T* x;              // (B, T, I of the first layer)
  const int64_t* lengths;  // (B), each 0..T, or null: all T
  int64_t layer_count;     // at least 1
  const LayerInputs<T>* layers;
  const T* packed;    // from stack_pack(), which then stands for weights and biases in stack_scan(); or null
  bool int8 = false;  // as above
};

template <class T>
struct LayerOutputs {
  T* y;  // (B, T, H); of the last layer 0 past a row's length; of another null, unless saved is kept
  T* state[most_states];  // (B, H) each
};

template <class T>
struct StackOutputs {
  const LayerOutputs<T>* layers;
  T* saved;  // stack_saved_size() elements, 64-byte aligned, for stack_scan_backward; or null
};

// What the way back of a layer starts from.
template <class T>
struct LayerResults {
  const T* y;                        // as stack_scan() left it
  const T* grad_state[most_states];  // (B, H) each
};

template <class T>
struct LayerGradients {
  T* weight_ih;  // as the inputs
  T* bias_ih;
  T* bias_hh;  // or null
  T* parameters;
  T* weight_norm;
  T* const* blocks;  // (block_count)
  T* state[most_states];
};

template <class T>
struct StackGradients {
  T* x;  // 0 past a row's length
  const LayerGradients<T>* layers;
};

template <class T>
int64_t stack_saved_size(const StackInputs<T>& inputs);
template <class T>
int64_t stack_packed_size(const StackInputs<T>& inputs);
template <class T>
void stack_pack(const StackInputs<T>& inputs, T* packed);
template <class T>
void stack_scan(const StackInputs<T>& inputs, const StackOutputs<T>& outputs);

// grad_y (B, T, H of the last layer); saved as stack_scan() left it.
template <class T>
void stack_scan_backward(const StackInputs<T>& inputs, const LayerResults<T>* results, const T* saved,
                         const T* grad_y, const StackGradients<T>& gradients);

// B streams that advance together, a step a call; no step allocates. One thread at a time may use it.
template <class T>
class Stepper {
 public:
  // Of the inputs, batch, layers and packed count, which must outlive the stepper; no masks. The states start
  // at zero.
  explicit Stepper(const StackInputs<T>& inputs);
  ~Stepper();
  Stepper(Stepper&&) noexcept;
  Stepper& operator=(Stepper&&) noexcept;

  // x (B, I) → y (B, H of the last layer).
  void step(const T* x, T* y);
  // The same bits as with x of zeros and, in row b, a one at index[b], 0..I-1; reads one column of W.
  void step_index(const int64_t* index, T* y);

  // For every layer (B, H) each: h, and c for the LSTM.
  void set_state(const T* const (*state)[most_states]);
  void get_state(T* const (*state)[most_states]);

 private:
  struct Everything;
  std::unique_ptr<Everything> all_;
};

// y (rows, outputs) = x (rows, inputs) · weight (outputs, inputs)ᵀ + bias (outputs) or null.
template <class T>
void linear(int64_t rows, int64_t inputs, int64_t outputs, const T* x, const T* weight, const T* bias, T* y);

template <class T>
void sigmoid(int64_t count, const T* x, T* y);
template <class T>
void tanh(int64_t count, const T* x, T* y);

// The instruction set in use: "avx512", "avx2" or "baseline". NORIA_ISA, read once, forces a lower one.
const char* instruction_set();

// From NORIA_NUM_THREADS, else the number of cores this process may use.
int thread_count();
void set_thread_count(int count);

// Cache-line aligned memory; throws std::bad_alloc.
void* allocate(int64_t bytes);
void release(void* memory);

}  // namespace noria
