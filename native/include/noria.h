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

enum class Cell { lstm, gru, rnn_tanh, rnn_relu, linear };

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
  int64_t input, hidden;  // above the first layer, I is H of the layer below
  bool carries_state;     // false: its own state is zero at every step
  const T* weight_ih;     // (G * H, I)
  const T* bias_ih;       // (G * H)
  const T* bias_hh;       // (G * H) or null: zeros
  int64_t block_count;
  const RecurrentBlock<T>* blocks;
  const T* state[2];        // (B, H) each: h, and c for the LSTM
  const T* recurrent_mask;  // (B, H) or null: multiplies h(t-1) in every recurrent product that reads it
  const T* input_mask;      // (B, I) or null: multiplies what the layer below hands up; null in the first
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
  T* y;         // (B, T, H); of the last layer 0 past a row's length; of another null, unless saved is kept
  T* state[2];  // (B, H) each
};

template <class T>
struct StackOutputs {
  const LayerOutputs<T>* layers;
  T* saved;  // stack_saved_size() elements, 64-byte aligned, for stack_scan_backward; or null
};

// What the way back of a layer starts from.
template <class T>
struct LayerResults {
  const T* y;              // as stack_scan() left it
  const T* grad_state[2];  // (B, H) each
};

template <class T>
struct LayerGradients {
  T* weight_ih;  // as the inputs
  T* bias_ih;
  T* bias_hh;        // or null
  T* const* blocks;  // (block_count)
  T* state[2];
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
  void set_state(const T* const (*state)[2]);
  void get_state(T* const (*state)[2]);

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
