#include "scan.h"

#include "targets.h"

namespace noria::NORIA_TARGET {
namespace {

constexpr int64_t block_bytes = 512 * 1024;  // half of a usual L2 cache
constexpr int64_t least_block_rows = 96;

// Where a layer's weights and biases lie once packed.
template <class T>
struct Packed {
  T *ih, *hh, *bias, *norm, *parameters;
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
  T* norm = arena.take(in.weight_norm ? panels * cell.slots * 2 * W : 0);
  T* parameters = arena.take(panels * parameters_of(in) * W);
  return {ih, hh, bias, norm, parameters, arena.used()};
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
  if (in.weight_norm) pack_norm(cell, in, panels, packed.norm);
  for (int64_t panel = panels.first; panel < panels.last; ++panel)
    for (int s = 0; s < S; ++s)
      store(packed.bias + (panel * S + s) * W, in.weight_norm ? Vector<T>{} : bias_of(cell, in, panel, s));
}

// The vectors of a panel where the products are summed up: in a norm's sums, or where the gates will be.
template <class T, class CellType>
NORIA_INLINE int room_of_sums(const ForwardLayer<T>& layer, const CellType& cell) {
  return layer.norm ? cell.slots : cell.kept;
}

// sums[row] = bias + column index[row] of W_ih: the bits of the product with an x of zeros and a one.
template <class T, class CellType, class Weight>
void select_input(const ForwardJob<T>& job, int64_t first, int64_t last, Range rows, T* sums) {
  constexpr int W = width<T>;
  const ForwardLayer<T>& layer = job.layers[0];
  const CellType cell = cell_of<CellType>(layer.in);
  const int G = cell.gates, S = cell.slots, K = room_of_sums(layer, cell);
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
          store(sums + ((row * panels + panel) * K + slot) * W, sum);
        }
      }
    }
}

// sums[row] = bias + W_ih · x[row] for the steps [first, last) of the block, which parts share evenly.
template <class T, class CellType, class Weight>
void multiply_input(const ForwardJob<T>& job, int64_t first, int64_t last, int part, T* sums) {
  constexpr int W = width<T>;
  const ForwardLayer<T>& layer = job.layers[0];
  const CellType cell = cell_of<CellType>(layer.in);
  const int G = cell.gates, S = cell.slots, K = room_of_sums(layer, cell);
  const int64_t input = layer.in.input, panels = panels_of<T>(layer.in.hidden);
  const int64_t block_first = job.offset[first];
  const Range rows = share(job.offset[last] - block_first, part, job.parts);
  if (job.index) return select_input<T, CellType, Weight>(job, first, last, rows, sums);
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
      .c = sums + rows.first * panels * K * W,
      .c_row = panels * K * W,
      .c_panel = K * W,
      .scale = scales<const T, Weight>(layer.packed_ih, panels * stored_depth<Weight>(input) * G * W)};
  with_gates(cell, [&]<int all>() { multiply<T, all>(product, rows.last - rows.first, 0, panels); });
  for (int s = G; s < S; ++s)
    for (int64_t row = rows.first; row < rows.last; ++row)
      for (int64_t panel = 0; panel < panels; ++panel)
        store(sums + ((row * panels + panel) * K + s) * W, load(layer.bias + (panel * S + s) * W));
}

