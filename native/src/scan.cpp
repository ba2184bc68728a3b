#include "scan.h"

#include "targets.h"

namespace noria::NORIA_TARGET {
namespace {

constexpr int64_t block_bytes = 512 * 1024;  // half of a usual L2 cache
constexpr int64_t least_block_rows = 96;
constexpr int64_t enough_rows = 16;  // of a step, on average and of each part
constexpr int most_joined = 4;
constexpr int64_t rows_at_once = 36;  // whose gates stay in the L1 cache from their product to their use

// Where a layer's weights and biases lie once packed.
template <class T>
struct Packed {
  T *ih, *hh, *bias, *parameters;
  int64_t size;
};

// Elements of T that packed weights take, scales and all.
template <class T, class Weight>
NORIA_INLINE int64_t packed_weights(int gates, int64_t hidden, int64_t depth) {
  const int64_t rows = panels_of<T>(hidden) * gates * width<T>;
  if constexpr (std::is_same_v<T, Weight>) return rows * depth;
  return rows * stored_depth<Weight>(depth) * int64_t(sizeof(Weight)) / int64_t(sizeof(T)) + rows;
}

template <class T, class Weight>
NORIA_INLINE int64_t packed_block(int gates, int64_t hidden, const RecurrentBlock<T>& block) {
  if (block.recurrence == Recurrence::dense) return packed_weights<T, Weight>(gates, hidden, block.size);
  return panels_of<T>(hidden) * gates * width<T>;
}

template <class T, class CellType, class Weight>
Packed<T> place(const LayerInputs<T>& in, T* block) {
  constexpr int W = width<T>;
  const CellType cell = cell_of<CellType>(in);
  const int64_t panels = panels_of<T>(in.hidden);
  int64_t blocks = 0;
  for (int64_t b = 0; b < in.block_count; ++b)
    blocks += packed_block<T, Weight>(cell.gates, in.hidden, in.blocks[b]);
  Arena<T> arena(block);
  T* ih = arena.take(packed_weights<T, Weight>(cell.gates, in.hidden, in.input));
  T* hh = arena.take(blocks);
  T* bias = arena.take(panels * cell.slots * W);
  T* parameters = arena.take(panels * parameters_of(in) * W);
  return {ih, hh, bias, parameters, arena.used()};
}

// Their scales, after them.
template <class T, class Weight>
NORIA_INLINE T* scales(T* packed, int64_t weights) {
  return packed + weights * int64_t(sizeof(Weight)) / int64_t(sizeof(T));
}

template <class T, class Weight>
void pack_weights(int G, const T* weight, int64_t hidden, int64_t depth, const int* gate_of, Range panels,
                  T* to) {
  if constexpr (std::is_same_v<T, Weight>) {
    pack_gates(weight, hidden, depth, G, gate_of, panels.first, panels.last, to);
  } else {
    T* scale = scales<T, Weight>(to, panels_of<T>(hidden) * stored_depth<Weight>(depth) * G * width<T>);
    pack_gates(weight, hidden, depth, G, gate_of, panels.first, panels.last, (Weight*)to, scale);
  }
}

template <class T, class CellType, class Weight>
void pack_panels(const LayerInputs<T>& in, Range panels, T* to) {
  constexpr int W = width<T>;
  const CellType cell = cell_of<CellType>(in);
  const int G = cell.gates, S = cell.slots;
  const int64_t hidden = in.hidden;
  const int* input_gates = cell.gate_of;
  const int* state_gates = cell.gate_of + (S - G);
  const Packed<T> packed = place<T, CellType, Weight>(in, to);
  pack_weights<T, Weight>(G, in.weight_ih, hidden, in.input, input_gates, panels, packed.ih);
  T* hh = packed.hh;
  for (int64_t b = 0; b < in.block_count; ++b) {
    const RecurrentBlock<T>& block = in.blocks[b];
    if (block.recurrence == Recurrence::dense)
      pack_weights<T, Weight>(G, block.weight, hidden, block.size, state_gates, panels, hh);
    else
      pack_diagonal(cell, block.weight, hidden, panels, hh);
    hh += packed_block<T, Weight>(G, hidden, block);
  }
  pack_parameters(in, panels, packed.parameters);
  for (int64_t panel = panels.first; panel < panels.last; ++panel)
    for (int s = 0; s < S; ++s) {
      const int64_t j = panel * W, from = cell.gate_of[s] * hidden + j;
      Vector<T> bias = {};
      if (s < G) bias = bias + load_some(in.bias_ih + from, hidden - j);
      if (s >= S - G && in.bias_hh) bias = bias + load_some(in.bias_hh + from, hidden - j);
      store(packed.bias + (panel * S + s) * W, bias);
    }
}

// gates[row] = bias + column index[row] of W_ih: the bits of the product with an x of zeros and a one.
template <class T, class CellType, class Weight>
void select_input(const ForwardJob<T>& job, int64_t first, int64_t last, Range rows, T* gates) {
  constexpr int W = width<T>;
  const ForwardLayer<T>& layer = job.layers[0];
  const CellType cell = cell_of<CellType>(layer.in);
  const int G = cell.gates, S = cell.slots, K = cell.kept;
  const int64_t panels = panels_of<T>(layer.in.hidden), input = layer.in.input;
  const Weight* weights = (const Weight*)layer.packed_ih;
  const T* scale = scales<const T, Weight>(layer.packed_ih, panels * stored_depth<Weight>(input) * G * W);
  for (int64_t t = first; t < last; ++t)
    for (int64_t s = 0; s < job.active[t]; ++s) {
      const int64_t row = job.offset[t] - job.offset[first] + s;
      if (row < rows.first || row >= rows.last) continue;
      for (int64_t panel = 0; panel < panels; ++panel) {
        const int64_t k = job.index[job.at(s, t)];
        const Weight* own = weights + panel * stored_depth<Weight>(input) * G * W;
        for (int slot = 0; slot < S; ++slot) {
          Vector<T> sum = load(layer.bias + (panel * S + slot) * W);
          if (slot < G) {
            if constexpr (std::is_same_v<T, Weight>) {
              sum = sum + load(own + in_panel(G, input, k, slot) * W);
            } else {
              Vector<T> weight;
              for (int i = 0; i < W; ++i) weight[i] = own[((k / 2 * G + slot) * W + i) * 2 + k % 2];
              sum = fma(load(scale + (panel * G + slot) * W), weight, sum);
            }
          }
          store(gates + ((row * panels + panel) * K + slot) * W, sum);
        }
      }
    }
}

// gates[row] = bias + W_ih · x[row] for the steps [first, last) of the block, which parts share evenly.
template <class T, class CellType, class Weight>
void multiply_input(const ForwardJob<T>& job, int64_t first, int64_t last, int part, T* gates) {
  constexpr int W = width<T>;
  const ForwardLayer<T>& layer = job.layers[0];
  const CellType cell = cell_of<CellType>(layer.in);
  const int G = cell.gates, S = cell.slots, K = cell.kept;
  const int64_t input = layer.in.input, panels = panels_of<T>(layer.in.hidden);
  const int64_t block_first = job.offset[first];
  const Range rows = share(job.offset[last] - block_first, part, job.parts);
  if (job.index) return select_input<T, CellType, Weight>(job, first, last, rows, gates);
  for (int64_t t = first; t < last; ++t) {
    const int64_t start = job.offset[t] - block_first;
    for (int64_t s = 0; s < job.active[t]; ++s)
      if (start + s >= rows.first && start + s < rows.last)
        memcpy(job.x_rows + (start + s) * input, job.x + job.at(s, t) * input, size_t(input) * sizeof(T));
  }
  const Product<T, Weight> product = {
      .depth = input,
      .a = job.x_rows + rows.first * input,
      .a_row = input,
      .w = (const Weight*)layer.packed_ih,
      .w_panel = stored_depth<Weight>(input) * G * W,
      .start = layer.bias,
      .start_row = 0,
      .start_panel = S * W,
      .c = gates + rows.first * panels * K * W,
      .c_row = panels * K * W,
      .c_panel = K * W,
      .scale = scales<const T, Weight>(layer.packed_ih, panels * stored_depth<Weight>(input) * G * W)};
  with_gates(cell, [&]<int all>() { multiply<T, all>(product, rows.last - rows.first, 0, panels); });
  for (int s = G; s < S; ++s)
    for (int64_t row = rows.first; row < rows.last; ++row)
      for (int64_t panel = 0; panel < panels; ++panel)
        store(gates + ((row * panels + panel) * K + s) * W, load(layer.bias + (panel * S + s) * W));
}

// Whether the first layer's input product waits for its step, as it must in the layers above. Then gates need
// not travel to memory and back; with few rows, a product over many steps is the better one.
template <class T>
NORIA_INLINE bool input_by_step(const ForwardJob<T>& job) {
  return !job.int8 && !job.index && !job.by_neuron && job.total >= enough_rows * job.steps * job.parts;
}

// The rows of x at step t.
template <class T>
void gather_x(const ForwardJob<T>& job, int64_t t, Range rows) {
  const int64_t input = job.layers[0].in.input, count = running(job, rows, t);
  for (int64_t s = rows.first; s < rows.first + count; ++s)
    memcpy(job.x_rows + s * input, job.x + job.at(s, t) * input, size_t(input) * sizeof(T));
}

// gates[row] = bias + W_ih · what the layer reads at this step.
template <class T, class CellType, class Weight>
NORIA_INLINE Product<T, Weight> input_product(const ForwardJob<T>& job, int64_t index, int after_side,
                                              int64_t first_row, T* gates) {
  constexpr int W = width<T>;
  const ForwardLayer<T>& layer = job.layers[index];
  const CellType cell = cell_of<CellType>(layer.in);
  const int G = cell.gates, S = cell.slots, K = cell.kept;
  const int64_t input = layer.in.input, panels = panels_of<T>(layer.in.hidden);
  const int64_t row = index ? panels_of<T>(input) * W : input;
  const T* from = job.x_rows;
  if (index) {
    const ForwardLayer<T>& below = job.layers[index - 1];
    from = below.handed_up ? below.handed_up : below.h[after_side];
  }
  return {.depth = input,
          .a = from + first_row * row,
          .a_row = row,
          .w = (const Weight*)layer.packed_ih,
          .w_panel = stored_depth<Weight>(input) * G * W,
          .start = layer.bias,
          .start_row = 0,
          .start_panel = S * W,
          .c = gates,
          .c_row = panels * K * W,
          .c_panel = K * W,
          .scale = scales<const T, Weight>(layer.packed_ih, panels * stored_depth<Weight>(input) * G * W)};
}

// gates[row] += R · h(t-1) of a source.
template <class T, class CellType, class Weight>
NORIA_INLINE Product<T, Weight> block_product(const ForwardLayer<T>& layer, const T* packed, int64_t size,
                                              const T* operand, int64_t first_row, T* gates) {
  constexpr int W = width<T>;
  const CellType cell = cell_of<CellType>(layer.in);
  const int G = cell.gates, S = cell.slots, K = cell.kept;
  const int64_t panels = panels_of<T>(layer.in.hidden), padded = panels_of<T>(size) * W;
  T* state_gates = gates + (S - G) * W;
  return {.depth = size,
          .a = operand + first_row * padded,
          .a_row = padded,
          .w = (const Weight*)packed,
          .w_panel = stored_depth<Weight>(size) * G * W,
          .start = state_gates,
          .start_row = panels * K * W,
          .start_panel = K * W,
          .c = state_gates,
          .c_row = panels * K * W,
          .c_panel = K * W,
          .scale = scales<const T, Weight>(packed, panels * stored_depth<Weight>(size) * G * W)};
}

// The products of some panels at step t. Where input and state feed the same slots, their sums are one.
template <class T, class CellType, class Weight>
void multiply_step(const ForwardJob<T>& job, int64_t index, int64_t t, Range rows, Range some, T* gates) {
  constexpr int W = width<T>;
  const ForwardLayer<T>& layer = job.layers[index];
  const CellType cell = cell_of<CellType>(layer.in);
  const int G = cell.gates, S = cell.slots, K = cell.kept;
  const int64_t panels = panels_of<T>(layer.in.hidden), count = rows.last - rows.first;
  const int before_side = t & 1, after_side = ~t & 1;
  Product<T, Weight> joined[most_joined];
  int length = 0;
  const auto multiply_joined = [&] {
    if (length)
      with_gates(cell, [&]<int all>() { multiply<T, all>(joined[0], count, some.first, some.last); });
    length = 0;
  };
  const auto join = [&](const Product<T, Weight>& product) {
    if (length == most_joined || S != G || !std::is_same_v<T, Weight>) multiply_joined();
    joined[length] = product;
    if (length) joined[length - 1].next = &joined[length];
    ++length;
  };
  if (index > 0 || input_by_step(job)) {
    join(input_product<T, CellType, Weight>(job, index, after_side, rows.first, gates));
    for (int s = G; s < S; ++s)
      for (int64_t i = 0; i < count; ++i)
        for (int64_t p = some.first; p < some.last; ++p)
          store(gates + ((i * panels + p) * K + s) * W, load(layer.bias + (p * S + s) * W));
  }
  const T* packed_hh = layer.packed_hh;
  for (int64_t b = 0; b < layer.in.block_count; ++b) {
    const RecurrentBlock<T>& block = layer.in.blocks[b];
    if (block.recurrence == Recurrence::dense)
      join(block_product<T, CellType, Weight>(
          layer, packed_hh, block.size, job.layers[block.source].masked[before_side], rows.first, gates));
    packed_hh += packed_block<T, Weight>(G, layer.in.hidden, block);
  }
  multiply_joined();
}

// The element-wise part of an own cell's step, for some panels of the running rows.
template <class T>
void step_own(const ForwardJob<T>& job, const ForwardLayer<T>& layer, int64_t t, Range rows, Range own,
              T* gates) {
  constexpr int W = width<T>;
  const Own<T> cell = cell_of<Own<T>>(layer.in);
  const int G = cell.gates, S = cell.slots, K = cell.kept;
  const int64_t hidden = layer.in.hidden, panels = panels_of<T>(hidden), padded = panels * W;
  const int64_t first = rows.first * padded + own.first * W;
  const int before_side = t & 1, after_side = ~t & 1;
  if (layer.diagonal)
    for (int64_t s = rows.first; s < rows.last; ++s)
      for (int64_t p = own.first; p < own.last; ++p) {
        const Vector<T> h = load(layer.masked[before_side] + s * padded + p * W);
        T* gate = gates + (((s - rows.first) * panels + p) * K + S - G) * W;
        for (int g = 0; g < G; ++g)
          store(gate + g * W, fma(load(layer.diagonal + (p * G + g) * W), h, load(gate + g * W)));
      }
  OwnForward<T> tile{.rows = rows.last - rows.first,
                     .panels = own.last - own.first,
                     .gates = gates + own.first * K * W,
                     .gates_row = panels * K * W,
                     .parameters = layer.parameters + own.first * cell.code.parameters * W,
                     .state_row = padded,
                     .before = {layer.h[before_side] + first},
                     .after = {layer.h[after_side] + first}};
  for (int k = 1; k < cell.states; ++k)
    tile.before[k] = tile.after[k] = layer.c + (k - 1) * job.batch * padded + first;
  for (int k = 0; layer.zeros && k < cell.states; ++k) tile.before[k] = layer.zeros + first;
  cell.code.forward(tile);
  for (int64_t s = rows.first; s < rows.last; ++s) {
    T* y = layer.out.y ? layer.out.y + job.at(s, t) * hidden : nullptr;
    for (int64_t p = own.first; p < own.last; ++p) {
      const int64_t j = s * padded + p * W;
      const Vector<T> h = load(layer.h[after_side] + j);
      if (layer.mask) store(layer.masked[after_side] + j, h * load(layer.mask + j));
      if (layer.up_mask) store(layer.handed_up + j, h * load(layer.up_mask + j));
      if (y) store_some(y + p * W, h, hidden - p * W);
    }
  }
}

// The same for a built-in cell.
template <class T, class CellType>
void step_cell(const ForwardLayer<T>& given, int64_t t, Range rows, Range own, T* gates) {
  const ForwardLayer<T> layer = given;  // a copy, which what is stored cannot change: it stays in registers
  constexpr int W = width<T>, G = CellType::gates, S = CellType::slots, K = CellType::kept;
  const int64_t panels = panels_of<T>(layer.in.hidden), padded = panels * W;
  const int before_side = t & 1, after_side = ~t & 1;
  if (layer.diagonal)
    for (int64_t s = rows.first; s < rows.last; ++s)
      for (int64_t p = own.first; p < own.last; ++p) {
        const Vector<T> h = load(layer.masked[before_side] + s * padded + p * W);
        T* gate = gates + (((s - rows.first) * panels + p) * K + S - G) * W;
        for (int g = 0; g < G; ++g)
          store(gate + g * W, fma(load(layer.diagonal + (p * G + g) * W), h, load(gate + g * W)));
      }
  // The gates of all these rows first: tanh(c') waits for them, and meanwhile others can be computed.
  if (CellType::activates)
    for (int64_t i = 0; i < rows.last - rows.first; ++i)
      for (int64_t p = own.first; p < own.last; ++p) {
        T* gate = gates + (i * panels + p) * K * W;
        Vector<T> a[K];
        for (int g = 0; g < S; ++g) a[g] = load(gate + g * W);
        CellType::activate(a);
        for (int g = 0; g < S; ++g) store(gate + g * W, a[g]);
      }
  for (int64_t s = rows.first; s < rows.last; ++s)
    for (int64_t p = own.first; p < own.last; ++p) {
      T* gate = gates + ((s - rows.first) * panels + p) * K * W;
      const int64_t j = s * padded + p * W;
      Vector<T> a[K];
      for (int g = 0; g < S; ++g) a[g] = load(gate + g * W);
      Vector<T> before[CellType::states] = {}, after[CellType::states];
      if (layer.in.carries_state) {
        before[0] = load(layer.h[before_side] + j);
        if constexpr (CellType::states > 1) before[1] = load(layer.c + j);
      }
      CellType::forward(a, before, after);
      store(layer.h[after_side] + j, after[0]);
      if constexpr (CellType::states > 1) store(layer.c + j, after[1]);
      if (layer.mask) store(layer.masked[after_side] + j, after[0] * load(layer.mask + j));
      if (layer.up_mask) store(layer.handed_up + j, after[0] * load(layer.up_mask + j));
      if (layer.saved)
        for (int g : CellType::computed) store(gate + g * W, a[g]);
    }
}

template <class T, class CellType, class Weight>
void step(const ForwardJob<T>& job, int64_t index, int64_t t, Range rows, Range own, T* gates) {
  constexpr int W = width<T>;
  const ForwardLayer<T>& layer = job.layers[index];
  const CellType cell = cell_of<CellType>(layer.in);
  const int64_t hidden = layer.in.hidden, panels = panels_of<T>(hidden), padded = panels * W;
  const int64_t count = running(job, rows, t);
  if (count == 0 || own.first == own.last) return;
  // Two panels at least, whose states share cache lines, and enough vectors of neurons to hide the latency of
  // their functions. Weights of eight bits: all, since each call rounds the inputs.
  int64_t at_once = own.last - own.first;
  if constexpr (std::is_same_v<T, Weight>)
    at_once = with_gates(cell, [&]<int all>() { return panels_at_once<all>(count); });
  while (at_once < 2 || at_once * count < 16) at_once *= 2;
  const int64_t parts = (count + rows_at_once - 1) / rows_at_once;
  for (int64_t panel = own.first; panel < own.last; panel += at_once) {
    const Range some = {panel, panel + at_once < own.last ? panel + at_once : own.last};
    for (int64_t part = 0; part < parts; ++part) {
      const auto [first, last] = share(count, int(part), int(parts));
      const Range these = {rows.first + first, rows.first + last};
      T* own_gates = gates + first * panels * cell.kept * W;
      multiply_step<T, CellType, Weight>(job, index, t, these, some, own_gates);
      if constexpr (built_in<CellType>)
        step_cell<T, CellType>(layer, t, these, some, own_gates);
      else
        step_own(job, layer, t, these, some, own_gates);
    }
  }
  if (!built_in<CellType> || !layer.out.y) return;
  const int64_t j = own.first * W, end = own.last * W < hidden ? own.last * W : hidden;
  for (int64_t s = rows.first; s < rows.first + count; ++s)
    memcpy(layer.out.y + job.at(s, t) * hidden + j, layer.h[~t & 1] + s * padded + j,
           size_t(end - j) * sizeof(T));
}

template <class T, class CellType, class Weight>
void start(const ForwardJob<T>& job, int64_t index, int part) {
  constexpr int W = width<T>;
  const ForwardLayer<T>& layer = job.layers[index];
  const int64_t hidden = layer.in.hidden, panels = panels_of<T>(hidden), padded = panels * W;
  const Range rows = rows_of(job, part), own = panels_of<T>(job, hidden, part);
  if (layer.packed) pack_panels<T, CellType, Weight>(layer.in, share(panels, part, job.parts), layer.packed);
  gather(job, layer.in.state[0], hidden, rows, own, layer.h[0]);
  for (int k = 1; k < cell_of<CellType>(layer.in).states; ++k)
    gather(job, layer.in.state[k], hidden, rows, own, layer.c + (k - 1) * job.batch * padded);
  if (layer.zeros) gather(job, static_cast<const T*>(nullptr), hidden, rows, own, layer.zeros);
  if (layer.up_mask) gather(job, job.layers[index + 1].in.input_mask, hidden, rows, own, layer.up_mask);
  if (!layer.mask) return;
  gather(job, layer.in.recurrent_mask, hidden, rows, own, layer.mask);
  for (int64_t s = rows.first; s < rows.last; ++s)
    for (int64_t j = s * padded + own.first * W; j < s * padded + own.last * W; j += W)
      store(layer.masked[0] + j, load(layer.h[0] + j) * load(layer.mask + j));
}

template <class T, class CellType>
void hand_over_states(const ForwardJob<T>& job, int64_t index, int part) {
  constexpr int W = width<T>;
  const ForwardLayer<T>& layer = job.layers[index];
  const int64_t hidden = layer.in.hidden, padded = panels_of<T>(hidden) * W;
  const Range rows = rows_of(job, part), own = panels_of<T>(job, hidden, part);
  for (int64_t s = rows.first; s < rows.last; ++s)
    for (int64_t j = own.first * W; j < own.last * W && j < hidden; j += W) {
      const int64_t to = job.order[s] * hidden + j, from = s * padded + j;
      store_some(layer.out.state[0] + to, load(layer.h[job.length[s] & 1] + from), hidden - j);
      for (int k = 1; k < cell_of<CellType>(layer.in).states; ++k)
        store_some(layer.out.state[k] + to, load(layer.c + (k - 1) * job.batch * padded + from), hidden - j);
    }
}

template <class T, class CellType, class Weight>
void lay_out_layer(const ForwardJob<T>& job, int64_t index, int64_t most_rows, const T*& given,
                   Arena<T>& arena) {
  constexpr int W = width<T>;
  ForwardLayer<T>& layer = job.layers[index];
  const CellType cell = cell_of<CellType>(layer.in);
  const int64_t panels = panels_of<T>(layer.in.hidden), states = job.batch * panels * W;
  const int64_t size = place<T, CellType, Weight>(layer.in, nullptr).size;
  layer.packed = given ? nullptr : arena.take(size);
  // Packed weights are only read, whoever packed them.
  const Packed<T> packed = place<T, CellType, Weight>(layer.in, given ? const_cast<T*>(given) : layer.packed);
  if (given) given += size;
  layer.packed_ih = packed.ih;
  layer.packed_hh = packed.hh;
  layer.bias = packed.bias;
  layer.parameters = packed.parameters;
  layer.diagonal = nullptr;
  const T* block = packed.hh;
  for (int64_t b = 0; block && b < layer.in.block_count; ++b) {
    if (layer.in.blocks[b].recurrence == Recurrence::diagonal) layer.diagonal = block;
    block += packed_block<T, Weight>(cell.gates, layer.in.hidden, layer.in.blocks[b]);
  }
  for (T*& h : layer.h) h = arena.take(states);
  layer.mask = layer.in.recurrent_mask ? arena.take(states) : nullptr;
  for (int side = 0; side < 2; ++side)
    layer.masked[side] = layer.in.recurrent_mask ? arena.take(states) : layer.h[side];
  const bool masked_above = index + 1 < job.layer_count && job.layers[index + 1].in.input_mask;
  layer.up_mask = masked_above ? arena.take(states) : nullptr;
  layer.handed_up = masked_above ? arena.take(states) : nullptr;
  layer.c = arena.take((cell.states - 1) * states);
  layer.zeros = built_in<CellType> || layer.in.carries_state ? nullptr : arena.take(states);
  const int64_t gates = (index ? job.batch : most_rows) * panels * cell.kept * W;
  layer.gates = arena.take(layer.saved ? 0 : gates);
}

// Calls visit.template operator()<CellType, Weight>() for a layer's cell and the type of its packed weights.
template <class T, class Visit>
NORIA_INLINE auto with_kind(Cell cell, bool int8, Visit visit) {
  return with_cell<T>(cell, [&]<class C>() {
    if constexpr (std::is_same_v<T, float>)
      if (int8) return visit.template operator()<C, int8_t>();
    return visit.template operator()<C, T>();
  });
}

}  // namespace

template <class T>
int64_t saved_row(const LayerInputs<T>& in) {
  return with_cell<T>(in.cell, [&]<class C>() -> int64_t {
    return panels_of<T>(in.hidden) * cell_of<C>(in).kept * width<T>;
  });
}

template <class T>
int64_t packed_size(const LayerInputs<T>& in, bool int8) {
  return with_kind<T>(in.cell, int8,
                      [&]<class C, class Weight>() { return place<T, C, Weight>(in, nullptr).size; });
}

template <class T>
void pack(const LayerInputs<T>& in, bool int8, T* packed) {
  const Range all = {0, panels_of<T>(in.hidden)};
  with_kind<T>(in.cell, int8, [&]<class C, class Weight>() { pack_panels<T, C, Weight>(in, all, packed); });
}

template <class T>
int64_t layout_forward(ForwardJob<T>& job, T* block) {
  const LayerInputs<T>& first = job.layers[0].in;
  const int64_t fitting = block_bytes / (saved_row<T>(first) * int64_t(sizeof(T)));
  job.block_rows = fitting < least_block_rows ? least_block_rows : fitting;
  const int64_t most_rows = job.block_rows + job.batch < job.total ? job.block_rows + job.batch : job.total;
  Arena<T> arena(block);
  const T* given = job.packed;
  for (int64_t l = 0; l < job.layer_count; ++l)
    with_kind<T>(job.layers[l].in.cell, job.int8, [&]<class C, class Weight>() {
      lay_out_layer<T, C, Weight>(job, l, most_rows, given, arena);
    });
  job.x_rows = arena.take(most_rows * first.input);
  return arena.used();
}

template <class T>
void start_forward(const ForwardJob<T>& job, int part) {
  for (int64_t l = 0; l < job.layer_count; ++l)
    with_kind<T>(job.layers[l].in.cell, job.int8,
                 [&]<class C, class Weight>() { start<T, C, Weight>(job, l, part); });
  job.barrier->wait();
}

template <class T>
void run_forward(const ForwardJob<T>& job, int part) {
  const Range rows = rows_of(job, part);
  const ForwardLayer<T>& lowest = job.layers[0];
  const bool by_step = input_by_step(job);
  for (int64_t first = 0, last = 0; first < job.steps; first = last) {
    while (last < job.steps && (by_step || job.offset[last] - job.offset[first] < job.block_rows)) ++last;
    if (!by_step) {
      with_kind<T>(lowest.in.cell, job.int8, [&]<class C, class Weight>() {
        const int64_t base = job.offset[first] * saved_row<T>(lowest.in);
        multiply_input<T, C, Weight>(job, first, last, part,
                                     lowest.saved ? lowest.saved + base : lowest.gates);
      });
      job.barrier->wait();
    }
    for (int64_t t = first; t < last; ++t) {
      if (by_step) gather_x(job, t, rows);
      for (int64_t l = 0; l < job.layer_count; ++l) {
        const ForwardLayer<T>& layer = job.layers[l];
        with_kind<T>(layer.in.cell, job.int8, [&]<class C, class Weight>() {
          const int64_t row = panels_of<T>(layer.in.hidden) * cell_of<C>(layer.in).kept * width<T>;
          const int64_t step_of_block = l || by_step ? 0 : job.offset[t] - job.offset[first];
          T* gates = layer.saved ? layer.saved + job.offset[t] * row : layer.gates + step_of_block * row;
          step<T, C, Weight>(job, l, t, rows, panels_of<T>(job, layer.in.hidden, part),
                             gates + rows.first * row);
        });
        if (job.by_neuron) job.barrier->wait();
      }
    }
    job.barrier->wait();
  }
}

template <class T>
void finish_forward(const ForwardJob<T>& job, int part) {
  for (int64_t l = 0; l < job.layer_count; ++l)
    with_cell<T>(job.layers[l].in.cell, [&]<class C>() { hand_over_states<T, C>(job, l, part); });
}

template int64_t saved_row<float>(const LayerInputs<float>&);
template int64_t saved_row<double>(const LayerInputs<double>&);
template int64_t packed_size<float>(const LayerInputs<float>&, bool);
template int64_t packed_size<double>(const LayerInputs<double>&, bool);
template void pack<float>(const LayerInputs<float>&, bool, float*);
template void pack<double>(const LayerInputs<double>&, bool, double*);
template int64_t layout_forward<float>(ForwardJob<float>&, float*);
template int64_t layout_forward<double>(ForwardJob<double>&, double*);
template void start_forward<float>(const ForwardJob<float>&, int);
template void run_forward<float>(const ForwardJob<float>&, int);
template void finish_forward<float>(const ForwardJob<float>&, int);
template void start_forward<double>(const ForwardJob<double>&, int);
template void run_forward<double>(const ForwardJob<double>&, int);
template void finish_forward<double>(const ForwardJob<double>&, int);

}  // namespace noria::NORIA_TARGET