// sums[row] = bias + W_ih · h(t) of the layer below, for some panels of the running rows.
template <class T, class CellType, class Weight>
int64_t multiply_below(const ForwardLayer<T>& layer, const ForwardLayer<T>& below, int after_side,
                       int64_t first_row, int64_t count, int64_t panel, int64_t some, T* sums) {
  constexpr int W = width<T>;
  const CellType cell = cell_of<CellType>(layer.in);
  const int G = cell.gates, S = cell.slots, K = room_of_sums(layer, cell);
  const int64_t input = layer.in.input, panels = panels_of<T>(layer.in.hidden);
  const int64_t padded_input = panels_of<T>(input) * W;
  const T* handed_up = below.handed_up ? below.handed_up : below.h[after_side];
  const Product<T, Weight> product = {
      .depth = input,
      .a = handed_up + first_row * padded_input,
      .a_row = padded_input,
      .w = (const Weight*)layer.packed_ih,
      .w_panel = stored_depth<Weight>(input) * G * W,
      .start = layer.bias,
      .start_row = 0,
      .start_panel = S * W,
      .c = sums,
      .c_row = panels * K * W,
      .c_panel = K * W,
      .scale = scales<const T, Weight>(layer.packed_ih, panels * stored_depth<Weight>(input) * G * W)};
  const int64_t done =
      with_gates(cell, [&]<int all>() { return multiply_some<T, all>(product, count, panel, some); });
  for (int s = G; s < S; ++s)
    for (int64_t i = 0; i < count; ++i)
      for (int64_t p = panel; p < panel + done; ++p)
        store(sums + ((i * panels + p) * K + s) * W, load(layer.bias + (p * S + s) * W));
  return done;
}

// sums[row] += R · h(t-1) of a source, for some panels of the running rows.
template <class T, class CellType, class Weight>
NORIA_INLINE int64_t multiply_block(const ForwardLayer<T>& layer, const T* packed, int64_t size,
                                    const T* operand, int64_t first_row, int64_t count, int64_t panel,
                                    int64_t some, T* sums) {
  constexpr int W = width<T>;
  const CellType cell = cell_of<CellType>(layer.in);
  const int G = cell.gates, S = cell.slots, K = room_of_sums(layer, cell);
  const int64_t panels = panels_of<T>(layer.in.hidden), padded = panels_of<T>(size) * W;
  T* state_sums = sums + (S - G) * W;
  const Product<T, Weight> product = {
      .depth = size,
      .a = operand + first_row * padded,
      .a_row = padded,
      .w = (const Weight*)packed,
      .w_panel = stored_depth<Weight>(size) * G * W,
      .start = state_sums,
      .start_row = panels * K * W,
      .start_panel = K * W,
      .c = state_sums,
      .c_row = panels * K * W,
      .c_panel = K * W,
      .scale = scales<const T, Weight>(packed, panels * stored_depth<Weight>(size) * G * W)};
  return with_gates(cell, [&]<int all>() { return multiply_some<T, all>(product, count, panel, some); });
}

// sums[row] += diagonal R · h(t-1), for some panels of some rows.
template <class T, class CellType>
void add_diagonal(const ForwardLayer<T>& layer, int before_side, Range rows, Range own, T* sums) {
  constexpr int W = width<T>;
  const CellType cell = cell_of<CellType>(layer.in);
  const int G = cell.gates, S = cell.slots, K = room_of_sums(layer, cell);
  const int64_t panels = panels_of<T>(layer.in.hidden);
  for (int64_t s = rows.first; s < rows.last; ++s)
    for (int64_t p = own.first; p < own.last; ++p) {
      const Vector<T> h = load(layer.masked[before_side] + (s * panels + p) * W);
      T* sum = sums + (((s - rows.first) * panels + p) * K + S - G) * W;
      for (int g = 0; g < G; ++g)
        store(sum + g * W, fma(load(layer.diagonal + (p * G + g) * W), h, load(sum + g * W)));
    }
}

// Where a step's rows stand: the sums of products, which without a norm are where the gates will be.
template <class T>
struct StepRows {
  T *sums, *gates, *statistics;
};

// gates[row] = norm of sums[row], for some panels; every part that shares neurons measures whole rows.
template <class T, class CellType>
void normalise(const ForwardLayer<T>& layer, int64_t count, Range own, const StepRows<T>& at) {
  const CellType cell = cell_of<CellType>(layer.in);
  const int S = cell.slots, K = cell.kept;
  const int64_t hidden = layer.in.hidden, padded = panels_of<T>(hidden) * width<T>;
  const bool keeps = own.first == 0 && own.last > 0;
  for (int64_t i = 0; i < count; ++i) {
    const NormRow<T> row = {hidden, S, at.sums + i * padded * S, layer.norm};
    with_slots(cell, [&]<int N>(int slot) {
      Statistics<T> found[N];
      row.template measure<N>(slot, found);
      row.template apply<N>(slot, found, own.first, own.last, K, at.gates + i * padded * K);
      if (keeps) memcpy(at.statistics + (i * S + slot) * 2, found, sizeof found);
    });
  }
}

// The element-wise part of an own cell's step, for some panels of the running rows.
template <class T>
void step_own(const ForwardJob<T>& job, const ForwardLayer<T>& layer, int64_t t, Range rows, Range own,
              T* gates) {
  constexpr int W = width<T>;
  const Own<T> cell = cell_of<Own<T>>(layer.in);
  const int K = cell.kept;
  const int64_t hidden = layer.in.hidden, panels = panels_of<T>(hidden), padded = panels * W;
  const int64_t first = rows.first * padded + own.first * W;
  const int before_side = t & 1, after_side = ~t & 1;
  if (layer.diagonal && !layer.norm) add_diagonal<T, Own<T>>(layer, before_side, rows, own, gates);
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

// From the pre-activations to the new states, for some panels of the running rows.
template <class T, class CellType>
void apply_cell(const ForwardJob<T>& job, const ForwardLayer<T>& layer, int64_t t, Range rows, Range own,
                T* gates) {
  if constexpr (!built_in<CellType>) {
    step_own(job, layer, t, rows, own, gates);
  } else {
    constexpr int W = width<T>, G = CellType::gates, S = CellType::slots, K = CellType::kept;
    const int64_t hidden = layer.in.hidden, panels = panels_of<T>(hidden), padded = panels * W;
    const int64_t count = rows.last - rows.first;
    const int before_side = t & 1, after_side = ~t & 1;
    const T* diagonal = layer.norm ? nullptr : layer.diagonal;
    // The gates of all these rows first: tanh(c') waits for them, and meanwhile others can be computed.
    if (CellType::activates || diagonal)
      for (int64_t i = 0; i < count; ++i)
        for (int64_t p = own.first; p < own.last; ++p) {
          T* gate = gates + (i * panels + p) * K * W;
          Vector<T> a[CellType::kept];
          for (int g = 0; g < S; ++g) a[g] = load(gate + g * W);
          if (diagonal) {
            const Vector<T> h = load(layer.masked[before_side] + (rows.first + i) * padded + p * W);
            for (int g = 0; g < G; ++g) a[S - G + g] = fma(load(diagonal + (p * G + g) * W), h, a[S - G + g]);
          }
          CellType::activate(a);
          for (int g = 0; g < S; ++g) store(gate + g * W, a[g]);
        }
    for (int64_t i = 0; i < count; ++i) {
      const int64_t s = rows.first + i;
      T* y = layer.out.y ? layer.out.y + job.at(s, t) * hidden : nullptr;
      for (int64_t p = own.first; p < own.last; ++p) {
        T* gate = gates + (i * panels + p) * K * W;
        const int64_t j = s * padded + p * W;
        Vector<T> a[CellType::kept];
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
        if (y) store_some(y + p * W, after[0], hidden - p * W);
        if (layer.saved)
          for (int g : CellType::computed) store(gate + g * W, a[g]);
      }
    }
  }
}

template <class T, class CellType, class Weight>
void step(const ForwardJob<T>& job, int64_t index, int64_t t, Range rows, Range own, const StepRows<T>& at) {
  const ForwardLayer<T>& layer = job.layers[index];
  const CellType cell = cell_of<CellType>(layer.in);
  const int64_t hidden = layer.in.hidden, count = running(job, rows, t);
  if (count == 0) return;
  rows.last = rows.first + count;
  const int before_side = t & 1, after_side = ~t & 1;
  // Weights of eight bits: all, since each call rounds the inputs.
  const int64_t at_once = std::is_same_v<T, Weight>
                              ? with_gates(cell, [&]<int all>() { return panels_at_once<all>(count); })
                              : own.last - own.first;
  for (int64_t panel = own.first; panel < own.last;) {
    const int64_t left = own.last - panel;
    int64_t done = left < at_once ? left : at_once;
    if (index > 0)
      done = multiply_below<T, CellType, Weight>(layer, job.layers[index - 1], after_side, rows.first, count,
                                                 panel, done, at.sums);
    const T* packed_hh = layer.packed_hh;
    for (int64_t b = 0; b < layer.in.block_count; ++b) {
      const RecurrentBlock<T>& block = layer.in.blocks[b];
      if (block.recurrence == Recurrence::dense)
        done = multiply_block<T, CellType, Weight>(layer, packed_hh, block.size,
                                                   job.layers[block.source].masked[before_side], rows.first,
                                                   count, panel, done, at.sums);
      packed_hh += packed_block<T, Weight>(cell.gates, hidden, block);
    }
    if (!layer.norm) apply_cell<T, CellType>(job, layer, t, rows, {panel, panel + done}, at.gates);
    panel += done;
  }
  if (!layer.norm) return;
  if (layer.diagonal) add_diagonal<T, CellType>(layer, before_side, rows, own, at.sums);
  if (job.by_neuron) job.barrier->wait();
  normalise<T, CellType>(layer, count, own, at);
  apply_cell<T, CellType>(job, layer, t, rows, own, at.gates);
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
  layer.norm = layer.in.weight_norm ? packed.norm : nullptr;
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
  const int64_t rows = index ? job.batch : most_rows;
  const int64_t gates_row = panels * cell.kept * W, sums_row = panels * cell.slots * W;
  layer.gates = arena.take(layer.saved ? 0 : (layer.in.weight_norm ? job.batch : rows) * gates_row);
  if (!layer.in.weight_norm) return;
  layer.sums = layer.saved ? layer.saved + job.total * gates_row : arena.take(rows * sums_row);
  layer.statistics = layer.saved ? layer.sums + job.total * sums_row : arena.take(job.batch * cell.slots * 2);
}

// Where rows from `first_row` of a step stand, `into` its block.
template <class T, class CellType>
StepRows<T> rows_of_step(const ForwardJob<T>& job, int64_t index, int64_t t, int64_t into,
                         int64_t first_row) {
  const ForwardLayer<T>& layer = job.layers[index];
  const CellType cell = cell_of<CellType>(layer.in);
  const int64_t padded = panels_of<T>(layer.in.hidden) * width<T>;
  const int64_t of_block = (layer.saved ? job.offset[t] : index ? 0 : into) + first_row;
  if (!layer.norm) {
    T* gates = (layer.saved ? layer.saved : layer.gates) + of_block * padded * cell.kept;
    return {gates, gates, nullptr};
  }
  const int64_t of_step = (layer.saved ? job.offset[t] : 0) + first_row;
  return {layer.sums + of_block * padded * cell.slots,
          (layer.saved ? layer.saved : layer.gates) + of_step * padded * cell.kept,
          layer.statistics + of_step * cell.slots * 2};
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
    const C cell = cell_of<C>(in);
    const int64_t padded = panels_of<T>(in.hidden) * width<T>;
    return padded * cell.kept + (in.weight_norm ? (padded + 2) * cell.slots : 0);
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
  for (int64_t first = 0, last = 0; first < job.steps; first = last) {
    while (last < job.steps && job.offset[last] - job.offset[first] < job.block_rows) ++last;
    with_kind<T>(job.layers[0].in.cell, job.int8, [&]<class C, class Weight>() {
      multiply_input<T, C, Weight>(job, first, last, part, rows_of_step<T, C>(job, 0, first, 0, 0).sums);
    });
    job.barrier->wait();
    for (int64_t t = first; t < last; ++t)
      for (int64_t l = 0; l < job.layer_count; ++l) {
        const ForwardLayer<T>& layer = job.layers[l];
        with_kind<T>(layer.in.cell, job.int8, [&]<class C, class Weight>() {
          step<T, C, Weight>(job, l, t, rows, panels_of<T>(job, layer.in.hidden, part),
                             rows_of_step<T, C>(job, l, t, job.offset[t] - job.offset[first], rows.first));
        });
        if (job.by_neuron) job.barrier->wait();
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
